"""Answers of a cache as bytes, and as many of them as may be."""

from __future__ import annotations

from itertools import islice
from struct import Struct
from typing import Final, NamedTuple

import msgspec

from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply
from kdns.telemetry.series import Count

LARGEST: Final = 16 << 10
"""Bytes of one entry; answers that take more are not kept."""

OVERHEAD: Final = 150
"""Bytes that an entry takes besides key and content: two objects, and a place in a table."""

_HEAD: Final = Struct("!IIIIIB")


class Content(msgspec.Struct, array_like=True, gc=False):
    """What an entry says. The question's own name is b"" where it is an owner."""

    rcode: int
    recursion_available: bool
    authentic: bool
    extended_error: tuple[int, str] | None
    answer: list[RRset]
    authority: list[RRset]
    additional: list[RRset]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Content).decode


class Entry(NamedTuple):
    """One kept answer; all times are whole seconds of one clock.

    From `stored` it holds for `seconds`; its TTLs are those of `stored`. After a refresh that
    failed there is no other before `retry`. `hits` were seen in a row, the last one at `seen`.
    """

    stored: int
    seconds: int
    retry: int
    seen: int
    hits: int
    error: bool
    content: bytes

    @property
    def ends(self) -> int:
        """The second at which it holds no longer."""
        return self.stored + self.seconds

    def packed(self) -> bytes:
        return _HEAD.pack(*self[:6]) + self.content

    def read(self) -> Content:
        return _decode(self.content)


def unpacked(packed: bytes) -> Entry:
    """The entry that was `packed()`."""
    stored, seconds, retry, seen, hits, error = _HEAD.unpack_from(packed)
    return Entry(stored, seconds, retry, seen, hits, bool(error), packed[_HEAD.size :])


def content(reply: Reply, name: bytes) -> bytes:
    """A reply to a question about `name`, a lower-case wire name, as bytes."""
    return _encode(
        Content(
            reply.rcode,
            reply.recursion_available,
            reply.authentic,
            reply.extended_error,
            _without(name, reply.answer),
            _without(name, reply.authority),
            _without(name, reply.additional),
        )
    )


def _without(name: bytes, section: list[RRset]) -> list[RRset]:
    return [each._replace(owner=b"") if each.owner == name else each for each in section]


class Entries:
    """Packed entries by key, bounded in number and in bytes; the oldest make room.

    A plain dict of bytes: the order and the sizes that cachetools keeps besides would nearly double
    what an entry takes, for one bound alone.
    """

    def __init__(self, capacity: int, max_bytes: int, evictions: Count) -> None:
        self.bytes = 0
        self._packed: dict[bytes, bytes] = {}
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._evictions = evictions

    def __len__(self) -> int:
        return len(self._packed)

    def get(self, key: bytes) -> Entry | None:
        packed = self._packed.get(key)
        return None if packed is None else unpacked(packed)

    def put(self, key: bytes, entry: Entry) -> bool:
        """Keep an entry as the newest in the place of any there was; False if it is too large."""
        self.drop(key)
        packed = entry.packed()
        size = OVERHEAD + len(key) + len(packed)
        if size > min(LARGEST, self._max_bytes):
            return False
        while self._packed and (
            len(self._packed) >= self._capacity or self.bytes + size > self._max_bytes
        ):
            # Several at once, as a dict walks past what was taken out of its front each time.
            for oldest in list(islice(self._packed, 1 + self._capacity // 256)):
                self.drop(oldest)
                self._evictions.value += 1
        self._packed[key] = packed
        self.bytes += size
        return True

    def note(self, key: bytes, entry: Entry) -> None:
        """Change what is known about the entry of a key; its content stays."""
        self._packed[key] = entry.packed()

    def drop(self, key: bytes) -> None:
        """Forget an entry, if it is here."""
        packed = self._packed.pop(key, None)
        if packed is not None:
            self.bytes -= OVERHEAD + len(key) + len(packed)
