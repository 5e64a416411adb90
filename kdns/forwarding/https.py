"""Upstreams over HTTPS (RFC 8484): kept connections, one question on each at a time."""

from __future__ import annotations

import asyncio
import base64
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from kdns.dns.query import STREAM_LIMIT
from kdns.dns.response import truncated
from kdns.forwarding.dialing import lost, new_socket
from kdns.forwarding.exchange import Heard, Lost, Question
from kdns.forwarding.options import Options, Target
from kdns.forwarding.streams import matches
from kdns.forwarding.tls import Settings

if TYPE_CHECKING:
    import aiohttp

CONNECTIONS: Final = 64
"""Connections to one upstream at a time."""

QUESTIONS: Final = 1600
"""Questions on their way to one upstream at a time, those that wait for a connection among them."""

PATH: Final = "/dns-query"
_MEDIA: Final = "application/dns-message"
_NUMBER: Final = b"\0\0"
"""The ID over HTTPS: equal questions are equal requests to caches on the way (RFC 8484 §4.1)."""

_CONNECT: Final = 5.0  # seconds
_WHOLE: Final = 10.0  # seconds, where nobody gives up before

_CROWDED: Final = Lost(f"has {QUESTIONS} questions on their way over HTTPS")
_RETIRED: Final = Lost("is asked no more")
_CLOSED: Final = Lost("closed the connection")
_NO_HTTP: Final = Lost("sent what is no HTTP response")
_TOO_LONG: Final = Lost("sent more than a DNS message")
_CUT_SHORT: Final = Lost("sent a truncated answer over HTTPS")
_ANOTHER: Final = Lost("answered something else than it was asked")
_UNREADABLE: Final = Lost("sent an answer that cannot be read")


class Asked:
    """A question on its way; as `Pending`."""

    __slots__ = ("heard", "kept", "task")

    def __init__(self, heard: Heard) -> None:
        self.heard: Heard | None = heard
        self.kept = False
        self.task: asyncio.Task[None] | None = None

    def give_up(self) -> None:
        self.heard = None
        if self.task is not None:
            self.task.cancel()

    def tell(self, what: bytes | Lost) -> None:
        """Let who asked hear. A message that cannot be read is the upstream's own."""
        heard, self.heard = self.heard, None
        if heard is not None and not heard(what) and isinstance(what, bytes):
            heard(_UNREADABLE)


class HttpsTransport:
    """As `Transport`: one upstream over HTTPS; `target.host` is an IP address.

    `max_age` and `max_idle_conns` have no meaning here; whatever is idle is closed after `expire`.
    """

    proto: ClassVar[str] = "https"

    def __init__(self, target: Target, options: Options, loop: asyncio.AbstractEventLoop) -> None:
        self.hits = 0
        self.misses = 0
        self._target = target
        self._options = options
        self._loop = loop
        self._name = target.server_name or options.tls.server_name or target.host
        self._asked: set[Asked] = set()
        self._settings = Settings(options.tls, "http/1.1")
        self._session: aiohttp.ClientSession | None = None
        self._closing: asyncio.Task[None] | None = None
        self._closed = False

    def send(self, question: Question, heard: Heard) -> Asked:
        asked = Asked(heard)
        if self._closed or len(self._asked) >= QUESTIONS:
            self._loop.call_soon(asked.tell, _RETIRED if self._closed else _CROWDED)
            return asked
        self._asked.add(asked)
        asked.task = self._loop.create_task(self._ask(question, asked))
        asked.task.add_done_callback(lambda _: self._asked.discard(asked))
        return asked

    def close(self) -> None:
        self._closed = True
        for asked in self._asked:
            self._loop.call_soon(asked.tell, _RETIRED)
            if asked.task is not None:
                asked.task.cancel()
        session, self._session = self._session, None
        if session is not None:
            self._closing = self._loop.create_task(session.close())

    async def _ask(self, question: Question, asked: Asked) -> None:
        """Ask, and once more where a connection that was kept has died of it (RFC 9112 §9.3.1)."""
        packet = question.packet(_NUMBER)
        what = await self._fetch(packet, asked)
        if what == _CLOSED and asked.kept:
            what = await self._fetch(packet, asked)
        if isinstance(what, bytes):
            if not matches(what, _NUMBER, question):
                what = _ANOTHER
            elif truncated(what):
                what = _CUT_SHORT
        asked.tell(what)

    async def _fetch(self, packet: bytes, asked: Asked) -> bytes | Lost:
        import aiohttp  # noqa: PLC0415 - 10 MB that other upstreams do without

        try:
            return await self._exchange(packet, asked)
        except aiohttp.ClientConnectorError as error:
            return lost(error.__cause__ or error, self._name)
        except aiohttp.ServerTimeoutError as error:
            return lost(error, self._name)
        except TimeoutError:
            return Lost("timed out")
        except aiohttp.ClientResponseError:
            return _NO_HTTP
        except (aiohttp.ClientError, ConnectionError):
            return _CLOSED
        except Exception as error:  # noqa: BLE001 - whatever it was, it is heard
            return lost(error, self._name)

    async def _exchange(self, packet: bytes, asked: Asked) -> bytes | Lost:
        context = await self._settings.current()
        session = self._session or self._open()
        url = f"https://{self._target}{self._target.path or PATH}"
        headers = {"Host": self._authority(), "Accept": _MEDIA, "Accept-Encoding": "identity"}
        body = None
        if self._options.doh_method == "GET":
            url += f"?dns={base64.urlsafe_b64encode(packet).rstrip(b'=').decode()}"
        else:
            headers["Content-Type"] = _MEDIA
            body = packet
        async with session.request(
            self._options.doh_method,
            url,
            data=body,
            headers=headers,
            ssl=context,
            server_hostname=self._name,
            allow_redirects=False,
            trace_request_ctx=asked,
        ) as response:
            if response.status != 200:
                return Lost(f"answered with HTTP status {response.status}")
            if response.content_type != _MEDIA:
                return Lost(f"answered with {response.content_type[:100]!r} for a DNS message")
            message = b""
            async for chunk in response.content.iter_any():
                message += chunk
                if len(message) > STREAM_LIMIT:
                    response.close()
                    return _TOO_LONG
        self._settings.keep_session()
        return message

    def _authority(self) -> str:
        """The name to ask for, and the port where it is another than usual (RFC 9110 §7.2)."""
        target = self._target._replace(host=self._name)
        return str(target).removesuffix(":443")

    def _open(self) -> aiohttp.ClientSession:
        """Settings for all requests."""
        import aiohttp  # noqa: PLC0415

        expire, source = self._options.expire, self._options.source_address
        lifetime: dict[str, Any] = (
            {"keepalive_timeout": expire} if expire else {"force_close": True}
        )
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(self._hit)
        trace.on_connection_create_start.append(self._missed)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS,
                local_addr=(source, 0) if source else None,
                socket_factory=lambda address: new_socket(address[0]),
                **lifetime,
            ),
            timeout=aiohttp.ClientTimeout(total=_WHOLE, sock_connect=_CONNECT),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=["User-Agent"],  # RFC 8484 §8.2
            auto_decompress=False,
            trace_configs=[trace],
        )
        return self._session

    async def _hit(self, _: object, context: SimpleNamespace, __: object) -> None:
        self.hits += 1
        context.trace_request_ctx.kept = True

    async def _missed(self, _: object, context: SimpleNamespace, __: object) -> None:
        self.misses += 1
        context.trace_request_ctx.kept = False
