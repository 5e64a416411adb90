"""Forwarders of one process beside each other, and what they count together."""

from __future__ import annotations

import asyncio

import pytest

from kdns.forwarders import Forwarders
from kdns.forwarding.exchange import Question
from kdns.forwarding.options import Options, Target
from kdns.telemetry.series import SeriesRegistry

TARGET = Target("dns", "192.0.2.1", 53)
OTHER = Target("dns", "192.0.2.2", 53)
ONE, TWO = Options((TARGET,)), Options((TARGET, OTHER), prefer_udp=True)
NAME = str(TARGET)


@pytest.fixture
async def series() -> SeriesRegistry:
    return SeriesRegistry()


@pytest.fixture
async def forwarders(series: SeriesRegistry):
    made = Forwarders(series, asyncio.get_running_loop(), lambda: 1000.0)
    yield made
    made.keep(())


def values(series: SeriesRegistry, name: str) -> dict[str, float]:
    """Of one metric, by upstream."""
    return {
        sample.labels["to"]: sample.value
        for metric in series.metrics()
        for sample in metric.samples
        if sample.name == name
    }


def ask(forwarders: Forwarders, options: Options, times: int) -> None:
    """Count so many questions at the first upstream, which are given up at once."""
    section = b"\1a\0\0\1\0\1"
    for _ in range(times):
        pending = forwarders.forwarder(options).probe(
            NAME, Question(section, 0, False), lambda _: True
        )
        assert pending is not None
        pending.give_up()


async def test_what_several_ask_of_one_upstream_is_counted_together(forwarders, series) -> None:
    misses = "coredns_proxy_conn_cache_misses_total"
    ask(forwarders, ONE, 2)
    ask(forwarders, TWO, 3)
    forwarders.measure()
    assert values(series, misses)[NAME] == 5
    ask(forwarders, ONE, 1)
    forwarders.keep([ONE])
    forwarders.measure()
    forwarders.measure()
    assert values(series, misses) == {NAME: 6}


async def test_health_is_the_least_and_stays_as_one_of_them_goes(forwarders, series) -> None:
    healthy = "kdns_forward_upstream_healthy"
    one, _ = forwarders.forwarder(ONE), forwarders.forwarder(TWO)
    forwarders.measure()
    assert values(series, healthy) == {NAME: 1, str(OTHER): 1}
    one.aside(NAME, "leads back")
    forwarders.measure()
    assert values(series, healthy) == {NAME: 0, str(OTHER): 1}
    forwarders.keep([TWO])
    forwarders.measure()
    assert values(series, healthy) == {NAME: 1, str(OTHER): 1}


async def test_upstreams_that_are_gone_leave_no_series(forwarders, series) -> None:
    """A name may have other addresses each day."""
    forwarder = forwarders.forwarder(ONE)
    for number in range(100):
        target = TARGET._replace(port=1024 + number)
        forwarder.update([target])
        pending = forwarder.probe(str(target), Question(b"\0\0\1\0\1", 0, False), lambda _: True)
        assert pending is not None
        pending.give_up()
        forwarders.measure()
    assert {labels[1] for family, labels, _ in series.counts() if "proto" in family.labels} == {
        "192.0.2.1:1123"
    }
    assert list(values(series, "kdns_forward_upstream_healthy")) == ["192.0.2.1:1123"]
