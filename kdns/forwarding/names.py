"""Host names of upstreams to addresses."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Final

from kdns.dns import codes
from kdns.dns.names import BadName, from_text
from kdns.dns.query import RD
from kdns.dns.response import read
from kdns.forwarding.exchange import Lost, Question
from kdns.forwarding.options import Options, Target
from kdns.forwarding.streams import TcpTransport
from kdns.forwarding.udp import UdpTransport

ADDRESSES: Final = 32
"""Addresses of one name that are used."""

_TIMEOUT: Final = 2.0  # seconds for one resolver, as in CoreDNS

_ABSENT: Final = frozenset((socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)))


class Unresolved(Exception):
    """Why a name has no address; `absent` if somebody says so who knows."""

    def __init__(self, reason: str, *, absent: bool) -> None:
        super().__init__(reason)
        self.absent = absent


async def lookup(
    host: str, resolvers: tuple[str, ...], loop: asyncio.AbstractEventLoop
) -> tuple[str, ...]:
    """The addresses of a name, IPv4 first, in an order that does not change by chance.

    Asked are the `resolvers`, `IP:PORT` each, until one answers with addresses; without any the
    system is, in a thread. Raises Unresolved.
    """
    if not resolvers:
        return _ordered(await _ask_system(host, loop))
    reasons = []
    absent = False
    for resolver in resolvers:
        try:
            return _ordered(await _ask(resolver, host, loop))
        except Unresolved as error:
            reasons.append(f"{resolver} {error}")
            absent = absent or error.absent
    raise Unresolved(", ".join(reasons), absent=absent)


async def _ask_system(host: str, loop: asyncio.AbstractEventLoop) -> list[str]:
    try:
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        reason = (error.strerror or "no address").lower()
        raise Unresolved(f"the system says: {reason}", absent=error.errno in _ABSENT) from None
    except (OSError, UnicodeError) as error:
        raise Unresolved(f"the system says: {error}", absent=False) from None
    return [str(address[0]) for *_, address in found]


async def _ask(resolver: str, host: str, loop: asyncio.AbstractEventLoop) -> list[str]:
    """What one resolver says: IPv4 and IPv6 at the same time, over UDP or else TCP."""
    try:
        name = from_text(host)
    except BadName as error:
        raise Unresolved(str(error), absent=True) from None
    address, _, port = resolver.rpartition(":")
    target = Target("dns", address.strip("[]"), int(port))
    options = Options((target,))
    ways = UdpTransport(target, options, loop), TcpTransport(target, options, loop)
    try:
        async with asyncio.timeout(_TIMEOUT):
            found = await asyncio.gather(
                *(_exchange(ways, name, qtype, loop) for qtype in (codes.A, codes.AAAA)),
                return_exceptions=True,
            )
    except TimeoutError:
        raise Unresolved("did not answer in time", absent=False) from None
    finally:
        for way in ways:
            way.close()
    addresses = [text for each in found if isinstance(each, list) for text in each]
    failures = [each for each in found if isinstance(each, BaseException)]
    if not addresses:
        raise failures[0] if failures else Unresolved("says that it has no address", absent=True)
    return addresses


async def _exchange(
    ways: tuple[UdpTransport, TcpTransport],
    name: bytes,
    qtype: int,
    loop: asyncio.AbstractEventLoop,
) -> list[str]:
    section = name + qtype.to_bytes(2, "big") + codes.CLASS_IN.to_bytes(2, "big")
    question = Question(section, RD, False)
    for way in ways:
        message = await _answer(way, question, loop)
        if isinstance(message, Lost):
            if message.by_tcp:
                continue
            raise Unresolved(message.reason, absent=False)
        reply = read(message)
        if reply is None or reply.rcode not in (codes.NOERROR, codes.NXDOMAIN):
            said = codes.rcode_name(reply.rcode) if reply else "what cannot be read"
            raise Unresolved(f"answered {said}", absent=False)
        if reply.rcode == codes.NXDOMAIN:
            raise Unresolved("says that there is no such name", absent=True)
        rdatas = [rdata for each in reply.answer if each.type == qtype for rdata in each.rdatas]
        return [str(ipaddress.ip_address(rdata)) for rdata in rdatas if len(rdata) in (4, 16)]
    raise Unresolved("sent no whole answer", absent=False)


async def _answer(
    way: UdpTransport | TcpTransport, question: Question, loop: asyncio.AbstractEventLoop
) -> bytes | Lost:
    found: asyncio.Future[bytes | Lost] = loop.create_future()

    def heard(message: bytes | Lost) -> bool:
        if isinstance(message, bytes) and read(message) is None:
            return False
        if not found.done():
            found.set_result(message)
        return True

    pending = way.send(question, heard)
    try:
        return await found
    finally:
        pending.give_up()


def _ordered(addresses: list[str]) -> tuple[str, ...]:
    distinct = sorted(set(addresses), key=lambda text: (":" in text, text))
    return tuple(distinct[:ADDRESSES])
