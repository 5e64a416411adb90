"""What the HTTP endpoints say of the process: health, readiness, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from kdns.frontend.http import Place
from kdns.frontend.page import Page
from kdns.plugins.plan import Enabled, Plan
from kdns.plugins.site import Readiness
from kdns.telemetry.counts import Sockets
from kdns.telemetry.exposition import histogram_family
from kdns.telemetry.histogram import Histogram


class Ready:
    """The page `/ready`: 200, or 503 and the names of the plugins that are not ready."""

    def __init__(self, parts: Iterable[Readiness], *, sticky: bool) -> None:
        self._parts = list(parts)
        self._sticky = sticky
        self._was_ready: set[Readiness] = set()
        self.stopping = False

    def page(self) -> Page:
        if self.stopping:
            return Page(503, b"stopping")
        unready = {part.name: None for part in self._parts if not self._is_ready(part)}
        if unready:
            return Page(503, ",".join(unready).encode())
        return Page(200, b"OK")

    def _is_ready(self, part: Readiness) -> bool:
        if self._sticky and part.sticky and part in self._was_ready:
            return True
        if part.ready():
            self._was_ready.add(part)
            return True
        return False


Made = Page | Awaitable[Page]


def pages(
    plan: Plan, scrape: Callable[[], Made]
) -> tuple[dict[Place, dict[str, Callable[[], Made]]], list[Ready]]:
    """The pages that a plan asks for, by place, and those of them that tell of readiness.

    `scrape` makes the page of metrics.
    """
    requests = plan.requests
    wanted: dict[Place, dict[str, Callable[[], Made]]] = {}
    readiness: list[Ready] = []
    for health in requests.health:
        wanted.setdefault(health.address, {})["/health"] = lambda: Page(200, b"OK")
    for ready in requests.ready:
        page = Ready(requests.readiness, sticky=ready.sticky)
        readiness.append(page)
        wanted.setdefault(ready.address, {})["/ready"] = page.page
    for address in requests.metrics:
        wanted.setdefault(address, {})["/metrics"] = scrape
    return wanted, readiness


def enabled_metrics(enabled: Iterable[Enabled]) -> Iterator[Metric]:
    """`coredns_plugin_enabled`: which server block has which plugin."""
    family = GaugeMetricFamily(
        "coredns_plugin_enabled",
        "A metric that indicates whether a plugin is enabled on per server and zone basis.",
        labels=["server", "zone", "view", "name"],
    )
    for server, zone, plugin in enabled:
        family.add_metric([server, zone, "", plugin], 1)
    yield family


def reload_metrics(failed: int, digest: str) -> Iterator[Metric]:
    """`coredns_reload_…`: reloads that were refused, and the digest of what is served."""
    yield CounterMetricFamily(
        "coredns_reload_failed", "Counter of the number of failed reload attempts.", value=failed
    )
    version = GaugeMetricFamily(
        "coredns_reload_version_info",
        "A metric with a constant '1' value labeled by hash, and value which type of hash"
        " generated.",
        labels=["hash", "value"],
    )
    version.add_metric(["sha512", digest], 1)
    yield version


def health_metrics(durations: Histogram, failures: int) -> Iterator[Metric]:
    """`coredns_health_…`: how the health page answers this process itself."""
    yield histogram_family(
        "coredns_health_request_duration_seconds",
        "Histogram of the time (in seconds) each request to the health page took.",
        [],
        {(): durations},
    )
    yield CounterMetricFamily(
        "coredns_health_request_failures",
        "The number of times the health page could not be had.",
        value=failures,
    )


def socket_metrics(sockets: Sockets) -> Iterator[Metric]:
    """`kdns_…`: what the sockets could not do."""
    yield CounterMetricFamily(
        "kdns_udp_unsent",
        "Counter of UDP replies that the system did not take.",
        value=sockets.unsent,
    )
    yield CounterMetricFamily(
        "kdns_udp_dropped",
        "Counter of UDP queries dropped as too many were waiting for a reply.",
        value=sockets.dropped,
    )
    yield CounterMetricFamily(
        "kdns_tcp_refused", "Counter of TCP connections over a limit.", value=sockets.refused
    )
