"""The nodes, listed and watched, against a scripted API server."""

from __future__ import annotations

import logging

import pytest

from kdns.autoscaler.api import ApiError, NodeEvent, TooOld
from kdns.autoscaler.census import Census, Node
from kdns.autoscaler.nodes import STALE, NodeWatch
from tests.autoscaler.scripted import CORE, Clock, ScriptedApi

BIG = Node(True, 8 * CORE)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def api():
    return ScriptedApi(nodes=2)


@pytest.fixture
def watch(api, clock):
    return NodeWatch(api, "", clock, lambda seconds: True)


def test_not_known_before_they_were_listed(watch):
    with pytest.raises(ApiError, match="not asked for yet"):
        watch.census()


def test_listed_and_then_watched_from_there(watch, api):
    watch.step()
    assert watch.census() == Census(2, 8, 2, 8)

    api.watched = [
        NodeEvent("n2", BIG, "8"),
        NodeEvent("n0", Node(False, 4 * CORE), "9"),
        NodeEvent("n1", None, "10"),
        NodeEvent("n9", None, "11"),
        NodeEvent("", None, "12"),
    ]
    watch.step()
    assert watch.census() == Census(1, 8, 2, 12)

    api.watched = []
    watch.step()
    assert api.asked == ["nodes", "changes since 7", "changes since 12"]


@pytest.mark.parametrize(
    ("failure", "asked"),
    [
        (TooOld("cannot watch nodes: too old"), ["nodes", "changes since 7", "nodes"]),
        (ApiError("cannot watch nodes: reset"), ["nodes", "changes since 7", "changes since 8"]),
    ],
)
def test_watch_that_fails_goes_on_where_it_can(watch, api, failure, asked):
    watch.step()
    api.watched = [NodeEvent("n2", BIG, "8"), failure]
    watch.step()
    assert watch.census().nodes == 3, "what was known stays known"
    assert watch.why == str(failure)
    api.watched = []
    watch.step()
    assert api.asked == asked


def test_pauses_grow_with_failures_and_end_with_them(watch, api):
    api.broken["nodes"] = "cannot list nodes: no"
    pauses = []
    for _ in range(8):
        watch.step()
        pauses.append(watch.pause_before_next())
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    api.broken.clear()
    watch.step()
    assert watch.pause_before_next() == 1


def test_pause_is_short_where_the_api_server_is_back_and_knows_nothing(watch, api):
    watch.step()
    api.watched = [ApiError("cannot watch nodes: refused")]
    for _ in range(5):
        watch.step()
    assert watch.pause_before_next() == 16
    api.watched = [TooOld("cannot watch nodes: too old")]
    watch.step()
    assert watch.pause_before_next() == 1
    watch.step()
    assert api.asked[-1] == "nodes"


def test_failure_is_said_once_and_so_is_its_end(watch, api, caplog):
    caplog.set_level(logging.INFO)
    api.broken["nodes"] = "cannot list nodes: forbidden (403)"
    for _ in range(3):
        watch.step()
    with pytest.raises(ApiError, match="forbidden"):
        watch.census()
    api.broken.clear()
    watch.step()
    assert caplog.messages == [
        "cannot list nodes: forbidden (403)",
        "nodes are followed again",
    ]


def test_silence_is_counted_from_what_was_heard_last(watch, api, clock):
    clock.now += 5
    assert watch.silence == 5
    watch.step()
    assert watch.silence == 0
    clock.now += 60
    watch.step()
    assert watch.silence == 0, "a watch that ends in order has said that nothing changed"
    api.broken["changes since 7"] = "cannot watch nodes: connection refused"
    clock.now += STALE
    watch.step()
    assert watch.silence == STALE


def test_runs_until_it_is_told_to_end(api, clock):
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        return len(pauses) == 4

    NodeWatch(api, "", clock, pause).run()
    assert pauses == [1, 1, 1, 1]
    assert api.asked == ["nodes", "changes since 7", "changes since 7"]
