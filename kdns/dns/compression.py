"""Record sets in wire form, names compressed (RFC 1035 §4.1.4)."""

from __future__ import annotations

from struct import pack
from typing import Final

from kdns.dns import codes
from kdns.dns.names import suffixes
from kdns.dns.rdata import NAMES, RRset

_POINTER: Final = 0xC000
_REACH: Final = 0x4000

_COMPRESSED: Final = {
    rtype: NAMES[rtype] for rtype in (codes.NS, codes.CNAME, codes.PTR, codes.SOA, codes.MX)
}
"""Types whose rdata may be compressed (RFC 3597 §4), as in `NAMES`."""

_SRV_TARGET: Final = 6
"""Offset in SRV rdata of a name that stays spelled out (RFC 2782); later owners may point at it."""


class Writer:
    """The records behind a question, appended one set at a time while they fit.

    `start` is where in the message they begin and `limit` the message's size, in bytes. Names that
    end like the last of the question, `known` (absolute, lower case), point there, and so come out
    in the case that the asker used.
    """

    def __init__(self, known: bytes, start: int, limit: int) -> None:
        self.buffer = bytearray()
        self._start = start
        self._room = max(0, limit - start)
        self._offsets = {suffix: start - 4 - len(known) + at for at, suffix in suffixes(known)}

    def add(self, rrset: RRset) -> int:
        """Append the set's leading records, each whole, as many as fit; how many did."""
        fixed = pack("!HHI", rrset.type, rrset.rclass, rrset.ttl)
        shape = _COMPRESSED.get(rrset.type)
        for count, rdata in enumerate(rrset.rdatas):
            mark = self.mark()
            self._add_name(rrset.owner)
            if shape is None:
                self.buffer += fixed + pack("!H", len(rdata)) + rdata
                if rrset.type == codes.SRV:
                    self._note_target(rdata)
            else:
                self._add_compressed(fixed, rdata, *shape)
            if len(self.buffer) > self._room:
                self.rewind(mark)
                return count
        return len(rrset.rdatas)

    def add_whole(self, rrset: RRset) -> int:
        """Append all records of the set, or none; how many."""
        mark = self.mark()
        if self.add(rrset) == len(rrset.rdatas):
            return len(rrset.rdatas)
        self.rewind(mark)
        return 0

    def ring(self, rrset: RRset) -> tuple[bytes, int, int] | None:
        """All records of a set of equal-sized rdata, not appended.

        Their bytes, the size of one record, and how many fit. None where the owner was not written
        before, so that its records would differ in size.
        """
        place = self._offsets.get(rrset.owner)
        if place is None:
            return None
        size = len(rrset.rdatas[0])
        prefix = pack("!HHHIH", _POINTER | place, rrset.type, rrset.rclass, rrset.ttl, size)
        records = b"".join([prefix + rdata for rdata in rrset.rdatas])
        width = len(prefix) + size
        return records, width, min(len(rrset.rdatas), (self._room - len(self.buffer)) // width)

    def reserve(self, size: int) -> None:
        """Count `size` bytes, put in later by somebody else, as written here."""
        self._start += size
        self._room -= size

    def mark(self) -> tuple[int, int]:
        return len(self.buffer), len(self._offsets)

    def rewind(self, mark: tuple[int, int]) -> None:
        """Forget all that was appended since `mark`."""
        size, names = mark
        del self.buffer[size:]
        while len(self._offsets) > names:
            self._offsets.popitem()

    def _add_name(self, name: bytes) -> None:
        """Append a name, ended by a pointer where the rest of it was written before."""
        begin = self._start + len(self.buffer)
        for at, suffix in suffixes(name):
            place = self._offsets.get(suffix)
            if place is not None:
                self.buffer += name[:at] + pack("!H", _POINTER | place)
                return
            if begin + at < _REACH:
                self._offsets[suffix] = begin + at
        self.buffer += name

    def _note_target(self, rdata: bytes) -> None:
        """Let later names point at the target of the SRV rdata that the buffer ends in."""
        target = rdata[_SRV_TARGET:]
        place = self._start + len(self.buffer) - len(target)
        if target not in self._offsets and place < _REACH:
            self._offsets[target] = place

    def _add_compressed(self, fixed: bytes, rdata: bytes, before: int, names: int) -> None:
        self.buffer += fixed + b"\0\0" + rdata[:before]
        begin = len(self.buffer) - before
        at = before
        for _ in range(names):
            end = at
            while rdata[end]:
                end += 1 + rdata[end]
            self._add_name(rdata[at : end + 1])
            at = end + 1
        self.buffer += rdata[at:]
        self.buffer[begin - 2 : begin] = pack("!H", len(self.buffer) - begin)
