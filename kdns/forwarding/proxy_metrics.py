"""Series of forwarders and upstreams, under CoreDNS's names where it has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kdns.telemetry.histogram import DURATION
from kdns.telemetry.series import Family, HistogramFamily, SeriesRegistry

PROXY: Final = "forward"
"""Value of the label `proxy_name`, and of `plugin` for what a forwarder answers."""

DURATIONS: Final = HistogramFamily(
    "coredns_proxy_request_duration_seconds",
    "Histogram of the time each request took.",
    ("proxy_name", "to", "rcode"),
    DURATION,
)
PROBES_FAILED: Final = Family(
    "coredns_proxy_healthcheck_failures",
    "Counter of the number of failed healthchecks.",
    ("proxy_name", "to"),
)
HITS: Final = Family(
    "coredns_proxy_conn_cache_hits",
    "Counter of connection cache hits per upstream and protocol.",
    ("proxy_name", "to", "proto"),
)
MISSES: Final = Family(
    "coredns_proxy_conn_cache_misses",
    "Counter of connection cache misses per upstream and protocol.",
    ("proxy_name", "to", "proto"),
)
BROKEN: Final = Family(
    "coredns_forward_healthcheck_broken",
    "Counter of the number of complete failures of the healthchecks.",
)
REJECTED: Final = Family(
    "coredns_forward_max_concurrent_rejects",
    "Counter of the number of queries rejected because the concurrent queries were at maximum.",
)
HEDGES: Final = Family(
    "kdns_forward_hedges",
    "Counter of questions asked once more because the first upstream was late.",
    ("to",),
)
RETRIES: Final = Family(
    "kdns_forward_retries",
    "Counter of questions asked once more because there was no answer, or none of use.",
    ("to",),
)
COALESCED: Final = Family(
    "kdns_forward_coalesced",
    "Counter of queries that waited for the answer to the same question of another.",
)
UNASKED: Final = Family(
    "kdns_forward_unasked",
    "Counter of queries answered SERVFAIL at once, as upstreams do not answer or too much waits.",
)
HEALTHY: Final = Family(
    "kdns_forward_upstream_healthy",
    "Whether an upstream answers: 1, or 0 for one that is down or put aside.",
    ("to",),
    "gauge",
    "smallest",
)


def tell_health(series: SeriesRegistry, healthy: Mapping[str, bool]) -> None:
    """Set the series of the upstreams there are, and forget those of all others.

    Upstreams that are names or in a file may be others each day.
    """
    for family in (DURATIONS, PROBES_FAILED, HITS, MISSES, HEDGES, RETRIES, HEALTHY):
        series.keep(family, "to", healthy)
    for name, well in healthy.items():
        series.count(HEALTHY, name).value = float(well)
