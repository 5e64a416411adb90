"""All sockets of the process, through reloads."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import dns.asyncquery
import dns.message
import dns.rcode
import pytest

from kdns.dns import codes
from kdns.dns.reply import Reply
from kdns.frontend import frontends as module
from kdns.frontend.frontends import Frontends
from kdns.frontend.sockets import ListenError
from kdns.plugins.chain import Block, Router
from kdns.plugins.plan import Endpoint
from kdns.telemetry.counts import Sockets
from kdns.telemetry.traffic import Traffic


def router(rcode: int) -> Router:
    return Router([Block(".", b"\0", lambda query: Reply(rcode=rcode), metrics=True)])


class Process:
    def __init__(self):
        self.traffic = Traffic()
        loop = asyncio.get_running_loop()
        self.frontends = Frontends(self.traffic, loop, lambda: 0.0)

    async def serve(self, **routers):
        await self.serve_all(
            {Endpoint(host, port): router(rcode) for (host, port), rcode in routers["at"].items()}
        )

    async def serve_all(self, routers):
        with ExitStack() as undo:
            opened = self.frontends.open(routers, undo)
            undo.pop_all()
        await self.frontends.serve(routers, opened)


@pytest.fixture
async def process():
    made = Process()
    yield made
    await made.frontends.close()


async def ask(host: str, port: int) -> set[str]:
    """What is answered over UDP and TCP."""
    query = dns.message.make_query("web.", "A")
    found = [
        await dns.asyncquery.udp(query, host, port=port, timeout=10),
        await dns.asyncquery.tcp(query, host, port=port, timeout=10),
    ]
    return {dns.rcode.to_text(each.rcode()) for each in found}


def is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as udp, socket.socket(family) as tcp:
            udp.bind((host, port))
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((host, port))
    except OSError:
        return False
    return True


async def test_every_address(process, ipv6, free_port) -> None:
    await process.serve(at={("", free_port): codes.NXDOMAIN})
    for host in ("127.0.0.1", "127.0.0.2", "::1"):
        assert await ask(host, free_port) == {"NXDOMAIN"}
    labels = {
        (tally.labels.server, tally.labels.proto, tally.labels.family): tally.count
        for tally in process.traffic.tallies()
    }
    assert labels == {
        (f"dns://:{free_port}", proto, family): count
        for proto in ("udp", "tcp")
        for family, count in (("1", 2), ("2", 1))
    }


async def test_a_machine_without_ipv6(process, free_port, monkeypatch) -> None:
    opened = module.open_udp

    def without(host, port, **options):
        if ":" in host:
            raise ListenError(host, port, OSError(97, "no family"))
        return opened(host, port, **options)

    monkeypatch.setattr(module, "open_udp", without)
    await process.serve(at={("", free_port): codes.NXDOMAIN})
    assert await ask("127.0.0.1", free_port) == {"NXDOMAIN"}
    with ExitStack() as undo, pytest.raises(ListenError):
        process.frontends.open([Endpoint("::1", free_port)], undo)


async def test_a_socket_that_was_open_stays_open(process, free_port) -> None:
    at = "127.0.0.1", free_port
    await process.serve(at={at: codes.NXDOMAIN})
    assert await ask(*at) == {"NXDOMAIN"}
    (before,) = process.frontends._all()
    reader, writer = await asyncio.open_connection(*at)
    await process.serve(at={at: codes.REFUSED})
    assert await ask(*at) == {"REFUSED"}
    (after,) = process.frontends._all()
    assert before is after
    query = dns.message.make_query("web.", "A").to_wire()
    writer.write(len(query).to_bytes(2, "big") + query)
    async with asyncio.timeout(10):
        size = int.from_bytes(await reader.readexactly(2), "big")
        assert (await reader.readexactly(size))[3] & 15 == codes.REFUSED
    writer.close()


async def test_endpoints_come_and_go(process) -> None:
    one, two, three = [("127.0.0.1", port) for port in free_ports(3)]
    await process.serve(at={one: codes.NXDOMAIN, two: codes.REFUSED})
    assert await ask(*one) == {"NXDOMAIN"}
    assert await ask(*two) == {"REFUSED"}
    await process.serve(at={two: codes.NXDOMAIN, three: codes.REFUSED})
    assert await ask(*two) == {"NXDOMAIN"}
    assert await ask(*three) == {"REFUSED"}
    assert is_free(*one)
    await process.frontends.close()
    assert is_free(*two)
    assert is_free(*three)


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in found]


async def test_what_cannot_be_opened_leaves_all_as_it_was(process) -> None:
    first, second = [("127.0.0.1", port) for port in free_ports(2)]
    await process.serve(at={first: codes.NXDOMAIN})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = {
            Endpoint(*at): router(codes.REFUSED) for at in (first, second, taken.getsockname())
        }
        with ExitStack() as undo, pytest.raises(ListenError):
            process.frontends.open(wanted, undo)
        assert is_free(*second)
    assert await ask(*first) == {"NXDOMAIN"}


@pytest.mark.parametrize(
    ("before", "after", "to"),
    [
        ("", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0", "127.0.0.1"),
        ("::1", "", "::1"),
    ],
)
async def test_from_one_address_to_all_and_back(
    process, ipv6, free_port, before: str, after: str, to: str
) -> None:
    """`bind` written into a Corefile, or taken out: the port stays with this process."""
    await process.serve(at={(before, free_port): codes.NXDOMAIN})
    assert await ask(to, free_port) == {"NXDOMAIN"}
    await process.serve(at={(after, free_port): codes.REFUSED})
    for _ in range(5):
        assert await ask(to, free_port) == {"REFUSED"}
    if after == "127.0.0.1":
        assert is_free("127.0.0.2", free_port)


async def test_one_address_beside_all(process, free_port) -> None:
    """Two server blocks of one port, one of them with `bind`."""
    await process.serve(
        at={("", free_port): codes.NXDOMAIN, ("127.0.0.2", free_port): codes.REFUSED}
    )
    for _ in range(5):
        assert await ask("127.0.0.1", free_port) == {"NXDOMAIN"}
        assert await ask("127.0.0.2", free_port) == {"REFUSED"}


async def test_nobody_else_gets_the_port(process, free_port) -> None:
    """Not even after it was shared for a reload."""
    other = Process()
    await process.serve(at={("", free_port): codes.NXDOMAIN})
    await process.serve(at={("127.0.0.1", free_port): codes.REFUSED})
    with ExitStack() as undo, pytest.raises(ListenError, match="another server has it"):
        other.frontends.open([Endpoint("127.0.0.1", free_port)], undo)
    with ExitStack() as undo, pytest.raises(ListenError, match="another server has it"):
        other.frontends.open([Endpoint("", free_port)], undo)
    assert await ask("127.0.0.1", free_port) == {"REFUSED"}


async def test_forget_reaches_every_socket(process, ipv6, free_port) -> None:
    rcode = codes.NXDOMAIN

    def handler(query):
        return Reply(rcode=rcode, reads=(b"read",))

    endpoint = Endpoint("", free_port)
    await process.serve_all({endpoint: Router([Block(".", b"\0", handler)])})
    for host in ("127.0.0.1", "::1"):
        assert await ask(host, free_port) == {"NXDOMAIN"}
    rcode = codes.REFUSED
    assert await ask("127.0.0.1", free_port) == {"NXDOMAIN"}
    process.frontends.forget([b"read"])
    for host in ("127.0.0.1", "::1"):
        assert await ask(host, free_port) == {"REFUSED"}
    assert process.frontends.could_not() == Sockets()
