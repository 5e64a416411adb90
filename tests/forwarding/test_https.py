"""Upstreams over HTTPS, those that answer and those that do not."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import dns.message
import pytest
from aiohttp import web

from kdns.forwarding import https
from kdns.forwarding.exchange import Lost
from kdns.forwarding.https import HttpsTransport
from kdns.forwarding.options import Options, Target, Tls
from tests.forwarding.authority import Authority
from tests.forwarding.peers import LOCAL, PATIENCE, Caller, Ear, Peer, question, response, until

NAME = "dns.example.org"
MEDIA = "application/dns-message"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def leads(authority: Authority) -> AsyncIterator[Callable[..., HttpsTransport]]:
    """leads(port, **options) -> a transport to a port of loopback."""
    made = []

    def to(port: int, *, path: str = "", server_name: str = "", **options) -> HttpsTransport:
        target = Target("https", LOCAL, port, server_name, path)
        options.setdefault("tls", Tls(ca=authority.file))
        loop = asyncio.get_running_loop()
        made.append(HttpsTransport(target, Options((target,), **options), loop))
        return made[-1]

    yield to
    for transport in made:
        transport.close()
        if transport._closing is not None:
            await transport._closing


class Site:
    """An HTTPS server that answers DNS messages; `requests` are what it was sent."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.resumed: list[bool] = []
        self.port = 0

    async def open(self, context: ssl.SSLContext) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOCAL, 0, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        self.resumed.append(request.transport.get_extra_info("ssl_object").session_reused)
        body = await request.read()
        packet = body or base64.urlsafe_b64decode(request.query["dns"] + "==")
        return web.Response(body=response(packet, size=2000), content_type=MEDIA)


@pytest.fixture
async def site(authority: Authority) -> AsyncIterator[Site]:
    opened = Site()
    await opened.open(authority.server(LOCAL, NAME))
    yield opened
    await opened.close()


@pytest.fixture
async def peer(authority: Authority) -> AsyncIterator[Peer]:
    """A server that says what the test says."""
    opened = await Peer().open(tls=authority.server(LOCAL))
    yield opened
    await opened.close()


async def answered(transport: HttpsTransport, name: str = "www.example.") -> bytes | Lost:
    ear = Ear()
    transport.send(question(name), ear)
    assert not ear.all
    return await ear.what()


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_an_answer(site: Site, leads: Callable, method: str) -> None:
    transport = leads(site.port, doh_method=method)
    what = await answered(transport)
    read = dns.message.from_wire(what)
    assert (read.id, str(read.question[0])) == (0, "www.example. IN A")
    assert len(what) > 1900
    (request,) = site.requests
    assert (request.method, request.path) == (method, "/dns-query")
    assert request.headers["Accept"] == MEDIA
    assert request.headers["Host"] == f"{LOCAL}:{site.port}"
    assert ("Content-Type" in request.headers) == (method == "POST")
    assert not {"User-Agent", "Cookie"} & set(request.headers)
    if method == "GET":
        assert "=" not in request.query["dns"]
    else:
        assert request.headers["Content-Type"] == MEDIA


async def test_a_name_and_a_path(site: Site, leads: Callable) -> None:
    transport = leads(site.port, server_name=NAME, path="/resolve/us")
    assert isinstance(await answered(transport), bytes)
    (request,) = site.requests
    assert request.path == "/resolve/us"
    assert request.headers["Host"] == f"{NAME}:{site.port}"


async def test_a_connection_is_kept(site: Site, leads: Callable) -> None:
    transport = leads(site.port)
    for _ in range(3):
        assert isinstance(await answered(transport), bytes)
    assert len({request.transport for request in site.requests}) == 1
    assert (transport.proto, transport.hits, transport.misses) == ("https", 2, 1)


async def test_connections_are_not_kept_and_sessions_are(site: Site, leads: Callable) -> None:
    transport = leads(site.port, expire=0.0)
    for _ in range(3):
        assert isinstance(await answered(transport), bytes)
    assert site.resumed == [False, True, True]
    assert (transport.hits, transport.misses) == (0, 3)


async def test_a_certificate_authority_that_is_replaced(
    site: Site, leads: Callable, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    transport = leads(site.port, tls=Tls(ca=authority.file))
    assert isinstance(await answered(transport), bytes)
    authority.file.write_bytes(other.file.read_bytes())
    assert "certificate is not valid" in (await answered(transport)).reason


async def test_from_an_address(site: Site, leads: Callable) -> None:
    assert isinstance(await answered(leads(site.port, source_address="127.0.0.9")), bytes)
    assert site.requests[0].remote == "127.0.0.9"


async def test_many_at_a_time(site: Site, leads: Callable) -> None:
    transport = leads(site.port)
    ears = [Ear() for _ in range(200)]
    for number, ear in enumerate(ears):
        transport.send(question(f"n{number}."), ear)
    assert {await ear.what() for ear in ears if isinstance(await ear.what(), Lost)} == set()
    assert transport.misses <= https.CONNECTIONS


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param(
            {"server_name": "other.example"},
            "certificate is not valid for other.example (Hostname mismatch",
            id="another name",
        ),
        pytest.param({"tls": Tls()}, "certificate is not valid for 127.0.0.1 (", id="no CA"),
        pytest.param({"tls": Tls(ca=Path("/nowhere"))}, "/nowhere cannot be read", id="no file"),
        pytest.param({"port": 0}, "connection refused", id="nobody there"),
        pytest.param(
            {"source_address": "192.0.2.1"}, "cannot assign requested address", id="no way there"
        ),
    ],
)
async def test_who_is_not_reached(
    site: Site, leads: Callable, free_port: int, options: dict, reason: str
) -> None:
    port = free_port if "port" in options else site.port
    options = {key: value for key, value in options.items() if key != "port"}
    what = await answered(leads(port, **options))
    assert isinstance(what, Lost)
    assert what.reason.startswith(reason)
    assert not site.requests


async def request(caller: Caller) -> bytes:
    """The body of the next request."""
    async with asyncio.timeout(PATIENCE):
        head = await caller.reader.readuntil(b"\r\n\r\n")
        size = next(line for line in head.lower().split(b"\r\n") if b"content-length" in line)
        return await caller.reader.readexactly(int(size.split(b":")[1]))


def http(body: bytes, *, status: str = "200 OK", media: str = MEDIA, more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def chunked(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {MEDIA}\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        pytest.param(
            lambda q: http(response(q), status="500 Oops"),
            "answered with HTTP status 500",
            id="a server error",
        ),
        pytest.param(
            lambda q: http(b"", status="302 Found", more="Location: https://127.0.0.1/\r\n"),
            "answered with HTTP status 302",
            id="another place",
        ),
        pytest.param(
            lambda q: http(response(q), media="text/html"),
            "answered with 'text/html' for a DNS message",
            id="a page",
        ),
        pytest.param(
            lambda q: http(response(q) + bytes(65536)),
            "sent more than a DNS message",
            id="too long",
        ),
        pytest.param(
            lambda q: chunked(response(q) + bytes(65536)),
            "sent more than a DNS message",
            id="too long in pieces",
        ),
        pytest.param(lambda q: chunked(response(q)), "", id="in pieces"),
        pytest.param(lambda q: http(response(q, size=65000)), "", id="64 KB"),
        pytest.param(
            lambda q: http(response(q).replace(b"www", b"xxx")),
            "answered something else than it was asked",
            id="another name",
        ),
        pytest.param(
            lambda q: http(b"\1" + response(q)[1:]),
            "answered something else than it was asked",
            id="another ID",
        ),
        pytest.param(lambda q: http(b""), "answered something else than it was asked", id="empty"),
        pytest.param(
            lambda q: http(response(q, flags=0x8380)),
            "sent a truncated answer over HTTPS",
            id="truncated",
        ),
        pytest.param(
            lambda q: b"\0\0garbage\r\n\r\n" * 3, "sent what is no HTTP response", id="no HTTP"
        ),
        pytest.param(lambda q: b"", "closed the connection", id="nothing"),
        pytest.param(lambda q: http(response(q))[:-5], "closed the connection", id="cut short"),
        pytest.param(
            lambda q: b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
            "sent what is no HTTP response",
            id="headers without end",
        ),
    ],
)
async def test_what_is_answered(
    peer: Peer, leads: Callable, reply: Callable[[bytes], bytes], expected: str
) -> None:
    ear = Ear()
    leads(peer.port).send(question("www.example."), ear)
    caller = await peer.caller()
    packet = await request(caller)
    caller.raw(reply(packet))
    if not reply(packet) or expected.startswith("closed"):
        caller.close()
    what = await ear.what()
    assert (what.reason if isinstance(what, Lost) else "") == expected


@pytest.mark.parametrize("method", ["POST"])
async def test_a_kept_connection_that_dies_is_not_felt(
    peer: Peer, leads: Callable, method: str
) -> None:
    transport = leads(peer.port, doh_method=method)
    first, second, third = Ear(), Ear(), Ear()
    transport.send(question("first."), first)
    old = await peer.caller()
    old.raw(http(response(await request(old))))
    assert isinstance(await first.what(), bytes)
    transport.send(question("second."), second)
    await request(old)
    old.cut()
    new = await peer.caller()
    packet = await request(new)
    new.raw(http(response(packet)))
    assert await second.what() == response(packet)
    transport.send(question("third."), third)
    await request(new)
    new.cut()
    (await peer.caller()).cut()
    assert await third.what() == Lost("closed the connection")


async def test_nothing_is_heard_once_given_up(peer: Peer, leads: Callable) -> None:
    transport = leads(peer.port)
    ear = Ear()
    pending = transport.send(question("www."), ear)
    caller = await peer.caller()
    await request(caller)
    caller.raw(b"HTTP/1.1 200 OK\r\n")
    pending.give_up()
    await caller.gone()
    assert not ear.all
    assert not transport._asked
    pending.give_up()


async def test_questions_are_bounded(
    peer: Peer, leads: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "QUESTIONS", 2)
    transport = leads(peer.port)
    pendings = [transport.send(question("www."), Ear()) for _ in range(2)]
    assert await answered(transport) == Lost("has 1600 questions on their way over HTTPS")
    pendings[0].give_up()
    await until(lambda: len(transport._asked) == 1)


async def test_an_answer_that_cannot_be_read(peer: Peer, leads: Callable) -> None:
    ear = Ear()
    ear.refuses = True
    leads(peer.port).send(question("www."), ear)
    caller = await peer.caller()
    packet = await request(caller)
    caller.raw(http(response(packet)))
    await until(lambda: len(ear.all) == 2)
    assert ear.all == [response(packet), Lost("sent an answer that cannot be read")]


async def test_closing(peer: Peer, leads: Callable) -> None:
    transport = leads(peer.port)
    ear = Ear()
    transport.send(question("www."), ear)
    caller = await peer.caller()
    await request(caller)
    transport.close()
    assert await ear.what() == Lost("is asked no more")
    assert await answered(transport) == Lost("is asked no more")
    await caller.gone()
    transport.close()
