"""A zone in as many messages as it takes (RFC 5936 §2.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from kdns.dns.compression import Writer
from kdns.dns.query import HEADER, Query
from kdns.dns.rdata import RRset
from kdns.dns.render import Body, heading, opt_for
from kdns.dns.reply import Reply

_SIZE: Final = 16384
"""Bytes of a message: compression pointers reach all of it."""

_AUTHORITATIVE: Final = 0x8400


def messages(query: Query, reply: Reply) -> Iterator[bytes]:
    """The messages of a transfer, each with ID, question and as many of the records as fit.

    A set may go on in the next message; a record too large for `_SIZE` has a message of its own.
    """
    opt = opt_for(query, reply)
    writer = _writer(query, _SIZE - len(opt))
    count = 0
    for record in _single(reply.transfer or ()):
        if not writer.add(record):
            if count:
                yield _message(query, writer, count, opt)
            writer = _writer(query, _SIZE - len(opt))
            count = 0
            if not writer.add(record):
                writer = _writer(query, query.limit - len(opt))
                writer.add(record)
        count += 1
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
