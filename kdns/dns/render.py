"""A reply as bytes: header, truncation, EDNS (RFC 1035 §4.1, RFC 2181 §9, RFC 6891).

All that follows the question depends on the question's name and on how much fits, and on nothing
else of the packet. It is rendered once into a `Body` and spliced behind any number of headers and
questions.
"""

from __future__ import annotations

from struct import pack
from typing import Final, NamedTuple

from kdns.dns import codes
from kdns.dns.compression import Writer
from kdns.dns.edns import opt_record
from kdns.dns.query import CD, HEADER, RD, Query, Rejection
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply

_QUESTION: Final = 0xC000 | HEADER
"""A pointer to the question's name."""

_QR: Final = 0x8000
_OPCODE_RD_CD: Final = 0x7800 | RD | CD
_AA: Final = 0x0400
_TC: Final = 0x0200
_RA: Final = 0x0080
_AD: Final = 0x0020


class Body(NamedTuple):
    """A rendered reply less header, question and OPT record.

    `flags` are the header's second word without RD and CD. Where `width` is not 0, `ring` holds
    the records of one address set twice over, each `width` bytes: any `window` bytes of it that
    start at a record are the set in another order, or as much of it as fits.
    """

    flags: int
    answers: int
    authorities: int
    additionals: int
    head: bytes
    ring: bytes = b""
    width: int = 0
    window: int = 0
    tail: bytes = b""

    def at(self, turn: int) -> bytes:
        """The body with its rotating set begun `turn` records further on."""
        if not self.width:
            return self.head
        begin = turn * self.width % (len(self.ring) // 2)
        return self.head + self.ring[begin : begin + self.window] + self.tail


def body(reply: Reply, name: bytes, limit: int) -> Body:
    """Render a reply to a question about `name` (absolute, lower case).

    `limit` is the size in bytes of the whole message less its OPT record. What does not fit is left
    out from the end. In additional that is a whole set and nobody is told, as nobody asked for it;
    in answer and authority TC is set, and the answer's last set keeps as many whole records as fit:
    stub resolvers that do not go on to TCP find some address in it (RFC 2181 §9).

    A denial points at no more of the question than the zone's own name, so that names of one length
    have one body.
    """
    answer = reply.answer
    if len(answer) == 1 and not reply.authority and not reply.additional:
        single = _addresses(reply, answer[0], name, limit)
        if single is not None:
            return single
    known = name if reply.denial is None else reply.denial.origin
    writer = Writer(known, HEADER + len(name) + 4, limit)
    flags = _flags(reply)
    fixed, rotating = _split(reply)
    answers, whole = _add_all(writer, fixed)
    if not whole:
        return Body(flags | _TC, answers, 0, 0, bytes(writer.buffer))
    if rotating is not None:
        ring = writer.ring(rotating)
        if ring is not None:
            return _with_ring(writer, reply, flags, answers, ring)
        taken = writer.add(rotating)
        answers += taken
        if taken < len(rotating.rdatas):
            return Body(flags | _TC, answers, 0, 0, bytes(writer.buffer))
    return _finish(writer, reply, Body(flags, answers, 0, 0, b""))


def _addresses(reply: Reply, rrset: RRset, name: bytes, limit: int) -> Body | None:
    """The body of a reply that is the question's own addresses and fits, in a third of the time:
    most answers from elsewhere are that, and are rendered once."""
    owner, rtype, ttl, rdatas, rclass = rrset
    addresses = rtype in (codes.A, codes.AAAA) and rclass == codes.CLASS_IN
    if owner != name or not addresses or reply.denial is not None:
        return None
    if len(rdatas) > 1 and reply.rotate:
        return None
    prefix = pack("!HHHIH", _QUESTION, rtype, rclass, ttl, len(rdatas[0]))
    head = b"".join([prefix + rdata for rdata in rdatas])
    if HEADER + len(name) + 4 + len(head) > limit:
        return None
    return Body(_flags(reply), len(rdatas), 0, 0, head)


def _flags(reply: Reply) -> int:
    return (
        _QR
        | reply.rcode & 15
        | (_AA if reply.authoritative else 0)
        | (_RA if reply.recursion_available else 0)
        | (_AD if reply.authentic else 0)
    )


def message(query: Query, reply: Reply, turn: int = 0) -> bytes:
    """The whole reply to a query. `turn` picks the order of a rotating set."""
    opt = opt_for(query, reply)
    rendered = body(reply, query.name, query.limit - len(opt))
    return (
        query.packet[:2]
        + heading(query.flags, query.question, rendered, opt)
        + rendered.at(turn)
        + opt
    )


def heading(flags: int, question: bytes, rendered: Body, opt: bytes) -> bytes:
    """What of a reply comes between its ID and its body, for the asker's `flags` and `question`.

    `opt` is the OPT record that will end the reply, or b"".
    """
    return (
        pack(
            "!HHHHH",
            rendered.flags | flags & (RD | CD),
            1,
            rendered.answers,
            rendered.authorities,
            rendered.additionals + (1 if opt else 0),
        )
        + question
    )


def opt_for(query: Query, reply: Reply) -> bytes:
    """The reply's OPT record; b"" where the query had none (RFC 6891 §7)."""
    if query.edns is None:
        return b""
    return opt_record(reply.rcode, query.edns.dnssec_ok, reply.extended_error)


def rejection(packet: bytes, rejected: Rejection) -> bytes:
    """The reply to a packet that `parse` rejected: its ID, opcode and RD, and the rcode.

    A bare header, unless the question was understood: then question and OPT are sent back too.
    """
    query = rejected.query
    if query is not None:
        return message(query, Reply(rcode=rejected.rcode))
    flags = int.from_bytes(packet[2:4], "big")
    return packet[:2] + pack("!HHHHH", _QR | flags & _OPCODE_RD_CD | rejected.rcode, 0, 0, 0, 0)


def _split(reply: Reply) -> tuple[list[RRset], RRset | None]:
    """The answer less its rotating set, and that set: the last one, when it may rotate."""
    if reply.rotate and reply.answer:
        last = reply.answer[-1]
        if last.type in (codes.A, codes.AAAA) and len(last.rdatas) > 1:
            return reply.answer[:-1], last
    return reply.answer, None


def _add_all(writer: Writer, rrsets: list[RRset]) -> tuple[int, bool]:
    """How many records of these sets went in, and whether all did."""
    count = 0
    for rrset in rrsets:
        taken = writer.add(rrset)
        count += taken
        if taken < len(rrset.rdatas):
            return count, False
    return count, True


def _with_ring(
    writer: Writer, reply: Reply, flags: int, answers: int, ring: tuple[bytes, int, int]
) -> Body:
    records, width, taken = ring
    window = width * taken
    head = bytes(writer.buffer)
    partial = Body(flags, answers + taken, 0, 0, head, records * 2, width, window)
    if window < len(records):
        return partial._replace(flags=flags | _TC)
    writer.buffer.clear()
    writer.reserve(len(head) + window)
    return _finish(writer, reply, partial)


def _finish(writer: Writer, reply: Reply, partial: Body) -> Body:
    """Add authority and additional to a body whose answer is whole."""
    mark = writer.mark()
    authorities, whole = _add_all(writer, reply.authority)
    if not whole:
        writer.rewind(mark)
        authorities = 0
        partial = partial._replace(flags=partial.flags | _TC)
    additionals = 0 if not whole else sum(map(writer.add_whole, reply.additional))
    rest = bytes(writer.buffer)
    counted = partial._replace(authorities=authorities, additionals=additionals)
    return counted._replace(tail=rest) if partial.width else counted._replace(head=rest)
