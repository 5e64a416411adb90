"""A query, parsed from its packet by hand and once.

Junk is a value: `parse` returns a `Query`, a `Rejection` that says how to answer, or None for
silence. It never raises, and its work is bounded by the packet's length.
"""

from __future__ import annotations

from struct import unpack_from
from typing import Final, Literal, NamedTuple

from kdns.dns import codes
from kdns.dns.edns import PLAIN_PAYLOAD, Edns, parse_opt
from kdns.dns.names import MAX_NAME

HEADER: Final = 12
STREAM_LIMIT: Final = 65535

Transport = Literal["udp", "tcp"]

RD: Final = 0x0100
AD: Final = 0x0020
CD: Final = 0x0010
_QR: Final = 0x8000
_OPCODE: Final = 0x7800

_META_TYPES: Final = {
    0: codes.FORMERR,
    codes.OPT: codes.FORMERR,
    codes.TKEY: codes.NOTIMP,
    codes.TSIG: codes.FORMERR,
    codes.MAILB: codes.NOTIMP,
    codes.MAILA: codes.NOTIMP,
}


class Client(NamedTuple):
    """Who asks: address in text without a scope, and port."""

    host: str
    port: int


class Rejection(NamedTuple):
    """A packet that gets an error without a look at any zone.

    `query` is set when the packet parsed as far as its question (BADVERS, meta types).
    """

    rcode: int
    query: Query | None = None


class Query:
    """One question and what of its packet matters to the answer.

    `question` are the question's bytes as asked; `name` is its absolute wire name in lower case.
    `flags` are the header's. `client` is None where nobody asked over a network. `hops` are the
    names whose aliases led here, where a server follows an alias by asking itself.
    """

    __slots__ = (
        "client",
        "edns",
        "flags",
        "hops",
        "id",
        "name",
        "packet",
        "qclass",
        "qtype",
        "question",
        "transport",
    )

    def __init__(
        self,
        packet: bytes,
        question: bytes,
        edns: Edns | None,
        transport: Transport,
        client: Client | None,
        hops: tuple[bytes, ...] = (),
    ) -> None:
        self.packet = packet
        self.question = question
        self.edns = edns
        self.transport = transport
        self.client = client
        self.hops = hops
        self.id, self.flags = unpack_from("!HH", packet)
        self.name = question[:-4].lower()
        self.qtype, self.qclass = unpack_from("!HH", question, len(question) - 4)

    @property
    def limit(self) -> int:
        """Largest reply in bytes that this asker takes over this transport."""
        if self.transport == "tcp":
            return STREAM_LIMIT
        return PLAIN_PAYLOAD if self.edns is None else self.edns.udp_limit()

    def renamed(self, name: bytes, qtype: int, hops: tuple[bytes, ...] = ()) -> Query:
        """The same query about another absolute wire name and type, to which `hops` led."""
        question = name + qtype.to_bytes(2, "big") + self.question[-2:]
        return Query(self.packet, question, self.edns, self.transport, self.client, hops)

    def flagged(self, flags: int, client: Client | None) -> Query:
        """The same query of a client with more of the header's flags set."""
        query = Query(self.packet, self.question, self.edns, self.transport, client, self.hops)
        query.flags |= flags
        return query


def parse(
    packet: bytes, transport: Transport, client: Client | None = None
) -> Query | Rejection | None:
    """Read a packet as a query.

    None: say nothing, as to a packet without a whole header or a response (a reply to a reply
    could go on for ever). Else the ladder of RFC 8906 and RFC 9619: opcode, one question, its
    name, empty answer sections, at most one OPT record in its place.
    """
    if len(packet) < HEADER:
        return None
    _, flags, questions, answers, authorities, additionals = unpack_from("!HHHHHH", packet)
    if flags & _QR:
        return None
    if flags & _OPCODE:
        return Rejection(codes.NOTIMP)
    if questions != 1:
        return Rejection(codes.FORMERR)
    end = question_end(packet)
    if end is None:
        return Rejection(codes.FORMERR)
    question = packet[HEADER:end]
    qtype = question[-4] << 8 | question[-3]
    if answers or (authorities and qtype != codes.IXFR):
        return Rejection(codes.FORMERR)
    additional = _additional(packet, end, authorities, additionals)
    if isinstance(additional, Rejection):
        return additional
    query = Query(packet, question, additional, transport, client)
    if additional is not None and additional.version:
        return Rejection(codes.BADVERS, query)
    rcode = _META_TYPES.get(qtype)
    return query if rcode is None else Rejection(rcode, query)


def question_end(packet: bytes) -> int | None:
    """Offset behind the first question, or None where it is cut short or its name malformed.

    A compression pointer has no earlier name to point to, and is malformed here (RFC 9267 §2).
    """
    at, size = HEADER, len(packet)
    while at < size:
        length = packet[at]
        at += 1
        if length == 0:
            end = at + 4
            return end if end <= size and at - HEADER <= MAX_NAME else None
        if length > 63:
            return None
        at += length
    return None


def _additional(
    packet: bytes, at: int, authorities: int, additionals: int
) -> Edns | Rejection | None:
    """The OPT record among the records from `at`, None if there is none (RFC 6891 §6.1.1)."""
    malformed = Rejection(codes.FORMERR)
    edns: Edns | None = None
    size = len(packet)
    for index in range(authorities + additionals):
        start = at
        name_end = skip_name(packet, at)
        if name_end is None or name_end + 10 > size:
            return malformed
        rtype, length = unpack_from("!HxxxxxxH", packet, name_end)
        at = name_end + 10 + length
        if at > size:
            return malformed
        if rtype == codes.TSIG:
            return Rejection(codes.NOTAUTH)
        if rtype == codes.OPT:
            if edns is not None or index < authorities or name_end != start + 1:
                return malformed
            edns = parse_opt(packet[name_end + 2 : name_end + 8], packet[name_end + 10 : at])
            if edns is None:
                return malformed
    return edns


def skip_name(packet: bytes, at: int) -> int | None:
    """Offset behind a name that is not looked at: labels to the root, or to a pointer."""
    size = len(packet)
    while at < size:
        length = packet[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        if length > 63:
            return None
        at += 1 + length
    return None
