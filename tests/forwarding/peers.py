"""Stream servers on loopback, in the test's own loop, that do what the test says word by word."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any

from kdns.dns.names import from_text
from kdns.dns.query import HEADER
from kdns.forwarding.exchange import Lost, Question
from kdns.forwarding.options import Options, Target
from kdns.forwarding.streams import TcpTransport

PATIENCE = 5.0
LOCAL = "127.0.0.1"


def question(name: str, qtype: int = 1, flags: int = 0x0100) -> Question:
    """What to ask, for class IN."""
    return Question(from_text(name) + qtype.to_bytes(2, "big") + b"\0\1", flags, False)


def response(asked: bytes, *, size: int = 0, flags: int = 0x8180) -> bytes:
    """An empty answer to a query, with TXT records up to about so many bytes."""
    end = asked.index(b"\0", HEADER) + 5
    record = b"\xc0\x0c\0\x10\0\1\0\0\0\x3c\0\xc9\xc8" + bytes(200)
    count = size // len(record)
    counts = b"\0\1" + count.to_bytes(2, "big") + bytes(4)
    return asked[:2] + flags.to_bytes(2, "big") + counts + asked[HEADER:end] + record * count


class Ear:
    """Hears what comes of a question."""

    def __init__(self) -> None:
        self.all: list[bytes | Lost] = []
        self.refuses = False
        self._something = asyncio.Event()

    def __call__(self, what: bytes | Lost) -> bool:
        self.all.append(what)
        self._something.set()
        return not self.refuses

    async def what(self) -> bytes | Lost:
        """The one thing that is heard."""
        async with asyncio.timeout(PATIENCE):
            await self._something.wait()
        (what,) = self.all
        return what


@dataclass
class Caller:
    """One connection, seen from its server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    asked: list[bytes] = field(default_factory=list)

    async def question(self) -> bytes:
        """The next query's message."""
        async with asyncio.timeout(PATIENCE):
            size = int.from_bytes(await self.reader.readexactly(2), "big")
            packet = await self.reader.readexactly(size)
        self.asked.append(packet)
        return packet

    def say(self, *packets: bytes) -> None:
        """Messages, each with its length, in one go."""
        self.raw(b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets))

    def raw(self, content: bytes) -> None:
        self.writer.write(content)

    def close(self) -> None:
        self.writer.close()

    def cut(self) -> None:
        self.writer.transport.abort()

    async def gone(self) -> bytes:
        """What is left to read once the other end has closed or reset."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def info(self, name: str) -> Any:
        return self.writer.get_extra_info(name)


class Peer:
    """One listening port; `accepted` are its connections in their order."""

    def __init__(self) -> None:
        self.accepted: list[Caller] = []
        self._fresh: asyncio.Queue[Caller] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._closed = False
        self.port = 0

    async def open(self, tls: ssl.SSLContext | None = None, port: int = 0) -> Peer:
        self._server = await asyncio.start_server(self._accept, LOCAL, port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def caller(self) -> Caller:
        """The next connection, its handshake done."""
        async with asyncio.timeout(PATIENCE):
            return await self._fresh.get()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._closed = True
        for caller in self.accepted:
            caller.cut()
        for _ in range(10):  # what was accepted before arrives, and what was cut goes
            await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller = Caller(reader, writer)
        if self._closed:
            caller.cut()
        self.accepted.append(caller)
        self._fresh.put_nowait(caller)


async def until(holds: Any) -> None:
    """Give the loop turns until something holds."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what a socket brings has no event
            await asyncio.sleep(0.001)


class Line:
    """A transport and the peer that it leads to; its clock stands at `at` seconds."""

    def __init__(self, peer: Peer, kind: type[TcpTransport], host: str = LOCAL, **options: Any):
        self.peer = peer
        self.at = 100.0
        server_name = options.pop("server_name", "")
        target = Target("dns", host, options.pop("port", peer.port), server_name)
        loop = asyncio.get_running_loop()
        self.transport = kind(target, Options((target,), **options), loop)
        self.transport.now = lambda: self.at

    def ask(self, *names: str) -> list[Ear]:
        """Ask for names; an ear for each."""
        ears = [Ear() for _ in names]
        for name, ear in zip(names, ears, strict=True):
            self.transport.send(question(name), ear)
        return ears

    async def asked(self, name: str = "www.example.") -> tuple[Ear, Caller, bytes]:
        """A question on a connection of its own: its ear, the connection, and the query there."""
        (ear,) = self.ask(name)
        caller = await self.peer.caller()
        return ear, caller, await caller.question()

    async def settled(self) -> Caller:
        """A new connection, kept after it has brought an answer."""
        ear, caller, packet = await self.asked("first.")
        caller.say(response(packet))
        assert await ear.what() == response(packet)
        return caller
