"""The HTTP endpoints: fixed pages, and nothing else for anybody."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import ExitStack, suppress

import pytest

from kdns.frontend import http
from kdns.frontend.http import HttpFrontends
from kdns.frontend.page import Page
from kdns.frontend.selfprobe import SelfProbe
from kdns.frontend.sockets import ListenError

HOST = b"Host: probe\r\n\r\n"


class Pages:
    """What is served, how often it was asked for, and where."""

    def __init__(self, frontends, port):
        self.frontends = frontends
        self.port = port
        self.asked = 0

    def page(self):
        self.asked += 1
        return Page(200, b"OK")

    def broken(self):
        raise ValueError("a page that fails")

    async def fetch(self, request: bytes, host="127.0.0.1") -> tuple[int, bytes]:
        """Status and everything that came; the connection is closed by the server, or left."""
        reader, writer = await asyncio.open_connection(host, self.port)
        try:
            writer.write(request)
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                body = b"" if request.startswith(b"HEAD") else await reader.readexactly(length)
        finally:
            writer.close()
        return int(head.split()[1]), head + body


@pytest.fixture
async def serve(free_port):
    """await serve() -> Pages at /health and /broken."""
    made = []

    async def serving(host="127.0.0.1"):
        frontends = HttpFrontends()
        pages = Pages(frontends, free_port)
        place = (host, free_port)
        with ExitStack() as undo:
            wanted = {place: {"/health": pages.page, "/broken": pages.broken}}
            opened = frontends.open(wanted, undo)
            undo.pop_all()
        await frontends.serve(wanted, opened)
        made.append(frontends)
        return pages

    yield serving
    for frontends in made:
        await frontends.close()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /health HTTP/1.1\r\n" + HOST, 200),
        (b"GET /health HTTP/1.0\r\n\r\n", 200),
        (b"HEAD /health HTTP/1.1\r\n" + HOST, 200),
        (b"GET /health?verbose=1 HTTP/1.1\r\n" + HOST, 200),
        (b"GET / HTTP/1.1\r\n" + HOST, 404),
        (b"GET /health/ HTTP/1.1\r\n" + HOST, 404),
        (b"GET /SECRET HTTP/1.1\r\n" + HOST, 404),
        (b"GET /../health HTTP/1.1\r\n" + HOST, 404),
        (b"POST /health HTTP/1.1\r\nContent-Length: 0\r\n" + HOST, 405),
        (b"DELETE /health HTTP/1.1\r\n" + HOST, 405),
        (b"POST /health HTTP/1.1\r\nContent-Length: 9999999\r\n" + HOST, 405),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"SECRET\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nSECRET SECRET\r\n" + HOST, 400),
        (b"GET /" + b"SECRET" * 1000 + b" HTTP/1.1\r\n" + HOST, 400),
        (b"GET /health HTTP/1.1\r\nCookie: " + b"SECRET" * 1000 + b"\r\n" + HOST, 400),
        (b"GET /health HTTP/1.1\r\n" + b"X-SECRET: 1\r\n" * 1000 + HOST, 400),
        (b"\x16\x03\x01SECRET\r\n\r\n", 400),
    ],
    ids=lambda value: value[:40].decode(errors="replace") if isinstance(value, bytes) else None,
)
async def test_requests(serve, request_: bytes, status: int, caplog) -> None:
    pages = await serve()
    with caplog.at_level(logging.DEBUG):
        found, response = await pages.fetch(request_)
    assert found == status
    assert b"SECRET" not in response
    assert pages.asked == (status == 200)
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]


async def test_a_page_that_fails_says_nothing_of_it_but_in_the_log(serve, caplog) -> None:
    pages = await serve()
    status, response = await pages.fetch(b"GET /broken HTTP/1.1\r\n" + HOST)
    assert status == 500
    assert b"a page that fails" not in response
    (record,) = caplog.records
    assert "/broken" in record.getMessage()
    assert str(record.exc_info[1]) == "a page that fails"
    assert (await pages.fetch(b"GET /health HTTP/1.1\r\n" + HOST))[0] == 200


async def test_a_kept_connection(serve) -> None:
    pages = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", pages.port)
    for _ in range(3):
        writer.write(b"GET /health HTTP/1.1\r\n" + HOST)
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n\r\nOK")).startswith(b"HTTP/1.1 200")
    writer.close()
    assert pages.asked == 3


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: a\r\n", b"GET /health HTTP/1.1\r\n" + HOST],
    ids=["nothing", "half a line", "half a head", "one request and no more"],
)
async def test_slow_clients_are_cut_off(serve, monkeypatch, sent: bytes) -> None:
    monkeypatch.setattr(http, "_KEEPALIVE", 0.05)
    pages = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", pages.port)
    writer.write(sent)
    async with asyncio.timeout(10):
        await reader.read(-1)
    writer.close()


async def test_other_pages_and_places_after_a_reload(serve) -> None:
    pages = await serve()
    place = ("127.0.0.1", pages.port)
    reader, writer = await asyncio.open_connection(*place)
    await pages.frontends.serve({place: {"/ready": lambda: Page(503, b"kubernetes")}}, {})
    writer.write(b"GET /ready HTTP/1.1\r\n" + HOST)
    async with asyncio.timeout(10):
        assert b" 503 " in await reader.readuntil(b"kubernetes")
    writer.close()
    assert (await pages.fetch(b"GET /health HTTP/1.1\r\n" + HOST))[0] == 404
    await pages.frontends.serve({}, {})
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(*place)


@pytest.mark.parametrize(
    ("host", "to"),
    [("", ["127.0.0.1", "::1"]), ("localhost", ["127.0.0.1", "::1"]), ("::1", ["::1"])],
)
async def test_places(serve, ipv6, host: str, to: list[str]) -> None:
    pages = await serve(host)
    for one in to:
        assert (await pages.fetch(b"GET /health HTTP/1.1\r\n" + HOST, one))[0] == 200


async def test_a_place_that_cannot_be_had_leaves_nothing_open(free_port) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    at = taken.getsockname()
    with taken:
        with ExitStack() as undo, pytest.raises(ListenError):
            HttpFrontends().open({("127.0.0.1", free_port): {}, at: {}}, undo)
        socket.create_server(("127.0.0.1", free_port)).close()


async def test_the_probe_of_the_own_health_page(serve, free_port) -> None:
    ticks = iter([1.0, 1.001, 2.0, 2.5])
    probe = SelfProbe(lambda: next(ticks))
    await probe.probe()
    assert (probe.durations.total, probe.failures) == (0, 0)
    probe.place = ("", free_port)
    await probe.probe()
    assert (probe.durations.total, probe.failures) == (1, 1)
    await serve()
    await probe.probe()
    assert (probe.durations.total, probe.failures) == (2, 1)
    assert probe.durations.sum == pytest.approx(0.501)


async def test_the_probe_notices_another_status(serve, free_port) -> None:
    pages = await serve()
    await pages.frontends.serve({("127.0.0.1", free_port): {}}, {})
    probe = SelfProbe(lambda: 0.0)
    probe.place = ("127.0.0.1", free_port)
    await probe.probe()
    assert probe.failures == 1


async def test_connections_over_the_limit_are_cut(serve, monkeypatch) -> None:
    monkeypatch.setattr("kdns.frontend.http._MAX_CONNECTIONS", 1)
    pages = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", pages.port)
    writer.write(b"GET /health HTTP/1.1\r\n" + HOST)
    assert b"200" in await reader.readline()
    other, second = await asyncio.open_connection("127.0.0.1", pages.port)
    with suppress(ConnectionResetError):
        assert await other.read() == b""
    for each in (writer, second):
        each.close()
