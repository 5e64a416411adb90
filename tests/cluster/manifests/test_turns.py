"""Turns for other threads: a rest after each half millisecond of work, once somebody wants one."""

from __future__ import annotations

import pytest

from kdns.cluster.manifests.turns import Turns


class _Time:
    """Each item worked on takes `step` seconds; `rests` are the clock's readings at each rest."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.rests: list[float] = []
        self._step = step

    def sleep(self, seconds: float) -> None:
        assert seconds == 0.0005
        self.rests.append(round(self.now * 1000, 3))
        self.now += seconds

    def work_through(self, turns: Turns, count: int) -> None:
        for expected, item in enumerate(turns.each(range(count))):
            assert item == expected
            self.now += self._step


@pytest.mark.parametrize(
    ("wanted", "step", "count", "rests"),
    [
        (False, 0.001, 100, []),
        (True, 0.00001, 48, []),
        (True, 0.0001, 50, [1.6, 3.7, 5.8]),
        (True, 0.01, 1, []),
    ],
    ids=["nobody wants one", "little work", "long work", "one item"],
)
def test_each(wanted: bool, step: float, count: int, rests: list[float]) -> None:
    time = _Time(step)
    turns = Turns(lambda: time.now, time.sleep)
    turns.wanted = wanted
    time.work_through(turns, count)
    assert time.rests == rests


def test_work_before_counts() -> None:
    time = _Time(0.0)
    turns = Turns(lambda: time.now, time.sleep)
    turns.wanted = True
    for now in (0.0004, 0.0006, 0.0013, 0.0017):
        time.now = now
        turns.rest()
    assert time.rests == [0.6, 1.7]
