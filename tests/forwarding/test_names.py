"""Host names of upstreams, asked of resolvers and of the system."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from kdns.forwarding import names
from kdns.forwarding.names import ADDRESSES, Unresolved, lookup
from tests.upstream.messages import answer
from tests.upstream.scripted import Upstream, Upstreams, by_transport, sends, silent

HOST = "dns.example."


@pytest.fixture
def upstreams() -> Iterator[Upstreams]:
    """Scripted resolvers."""
    with Upstreams() as running:
        yield running


@pytest.fixture
def resolver(upstreams: Upstreams) -> Upstream:
    return upstreams.open()


def say(resolver: Upstream, *, ipv4: tuple[str, ...] = (), ipv6: tuple[str, ...] = ()) -> None:
    resolver.script(HOST, sends(answer(*ipv4)), type="A")
    resolver.script(HOST, sends(answer(*ipv6)), type="AAAA")


async def found(*resolvers: Upstream | str) -> tuple[str, ...]:
    addresses = tuple(each if isinstance(each, str) else each.address for each in resolvers)
    return await lookup("dns.example", addresses, asyncio.get_running_loop())


async def refused(*resolvers: Upstream | str) -> Unresolved:
    with pytest.raises(Unresolved) as refusal:
        await found(*resolvers)
    return refusal.value


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "expected"),
    [
        pytest.param(("@ 60 A 192.0.2.1",), (), ("192.0.2.1",), id="IPv4"),
        pytest.param((), ("@ 60 AAAA 2001:db8::1",), ("2001:db8::1",), id="IPv6"),
        pytest.param(
            ("@ 60 A 192.0.2.2", "@ 60 A 192.0.2.1"),
            ("@ 60 AAAA 2001:db8::1",),
            ("192.0.2.1", "192.0.2.2", "2001:db8::1"),
            id="both",
        ),
        pytest.param(
            ("@ 60 CNAME real.example.", "real.example. 60 A 192.0.2.1"),
            (),
            ("192.0.2.1",),
            id="an alias",
        ),
        pytest.param(
            tuple(f"@ 60 A 192.0.2.{n}" for n in range(1, 61)),
            (),
            tuple(sorted(f"192.0.2.{n}" for n in range(1, 61)))[:ADDRESSES],
            id="many",
        ),
    ],
)
async def test_a_name(
    resolver: Upstream, ipv4: tuple[str, ...], ipv6: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    say(resolver, ipv4=ipv4, ipv6=ipv6)
    assert await found(resolver) == expected


async def test_an_answer_that_does_not_fit(resolver: Upstream) -> None:
    whole = sends(answer("@ 60 A 192.0.2.1"))
    resolver.script(HOST, by_transport(udp=sends(answer(flags="QR RD RA TC")), tcp=whole))
    assert "192.0.2.1" in await found(resolver)


async def test_half_an_answer_is_one(resolver: Upstream) -> None:
    resolver.script(HOST, sends(answer("@ 60 A 192.0.2.1")), type="A")
    resolver.script(HOST, sends(answer(rcode="SERVFAIL")), type="AAAA")
    assert await found(resolver) == ("192.0.2.1",)


@pytest.mark.parametrize(
    ("rcode", "reason", "absent"),
    [
        ("NXDOMAIN", "says that there is no such name", True),
        ("NOERROR", "says that it has no address", True),
        ("SERVFAIL", "answered SERVFAIL", False),
        ("REFUSED", "answered REFUSED", False),
    ],
)
async def test_no_address(resolver: Upstream, rcode: str, reason: str, absent: bool) -> None:
    resolver.script(HOST, sends(answer(rcode=rcode)))
    error = await refused(resolver)
    assert str(error) == f"{resolver.address} {reason}"
    assert error.absent is absent


async def test_the_next_resolver_is_asked(
    upstreams: Upstreams, resolver: Upstream, free_port: int
) -> None:
    say(resolver, ipv4=("@ 60 A 192.0.2.1",))
    refusing = upstreams.open()
    nobody = f"127.0.0.1:{free_port}"
    assert await found(nobody, refusing, resolver) == ("192.0.2.1",)
    error = await refused(nobody, refusing)
    assert str(error) == f"{nobody} connection refused, {refusing.address} answered REFUSED"
    assert not error.absent


async def test_a_resolver_that_says_nothing(
    resolver: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "_TIMEOUT", 0.05)
    resolver.script(HOST, silent)
    error = await refused(resolver)
    assert str(error) == f"{resolver.address} did not answer in time"
    assert not error.absent


async def test_the_system_is_asked_without_resolvers() -> None:
    loop = asyncio.get_running_loop()
    assert "127.0.0.1" in await lookup("localhost", (), loop)


@pytest.mark.parametrize(
    ("error", "absent"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), True),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), False),
        (OSError("nothing works"), False),
    ],
)
async def test_the_system_knows_none(
    error: Exception, absent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()

    async def fails(*_: object, **__: object) -> list[object]:
        raise error

    monkeypatch.setattr(loop, "getaddrinfo", fails)
    with pytest.raises(Unresolved) as refusal:
        await lookup("a.example", (), loop)
    assert refusal.value.absent is absent
    assert str(refusal.value).startswith("the system says: ")
