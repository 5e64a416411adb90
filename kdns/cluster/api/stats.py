"""What the API feed did and how it fares, as plain numbers for whoever exposes them.

Times are seconds by the clock of the feed's `Timing`; None means never.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from kdns.cluster.api.failures import Reason
from kdns.cluster.objects import Kind

BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Prometheus's default buckets, in seconds, as CoreDNS has them for its client."""


class Durations:
    """Counts of observations by bucket of `BOUNDS`, the last beyond all of them, and their sum."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds


@dataclass(slots=True)
class RequestStats:
    """Requests to the API server, as the metrics `coredns_kubernetes_rest_client_*` count them.

    `total` is by (code, method, host), with the code "<error>" where no answer came; the durations,
    until an answer begins and until the limiter lets a request go, by (verb, host).
    """

    total: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    durations: dict[tuple[str, str], Durations] = field(default_factory=dict)
    limiter: dict[tuple[str, str], Durations] = field(default_factory=dict)


@dataclass(slots=True)
class ResourceStats:
    """One resource. `last_heard` is the last byte of a list or watch, whatever it said.

    `lists` counts complete ones: all but the first are relists. `events` counts changes seen,
    `skipped` objects that could not be decoded, `mismatches` consistency checks that found the
    watch to have missed something. `failing` says since when, and `why`, this is out of touch.
    """

    synced: bool = False
    objects: int = 0
    events: int = 0
    lists: int = 0
    streamed_lists: int = 0
    skipped: int = 0
    checks: int = 0
    mismatches: int = 0
    last_heard: float | None = None
    last_event: float | None = None
    last_bookmark: float | None = None
    last_list: float | None = None
    errors: Counter[Reason] = field(default_factory=Counter)
    failing: float | None = None
    why: str = ""

    def begin(self) -> None:
        """Somebody reads the feed from the start; what was counted stays."""
        self.synced = False
        self.objects = 0
        self.failing, self.why = None, ""


@dataclass(slots=True)
class FeedStats:
    """Everything about one feed. `server` is the API server's URL, "" before it is known."""

    resources: dict[Kind, ResourceStats]
    requests: RequestStats = field(default_factory=RequestStats)
    server: str = ""

    @classmethod
    def of(cls, kinds: Sequence[Kind]) -> FeedStats:
        return cls({kind: ResourceStats() for kind in kinds})

    def age(self, now: float) -> float:
        """Seconds since the resource that is out of touch longest was last heard of.

        0 with all in touch: where nothing happens a watch is silent for a minute at a time, and no
        worse for it. Infinite as long as a resource never was heard of.
        """
        return max(_age(stats, now) for stats in self.resources.values())


def _age(stats: ResourceStats, now: float) -> float:
    if stats.last_heard is None:
        return float("inf")
    return now - stats.last_heard if stats.failing is not None else 0.0
