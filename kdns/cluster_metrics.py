"""What there is to say of the API server and of the watches on it, as metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from kdns.cluster.api.stats import BOUNDS, Durations, FeedStats, RequestStats, ResourceStats
from kdns.telemetry.exposition import histogram_family
from kdns.telemetry.histogram import Histogram

_CLIENT: Final = "coredns_kubernetes_rest_client_"
_WATCH: Final = "kdns_kubernetes_"


def programming_metrics(durations: Histogram) -> Iterator[Metric]:
    """`coredns_kubernetes_dns_programming_duration_seconds`, of headless services alone."""
    yield histogram_family(
        "coredns_kubernetes_dns_programming_duration_seconds",
        "In Cluster DNS Programming Latency in seconds",
        ["service_kind"],
        {("headless_with_selector",): durations} if durations.total else {},
    )


def object_metrics(rejected: int, manifests: tuple[int, int] | None) -> Iterator[Metric]:
    """`kdns_rejected_objects_total`, and of `manifests` how many errors and changes were met."""
    yield CounterMetricFamily(
        "kdns_rejected_objects",
        "Counter of objects, and parts of objects, that could not be served.",
        value=rejected,
    )
    if manifests is None:
        return
    errors, changes = manifests
    yield CounterMetricFamily(
        "kdns_manifests_errors", "Counter of errors met in manifests.", value=errors
    )
    yield CounterMetricFamily(
        "kdns_manifests_changes",
        "Counter of changes of manifests that were taken over.",
        value=changes,
    )


def snapshot_metrics(failures: int, saved_at: float, now: float) -> Iterator[Metric]:
    """`kdns_snapshot_…`: trouble with files, and how old what is in them is; Unix times."""
    yield CounterMetricFamily(
        "kdns_snapshot_failures",
        "Counter of snapshots that could not be written, read or used.",
        value=failures,
    )
    if saved_at:
        yield GaugeMetricFamily(
            "kdns_snapshot_age_seconds",
            "Seconds since records were last saved; they are when they have changed.",
            value=now - saved_at,
        )


def feed_metrics(feeds: Iterable[FeedStats], now: float) -> Iterator[Metric]:
    """Everything about some feeds. `now` is by the clock of their `Timing`, in seconds.

    Two feeds of one resource are one series: counts add up, and of ages the greater counts.
    """
    every = list(feeds)
    yield from _client_metrics([feed.requests for feed in every])
    by_resource: dict[str, list[ResourceStats]] = {}
    for feed in every:
        for kind, stats in feed.resources.items():
            by_resource.setdefault(kind.lower(), []).append(stats)
    yield from _ages(by_resource, now)
    yield from _counts(by_resource)


def _client_metrics(requests: list[RequestStats]) -> Iterator[Metric]:
    total: Counter[tuple[str, str, str]] = Counter()
    for stats in requests:
        total.update(stats.total)
    family = CounterMetricFamily(
        f"{_CLIENT}requests",
        "Number of HTTP requests, partitioned by status code, method, and host.",
        labels=["code", "method", "host"],
    )
    for key, count in sorted(total.items()):
        family.add_metric(key, count)
    yield family
    yield _durations(
        "request_duration_seconds",
        "Request latency in seconds. Broken down by verb and host.",
        [stats.durations for stats in requests],
    )
    yield _durations(
        "rate_limiter_duration_seconds",
        "Client side rate limiter latency in seconds. Broken down by verb and host.",
        [stats.limiter for stats in requests],
    )


def _durations(
    name: str, documentation: str, tables: list[dict[tuple[str, str], Durations]]
) -> Metric:
    merged: dict[tuple[str, str], Histogram] = {}
    for table in tables:
        for key, durations in table.items():
            histogram = merged.setdefault(key, Histogram(BOUNDS))
            histogram.sum += durations.sum
            for index, count in enumerate(durations.counts):
                histogram.counts[index] += count
    return histogram_family(f"{_CLIENT}{name}", documentation, ["verb", "host"], merged)


def _ages(by_resource: Mapping[str, list[ResourceStats]], now: float) -> Iterator[Metric]:
    for name, documentation, since in (
        ("last_event_age", "Seconds since a change of a resource was heard.", "last_event"),
        (
            "last_bookmark_age",
            "Seconds since the API server last said that a watch is up to date.",
            "last_bookmark",
        ),
        ("last_heard_age", "Seconds since anything was heard about a resource.", "last_heard"),
        ("last_list_age", "Seconds since a resource was listed whole.", "last_list"),
        ("out_of_touch", "Seconds that the watch of a resource has been failing.", "failing"),
    ):
        gauge = GaugeMetricFamily(f"{_WATCH}{name}_seconds", documentation, labels=["resource"])
        for resource, each in by_resource.items():
            times = [at for stats in each if (at := getattr(stats, since)) is not None]
            if times:
                gauge.add_metric([resource], now - min(times))
        yield gauge


def _counts(by_resource: Mapping[str, list[ResourceStats]]) -> Iterator[Metric]:
    objects = GaugeMetricFamily(
        f"{_WATCH}objects", "Objects of a resource that are known.", labels=["resource"]
    )
    errors = CounterMetricFamily(
        f"{_WATCH}watch_errors",
        "Counter of lists and watches that ended in trouble.",
        labels=["resource", "reason"],
    )
    for resource, each in by_resource.items():
        objects.add_metric([resource], sum(stats.objects for stats in each))
        reasons: Counter[str] = Counter()
        for stats in each:
            reasons.update(stats.errors)
        for reason, count in sorted(reasons.items()):
            errors.add_metric([resource, str(reason)], count)
    yield objects
    yield errors
    for name, documentation, what in (
        ("events", "Counter of changes of a resource that were heard.", "events"),
        ("lists", "Counter of complete lists of a resource; all but the first relists.", "lists"),
        ("skipped_objects", "Counter of objects that could not be decoded.", "skipped"),
        ("consistency_checks", "Counter of checks of a watch against a list.", "checks"),
        ("mismatches", "Counter of checks that found something missed.", "mismatches"),
    ):
        counter = CounterMetricFamily(f"{_WATCH}{name}", documentation, labels=["resource"])
        for resource, each in by_resource.items():
            counter.add_metric([resource], sum(getattr(stats, what) for stats in each))
        yield counter
