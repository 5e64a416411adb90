"""What the autoscaler says of itself over HTTP: /healthz, /last-poll and /metrics."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from kdns.autoscaler.nodes import STALE, NodeWatch
from kdns.autoscaler.scaler import Scaler

_MAX_THREADS: Final = 32
_REQUESTS: Final = 60.0
"""Seconds that the requests of a poll may take, beside the time between polls."""

_TEXT: Final = "text/plain; charset=utf-8"


class Page(NamedTuple):
    """Status, body, and what it is."""

    status: int
    body: bytes
    kind: str = _TEXT


class Pages:
    """The pages of a scaler and of the nodes that it scales by."""

    def __init__(self, scaler: Scaler, nodes: NodeWatch, clock: Callable[[], float]) -> None:
        self._scaler = scaler
        self._nodes = nodes
        self._clock = clock
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def page(self, path: str) -> Page:
        """What a path says, 404 where there is no such page."""
        match path:
            case "/healthz":
                return self._health()
            case "/last-poll":
                return self._last_poll()
            case "/metrics":
                return Page(200, generate_latest(self._registry), CONTENT_TYPE_LATEST)
        return Page(404, b"404: there is no such page\n")

    def collect(self) -> Iterator[Metric]:
        """The metrics; what is not known is left out."""
        polls = self._scaler.polls
        if (census := polls.census) is not None:
            for name, every, schedulable in (
                ("nodes", census.nodes, census.schedulable_nodes),
                ("cores", census.cores, census.schedulable_cores),
            ):
                yield _gauge(name, f"All {name} of the cluster.", every)
                yield _gauge(
                    f"schedulable_{name}", f"The {name} where pods may be placed.", schedulable
                )
        if (wanted := polls.wanted) is not None:
            yield _gauge("wanted_replicas", "Replicas that each target is to have.", wanted)
        silence = self._nodes.silence
        yield _gauge("nodes_age_seconds", "Time since the nodes were last heard of.", silence)
        yield _counter("polls", "Polls of the cluster and the ConfigMap.", polls.count)
        yield _counter("poll_failures", "Polls that did not do what they were to.", polls.failures)
        yield _counter("scalings", "Scales of targets that were written.", polls.writes)

    def _health(self) -> Page:
        """500 where polls do not end, or the nodes are those of long ago."""
        wrong = []
        since = self._clock() - self._scaler.polls.ended
        if since > 2 * self._scaler.order.period + _REQUESTS:
            wrong.append(f"no poll has ended for {since:.0f} seconds")
        if (silence := self._nodes.silence) > STALE:
            why = self._nodes.why
            wrong.append(f"nothing was heard of the nodes for {silence:.0f} seconds: {why}")
        text = "\n".join(wrong) or "ok"
        return Page(500 if wrong else 200, f"{text}\n".encode())

    def _last_poll(self) -> Page:
        polls = self._scaler.polls
        if polls.error:
            return Page(500, f"the last poll failed: {polls.error}\n".encode())
        return Page(200, b"ok\n" if polls.count else b"there was no poll yet\n")


@contextmanager
def served(pages: Pages, port: int) -> Iterator[int]:
    """On every address of the machine, in threads, while the block lasts; gives the port.

    Raises OSError where it cannot have the port.
    """

    class Handler(_Handler):
        shown = pages

    with _Server(port, Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="pages", daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Of one connection; nothing of a request comes back in its response."""

    shown: ClassVar[Pages]
    timeout = 5.0

    def do_GET(self) -> None:
        """Called by http.server."""
        page = self.shown.page(self.path.partition("?")[0])
        self.send_response(page.status)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def do_HEAD(self) -> None:
        """Called by http.server."""
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Probes are no news."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        super().__init__(("", port), handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def verify_request(self, *_: Any) -> bool:
        """Connections that say nothing must not fill the memory."""
        return threading.active_count() < _MAX_THREADS

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no news."""


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"kdns_autoscaler_{name}", text, value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"kdns_autoscaler_{name}", text, value)
