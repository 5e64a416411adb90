"""Polls against a scripted API server, by a clock that is told the time."""

from __future__ import annotations

import logging

import pytest

from kdns.autoscaler.api import Target
from kdns.autoscaler.census import Census
from kdns.autoscaler.nodes import NodeWatch
from kdns.autoscaler.scaler import Order, Scaler
from tests.autoscaler.scripted import LINEAR, Clock, ScriptedApi

DNS = Target("deployment", "coredns")
EVERY_NODE = {"linear": '{"nodesPerReplica":1}'}


class Running:
    """A scaler over an API server; the nodes are listed anew before each poll."""

    def __init__(self, api, **order):
        order = {"targets": [DNS], "configmap": "coredns-autoscaler", **order}
        self.api = api
        self.clock = Clock()
        self.nodes = NodeWatch(api, "", self.clock, lambda seconds: True)
        self.scaler = Scaler(api, self.nodes, Order(**order), self.clock)
        self.polls = self.scaler.polls

    def poll(self):
        self.nodes.step()
        self.scaler.poll()
        return self.polls.error


def test_scale_is_written_only_where_it_differs():
    running = Running(ScriptedApi(40, {"linear": LINEAR}, coredns=1))
    for _ in range(3):
        assert running.poll() == ""
    assert running.api.written == [("deployment/coredns", 3)]
    assert running.api.asked.count("scale") == 3
    assert running.polls.writes == 1
    assert running.polls.wanted == 3
    assert running.polls.census == Census(40, 160, 40, 160)


def test_every_target_is_scaled_and_one_that_is_missing_holds_up_none():
    targets = [DNS, Target("replicaset", "gone"), Target("replicationcontroller", "old")]
    running = Running(ScriptedApi(3, EVERY_NODE, coredns=1, old=9), targets=targets)
    assert running.poll() == "cannot get the scale of replicaset/gone: not found"
    assert running.api.written == [("deployment/coredns", 3), ("replicationcontroller/old", 3)]
    assert running.polls.wanted == 3


def test_what_somebody_else_wrote_is_put_right():
    running = Running(ScriptedApi(3, EVERY_NODE, coredns=1))
    running.poll()
    running.api.replicas["coredns"] = 17
    running.poll()
    assert running.api.replicas["coredns"] == 3


@pytest.mark.parametrize(
    "bad",
    [{}, {"linear": "{"}, {"linear": LINEAR, "ladder": "{}"}, {"nonsense": "{}"}],
    ids=["empty", "no JSON", "two keys", "unknown"],
)
def test_bad_configmap_stops_scaling_and_is_an_error_until_it_is_mended(bad, caplog):
    running = Running(ScriptedApi(3, EVERY_NODE, coredns=3))
    assert running.poll() == ""

    running.api.configure(**bad)
    running.api.replicas["coredns"] = 1
    for _ in range(3):
        assert running.poll().startswith(
            "nothing is scaled until ConfigMap coredns-autoscaler is mended: "
        )
    assert running.api.written == []
    assert running.polls.wanted is None
    assert running.polls.failures_in_a_row == 3
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 3

    running.api.configure(**EVERY_NODE)
    assert running.poll() == ""
    assert running.api.written == [("deployment/coredns", 3)]
    assert (running.polls.count, running.polls.failures) == (5, 3)
    assert running.polls.failures_in_a_row == 0


def test_configmap_is_read_again_only_when_its_version_changes(caplog):
    caplog.set_level(logging.INFO)
    running = Running(ScriptedApi(3, EVERY_NODE, coredns=3))
    running.poll()
    running.poll()
    running.api.configure(ladder='{"nodesToReplicas":[[1,7]]}')
    running.poll()
    running.poll()
    assert running.polls.wanted == 7
    told = [each for each in caplog.messages if each.startswith("scaling by")]
    assert len(told) == 2
    assert "Linear(cores_per_replica=0.0, nodes_per_replica=1.0, min=1, max=0" in told[0]
    assert "Ladder(by_cores=(), by_nodes=((1, 7),)" in told[1]


def test_configmap_is_created_where_there_are_defaults():
    running = Running(ScriptedApi(3, coredns=1), defaults=EVERY_NODE)
    assert running.poll() == ""
    assert running.poll() == ""
    assert running.api.data == EVERY_NODE
    assert running.api.asked.count("create") == 1
    assert running.api.replicas["coredns"] == 3


def test_no_configmap_and_no_defaults():
    running = Running(ScriptedApi(3, coredns=1))
    assert running.poll() == (
        "there is no ConfigMap coredns-autoscaler: create it, or give --default-params"
    )
    assert running.api.written == []


@pytest.mark.parametrize("broken", ["nodes", "settings", "scale", "rescale"])
def test_failure_of_the_api_server_costs_a_poll_and_no_more(broken):
    running = Running(ScriptedApi(3, EVERY_NODE, coredns=1))
    running.api.broken[broken] = f"cannot do {broken}"
    running.clock.now += 1
    assert running.poll() == f"cannot do {broken}"
    assert running.polls.ended == running.clock.now
    running.api.broken.clear()
    assert running.poll() == ""
    assert running.api.replicas["coredns"] == 3


def test_nodes_that_cannot_be_watched_any_more_are_those_known_last():
    running = Running(ScriptedApi(3, EVERY_NODE, coredns=1))
    running.poll()
    running.api.broken["changes since 7"] = "cannot watch nodes: connection refused"
    running.api.replicas["coredns"] = 1
    assert running.poll() == ""
    assert running.api.replicas["coredns"] == 3


def test_no_replicas_at_all_are_done_with_a_warning(caplog):
    running = Running(ScriptedApi(3, {"ladder": "{}"}, coredns=3))
    assert running.poll() == ""
    assert running.api.replicas["coredns"] == 0
    [warning] = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert warning.getMessage() == (
        "deployment/coredns: from 3 to 0 replicas, for 3 nodes with 12 cores,"
        " of them 3 with 12 schedulable"
    )


class Pauses:
    """Waits by the clock, and ends after so many; `busy` is how long each poll took, in seconds."""

    def __init__(self, running, ends_after, busy=0.0):
        self.running = running
        self.left = ends_after
        self.told = []
        self.busy = busy
        ask = running.api.settings

        def slow(name):
            running.clock.now += self.busy
            return ask(name)

        running.api.settings = slow

    def __call__(self, seconds):
        self.told.append(seconds)
        self.running.clock.now += seconds
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize(
    ("busy", "told"),
    [(0.0, [10, 10, 10]), (3.0, [7, 7, 7]), (12.0, [0, 0, 0])],
    ids=["at once", "slow", "too slow"],
)
def test_polls_at_once_and_every_period(busy, told):
    running = Running(ScriptedApi(3, EVERY_NODE, coredns=1))
    running.nodes.step()
    pauses = Pauses(running, 3, busy)
    assert running.scaler.run(pauses)
    assert pauses.told == told
    assert running.polls.count == 3


@pytest.mark.parametrize(("most", "polls", "well"), [(0, 5, True), (3, 3, False), (6, 5, True)])
def test_failures_in_a_row_that_are_too_many_end_it(most, polls, well):
    running = Running(ScriptedApi(3, coredns=1), max_failures=most)
    running.nodes.step()
    assert running.scaler.run(Pauses(running, 5)) is well
    assert running.polls.failures == polls
