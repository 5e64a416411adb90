"""What an address's probes come to, with outcomes that the test gives."""

from __future__ import annotations

import pytest

from kdns.node import pulse
from kdns.node.probe import ANSWERED, AUTHORITATIVE, LOST
from kdns.node.pulse import INTERVAL, Pulse


class Clock:
    now = 0.0

    def clock(self):
        return self.now


class Bench:
    """A pulse whose probes come to what `outcome` says; None is silence."""

    def __init__(self, monkeypatch):
        self.outcome = {False: AUTHORITATIVE, True: AUTHORITATIVE}
        self.asked = []
        self.turns = []
        self.ours = True
        self.loop = Clock()
        bench = self

        class Probe:
            def __init__(self, loop, address, port, stream, done):
                bench.asked.append(stream)
                outcome = bench.outcome[stream]
                self.open = outcome is None
                if outcome is not None:
                    done(outcome)

            def give_up(self):
                self.open = False

        monkeypatch.setattr(pulse, "Probe", Probe)
        self.pulse = Pulse(self.loop, "10.96.0.10", 53, lambda _: self.ours, self._turned)

    def _turned(self):
        self.turns.append(self.pulse.alive)

    def beat(self, times=1):
        for _ in range(times):
            self.pulse.beat()
            self.loop.now += INTERVAL


@pytest.fixture
def bench(monkeypatch):
    return Bench(monkeypatch)


def test_first_answers_bring_it_to_life(bench):
    bench.beat()
    assert bench.turns == [True]
    assert bench.pulse.proved


def test_answers_of_somebody_else_prove_nothing(bench):
    bench.outcome = {False: ANSWERED, True: ANSWERED}
    bench.beat()
    assert bench.turns == [True]
    assert not bench.pulse.proved


def test_it_waits_for_the_server_that_it_is_about(bench):
    bench.ours = False
    bench.beat(5)
    assert bench.turns == []
    bench.ours = True
    bench.beat()
    assert bench.turns == [True]


@pytest.mark.parametrize("stream", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("outcome", [LOST, None], ids=["refused", "silent"])
def test_one_protocol_alone_is_not_enough(bench, stream, outcome):
    bench.outcome[stream] = outcome
    bench.beat(5)
    assert bench.turns == []


@pytest.mark.parametrize("outcome", [LOST, None], ids=["refused", "silent"])
def test_three_in_a_row_end_it_within_600_ms(bench, outcome):
    bench.beat()
    silent_from = bench.loop.now
    bench.outcome[False] = outcome
    while bench.pulse.alive:
        bench.beat()
    assert bench.turns == [True, False]
    # The last beat is over when it has counted, which is before the clock moves on.
    assert bench.loop.now - INTERVAL - silent_from <= 0.6
    assert bench.pulse.silent_since is not None


def test_two_in_a_row_do_not(bench):
    bench.beat()
    for _ in range(4):
        bench.outcome[False] = LOST
        bench.beat(2)
        bench.outcome[False] = AUTHORITATIVE
        bench.beat()
    assert bench.turns == [True]
    assert bench.pulse.silent_since is None


def test_streams_are_asked_seldom_until_one_is_lost(bench):
    bench.beat(15)
    assert bench.asked.count(False) == 15
    assert bench.asked.count(True) == 3
    bench.outcome[True] = LOST
    bench.beat(10)
    assert bench.turns == [True, False]


def test_coming_back_takes_three(bench):
    bench.beat()
    bench.outcome[False] = LOST
    bench.beat(3)
    bench.outcome[False] = AUTHORITATIVE
    bench.beat(2)
    assert bench.turns == [True, False]
    bench.beat()
    assert bench.turns == [True, False, True]


def test_another_server_starts_anew(bench):
    bench.beat()
    bench.outcome[False] = LOST
    bench.beat(3)
    bench.pulse.forget()
    assert not bench.pulse.proved
    assert bench.pulse.silent_since is None
    bench.outcome[False] = AUTHORITATIVE
    bench.beat()
    assert bench.turns == [True, False, True]
