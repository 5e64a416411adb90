"""What is said over HTTP, and when that is that something is wrong."""

from __future__ import annotations

import http.client
import socket
from contextlib import closing

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kdns.autoscaler.api import Target
from kdns.autoscaler.nodes import STALE, NodeWatch
from kdns.autoscaler.pages import Pages, served
from kdns.autoscaler.scaler import Order, Scaler
from tests.autoscaler.scripted import Clock, ScriptedApi

EVERY_NODE = {"linear": '{"nodesPerReplica":1}'}
PREFIX = "kdns_autoscaler_"


class Running:
    def __init__(self):
        self.api = ScriptedApi(3, EVERY_NODE, coredns=1)
        self.clock = Clock()
        self.nodes = NodeWatch(self.api, "", self.clock, lambda seconds: True)
        order = Order([Target("deployment", "coredns")], "coredns-autoscaler")
        self.scaler = Scaler(self.api, self.nodes, order, self.clock)
        self.pages = Pages(self.scaler, self.nodes, self.clock)

    def poll(self):
        self.nodes.step()
        self.scaler.poll()

    def metrics(self):
        text = self.pages.page("/metrics").body.decode()
        samples = [
            each for family in text_string_to_metric_families(text) for each in family.samples
        ]
        return {each.name.removeprefix(PREFIX): each.value for each in samples}


@pytest.fixture
def running():
    return Running()


def test_health_while_all_is_well(running):
    assert running.pages.page("/healthz")[:2] == (200, b"ok\n")
    running.clock.now += 60
    running.poll()
    running.clock.now += 80
    assert running.pages.page("/healthz").status == 200


def test_health_where_no_poll_ends(running):
    running.poll()
    running.clock.now += 60
    running.nodes.step()
    running.clock.now += 21
    assert running.pages.page("/healthz")[:2] == (500, b"no poll has ended for 81 seconds\n")
    running.poll()
    assert running.pages.page("/healthz").status == 200


def test_health_where_nothing_is_heard_of_the_nodes(running):
    running.poll()
    running.api.broken["changes since 7"] = "cannot watch nodes: connection refused"
    running.clock.now += STALE
    running.poll()
    assert running.pages.page("/healthz").status == 200
    running.clock.now += 1
    assert running.pages.page("/healthz")[:2] == (
        500,
        b"nothing was heard of the nodes for 151 seconds: cannot watch nodes: connection refused\n",
    )
    running.api.broken.clear()
    running.nodes.step()
    assert running.pages.page("/healthz").status == 200


def test_health_where_they_were_never_listed(running):
    running.api.broken["nodes"] = "cannot list nodes: forbidden (403)"
    running.clock.now += STALE + 1
    running.poll()
    page = running.pages.page("/healthz")
    assert page.status == 500
    assert b"forbidden (403)" in page.body


def test_bad_configmap_is_the_polls_and_not_the_process(running):
    running.poll()
    running.api.configure()
    running.poll()
    assert running.pages.page("/healthz").status == 200, "a restart would mend nothing"
    page = running.pages.page("/last-poll")
    assert page.status == 500
    assert page.body == (
        b"the last poll failed: nothing is scaled until ConfigMap coredns-autoscaler is mended:"
        b" it must have one key, linear or ladder, and has none\n"
    )
    running.api.configure(**EVERY_NODE)
    running.poll()
    assert running.pages.page("/last-poll")[:2] == (200, b"ok\n")


def test_last_poll_before_the_first(running):
    assert running.pages.page("/last-poll")[:2] == (200, b"there was no poll yet\n")


def test_metrics(running):
    assert running.metrics() == {
        "nodes_age_seconds": 0,
        "polls_total": 0,
        "poll_failures_total": 0,
        "scalings_total": 0,
    }
    running.poll()
    assert running.metrics() == {
        "nodes": 3,
        "schedulable_nodes": 3,
        "cores": 12,
        "schedulable_cores": 12,
        "wanted_replicas": 3,
        "nodes_age_seconds": 0,
        "polls_total": 1,
        "poll_failures_total": 0,
        "scalings_total": 1,
    }
    running.api.configure()
    running.clock.now += 10
    running.poll()
    metrics = running.metrics()
    assert metrics["poll_failures_total"] == 1
    assert metrics["nodes"] == 3
    assert "wanted_replicas" not in metrics


def ask(port, method, path, host="127.0.0.1"):
    with closing(http.client.HTTPConnection(host, port, timeout=10)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type"), response.read()


@pytest.mark.parametrize(
    ("method", "path", "status", "kind", "body"),
    [
        ("GET", "/healthz", 200, "text/plain", b"ok\n"),
        ("HEAD", "/healthz", 200, "text/plain", b""),
        ("GET", "/healthz?verbose", 200, "text/plain", b"ok\n"),
        ("GET", "/last-poll", 500, "text/plain", b"the last poll failed: they were not asked"),
        ("GET", "/metrics", 200, "text/plain; version=", b"# HELP kdns_autoscaler_nodes_age"),
        ("GET", "/%0d%0a<b>", 404, "text/plain", b"404: there is no such page\n"),
        ("POST", "/healthz", 501, "text/html", b""),
    ],
)
def test_over_http(running, method, path, status, kind, body):
    running.scaler.poll()
    with served(running.pages, 0) as port:
        answer = ask(port, method, path)
    assert answer[0] == status
    assert answer[1].startswith(kind)
    assert answer[2].startswith(body)


def test_over_ipv6(running):
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with served(running.pages, 0) as port:
        assert ask(port, "GET", "/healthz", "::1")[0] == 200


def test_connections_that_say_nothing_are_bounded(running):
    with served(running.pages, 0) as port:
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(80)]
        # The last ones are closed at once, which reads as the end of what they are sent.
        silent[-1].settimeout(10)
        assert silent[-1].recv(1) == b""
        for each in silent:
            each.close()


def test_port_that_is_taken(running):
    with served(running.pages, 0) as port, pytest.raises(OSError, match="in use"):
        served(running.pages, port).__enter__()
