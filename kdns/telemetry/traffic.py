"""Counts of queries and their answers, cheap enough to be on for every one of them.

Answers that share all of their labels and sizes share one `Tally`, and counting an answer is one
addition to it. Series are made of tallies when somebody scrapes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Final, NamedTuple

from kdns.dns.reply import CacheUse
from kdns.telemetry.histogram import DURATION, SIZE, Histogram

_MAX_TALLIES: Final = 4096
"""Tallies with sizes to the byte; with more, a size stands for its bucket, so that clients who ask
in every size there is do not fill the memory."""

_LARGEST: Final = 65535

Block = tuple[str, str, str]
"""Labels `server`, `zone` and `view` of a server block."""


class Labels(NamedTuple):
    """What tells one tally from another; sizes in bytes.

    `server` is as in CoreDNS (`dns://:53`), `zone` that of the server block, or "dropped" where a
    packet got to none; `family` is "1" for IPv4 and "2" for IPv6; `type` a mnemonic or "other".
    """

    server: str
    zone: str
    view: str
    proto: str
    family: str
    type: str
    dnssec_ok: bool
    rcode: str
    plugin: str
    request_size: int
    response_size: int
    cache: CacheUse | None = None


class Tally:
    """How many answers had these labels."""

    __slots__ = ("count", "labels")

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.count = 0


class Batches:
    """Durations of answers given from memory by one server, taken a batch of packets at a time.

    Each answer of a batch counts with the whole batch's duration: that is when it was sent.
    """

    __slots__ = ("durations",)

    def __init__(self) -> None:
        self.durations = Histogram(DURATION)

    def observe(self, seconds: float, answers: int) -> None:
        if seconds <= DURATION[0]:
            self.durations.counts[0] += answers
            self.durations.sum += seconds * answers
        else:
            self.durations.observe(seconds, answers)


class Traffic:
    """All queries of the process since it began, across reloads.

    With more than `max_tallies` a size stands for its bucket.
    """

    def __init__(self, max_tallies: int = _MAX_TALLIES) -> None:
        self._max_tallies = max_tallies
        self._tallies: dict[Labels, Tally] = {}
        self._chained: dict[Block, Histogram] = {}
        self._batches: dict[str, Batches] = {}
        self._shared: dict[Block, Histogram] = {}
        self.panics = 0

    def tally(self, labels: Labels) -> Tally:
        """The one tally with these labels."""
        tally = self._tallies.get(labels)
        if tally is None:
            if len(self._tallies) >= self._max_tallies:
                labels = labels._replace(
                    request_size=_bucket(labels.request_size),
                    response_size=_bucket(labels.response_size),
                )
            tally = self._tallies.setdefault(labels, Tally(labels))
        return tally

    def batches(self, server: str) -> Batches:
        """Where a server's frontends record the durations of answers from memory."""
        return self._batches.setdefault(server, Batches())

    def observe(self, server: str, zone: str, view: str, seconds: float) -> None:
        """Record the duration of one answer that was not from memory."""
        key = (server, zone, view)
        if key not in self._chained:
            self._chained[key] = Histogram(DURATION)
        self._chained[key].observe(seconds)

    def take_durations(self, block: Block, durations: Histogram) -> None:
        """Take in durations of answers that others gave, and that are counted in tallies."""
        self._chained.setdefault(block, Histogram(DURATION)).add(durations)

    def tallies(self) -> list[Tally]:
        return list(self._tallies.values())

    def durations(self) -> dict[Block, Histogram]:
        """Durations by server, zone and view.

        A server's batches are shared out to its zones in proportion to the answers from memory that
        each gave since this was last asked; with one zone, as in most clusters, that is exact. What
        zones that are not counted answered is left out.
        """
        remembered = self._remembered()
        for server, batches in self._batches.items():
            fresh = {key: n for key, n in remembered.items() if key[0] == server and n > 0}
            if fresh:
                self._share(batches.durations, fresh)
                batches.durations = Histogram(DURATION)
        total: dict[Block, Histogram] = {}
        for source in (self._chained, self._shared):
            for key, histogram in source.items():
                total.setdefault(key, Histogram(DURATION)).add(histogram)
        return total

    def _remembered(self) -> Counter[Block]:
        """Answers from memory whose durations are not shared out yet."""
        counts: Counter[Block] = Counter()
        for tally in self._tallies.values():
            counts[tally.labels[:3]] += tally.count
        for source in (self._chained, self._shared):
            for key, histogram in source.items():
                counts[key] -= histogram.total
        return counts

    def _share(self, durations: Histogram, zones: dict[Block, int]) -> None:
        answers = max(durations.total, sum(zones.values()))
        shares = {key: self._shared.setdefault(key, Histogram(DURATION)) for key in zones}
        for index, count in enumerate(durations.counts):
            due = 0.0
            given = 0
            for key, weight in zones.items():
                due += count * weight / answers
                part = round(due) - given
                given += part
                shares[key].counts[index] += part
        for key, weight in zones.items():
            shares[key].sum += durations.sum * weight / answers


def _bucket(size: int) -> int:
    index = bisect_left(SIZE, size)
    return int(SIZE[index]) if index < len(SIZE) else _LARGEST
