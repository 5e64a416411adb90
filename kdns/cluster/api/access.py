"""Where the API server is and as whom it is asked; in-cluster and by endpoint."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

_log: Final = logging.getLogger("plugin/kubernetes")

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
REREAD_AFTER: Final = 60.0
"""Seconds after which files are read again: tokens and CAs are replaced while kdns runs."""


class Credentials(NamedTuple):
    """All that a request needs. `url` has no slash at its end; `tls` is None for plain http."""

    url: str
    tls: ssl.SSLContext | None
    authorization: str = ""
    server_name: str | None = None
    proxy: str | None = None


class Access(Protocol):
    """A source of credentials that may change while it is used."""

    async def credentials(self) -> Credentials:
        """Those to use now. Raises `AccessError` where there are none and never were."""
        ...

    async def renew(self, refused: Credentials) -> Credentials:
        """Those to use after `refused` were; the same object where there are no others."""
        ...


class AccessError(ValueError):
    """Why there are no credentials, and what to do, in one line."""


class Files(NamedTuple):
    """Paths of PEM files, and of one with a token; None for what is not used."""

    token: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class FileAccess:
    """Credentials from files, which are read again every minute and when the server refuses them.

    Raises AccessError where the files cannot be used now. Later trouble with them is logged, and
    what they said before is used on. `clock` counts seconds.
    """

    def __init__(self, url: str, files: Files, clock: Callable[[], float] = time.monotonic) -> None:
        if not url.startswith(("http://", "https://")):
            raise AccessError(f"{url!r} is no URL of an API server: it must begin with https://")
        self._url = url.rstrip("/")
        self._files = files
        self._clock = clock
        self._complaint = ""
        self._read_at = clock()
        try:
            self._content = self._read()
            self._credentials = self._make(self._content)
        except (OSError, ValueError) as error:
            raise AccessError(f"no access to {self._url}: {reason(error)}") from error

    async def credentials(self) -> Credentials:
        """As `Access.credentials`."""
        if self._clock() - self._read_at >= REREAD_AFTER:
            self._refresh()
        return self._credentials

    async def renew(self, refused: Credentials) -> Credentials:
        """As `Access.renew`."""
        if self._credentials is refused:
            self._refresh()
        return self._credentials

    def _refresh(self) -> None:
        self._read_at = self._clock()
        try:
            content = self._read()
            if content != self._content:
                self._credentials = self._make(content)
                self._content = content
            self._complaint = ""
        except (OSError, ValueError) as error:
            complaint = f"credentials of {self._url} stay as they were: {reason(error)}"
            if complaint != self._complaint:
                self._complaint = complaint
                _log.warning("%s", complaint)

    def _read(self) -> tuple[bytes | None, ...]:
        return tuple(path.read_bytes() if path is not None else None for path in self._files)

    def _make(self, content: tuple[bytes | None, ...]) -> Credentials:
        authorization = ""
        if content[0] is not None:
            authorization = bearer(content[0], str(self._files.token))
        tls = None
        if self._url.startswith("https://"):
            tls = tls_context(self._files.ca, self._files.certificate, self._files.key)
        return Credentials(self._url, tls, authorization)


def in_cluster(
    environment: Mapping[str, str],
    folder: Path = SERVICE_ACCOUNT,
    clock: Callable[[], float] = time.monotonic,
) -> FileAccess:
    """Access of a pod by its service account. Raises AccessError outside of a cluster."""
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise AccessError(
            "no cluster to run in: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set;"
            " outside of one, say where the API server is with `kubeconfig` or `endpoint`"
        )
    where = f"[{host}]" if ":" in host else host
    return FileAccess(
        f"https://{where}:{port}", Files(token=folder / "token", ca=folder / "ca.crt"), clock
    )


def tls_context(
    ca: Path | None, certificate: Path | None, key: Path | None, *, verify: bool = True
) -> ssl.SSLContext:
    """TLS as a client of the API server; the system's CAs where `ca` is None.

    Raises OSError (of which ssl.SSLError is one).
    """
    context = ssl.create_default_context(cafile=ca)
    # Cluster CAs are often made without the extensions that strictness asks for, and no other
    # client of the API server insists on them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def bearer(token: bytes, where: str) -> str:
    """The value of the header with a token; a newline at its end is none of it. Raises ValueError.

    `where` it was found, for the message.
    """
    text = token.decode("ascii").strip()
    if not text.isprintable() or not text:
        raise ValueError(f"{where} holds no token")
    return f"Bearer {text}"


def reason(error: Exception) -> str:
    """What is wrong with a file of credentials, in words."""
    if isinstance(error, ssl.SSLError):
        return f"a certificate or key file is not usable PEM ({error.reason or error})"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
