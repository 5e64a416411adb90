"""What an upstream answered, read from its message and scrubbed to what was asked.

A forwarder believes an upstream about the question that it asked, and about nothing else: names
that happen to be in the message too are not answers (RFC 2181 §5.4.1, RFC 5452 §6).
"""

from __future__ import annotations

from struct import unpack_from
from typing import Final, NamedTuple

from kdns.dns import codes
from kdns.dns.names import MAX_NAME
from kdns.dns.query import HEADER, question_end, skip_name
from kdns.dns.rdata import NAMES, RRset
from kdns.dns.reply import Reply

MAX_CHAIN: Final = 10
"""Aliases that are followed in one answer."""

_POINTERS: Final = 32
"""Pointers of one name that are followed; without an end to them a message of 64 KB could lead over
30,000,000."""

_QR: Final = 0x8000
_OPCODE: Final = 0x7800
_TC: Final = 0x0200
_RA: Final = 0x0080
_AD: Final = 0x0020
_EXTENDED_ERROR: Final = 15

_PROOFS: Final = frozenset((codes.SOA, codes.NSEC, codes.NSEC3, codes.RRSIG))
_LARGEST_TTL: Final = 7 * 24 * 3600
_SIZES: Final = {codes.A: 4, codes.AAAA: 16}
"""Bytes of rdata of a fixed length, in the class IN."""

_ADDRESSES: Final = {rtype.to_bytes(2, "big") + b"\0\1": size for rtype, size in _SIZES.items()}
_OPT: Final = b"\0\0\x29"
_QUESTION_NAME: Final = b"\xc0\x0c"
_NUMBERS_OF_SOA: Final = 20


class _Malformed(Exception):
    pass


class _Record(NamedTuple):
    owner: bytes
    type: int
    rclass: int
    ttl: int
    rdata: bytes


def answers(packet: bytes, number: bytes, section: bytes) -> bool:
    """Whether a message is the response to the question `section` that went out as `number`.

    ID, QR, opcode, and the question to the byte: the case of its name too, which is how the case
    can be a secret (draft-vixie-dnsext-dns0x20).
    """
    return (
        len(packet) >= HEADER
        and packet[:2] == number
        and packet[2] & 0xF8 == 0x80
        and packet[4:6] == b"\0\1"
        and packet.startswith(section, HEADER)
    )


def refuses_edns(packet: bytes, number: bytes) -> bool:
    """Whether this is how an old server says that it knows no EDNS: a header alone, FORMERR or
    NOTIMP (RFC 6891 §7)."""
    return (
        len(packet) == HEADER
        and packet[:2] == number
        and packet[2] & 0xF8 == 0x80
        and packet[3] & 15 in (codes.FORMERR, codes.NOTIMP)
        and not any(packet[4:])
    )


def truncated(packet: bytes) -> bool:
    """Whether a response has TC set: what it holds is for nobody's use (RFC 2181 §9)."""
    return bool(packet[2] & 2)


def rcode(packet: bytes) -> int:
    """A response's rcode without the bits that are in its OPT record."""
    return packet[3] & 15


def read(packet: bytes) -> Reply | None:
    """A response as a reply to its own question; None where it cannot be parsed.

    Answer: the aliases that lead from the question's name to where the type asked for is, and
    those records; all of the name's for ANY. Authority: SOA and proofs, where there is no such
    record. A TTL with its highest bit set is 0 (RFC 2181 §8), and none is above a week (RFC 8767
    §4). Nothing of a message that was cut short is read: see `truncated`.
    """
    end = question_end(packet)
    if end is None:
        return None
    flags, _, ancount, nscount, arcount = unpack_from("!HHHHH", packet, 2)
    proofs: list[_Record] = []
    try:
        plain = _addresses(packet, end, ancount) if ancount else None
        if plain is not None:
            sets, at = plain
            whole = True
        else:
            name, (qtype, qclass) = packet[HEADER : end - 4], unpack_from("!HH", packet, end - 4)
            answer, at = _records(packet, end, ancount)
            kept, whole = _chain([r for r in answer if r.rclass == qclass], name.lower(), qtype)
            sets = _sets(kept)
        if whole:
            at = _passed(packet, at, nscount)
        else:
            authority, at = _records(packet, at, nscount)
            proofs = [record for record in authority if record.type in _PROOFS]
        code, extended_error = _opt(packet, at, arcount)
    except _Malformed:
        return None
    return Reply(
        rcode=flags & 15 | code << 4,
        answer=sets,
        authority=_sets(proofs),
        recursion_available=bool(flags & _RA),
        authentic=bool(flags & _AD),
        extended_error=extended_error,
        lifetime=0,
    )


def _addresses(packet: bytes, end: int, count: int) -> tuple[list[RRset], int] | None:
    """The answer and where it ends, if it is the addresses of the question's name: most are."""
    question = packet[end - 4 : end]
    size = _ADDRESSES.get(question)
    if size is None:
        return None
    head = _QUESTION_NAME + question
    rdlength = size.to_bytes(2, "big")
    least, at = _LARGEST_TTL, end
    rdatas: dict[bytes, None] = {}
    for _ in range(count):
        if not packet.startswith(head, at) or not packet.startswith(rdlength, at + 10):
            return None
        ttl = int.from_bytes(packet[at + 6 : at + 10], "big")
        least = min(least, 0 if ttl & 0x80000000 else ttl)
        at += 12 + size
        rdatas[packet[at - size : at]] = None
    if at > len(packet):
        return None
    name = packet[HEADER : end - 4].lower()
    return [RRset(name, question[1], least, tuple(rdatas))], at


def _chain(records: list[_Record], name: bytes, qtype: int) -> tuple[list[_Record], bool]:
    """The records that answer, aliases first, and whether they end in the type asked for."""
    if qtype == codes.ANY:
        whole = [record for record in records if record.owner == name]
        return whole, bool(whole)
    kept: list[_Record] = []
    seen = {name}
    while len(seen) <= MAX_CHAIN + 1:
        wanted = [record for record in records if record.owner == name and _is(record, qtype)]
        if any(record.type == qtype for record in wanted):
            return kept + wanted, True
        aliases = [r for r in records if r.owner == name and _is(r, codes.CNAME)]
        target = next((r.rdata.lower() for r in aliases if r.type == codes.CNAME), None)
        if target is None or target in seen:
            break
        kept += [r for r in records if r.type == codes.DNAME and name.endswith(r.owner)]
        kept += aliases
        seen.add(target)
        name = target
    return kept, False


def _is(record: _Record, rtype: int) -> bool:
    """Whether a record is of a type, or a signature over records of the type."""
    covered = record.type == codes.RRSIG and record.rdata[:2] == rtype.to_bytes(2, "big")
    return record.type == rtype or covered


def _sets(records: list[_Record]) -> list[RRset]:
    """Records as sets, each with the least TTL of its records (RFC 2181 §5.2)."""
    sets: dict[tuple[bytes, int, int, bytes], tuple[int, dict[bytes, None]]] = {}
    for owner, rtype, rclass, ttl, rdata in records:
        # Signatures over several types are several sets: their TTLs go with what they sign.
        key = owner, rtype, rclass, rdata[:2] if rtype == codes.RRSIG else b""
        least, rdatas = sets.setdefault(key, (ttl, {}))
        rdatas[rdata] = None
        if ttl < least:
            sets[key] = ttl, rdatas
    return [
        RRset(owner, rtype, ttl, tuple(rdatas), rclass)
        for (owner, rtype, rclass, _), (ttl, rdatas) in sets.items()
    ]


def _opt(packet: bytes, at: int, count: int) -> tuple[int, tuple[int, str] | None]:
    """The upper bits of the rcode and the first extended error (RFC 6891 §6.1.3, RFC 8914).

    They are among so many records from `at` on, of which the others are passed by.
    """
    if count == 1 and packet.startswith(_OPT, at) and len(packet) == at + 11:
        return packet[at + 5], None
    found: tuple[int, tuple[int, str] | None] | None = None
    for _ in range(count):
        begin, at = at, _passed(packet, at, 1)
        if found is None and packet.startswith(_OPT, begin):
            found = packet[begin + 5], _extended_error(packet[begin + 11 : at])
    return found or (0, None)


def _extended_error(options: bytes) -> tuple[int, str] | None:
    at = 0
    while at + 4 <= len(options):
        code, length = unpack_from("!HH", options, at)
        if code == _EXTENDED_ERROR and 2 <= length <= len(options) - at - 4:
            text = options[at + 6 : at + 4 + length].decode(errors="replace")
            return int.from_bytes(options[at + 4 : at + 6], "big"), text
        at += 4 + length
    return None


def _passed(packet: bytes, at: int, count: int) -> int:
    """Where so many records end that nobody has a use for: their names are not followed."""
    size = len(packet)
    for _ in range(count):
        behind = skip_name(packet, at)
        if behind is None or behind + 10 > size:
            raise _Malformed
        at = behind + 10 + (packet[behind + 8] << 8 | packet[behind + 9])
        if at > size:
            raise _Malformed
    return at


def _records(packet: bytes, at: int, count: int) -> tuple[list[_Record], int]:
    """So many records from `at` on, and where they end."""
    records: list[_Record] = []
    size = len(packet)
    for _ in range(count):
        owner, at = _name(packet, at)
        if at + 10 > size:
            raise _Malformed
        rtype, rclass, ttl, length = unpack_from("!HHIH", packet, at)
        begin, at = at + 10, at + 10 + length
        if at > size:
            raise _Malformed
        if rclass == codes.CLASS_IN and _SIZES.get(rtype, length) != length:
            raise _Malformed
        if shape := NAMES.get(rtype):
            behind = _NUMBERS_OF_SOA if rtype == codes.SOA else 0
            rdata = _spelled(packet, begin, at, *shape, behind)
        else:
            rdata = packet[begin:at]
        if rtype != codes.OPT:
            ttl = 0 if ttl & 0x80000000 else min(ttl, _LARGEST_TTL)
        records.append(_Record(owner.lower(), rtype, rclass, ttl, rdata))
    return records, at


def _spelled(packet: bytes, begin: int, end: int, before: int, names: int, behind: int) -> bytes:
    """Rdata with its names uncompressed, also where they should not have been (RFC 3597 §4).

    So many bytes are before the names, and so many behind them.
    """
    rdata = packet[begin : begin + before]
    at = begin + before
    for _ in range(names):
        if at >= end:
            raise _Malformed
        name, at = _name(packet, at)
        rdata += name
    if at + behind != end:
        raise _Malformed
    return rdata + packet[at:end]


def _name(packet: bytes, at: int) -> tuple[bytes, int]:
    """A name spelled out, its case kept, and the offset behind it.

    Pointers lead back alone, each further than the one before, and are few, so that there is an end
    to them soon (RFC 9267 §2).
    """
    size, start = len(packet), at
    name = b""
    behind = pointers = 0
    limit = at
    while at < size:
        length = packet[at]
        if length == 0:
            name += packet[start : at + 1]
            if len(name) > MAX_NAME:
                raise _Malformed
            return name, behind or at + 1
        if length >= 0xC0:
            if at + 1 >= size:
                raise _Malformed
            name += packet[start:at]
            behind = behind or at + 2
            at = (length & 0x3F) << 8 | packet[at + 1]
            pointers += 1
            if at >= limit or len(name) > MAX_NAME or pointers > _POINTERS:
                raise _Malformed
            start = limit = at
        elif length > 63:
            raise _Malformed
        else:
            at += 1 + length
    raise _Malformed
