"""Histograms with fixed buckets, and CoreDNS's bucket bounds."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import Final

DURATION: Final = tuple(0.00025 * 2**i for i in range(16))
"""Seconds, for requests and exchanges."""

SIZE: Final = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3)
"""Bytes, for messages."""

HEALTH_DURATION: Final = tuple(0.00025 * 10**i for i in range(5))
"""Seconds, for the health endpoint's check of itself."""

PROGRAMMING: Final = tuple(0.001 * 2**i for i in range(20))
"""Seconds, from a change in the cluster to its answer."""


class Histogram:
    """Counts of observations by bucket, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def add(self, other: Histogram) -> None:
        """Take in the observations of another histogram with the same bounds."""
        for index, count in enumerate(other.counts):
            self.counts[index] += count
        self.sum += other.sum

    @property
    def total(self) -> int:
        """How many observations there were."""
        return sum(self.counts)

    def exposition(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulative counts by upper bound, as the exposition format wants them, and the sum."""
        bounds = [_bound(bound) for bound in self.bounds] + ["+Inf"]
        return list(zip(bounds, accumulate(self.counts), strict=True)), self.sum


def _bound(value: float) -> str:
    """A bucket's label as CoreDNS writes it: `0.00025`, `16000`."""
    return f"{value:g}"
