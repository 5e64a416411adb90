"""What a process has counted, as a value that another process adds up."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct, field
from prometheus_client.core import Metric

from kdns.telemetry.histogram import DURATION, Histogram
from kdns.telemetry.series import Family, HistogramFamily, SeriesRegistry
from kdns.telemetry.traffic import Block, Labels, Traffic

_ADDED: Final = (
    "process_cpu_seconds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_open_fds",
)
"""Metrics of a process that are sums where there are several; others are the parent's."""

_WHOLE: Final[dict[str, Callable[[float, float], float]]] = {
    "sum": operator.add,
    "largest": max,
    "smallest": min,
}


class Sockets(Struct, array_like=True):
    """What sockets could not do: UDP replies not taken, queries dropped, connections refused."""

    unsent: int = 0
    dropped: int = 0
    refused: int = 0

    def add(self, other: Sockets) -> None:
        self.unsent += other.unsent
        self.dropped += other.dropped
        self.refused += other.refused


Observed = tuple[list[int], float]
"""A histogram's counts, and its sum."""


class Counts(Struct, array_like=True):
    """Counters since a process began, its gauges, and `process_…` metrics by name."""

    tallies: list[tuple[Labels, int]] = field(default_factory=list)
    durations: list[tuple[Block, Observed]] = field(default_factory=list)
    panics: int = 0
    series: list[tuple[Family, tuple[str, ...], float]] = field(default_factory=list)
    histograms: list[tuple[HistogramFamily, tuple[str, ...], Observed]] = field(
        default_factory=list
    )
    sockets: Sockets = field(default_factory=Sockets)
    process: dict[str, float] = field(default_factory=dict)


def counts(
    traffic: Traffic, series: SeriesRegistry, sockets: Sockets, process: Iterable[Metric]
) -> Counts:
    """What there is to tell; `process` are the metrics of a ProcessCollector."""
    return Counts(
        [(tally.labels, tally.count) for tally in traffic.tallies()],
        [(block, (each.counts, each.sum)) for block, each in traffic.durations().items()],
        traffic.panics,
        [(family, values, count.value) for family, values, count in series.counts()],
        [(family, values, (h.counts, h.sum)) for family, values, h in series.histograms()],
        sockets,
        {metric.name: metric.samples[0].value for metric in process},
    )


class Sum:
    """Counts of several processes, added up; of `max_tallies` as in Traffic."""

    def __init__(self, max_tallies: int = sys.maxsize) -> None:
        self.traffic = Traffic(max_tallies)
        self.series = SeriesRegistry()
        self.sockets = Sockets()
        self.process: dict[str, float] = {}

    def add(self, part: Counts, *, alive: bool) -> None:
        """Take in what one process has counted; of one that is not `alive`, its counters."""
        add(part, self.traffic, self.series, alive=alive)
        self.sockets.add(part.sockets)
        for name in _ADDED if alive else _ADDED[:1]:
            if name in part.process:
                self.process[name] = self.process.get(name, 0.0) + part.process[name]

    def counts(self) -> Counts:
        """The sum as a part of another one."""
        made = counts(self.traffic, self.series, self.sockets, ())
        made.process = dict(self.process)
        return made


def add(part: Counts, traffic: Traffic, series: SeriesRegistry, *, alive: bool) -> None:
    """Count what another process has counted; gauges of one that is `alive` alone."""
    for labels, count in part.tallies:
        traffic.tally(labels).count += count
    for block, observed in part.durations:
        traffic.take_durations(block, _histogram(DURATION, observed))
    traffic.panics += part.panics
    for family, values, value in part.series:
        if family.kind == "counter":
            series.count(family, *values).value += value
        elif alive:
            known = series.has(family, *values)
            gauge = series.count(family, *values)
            gauge.value = _WHOLE[family.whole](gauge.value, value) if known else value
    for histograms, values, observed in part.histograms:
        series.histogram(histograms, *values).add(_histogram(histograms.bounds, observed))


def _histogram(bounds: tuple[float, ...], observed: Observed) -> Histogram:
    made = Histogram(bounds)
    made.counts, made.sum = list(observed[0]), observed[1]
    return made
