"""Metrics in the exposition format, under CoreDNS's names, labels and buckets."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

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

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_BLOCK: Final = ["server", "zone", "view"]

Source = Callable[[], Iterable[Metric]]
"""Yields the metrics of one part of the program as they are now."""


class Exposition(Collector):
    """All metrics of the process: traffic, and what other parts have to say."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self.sources: list[Source] = []
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """The text that a scrape gets."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        yield _build_info()
        yield CounterMetricFamily(
            "coredns_panics",
            "Counts the number of exceptions that a chain raised.",
            value=self._traffic.panics,
        )
        yield from _traffic(self._traffic.tallies())
        yield _durations(self._traffic)
        for source in self.sources:
            yield from source()

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
