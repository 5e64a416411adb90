"""Upstreams over TLS (RFC 7858, RFC 8310): names verified, sessions resumed."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import ClassVar, Final, Self

from kdns.forwarding.dialing import connect
from kdns.forwarding.options import Options, Target, Tls
from kdns.forwarding.streams import Connection, TcpTransport

_log: Final = logging.getLogger("plugin/forward")


class BadTlsFile(Exception):
    """A file of certificates or keys that cannot be used: which, and why."""


class ClientContext(ssl.SSLContext):
    """Settings of TLS towards one upstream, and the session to go on with there.

    asyncio knows nothing of sessions; it calls `wrap_bio`, which does here.
    """

    _session: ssl.SSLSession | None = None
    _latest: ssl.SSLObject | None = None

    def __new__(cls) -> Self:
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        self._latest = super().wrap_bio(
            incoming, outgoing, server_side, server_hostname, session or self._session
        )
        return self._latest

    def keep_session(self) -> None:
        """Go on with the latest connection's session in the next one (RFC 8446 §2.2).

        To be called once it has brought an answer: in TLS 1.3 a session comes behind the handshake.
        """
        # Before the end of a handshake, which another connection may be in, a session is no whole.
        if self._latest is not None and self._latest.version() is not None:
            session = self._latest.session
            if session is not None and session.has_ticket:
                self._session, self._latest = session, None


def client_context(tls: Tls, *alpn: str) -> ClientContext:
    """At least TLS 1.2; the upstream's certificate and name are verified. Raises BadTlsFile."""
    context = ClientContext()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        context.set_alpn_protocols(alpn)
    if tls.ca is None:
        context.load_default_certs()
    else:
        _readable(tls.ca)
        try:
            context.load_verify_locations(tls.ca)
        except ssl.SSLError:
            raise BadTlsFile(f"{tls.ca} holds no certificate in PEM form") from None
    if tls.certificate is not None and tls.key is not None:
        _readable(tls.certificate)
        _readable(tls.key)
        try:
            # Without a password openssl would ask for one at the terminal.
            context.load_cert_chain(tls.certificate, tls.key, password="")
        except ssl.SSLError as error:
            raise BadTlsFile(
                f"{tls.certificate} and {tls.key} are no certificate and its key in PEM form"
                f" ({error.reason or error})"
            ) from None
    return context


class Settings:
    """Settings of TLS towards one upstream, made when they are first needed, and again when one of
    their files is another: certificates are renewed while servers run."""

    def __init__(self, tls: Tls, *alpn: str) -> None:
        self._tls = tls
        self._alpn = alpn
        self._context: ClientContext | None = None
        self._stamps: tuple[object, ...] = ()
        self._making = asyncio.Lock()

    async def current(self) -> ClientContext:
        """As the files are now, or as they last were of use. Raises BadTlsFile if they never were.

        To read all of the system's certificates takes a thread for some 20 ms.
        """
        async with self._making:
            stamps = tuple(map(_stamp, (self._tls.certificate, self._tls.key, self._tls.ca)))
            if self._context is None or stamps != self._stamps:
                try:
                    self._context = await asyncio.to_thread(client_context, self._tls, *self._alpn)
                except BadTlsFile as error:
                    if self._context is None:
                        raise
                    _log.warning("%s: what was there before is used on", error)
                self._stamps = stamps
            return self._context

    def keep_session(self) -> None:
        """As `ClientContext.keep_session`."""
        if self._context is not None:
            self._context.keep_session()


class TlsTransport(TcpTransport):
    """As `TcpTransport`, in TLS."""

    proto: ClassVar[str] = "tcp-tls"

    def __init__(self, target: Target, options: Options, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(target, options, loop)
        self._settings = Settings(options.tls, "dot")

    async def greet(self, connection: Connection) -> None:
        context = await self._settings.current()
        sock = await connect(
            self.target.host, self.target.port, self.options.source_address, self.loop
        )
        await self.loop.create_connection(
            lambda: connection, sock=sock, ssl=context, server_hostname=self.server_name
        )

    def answered(self, connection: Connection) -> None:
        super().answered(connection)
        if connection.answered == 1:
            self._settings.keep_session()


def _stamp(path: Path | None) -> object:
    """Another value whenever a file has become another."""
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError as error:
        return error.errno
    return status.st_mtime_ns, status.st_ino, status.st_size


def _readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise BadTlsFile(f"{path} cannot be read ({error.strerror})") from None
