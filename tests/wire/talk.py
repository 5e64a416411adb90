"""A client's side of a row: questions to a forwarder, and what came back."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from tests.upstream.scripted import LOCAL, Step, Upstream, Upstreams

PATIENCE = 7.0
"""Seconds after which a client here has no reply; those of the wild give up after five."""

_EXTENDED_ERROR = 15


class Heard(NamedTuple):
    """A reply and how long it took."""

    message: dns.message.Message
    wire: bytes
    seconds: float

    @property
    def rcode(self) -> str:
        return dns.rcode.to_text(self.message.rcode())

    @property
    def data(self) -> list[str]:
        """What the answer's records hold, in their order."""
        return [each.to_text() for rrset in self.message.answer for each in rrset]

    @property
    def owners(self) -> list[str]:
        """Whose records the answer has, in their order, as they are spelled."""
        return [rrset.name.to_text() for rrset in self.message.answer]

    @property
    def addresses(self) -> set[str]:
        """Of the answer's A records."""
        return {
            each.address
            for rrset in self.message.answer
            if rrset.rdtype == dns.rdatatype.A
            for each in rrset
        }

    @property
    def ttls(self) -> list[int]:
        return [rrset.ttl for rrset in self.message.answer]

    @property
    def errors(self) -> list[int]:
        """Codes of extended errors (RFC 8914)."""
        found = [each for each in self.message.options if int(each.otype) == _EXTENDED_ERROR]
        return [int(each.code) for each in found if isinstance(each, dns.edns.EDEOption)]

    def __str__(self) -> str:
        return f"{self.rcode} {self.data} after {self.seconds:.2f} s, extended errors {self.errors}"


class Talk:
    """One zone, the scripted upstreams it is forwarded to, and questions to who forwards it."""

    def __init__(
        self, port: int, zone: str, upstreams: Sequence[Upstream], network: Upstreams
    ) -> None:
        self.port = port
        self.zone = zone
        self.upstreams = upstreams
        self.network = network

    @property
    def upstream(self) -> Upstream:
        """The first, often the only one."""
        return self.upstreams[0]

    def script(self, *steps: Step, label: str = "www", of: int = 0) -> None:
        """What upstream number `of` does when a name of the zone is asked for."""
        self.upstreams[of].script(self.name(label), *steps)

    def name(self, label: str = "www") -> str:
        return f"{label}.{self.zone}"

    def asked(self, label: str = "www") -> int:
        """How often all upstreams together were asked for a name."""
        return sum(len(each.of(self.name(label))) for each in self.upstreams)

    def ask(
        self,
        label: str = "www",
        qtype: str = "A",
        *,
        tcp: bool = False,
        qclass: str = "IN",
        edns: bool = True,
        options: Iterable[dns.edns.Option] = (),
        dnssec_ok: bool = False,
        flags: str = "RD",
        payload: int = 4096,
    ) -> Heard:
        """Ask once. Raises AssertionError where nothing is heard."""
        query = dns.message.make_query(f"{label}.{self.zone}", qtype, qclass)
        query.id = secrets.randbits(16)
        if edns:
            wanted = dns.flags.DO if dnssec_ok else 0
            query.use_edns(0, wanted, payload, options=list(options))
        query.flags = dns.flags.from_text(flags)
        return self.exchange(query.to_wire(), tcp=tcp)

    def exchange(self, packet: bytes, *, tcp: bool = False) -> Heard:
        """The reply to a packet."""
        [heard] = self.ask_at_once([packet], tcp=tcp)
        return heard

    def ask_at_once(
        self, packets: Sequence[bytes], then: Callable[[], object] = int, *, tcp: bool = False
    ) -> list[Heard]:
        """The replies to packets that are all sent, on sockets of their own, before `then`."""
        start = time.monotonic()
        with ExitStack() as opened:
            try:
                asking = [opened.enter_context(_sent(each, self.port, tcp=tcp)) for each in packets]
                then()
                return [_heard(*each, start, tcp=tcp) for each in zip(asking, packets, strict=True)]
            except (OSError, EOFError) as error:
                raise AssertionError(f"no reply: {error!r}") from error
            except dns.exception.DNSException as error:
                raise AssertionError(f"a reply that is none: {error!r}") from error


def _sent(packet: bytes, port: int, *, tcp: bool) -> socket.socket:
    if tcp:
        sock = socket.create_connection((LOCAL, port), PATIENCE)
        sock.sendall(len(packet).to_bytes(2, "big") + packet)
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect((LOCAL, port))
        sock.send(packet)
    return sock


def _heard(sock: socket.socket, packet: bytes, start: float, *, tcp: bool) -> Heard:
    wire = b""
    while wire[:2] != packet[:2]:
        sock.settimeout(max(0.001, start + PATIENCE - time.monotonic()))
        wire = _frame(sock) if tcp else sock.recv(1 << 16)
    taken = time.monotonic() - start
    return Heard(dns.message.from_wire(wire, one_rr_per_rrset=True), wire, taken)


def _frame(sock: socket.socket) -> bytes:
    with sock.makefile("rb") as stream:
        size = stream.read(2)
        if len(size) < 2:
            raise EOFError("the server closed the connection")
        return stream.read(int.from_bytes(size, "big"))
