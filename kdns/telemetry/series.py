"""Counters, gauges and histograms of plugins, in one place for as long as the process lives.

A reload makes plugins anew; what they counted goes on.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any, Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from kdns.telemetry.exposition import histogram_family
from kdns.telemetry.histogram import Histogram


class Family(NamedTuple):
    """A metric: `name` without the `_total` that counters get; `labels` in their order.

    No label may have values that clients choose: series are never forgotten. `whole` says what a
    gauge of several processes is: times and what all have alike are no sums.
    """

    name: str
    documentation: str
    labels: tuple[str, ...] = ()
    kind: Literal["counter", "gauge"] = "counter"
    whole: Literal["sum", "largest", "smallest"] = "sum"


class HistogramFamily(NamedTuple):
    """A histogram: as `Family`, and the upper bounds of its buckets."""

    name: str
    documentation: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...]


class Count:
    """One series of a counter or a gauge; counting is an addition to `value`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class SeriesRegistry:
    """All series of the process, each made when it is first asked for."""

    def __init__(self) -> None:
        self._counts: dict[Family, dict[tuple[str, ...], Count]] = {}
        self._histograms: dict[HistogramFamily, dict[tuple[str, ...], Histogram]] = {}

    def count(self, family: Family, *values: str) -> Count:
        """The series of these label values."""
        series = self._counts.setdefault(family, {})
        if values not in series:
            series[values] = Count()
        return series[values]

    def has(self, family: Family, *values: str) -> bool:
        """Whether there is a series of these label values."""
        return values in self._counts.get(family, {})

    def histogram(self, family: HistogramFamily, *values: str) -> Histogram:
        """The histogram of these label values."""
        series = self._histograms.setdefault(family, {})
        if values not in series:
            series[values] = Histogram(family.bounds)
        return series[values]

    def drop(self, family: Family, *values: str) -> None:
        """Forget a series, as a gauge of something that is gone."""
        self._counts.get(family, {}).pop(values, None)

    def keep(self, family: Family | HistogramFamily, label: str, wanted: Container[str]) -> None:
        """Forget the series of a family whose label has another value, as of what is gone."""
        at = family.labels.index(label)
        series: dict[tuple[str, ...], Any] = (
            self._counts.get(family, {})
            if isinstance(family, Family)
            else self._histograms.get(family, {})
        )
        for values in [each for each in series if each[at] not in wanted]:
            del series[values]

    def counts(self) -> Iterator[tuple[Family, tuple[str, ...], Count]]:
        """Every counter and gauge."""
        for family, series in self._counts.items():
            for values, count in series.items():
                yield family, values, count

    def histograms(self) -> Iterator[tuple[HistogramFamily, tuple[str, ...], Histogram]]:
        """Every histogram."""
        for family, series in self._histograms.items():
            for values, histogram in series.items():
                yield family, values, histogram

    def metrics(self) -> Iterator[Metric]:
        for family, counts in self._counts.items():
            make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            metric = make(family.name, family.documentation, labels=family.labels)
            for values, count in sorted(counts.items()):
                metric.add_metric(values, count.value)
            yield metric
        for histograms, series in self._histograms.items():
            yield histogram_family(
                histograms.name, histograms.documentation, list(histograms.labels), series
            )
