"""What a reply says, for loads that look at every one."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from bench.query import HEADER, A, Expected, Query

if TYPE_CHECKING:
    from collections.abc import Iterable

_RECORD = struct.Struct("!HHIH")  # type, class, TTL, length of the data
_POINTER = 0xC0


class Said(NamedTuple):
    """The rcode, and the addresses in the answer section as 4 or 16 bytes each."""

    rcode: int
    addresses: frozenset[bytes]

    def __str__(self) -> str:
        listed = sorted(str(ip_address(address)) for address in self.addresses)
        return f"rcode {self.rcode}, {', '.join(listed) or 'no address'}"


class Asked(NamedTuple):
    """A query and all that a right reply says."""

    query: Query
    right: Said


def asked(name: str, qtype: int, addresses: Iterable[str], edns: int = 0) -> Asked:
    """A question for a name that exists; no `addresses` is a right answer too."""
    packed = frozenset(ip_address(address).packed for address in addresses)
    return Asked(Query(name, qtype, Expected(0, len(packed)), edns), Said(0, packed))


def address_query(name: str) -> bytes:
    """A query for A without EDNS, its ID 0."""
    return Query(name, A, Expected(0, 0)).wire()


def read(reply: bytes) -> Said:
    """Raises ValueError for what is no reply, or cut short."""
    if len(reply) < HEADER.size or not reply[2] & 0x80:
        raise ValueError("not a reply")
    _, flags, questions, answers, _, _ = HEADER.unpack_from(reply)
    found = []
    try:
        at = HEADER.size
        for _ in range(questions):
            at = _after_name(reply, at) + 4
        for _ in range(answers):
            at = _after_name(reply, at)
            _type, _class, _ttl, length = _RECORD.unpack_from(reply, at)
            at += _RECORD.size + length
            found.append(reply[at - length : at])
    except (IndexError, struct.error) as error:
        raise ValueError("a reply that is cut short") from error
    if at > len(reply):
        raise ValueError("a reply that is cut short")
    return Said(flags & 0xF, frozenset(found))


def _after_name(message: bytes, at: int) -> int:
    while length := message[at]:
        if length >= _POINTER:
            return at + 2
        at += 1 + length
    return at + 1
