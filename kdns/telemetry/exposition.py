"""Metrics in the exposition format, under CoreDNS's names, labels and buckets."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from kdns import __version__
from kdns.telemetry.histogram import SIZE, Histogram
from kdns.telemetry.traffic import Tally, Traffic

if TYPE_CHECKING:
    from kdns.telemetry.counts import Sum

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_BLOCK: Final = ["server", "zone", "view"]

Source = Callable[[], Iterable[Metric]]
"""Yields the metrics of one part of the program as they are now."""


class Exposition(Collector):
    """All metrics of the process: traffic, and what other parts have to say."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._whole: Sum | None = None
        self.sources: list[Source] = []
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self._process = ProcessCollector(registry=None)

    def render(self, whole: Sum | None = None) -> bytes:
        """The text that a scrape gets; the traffic is that of the `whole`, where there is one.

        What there is of its processes is added to this one's.
        """
        self._whole = whole
        try:
            return generate_latest(self._registry)
        finally:
            self._whole = None

    def collect(self) -> Iterator[Metric]:
        whole = self._whole
        traffic = self._traffic if whole is None else whole.traffic
        processes = {} if whole is None else whole.process
        yield _build_info()
        yield CounterMetricFamily(
            "coredns_panics",
            "Counts the number of exceptions that a chain raised.",
            value=traffic.panics,
        )
        yield from _traffic(traffic.tallies())
        yield from _cache_uses(traffic.tallies())
        yield _durations(traffic)
        for source in self.sources:
            yield from source()
        for metric in self._process.collect():
            sample = metric.samples[0]
            value = sample.value + processes.get(metric.name, 0.0)
            metric.samples[0] = sample._replace(value=value)
            yield metric

    def describe(self) -> Iterator[Metric]:
        return iter(())


def histogram_family(
    name: str, documentation: str, labels: list[str], series: Mapping[Any, Histogram]
) -> Metric:
    """One histogram metric of several series."""
    family = HistogramMetricFamily(name, documentation, labels=labels)
    for values, histogram in sorted(series.items()):
        buckets, total = histogram.exposition()
        family.add_metric(values, buckets, sum_value=total)
    return family


def _build_info() -> Metric:
    info = GaugeMetricFamily(
        "coredns_build_info",
        "A metric with a constant '1' value labeled by the version of kdns and of Python.",
        labels=["version", "revision", "goversion"],
    )
    info.add_metric([__version__, "", f"python{platform.python_version()}"], 1)
    return info


def _traffic(tallies: list[Tally]) -> Iterator[Metric]:
    requests: Counter[tuple[str, ...]] = Counter()
    dnssec_ok: Counter[tuple[str, ...]] = Counter()
    responses: Counter[tuple[str, ...]] = Counter()
    request_sizes: dict[tuple[str, ...], Histogram] = {}
    response_sizes: dict[tuple[str, ...], Histogram] = {}
    for tally in tallies:
        count, labels = tally.count, tally.labels
        block = labels[:3]
        requests[*block, labels.proto, labels.family, labels.type] += count
        if labels.dnssec_ok:
            dnssec_ok[block] += count
        if labels.rcode:
            responses[*block, labels.rcode, labels.plugin] += count
        sized = (*block, labels.proto)
        request_sizes.setdefault(sized, Histogram(SIZE)).observe(labels.request_size, count)
        if labels.rcode:
            response_sizes.setdefault(sized, Histogram(SIZE)).observe(labels.response_size, count)
    yield _counters(
        "coredns_dns_requests",
        "Counter of DNS requests made per zone, protocol and family.",
        [*_BLOCK, "proto", "family", "type"],
        requests,
    )
    yield _counters(
        "coredns_dns_do_requests",
        "Counter of DNS requests with DO bit set per zone.",
        _BLOCK,
        dnssec_ok,
    )
    yield _counters(
        "coredns_dns_responses",
        "Counter of response status codes.",
        [*_BLOCK, "rcode", "plugin"],
        responses,
    )
    sized_labels = [*_BLOCK, "proto"]
    yield histogram_family(
        "coredns_dns_request_size_bytes",
        "Size of the request in bytes per zone and protocol.",
        sized_labels,
        request_sizes,
    )
    yield histogram_family(
        "coredns_dns_response_size_bytes",
        "Size of the returned response in bytes.",
        sized_labels,
        response_sizes,
    )


def _cache_uses(tallies: list[Tally]) -> Iterator[Metric]:
    """What caches had and what they had not, answers that frontends gave from memory included."""
    requests: Counter[tuple[str, ...]] = Counter()
    misses: Counter[tuple[str, ...]] = Counter()
    stale: Counter[tuple[str, ...]] = Counter()
    hits: Counter[tuple[str, ...]] = Counter()
    for tally in tallies:
        use, labels = tally.labels.cache, tally.labels
        if use is None:
            continue
        cache = labels.server, use.zones, labels.view
        requests[cache] += tally.count
        if use.outcome == "miss":
            misses[cache] += tally.count
        else:
            hits[labels.server, use.outcome, use.zones, labels.view] += tally.count
        if use.stale:
            stale[cache] += tally.count
    of_cache = ["server", "zones", "view"]
    of_half = ["server", "type", "zones", "view"]
    for name, documentation, names, counts in (
        ("requests", "The count of cache requests.", of_cache, requests),
        ("hits", "The count of cache hits.", of_half, hits),
        ("misses", "The count of cache misses.", of_cache, misses),
        ("served_stale", "The number of requests served stale cache entries.", of_cache, stale),
    ):
        if counts:
            yield _counters(f"coredns_cache_{name}", documentation, names, counts)


def _durations(traffic: Traffic) -> Metric:
    return histogram_family(
        "coredns_dns_request_duration_seconds",
        "Histogram of the time (in seconds) each request took per zone.",
        _BLOCK,
        traffic.durations(),
    )


def _counters(
    name: str, documentation: str, labels: list[str], counts: Counter[tuple[str, ...]]
) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=labels)
    for values, count in sorted(counts.items()):
        family.add_metric(values, count)
    return family
