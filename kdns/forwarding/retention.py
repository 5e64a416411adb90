"""Which answers of upstreams may be given again, and for how long (RFC 2308, RFC 9520)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from kdns.dns import codes
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply

Kind = Literal["success", "denial", "error"]

_SMALLEST_SOA: Final = 22
"""Bytes of SOA rdata with two names of one byte."""


class Bounds(NamedTuple):
    """Seconds that an answer is kept at most, and at least where its own TTLs are not 0."""

    longest: int
    shortest: int = 0

    def of(self, ttl: int) -> int:
        """A TTL within the bounds."""
        return min(max(ttl, self.shortest), self.longest)

    def within(self, section: list[RRset]) -> list[RRset]:
        """Record sets with their TTLs within the bounds."""
        return [each._replace(ttl=self.of(each.ttl)) for each in section]


class Retained(NamedTuple):
    """What is to be kept of a reply: for so many seconds (0: not at all), with its TTLs within
    the bounds."""

    kind: Kind
    seconds: int
    reply: Reply


def retained(reply: Reply, qtype: int, success: Bounds, denial: Bounds, error: int) -> Retained:
    """What may be kept of a reply to a query of a type.

    An answer lasts as long as the least of its TTLs. A denial needs an SOA record, and lasts no
    longer than that record's minimum (RFC 2308 §5). Whatever is neither is an error, which is
    remembered for `error` seconds (RFC 9520 §3.2).
    """
    if reply.rcode not in (codes.NOERROR, codes.NXDOMAIN):
        return Retained("error", error, reply)
    negative = [_negative_ttl(each) for each in reply.authority if each.type == codes.SOA]
    if negative:
        authority = [
            each._replace(ttl=min(negative)) if each.type == codes.SOA else each
            for each in reply.authority
        ]
        return _within("denial", denial, reply.changed(authority=authority))
    if reply.rcode == codes.NOERROR and _answers(reply.answer, qtype):
        return _within("success", success, reply)
    return Retained("denial", 0, reply)


def _answers(answer: Sequence[RRset], qtype: int) -> bool:
    """Whether an answer, scrubbed to its aliases and what they lead to, has what was asked for."""
    return any(each.type == qtype for each in answer) or (qtype == codes.ANY and bool(answer))


def _negative_ttl(soa: RRset) -> int:
    """Seconds that what an SOA record comes with may be denied; 0 where it is malformed."""
    whole = (rdata for rdata in soa.rdatas if len(rdata) >= _SMALLEST_SOA)
    minimum = min((int.from_bytes(rdata[-4:], "big") for rdata in whole), default=0)
    return min(soa.ttl, minimum)


def _within(kind: Kind, bounds: Bounds, reply: Reply) -> Retained:
    ttls = [each.ttl for each in (*reply.answer, *reply.authority, *reply.additional)]
    least = min(ttls)
    if least and (least < bounds.shortest or max(ttls) > bounds.longest):
        reply = reply.changed(
            answer=bounds.within(reply.answer),
            authority=bounds.within(reply.authority),
            additional=bounds.within(reply.additional),
        )
    return Retained(kind, bounds.of(least) if least else 0, reply)
