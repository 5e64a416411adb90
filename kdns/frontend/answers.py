"""Answers kept as bytes, for as long as what they were made from stays as it is.

For every packet: what is answered from here is what the chain would answer, the order of a rotating
set aside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from typing import Final, Generic, NamedTuple, TypeVar

from kdns.dns.canonical import Canonical, canonical
from kdns.dns.query import HEADER
from kdns.dns.reply import EPOCH, Denial, Reply
from kdns.frontend.kept import Counting, Kept
from kdns.telemetry.traffic import Tally

MAX_ANSWERS: Final = 16384
"""Kept answers of one lane and kind; one more pushes the oldest out."""

MAX_BYTES: Final = 16 << 20
"""Bytes that the kept answers of one lane and kind take."""

_MAX_TEMPLATES: Final = 4096


class _Template(NamedTuple):
    """The reply to every denied name of one length: what goes in front of the question, and what
    behind it."""

    denial: Denial
    head: bytes
    tail: bytes
    tally: Tally


K = TypeVar("K", Kept, Counting)


class Shelf(Generic[K]):
    """Kept answers by key, and which keys were made from which store names; bounded.

    What goes from here goes from `copies` too.
    """

    def __init__(
        self, capacity: int, max_bytes: int, copies: dict[bytes, Kept] | None = None
    ) -> None:
        self.kept: dict[bytes, K] = {}
        self._copies = copies if copies is not None else {}
        self._reads: dict[bytes, tuple[bytes, ...]] = {}
        self._keys: dict[bytes, bytes | set[bytes]] = {}
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._bytes = 0

    def put(self, key: bytes, answer: K, reads: tuple[bytes, ...]) -> None:
        self.drop(key)
        size = answer.size
        while self.kept and (
            len(self.kept) >= self._capacity or self._bytes + size > self._max_bytes
        ):
            # Several at once, as a dict walks past what was taken out of its front each time.
            for oldest in list(islice(self.kept, 1 + self._capacity // 256)):
                self.drop(oldest)
        self._bytes += size
        self.kept[key] = answer
        self._reads[key] = reads
        for name in reads:
            keys = self._keys.setdefault(name, key)
            if isinstance(keys, set):
                keys.add(key)
            elif keys is not key:
                self._keys[name] = {keys, key}

    def drop(self, key: bytes) -> None:
        """Forget one answer, if it is here."""
        dropped = self.kept.pop(key, None)
        if dropped is None:
            return
        self._bytes -= dropped.size
        self._copies.pop(key, None)
        for name in self._reads.pop(key):
            keys = self._keys.get(name)
            if isinstance(keys, set):
                keys.discard(key)
                if keys:
                    continue
            self._keys.pop(name, None)

    def forget(self, names: Iterable[bytes]) -> None:
        """Drop all answers that were made from any of the names."""
        for name in names:
            keys = self._keys.get(name)
            if keys is not None:
                for key in list(keys) if isinstance(keys, set) else (keys,):
                    self.drop(key)

    def clear(self) -> None:
        self.kept.clear()
        self._copies.clear()
        self._reads.clear()
        self._keys.clear()
        self._bytes = 0


class Answers:
    """The kept answers of one transport and address family.

    `lasting`, `epochal` and `fleeting` are probed by whole packets less ID (the frontends do so
    themselves, as that is the shortest way there is), and by canonical form in `recall`. Answers
    that read an epoch live apart, so that its end drops them in one go. `fleeting` has answers
    whose TTLs count down, as they are in the present second: once the clock is at `until`, nobody
    probes before `tick`.
    """

    def __init__(self, capacity: int = MAX_ANSWERS, max_bytes: int = MAX_BYTES) -> None:
        self._lasting = Shelf[Kept](capacity, max_bytes)
        self._epochal = Shelf[Kept](capacity, max_bytes)
        self.lasting = self._lasting.kept
        self.epochal = self._epochal.kept
        self.fleeting: dict[bytes, Kept] = {}
        self._counting = Shelf[Counting](capacity // 2, max_bytes // 2, self.fleeting)
        self.until = 0
        self._denials: dict[bytes, Denial] = {}
        self._templates: dict[tuple[bytes, int, bytes, bytes], _Template] = {}
        self._siblings: dict[bytes, _Template] = {}

    def recall(self, packet: bytes) -> bytes | None:
        """The kept reply to a packet, or None. Total: junk is never found."""
        if len(packet) > HEADER and not packet[11]:
            # Most names that do not exist differ from others in the letters of one label alone.
            template = self._siblings.get(_but_first_label(packet))
            if template is not None and template.denial.denies(packet[HEADER:-4].lower()):
                template.tally.count += 1
                return packet[:2] + template.head + packet[HEADER:] + template.tail
        form = canonical(packet)
        if form is None:
            return None
        key, header, name, rest, end = form
        answer = self.lasting.get(key) or self.epochal.get(key) or self.fleeting.get(key)
        if answer is None and key in self._counting.kept:
            answer = self._counted(key)
        if answer is not None:
            whole = answer.whole()
            return packet[:2] + whole[:10] + packet[12:end] + whole[end - 2 :]
        for origin, denial in self._denials.items():
            if name.endswith(origin) and denial.denies(name):
                template = self._templates.get((origin, len(name), header, rest))
                if template is None:
                    return None
                if not header[9] and len(self._siblings) < _MAX_TEMPLATES:
                    self._siblings[_but_first_label(packet)] = template
                template.tally.count += 1
                return packet[:2] + template.head + packet[12:end] + template.tail
        return None

    def keep(self, form: Canonical, answer: Kept, reads: tuple[bytes, ...]) -> None:
        """Keep the answer to all packets of a canonical form until one of `reads` changes."""
        names = tuple(name for name in reads if not name.startswith(EPOCH))
        shelf = self._lasting if len(names) == len(reads) else self._epochal
        shelf.put(form[0], answer, names)

    def keep_for(self, form: Canonical, answer: Kept, reply: Reply, counted: int) -> None:
        """Keep an answer for the lifetime of the reply that it was made from.

        Its TTLs are right in the second `counted`.
        """
        key, _, _, _, end = form
        ends = counted + int(reply.lifetime or 0)
        counting = Counting(answer, end - 2, counted, ends, reply.steady)
        self._counting.put(key, counting, reply.reads)

    def tick(self, now: float) -> None:
        """The clock is at `until` or past it: another second begins."""
        self.until = int(now) + 1
        self.fleeting.clear()

    def keep_denial(self, form: Canonical, answer: Kept, denial: Denial) -> None:
        """Keep what all names that `denial` denies are answered, if they differ by name alone."""
        if len(self._templates) >= _MAX_TEMPLATES:
            self._templates.clear()
            self._siblings.clear()
        self._denials[denial.origin] = denial
        _, header, name, rest, end = form
        template = _Template(denial, answer.rest[:10], answer.rest[end - 2 :], answer.tally)
        self._templates[denial.origin, len(name), header, rest] = template

    def forget(self, names: Collection[bytes]) -> None:
        """Drop what was made from any of the names."""
        if any(name.startswith(EPOCH) for name in names):
            self._epochal.clear()
            self._templates.clear()
            self._siblings.clear()
        self._lasting.forget(names)
        self._epochal.forget(names)
        self._counting.forget(names)

    def clear(self) -> None:
        """Drop everything."""
        self._lasting.clear()
        self._epochal.clear()
        self._counting.clear()
        self._templates.clear()
        self._siblings.clear()
        self._denials.clear()

    def _counted(self, key: bytes) -> Kept | None:
        """A counting answer as it is in the present second; None, and it is gone, past its end."""
        counting = self._counting.kept[key]
        second = self.until - 1
        if second >= counting.ends:
            self._counting.drop(key)
            return None
        answer = self.fleeting[key] = counting.at(second)
        return answer


def _but_first_label(packet: bytes) -> bytes:
    """All of a query but its ID and the letters of its first label, whose length is there."""
    return packet[2:13] + packet[13 + packet[12] :]
