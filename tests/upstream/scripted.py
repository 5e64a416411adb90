"""Upstreams on loopback that answer as their scripts say, in a thread of their own.

    with Upstreams() as upstreams:
        upstream = upstreams.open()
        upstream.script("www.example.", sends(answer("@ 60 A 192.0.2.1")))

A script is a list of steps for a name: the first time it is asked for the first step is taken, and
so on; the last one is taken for all further times.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol, Self, cast

from tests.upstream.messages import Asked, Packet, Transport, answer

LOCAL = "127.0.0.1"
APART = 0.04
"""Seconds between packets that follow each other: what came first was seen first."""

_START_SECONDS = 10.0


class Way(Protocol):
    """The way back to who asked."""

    async def send(self, packet: bytes) -> None:
        """One message; on a stream with its length before it."""

    async def elsewhere(self, packet: bytes) -> None:
        """One datagram from another port than the one that was asked."""

    async def raw(self, content: bytes) -> None:
        """Bytes of a stream as they are."""

    def close(self) -> None:
        """End the stream."""


Step = Callable[[Asked, Way], Awaitable[None]]
"""What happens when a question arrives."""


async def silent(_asked: Asked, _way: Way) -> None:
    """Nothing comes back."""


def sends(*packets: Packet, apart: float = APART) -> Step:
    """These packets, the first at once, the others `apart` seconds after each other."""

    async def step(asked: Asked, way: Way) -> None:
        for number, packet in enumerate(packets):
            if number and apart:
                await asyncio.sleep(apart)
            await way.send(packet(asked))

    return step


def sends_elsewhere(packet: Packet, then: Step) -> Step:
    """A datagram from another port, and then a step."""

    async def step(asked: Asked, way: Way) -> None:
        await way.elsewhere(packet(asked))
        await asyncio.sleep(APART)
        await then(asked, way)

    return step


def later(seconds: float, then: Step) -> Step:
    """A step after a while."""

    async def step(asked: Asked, way: Way) -> None:
        await asyncio.sleep(seconds)
        await then(asked, way)

    return step


def held(gate: Gate, then: Step) -> Step:
    """A step once a gate is open."""

    async def step(asked: Asked, way: Way) -> None:
        await gate.opened.wait()
        await then(asked, way)

    return step


def dribbles(packet: Packet, *, apart: float) -> Step:
    """A stream's message a byte at a time."""

    async def step(asked: Asked, way: Way) -> None:
        made = packet(asked)
        for byte in len(made).to_bytes(2, "big") + made:
            await way.raw(bytes([byte]))
            await asyncio.sleep(apart)

    return step


def streams(content: Packet, then: Step = silent) -> Step:
    """Bytes of a stream as they are, lengths and all, and then a step."""

    async def step(asked: Asked, way: Way) -> None:
        await way.raw(content(asked))
        await then(asked, way)

    return step


async def closes(_asked: Asked, way: Way) -> None:
    """The stream ends."""
    way.close()


def by_transport(**steps: Step) -> Step:
    """A step for each of udp, tcp and tls; silence on those that have none."""

    async def step(asked: Asked, way: Way) -> None:
        await steps.get(asked.transport, silent)(asked, way)

    return step


def by_edns(with_edns: Step, without: Step) -> Step:
    """One step for questions with an OPT record, one for those without."""

    async def step(asked: Asked, way: Way) -> None:
        await (with_edns if asked.message.edns >= 0 else without)(asked, way)

    return step


async def _anything(asked: Asked, way: Way) -> None:
    """The root's name servers, as for probes of health; REFUSED for all else."""
    root = asked.name == "." and asked.type == "NS"
    packet = answer(". 60 NS a.root.") if root else answer(rcode="REFUSED")
    await way.send(packet(asked))


class Gate:
    """Holds steps back until it is opened, by any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.opened = asyncio.Event()

    def open(self) -> None:
        self._loop.call_soon_threadsafe(self.opened.set)


class Upstream:
    """One scripted server, UDP and TCP on one port of 127.0.0.1, TLS on another where asked for.

    `asked` has every question in the order of its arrival; `connections` counts the streams that
    were accepted.
    """

    def __init__(self) -> None:
        self.port = self.tls_port = 0
        self.asked: list[Asked] = []
        self.connections = 0
        self.default: Step = _anything
        self.failures: list[BaseException] = []
        self._changed = threading.Condition()
        self._scripts: dict[str, list[Step]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._datagrams: asyncio.DatagramTransport | None = None
        self._servers: list[asyncio.Server] = []

    @property
    def address(self) -> str:
        """As in a Corefile."""
        return f"{LOCAL}:{self.port}"

    def script(self, name: str, *steps: Step, type: str = "") -> None:  # noqa: A002 - DNS's word
        """What to do when a name is asked for, in lower case; of a type, or of any."""
        self._scripts[f"{name} {type}"] = list(steps)

    def of(self, name: str) -> list[Asked]:
        """The questions for a name, and those below it where it begins with a dot."""
        whole = name.lower()
        found = whole.startswith(".")
        return [a for a in self.asked if (a.name.endswith(whole) if found else a.name == whole)]

    def wait(self, holds: Callable[[], object], seconds: float = 10.0) -> bool:
        """Whether something about the questions comes to hold in so many seconds."""
        with self._changed:
            return bool(self._changed.wait_for(holds, seconds))

    async def open(self, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen; on a port that is free where 0 is given."""
        loop = asyncio.get_running_loop()
        for _ in range(100):
            server = await asyncio.start_server(self._stream("tcp"), LOCAL, port)
            self.port = server.sockets[0].getsockname()[1]
            try:
                self._datagrams, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self), (LOCAL, self.port)
                )
            except OSError:
                server.close()
                if port:
                    raise
                continue
            self._servers.append(server)
            break
        else:
            raise OSError("no port is free for both UDP and TCP")
        if tls is not None:
            server = await asyncio.start_server(self._stream("tls"), LOCAL, 0, ssl=tls)
            self.tls_port = server.sockets[0].getsockname()[1]
            self._servers.append(server)

    async def close(self) -> None:
        """Let go of all ports, and cut what is open."""
        if self._datagrams is not None:
            self._datagrams.abort()
        for server in self._servers:
            server.close()
        self._servers.clear()
        self.cut()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def cut(self) -> None:
        """Reset all streams."""
        for writer in list(self._writers):
            writer.transport.abort()

    def take(self, asked: Asked, way: Way) -> None:
        """Note a question and do what the script says."""
        step = self._step(asked)
        with self._changed:
            self.asked.append(asked)
            self._changed.notify_all()
        task = asyncio.get_running_loop().create_task(self._run(step, asked, way))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _step(self, asked: Asked) -> Step:
        for key in (f"{asked.name} {asked.type}", f"{asked.name} "):
            if steps := self._scripts.get(key):
                return steps.pop(0) if len(steps) > 1 else steps[0]
        return self.default

    async def _run(self, step: Step, asked: Asked, way: Way) -> None:
        try:
            await step(asked, way)
        except OSError:
            pass  # who asked has gone
        except Exception as error:  # noqa: BLE001 - told at the end, by `Upstreams`
            self.failures.append(error)

    def _stream(
        self, transport: Transport
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            self._writers.add(writer)
            way = _StreamWay(writer)
            source = writer.get_extra_info("peername")[:2]
            with suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    packet = await reader.readexactly(size)
                    self.take(Asked.of(transport, source, packet), way)
            self._writers.discard(writer)
            writer.close()

        return serve


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._upstream.take(Asked.of("udp", addr, data), _DatagramWay(self._transport, addr))


class _DatagramWay:
    def __init__(self, transport: asyncio.DatagramTransport, target: tuple[str, int]) -> None:
        self._transport = transport
        self._target = target

    async def send(self, packet: bytes) -> None:
        self._transport.sendto(packet, self._target)

    async def elsewhere(self, packet: bytes) -> None:
        loop = asyncio.get_running_loop()
        other, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, (LOCAL, 0))
        other.sendto(packet, self._target)
        other.close()

    async def raw(self, content: bytes) -> None:
        raise AssertionError("a datagram is no stream")

    def close(self) -> None:
        raise AssertionError("a datagram is no stream")


class _StreamWay:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, packet: bytes) -> None:
        await self.raw(len(packet).to_bytes(2, "big") + packet)

    async def elsewhere(self, packet: bytes) -> None:
        raise AssertionError("a stream has one port")

    async def raw(self, content: bytes) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError
        self._writer.write(content)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


class Upstreams:
    """Any number of scripted upstreams on one loop in a thread, for as long as the block lasts.

    At its end it tells of steps that failed.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="upstreams", daemon=True)
        self._made: list[Upstream] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for upstream in self._made:
            self.close(upstream)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_START_SECONDS)
        self.loop.close()
        failures = [failure for upstream in self._made for failure in upstream.failures]
        if failures:
            raise BaseExceptionGroup("steps that failed", failures)

    def open(self, port: int = 0, tls: ssl.SSLContext | None = None) -> Upstream:
        """One more; on a port that is free where 0 is given."""
        upstream = Upstream()
        self._made.append(upstream)
        self._do(upstream.open(port, tls))
        return upstream

    def close(self, upstream: Upstream) -> None:
        """Nobody listens there any more."""
        self._do(upstream.close())

    def cut(self, upstream: Upstream) -> None:
        """Reset the upstream's streams."""
        self.loop.call_soon_threadsafe(upstream.cut)

    def gate(self) -> Gate:
        """A gate for `held`, closed."""
        return Gate(self.loop)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        done: Future[None] = asyncio.run_coroutine_threadsafe(work, self.loop)
        done.result(_START_SECONDS)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


def until(holds: Callable[[], object], seconds: float, every: float = 0.01) -> bool:
    """Whether something comes to hold in so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
