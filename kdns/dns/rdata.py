"""Record data in wire form, uncompressed, and the record sets made of it."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack
from typing import Final, NamedTuple

from kdns.dns import codes
from kdns.dns.codes import CLASS_IN

NAMES: Final = {
    codes.NS: (0, 1),
    codes.CNAME: (0, 1),
    codes.PTR: (0, 1),
    codes.DNAME: (0, 1),
    codes.SOA: (0, 2),
    codes.MX: (2, 1),
    codes.SRV: (6, 1),
}
"""Types with names in their rdata that some servers compress: bytes before them, and how many."""


class RRset(NamedTuple):
    """Records of one owner, type and class (RFC 2181 §5).

    `owner` is an absolute wire name in lower case; the renderer gives back the question's own case.
    `ttl` is in seconds. `rdatas` are wire, with names uncompressed.
    """

    owner: bytes
    type: int
    ttl: int
    rdatas: Sequence[bytes]
    rclass: int = CLASS_IN


def srv(priority: int, weight: int, port: int, target: bytes) -> bytes:
    """SRV rdata; `target` is an absolute wire name (RFC 2782)."""
    return pack("!HHH", priority, weight, port) + target


def txt(*strings: bytes) -> bytes:
    """TXT rdata of character strings of at most 255 bytes each (RFC 1035 §3.3.14)."""
    return b"".join(bytes((len(string),)) + string for string in strings)


def soa(
    mname: bytes, rname: bytes, serial: int, refresh: int, retry: int, expire: int, minimum: int
) -> bytes:
    """SOA rdata; times in seconds (RFC 1035 §3.3.13)."""
    return mname + rname + pack("!IIIII", serial & 0xFFFFFFFF, refresh, retry, expire, minimum)
