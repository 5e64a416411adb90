"""Questions to one server, over UDP, and TCP where a reply is truncated."""

from __future__ import annotations

import asyncio
import secrets
from struct import pack
from types import TracebackType
from typing import Final, NamedTuple, Self

from kdns.compare.answers import Answer, Silence, Unreadable, read
from kdns.compare.questions import Question
from kdns.dns import codes

PATIENCE: Final = 2.0
"""Seconds that a server has for a reply, and for a connection with all that is said on it."""
TRIES: Final = 2

_RD: Final = 0x0100
_TC: Final = 0x02  # in the third byte
_QR: Final = 0x80
_HEADER: Final = 12  # bytes
_PAYLOAD: Final = 1232  # bytes; RFC 9715 §3.1
_OPT: Final = b"\0" + pack("!HHIH", codes.OPT, _PAYLOAD, 0, 0)


class Server(NamedTuple):
    """Where a server is; `host` is an address or a name."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Asker(asyncio.DatagramProtocol):
    """The asking of one server by one UDP socket; a context, in which any number ask at once.

    `timeouts` counts the tries that got no reply in time. Raises OSError on entering where the
    server's name leads nowhere.
    """

    def __init__(self, server: Server, patience: float = PATIENCE) -> None:
        self.timeouts = 0
        self._server = server
        self._patience = patience
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: dict[int, tuple[bytes, asyncio.Future[bytes]]] = {}

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, remote_addr=(self._server.host, self._server.port)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._transport is not None:
            self._transport.close()

    async def ask(self, question: Question) -> Answer | Silence:
        """The reply to a question, or why there is none."""
        reason = ""
        for _ in range(TRIES):
            try:
                return read(await self._exchange(question))
            except TimeoutError:
                self.timeouts += 1
                reason = f"no reply within {self._patience:g} s"
            except (OSError, asyncio.IncompleteReadError) as error:
                reason = getattr(error, "strerror", None) or "the connection ended early"
            except Unreadable as error:
                reason = str(error)
        return Silence(f"{reason}, asked {TRIES} times")

    async def _exchange(self, question: Question) -> bytes:
        asked = question.name + pack("!HH", question.type, codes.CLASS_IN)
        reply = await self._by_datagram(asked)
        return await self._by_stream(asked) if reply[2] & _TC else reply

    async def _by_datagram(self, asked: bytes) -> bytes:
        number = secrets.randbelow(1 << 16)
        while number in self._waiting:
            number = secrets.randbelow(1 << 16)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = asked, future
        try:
            if self._transport is not None:
                self._transport.sendto(_query(number, asked))
            async with asyncio.timeout(self._patience):
                return await future
        finally:
            del self._waiting[number]

    async def _by_stream(self, asked: bytes) -> bytes:
        number = secrets.randbelow(1 << 16)
        query = _query(number, asked)
        async with asyncio.timeout(self._patience):
            reader, writer = await asyncio.open_connection(self._server.host, self._server.port)
            try:
                writer.write(pack("!H", len(query)) + query)
                length = int.from_bytes(await reader.readexactly(2), "big")
                reply = await reader.readexactly(length)
            finally:
                writer.close()
        if not _answers(reply, number, asked):
            raise Unreadable("a reply over TCP to another question")
        return reply

    def datagram_received(self, data: bytes, _: object) -> None:
        """Hand a reply to who waits for it; whatever else comes is dropped."""
        asked, future = self._waiting.get(int.from_bytes(data[:2], "big"), (b"", None))
        if future is None or future.done():
            return
        if _answers(data, int.from_bytes(data[:2], "big"), asked):
            future.set_result(data)

    def error_received(self, exc: Exception) -> None:
        """An ICMP message, which does not say which question it is about: the server is away."""
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(exc)


def _query(number: int, asked: bytes) -> bytes:
    return pack("!HHHHHH", number, _RD, 1, 0, 0, 1) + asked + _OPT


def _answers(reply: bytes, number: int, asked: bytes) -> bool:
    """Whether a packet is a reply to this question, or to none as errors may be."""
    if len(reply) < _HEADER or int.from_bytes(reply[:2], "big") != number or not reply[2] & _QR:
        return False
    if reply[4:6] == b"\0\0":
        return True
    echoed = reply[_HEADER : _HEADER + len(asked)]
    # The name alone is without case: types are bytes too.
    return echoed[:-4].lower() == asked[:-4].lower() and echoed[-4:] == asked[-4:]
