"""A zone in as many messages as it takes (RFC 5936 §2.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import unpack_from
from typing import Final

from kdns.dns import codes
from kdns.dns.compression import Writer
from kdns.dns.query import HEADER, Query, skip_name
from kdns.dns.rdata import RRset
from kdns.dns.render import Body, heading, opt_for
from kdns.dns.reply import Reply

_SIZE: Final = 16384
"""Bytes of a message: compression pointers reach all of it."""

_AUTHORITATIVE: Final = 0x8400


_SERIALS: Final = 1 << 32
_SOA_TAIL: Final = 20
"""Bytes of an SOA's numbers behind its two names; the serial is the first four."""


def requested_serial(query: Query) -> int | None:
    """The serial of the zone that an IXFR query's sender has; None where it does not say (RFC 1995
    §3)."""
    packet = query.packet
    if packet[8:10] != b"\0\1":
        return None
    at = skip_name(packet, HEADER + len(query.question))
    if at is None or at + 10 > len(packet):
        return None
    rtype, length = unpack_from("!HxxxxxxH", packet, at)
    end = at + 10 + length
    if rtype != codes.SOA or length < _SOA_TAIL + 2 or end > len(packet):
        return None
    return int.from_bytes(packet[end - _SOA_TAIL : end - _SOA_TAIL + 4], "big")


def is_current(serial: int, soa: RRset) -> bool:
    """Whether a zone with this serial is no older than the one of the SOA (RFC 1982 §3.2)."""
    tail = soa.rdatas[0][-_SOA_TAIL:]
    ahead = (int.from_bytes(tail[:4], "big") - serial) % _SERIALS
    return ahead == 0 or ahead >= _SERIALS // 2


def messages(query: Query, reply: Reply) -> Iterator[bytes]:
    """The messages of a transfer, each with ID, question and as many of the records as fit.

    A set may go on in the next message; a record too large for `_SIZE` has a message of its own.
    """
    opt = opt_for(query, reply)
    writer, count = _writer(query, _SIZE - len(opt)), 0
    for record in _single(reply.transfer or ()):
        if not writer.add(record):
            if count:
                yield _message(query, writer, count, opt)
            writer, count = _writer(query, _SIZE - len(opt)), 0
            if not writer.add(record):
                large = _writer(query, query.limit - len(opt))
                yield _message(query, large, large.add(record), opt)
                continue
        count += 1
    if count:
        yield _message(query, writer, count, opt)


def _single(rrsets: Iterable[RRset]) -> Iterator[RRset]:
    for rrset in rrsets:
        for rdata in rrset.rdatas:
            yield rrset._replace(rdatas=(rdata,))


def _writer(query: Query, limit: int) -> Writer:
    return Writer(query.name, HEADER + len(query.question), limit)


def _message(query: Query, writer: Writer, count: int, opt: bytes) -> bytes:
    body = Body(_AUTHORITATIVE, count, 0, 0, bytes(writer.buffer))
    return query.packet[:2] + heading(query.flags, query.question, body, opt) + body.head + opt
