"""One answer kept as bytes, and how its TTLs count down."""

from __future__ import annotations

from collections.abc import Iterable
from struct import pack_into, unpack_from
from typing import Final

from kdns.dns import codes
from kdns.dns.query import skip_name
from kdns.dns.reply import STEADY
from kdns.telemetry.traffic import Tally

_OVERHEAD: Final = 400
"""Bytes of an answer's objects, its key and the tables that name it."""

_RING_TTL: Final = 6
"""Where a record whose owner is a pointer has its TTL."""


class Kept:
    """One reply without its ID, to any query of one canonical form.

    It begins with the header's `flags` and counts and the question in lower case. When `width` is
    not 0, records of `ring` go in between `rest` and `after`, as in `kdns.dns.render.Body`.
    """

    __slots__ = ("after", "rest", "ring", "span", "tally", "turn", "width", "window")

    def __init__(self, rest: bytes, tally: Tally) -> None:
        self.rest = rest
        self.tally = tally
        self.turn = 0
        self.width = 0
        self.span = 0
        self.window = 0
        self.ring = b""
        self.after = b""

    @property
    def size(self) -> int:
        """About how many bytes of memory the answer takes."""
        return _OVERHEAD + 2 * len(self.rest) + len(self.ring) + len(self.after)

    def rotate(self, ring: bytes, width: int, window: int, after: bytes) -> None:
        """Let the records of `ring`, which holds them twice, take turns behind `rest`."""
        self.ring = ring
        self.width = width
        self.span = len(ring) // 2
        self.window = window
        self.after = after

    def whole(self) -> bytes:
        """The reply behind the ID, counted."""
        self.tally.count += 1
        if not self.width:
            return self.rest
        self.turn = begin = (self.turn + self.width) % self.span
        return self.rest + self.ring[begin : begin + self.window] + self.after


class Counting:
    """A kept answer whose TTLs count down, until the second at which it ends.

    `kept` is the answer of the second `counted`; its records begin at `start` in `kept.rest`. The
    first `steady` of them keep their TTLs; all of them from STEADY on.
    """

    __slots__ = ("_after", "_rest", "counted", "ends", "kept", "start", "steady")

    def __init__(self, kept: Kept, start: int, counted: int, ends: int, steady: int = 0) -> None:
        self.kept = kept
        self.start = start
        self.counted = counted
        self.ends = ends
        self.steady = steady
        self._rest: tuple[int, ...] | None = None
        self._after: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """About how many bytes of memory the answer takes."""
        return self.kept.size

    def at(self, second: int) -> Kept:
        """The answer as it is in one second."""
        kept, passed = self.kept, second - self.counted
        if passed <= 0 or self.steady >= STEADY:
            return kept
        if self._rest is None:
            self._rest = ttl_offsets(kept.rest, self.start)[self.steady :]
            self._after = ttl_offsets(kept.after, 0)
        now = Kept(_aged(kept.rest, self._rest, passed), kept.tally)
        if kept.width:
            ring = _aged(kept.ring, range(_RING_TTL, len(kept.ring), kept.width), passed)
            now.rotate(ring, kept.width, kept.window, _aged(kept.after, self._after, passed))
            now.turn = passed * kept.width % kept.span
        return now


def ttl_offsets(records: bytes, start: int) -> tuple[int, ...]:
    """Where the well-formed records from `start` to the end have their TTLs, OPT left out."""
    offsets = []
    at: int | None = start
    while at is not None and at < len(records):
        at = skip_name(records, at)
        if at is not None:
            rtype, length = unpack_from("!HxxxxxxH", records, at)
            if rtype != codes.OPT:
                offsets.append(at + 4)
            at += 10 + length
    return tuple(offsets)


def _aged(records: bytes, offsets: Iterable[int], seconds: int) -> bytes:
    """The records with so many seconds less in each TTL, 0 at least."""
    buffer = bytearray(records)
    for at in offsets:
        (ttl,) = unpack_from("!I", buffer, at)
        pack_into("!I", buffer, at, max(0, ttl - seconds))
    return bytes(buffer)
