"""A scripted API server on loopback: the test is the server, request by request."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kdns.cluster.api.access import FileAccess, Files
from kdns.cluster.api.feed import ApiFeed
from kdns.cluster.api.resources import resources
from kdns.cluster.api.timing import Timing
from kdns.cluster.feed import Delete, Event, Synced

PATIENCE = 5.0
CHECK_EVERY = 1000.0


class Exchange:
    """One request and the connection to answer it on."""

    def __init__(
        self,
        target: str,
        headers: dict[str, str],
        writer: asyncio.StreamWriter,
        closed: asyncio.Event,
    ) -> None:
        self.path = urlsplit(target).path
        self.query = {k: v[0] for k, v in parse_qs(urlsplit(target).query).items()}
        self.headers = headers
        self._writer = writer
        self._closed = closed

    async def answer(self, status: int, body: Any = b"", **headers: str) -> None:
        """A whole answer; `body` as it is if bytes, else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        await self._writer.drain()

    async def begin(self) -> None:
        """The head of an endless answer."""
        self._writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await self._writer.drain()

    async def send(self, *events: Any, at_once: bool = True) -> None:
        """Lines of a watch; with `at_once` in one chunk."""
        lines = [json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events]
        for chunk in [b"".join(lines)] if at_once else lines:
            await self.raw(chunk)

    async def raw(self, content: bytes) -> None:
        self._writer.write(b"%x\r\n%s\r\n" % (len(content), content))
        await self._writer.drain()

    async def stream(self, *events: Any) -> None:
        await self.begin()
        await self.send(*events)

    async def end(self) -> None:
        """The proper end of an endless answer."""
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    def cut(self) -> None:
        """Connection reset."""
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Until the client has closed the connection."""
        async with asyncio.timeout(PATIENCE):
            await self._closed.wait()


class ScriptedApi:
    """`asked()` is the next request; nothing is answered but by the test."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self._exchanges: asyncio.Queue[Exchange] = asyncio.Queue()
        self._servers: list[asyncio.Server] = []
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    async def open(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        self._servers.append(server)

    async def close(self) -> None:
        """Refuse connections, and cut those there are."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def asked(self, path: str = "") -> Exchange:
        async with asyncio.timeout(PATIENCE):
            exchange = await self._exchanges.get()
        assert exchange.path.endswith(path)
        return exchange

    async def asked_again(self, version: int) -> Exchange:
        """The next request after the one whether `version` is known, which it is."""
        asked = await self.asked()
        assert asked.query == {
            "limit": "1",
            "resourceVersion": str(version),
            "resourceVersionMatch": "NotOlderThan",
        }
        await asked.answer(200, {"metadata": {"resourceVersion": "99"}, "items": []})
        return await self.asked()

    def idle(self) -> bool:
        return self._exchanges.empty()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        closed = asyncio.Event()
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                fields = (line.partition(": ") for line in head[1:] if line)
                headers = {name.lower(): value for name, _, value in fields}
                self._exchanges.put_nowait(Exchange(head[0].split()[1], headers, writer, closed))
        closed.set()
        writer.close()


class FakeTime:
    """Time that stands still until it is told to go.

    `sleep` returns at once, as if the time were over, but for a consistency check's, which `check`
    ends. `expire` makes the time-out that is running out end now.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.chance = 0.0
        self._checks: list[asyncio.Event] = []
        self._timeouts: list[asyncio.Timeout] = []
        self.timing = Timing(
            clock=lambda: self.now,
            wall=lambda: self.now,
            sleep=self._sleep,
            uniform=lambda low, high: low + self.chance * (high - low),
            timeout=self._timeout,
        )

    async def _sleep(self, seconds: float) -> None:
        if seconds == CHECK_EVERY:
            checking = asyncio.Event()
            self._checks.append(checking)
            await checking.wait()
        else:
            self.slept.append(seconds)
            self.now += seconds
            await asyncio.sleep(0)

    async def check(self) -> None:
        """Let the next consistency check begin."""
        async with asyncio.timeout(PATIENCE):
            while not self._checks:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
        self._checks.pop().set()

    def _timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        made = asyncio.timeout(None)
        self._timeouts = [*self._timeouts[-3:], made]
        self.patience = seconds
        return made

    def expire(self) -> None:
        self.now += self.patience
        self._timeouts[-1].reschedule(0)


class Reader:
    """What has been read of a feed, in the shortest form that says it all."""

    def __init__(self, feed: ApiFeed) -> None:
        self.feed = feed
        self.events: list[Event] = []
        self._new = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()

    async def run(self) -> None:
        async with aclosing(self.feed.events()) as events:
            async for event in events:
                await self.free.wait()
                self.events.append(event)
                self._new.set()

    async def read(self, count: int) -> list[str]:
        """The next `count` events: "+name" or "+namespace/name@version", "-name", "synced"."""
        async with asyncio.timeout(PATIENCE):
            while len(self.events) < count:
                self._new.clear()
                await self._new.wait()
        taken, self.events = self.events[:count], self.events[count:]
        return [_short(event) for event in taken]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - plain numbers tell nobody
                await asyncio.sleep(0.001)


def _short(event: Event) -> str:
    if isinstance(event, Synced):
        return "synced"
    if isinstance(event, Delete):
        return f"-{event.namespace}/{event.name}"
    metadata = event.object.metadata
    return f"+{metadata.namespace}/{metadata.name}@{metadata.resource_version}"


class Saying:
    """Objects and lines of the API, as JSON data."""

    @staticmethod
    def service(name: str, version: int, uid: str = "", **spec: Any) -> dict[str, Any]:
        metadata = {
            "name": name,
            "namespace": "default",
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        }
        ports = [{"name": "http", "port": 80}, {"name": "https", "port": 443}]
        return {"metadata": metadata, "spec": {"clusterIP": "10.0.0.1", "ports": ports, **spec}}

    @staticmethod
    def event(kind: str, item: Any) -> dict[str, Any]:
        return {"type": kind, "object": item}

    @classmethod
    def added(cls, name: str, version: int, **more: Any) -> dict[str, Any]:
        return cls.event("ADDED", cls.service(name, version, **more))

    @classmethod
    def modified(cls, name: str, version: int, **more: Any) -> dict[str, Any]:
        return cls.event("MODIFIED", cls.service(name, version, **more))

    @classmethod
    def deleted(cls, name: str, version: int) -> dict[str, Any]:
        return cls.event("DELETED", cls.service(name, version))

    @classmethod
    def bookmark(cls, version: int, *, end: bool = False) -> dict[str, Any]:
        metadata: dict[str, Any] = {"resourceVersion": str(version), "creationTimestamp": None}
        if end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        return cls.event("BOOKMARK", {"kind": "Service", "metadata": metadata, "spec": {}})

    @staticmethod
    def status(code: int, reason: str = "", message: str = "", **details: Any) -> dict[str, Any]:
        body = {"kind": "Status", "metadata": {}, "status": "Failure", "code": code}
        return {**body, "reason": reason, "message": message, "details": details}

    @classmethod
    def error(cls, code: int, reason: str = "", message: str = "", **details: Any) -> Any:
        return cls.event("ERROR", cls.status(code, reason, message, **details))

    @classmethod
    def too_large(cls) -> dict[str, Any]:
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        return cls.status(504, "Timeout", "Too large resource version: 9", causes=[cause])

    @staticmethod
    def listed(version: int, *items: Any, more: str = "") -> bytes:
        metadata = {"resourceVersion": str(version), "continue": more}
        head = {"kind": "ServiceList", "apiVersion": "v1", "metadata": metadata}
        return json.dumps({**head, "items": items}, separators=(",", ":")).encode() + b"\n"


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    made = ScriptedApi()
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def tls_api() -> AsyncIterator[Callable[[ssl.SSLContext], Awaitable[ScriptedApi]]]:
    """Opens a scripted API server that speaks TLS."""
    opened = []

    async def opening(tls: ssl.SSLContext) -> ScriptedApi:
        opened.append(ScriptedApi(tls))
        await opened[-1].open()
        return opened[-1]

    yield opening
    for each in opened:
        await each.close()


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def say() -> type[Saying]:
    return Saying


@pytest.fixture
def read_feed() -> Callable[[ApiFeed], AbstractAsyncContextManager[Reader]]:
    """Reads a feed for as long as the block lasts."""

    @asynccontextmanager
    async def reading(feed: ApiFeed) -> AsyncIterator[Reader]:
        reader = Reader(feed)
        task = asyncio.create_task(reader.run())
        try:
            yield reader
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return reading


@pytest.fixture
async def services(api: ScriptedApi, time: FakeTime, read_feed: Any) -> AsyncIterator[Reader]:
    """A reader of the Services alone."""
    wanted = [r for r in resources() if r.kind == "Service"]
    feed = ApiFeed(
        FileAccess(api.url, Files(), time.timing.clock),
        wanted,
        check_every=(CHECK_EVERY, CHECK_EVERY),
        timing=time.timing,
    )
    async with read_feed(feed) as reader:
        yield reader


@pytest.fixture
async def watched(api: ScriptedApi, services: Reader, say: type[Saying]) -> Exchange:
    """The watch of a feed that has listed Services a@1 and b@2, at version 10."""
    exchange = await api.asked("/services")
    await exchange.stream(say.added("a", 1), say.added("b", 2), say.bookmark(10, end=True))
    assert await services.read(3) == ["+default/a@1", "+default/b@2", "synced"]
    return exchange


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """Lines logged so far."""
    with caplog.at_level(logging.INFO, "plugin/kubernetes"):
        yield lambda: [record.getMessage() for record in caplog.records]
