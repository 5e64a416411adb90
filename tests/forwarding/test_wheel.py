"""Work is done once, in its time, whatever other work does."""

from __future__ import annotations

import asyncio
import logging

import pytest

from kdns.forwarding.wheel import TICK, Ticker, Wheel


@pytest.mark.parametrize(
    ("now", "done"),
    [(0.0, []), (0.099, []), (0.12, ["a"]), (0.22, ["a", "b"]), (9.0, ["a", "b", "late"])],
    ids=["at once", "before", "first", "second", "all"],
)
def test_work_is_done_when_it_is_due(now, done):
    wheel, seen = Wheel(), []
    for when, name in ((0.2, "b"), (0.1, "a"), (5.0, "late")):
        wheel.at(when, lambda _, name=name: seen.append(name))
    wheel.turn(now)
    assert seen == done
    wheel.turn(now)
    assert seen == done
    assert bool(wheel) is (len(done) < 3)


def test_nothing_is_done_early_nor_two_ticks_late():
    wheel, seen = Wheel(), []
    for number in range(500):
        wheel.at(number / 317, lambda now, due=number / 317: seen.append(now - due))
    for tick in range(300):
        wheel.turn(tick * TICK)
    assert len(seen) == 500
    assert all(0 <= late <= 2 * TICK for late in seen)


def test_work_may_bring_work():
    wheel, seen = Wheel(), []
    wheel.at(1.0, lambda now: wheel.at(now - 1, seen.append))
    wheel.turn(1.5)
    wheel.turn(1.51)
    assert len(seen) == 1


def test_work_that_fails_keeps_nothing_from_being_done(caplog):
    wheel, seen = Wheel(), []
    wheel.at(1.0, lambda _: 1 / 0)
    wheel.at(1.0, seen.append)
    wheel.turn(2.0)
    assert seen == [2.0]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_ticker_turns_while_there_is_work():
    loop, wheel = asyncio.get_running_loop(), Wheel()
    ticker = Ticker(wheel, loop, loop.time)
    done = asyncio.Event()
    wheel.at(loop.time() + 2 * TICK, lambda _: wheel.at(loop.time() + TICK, lambda _: done.set()))
    await asyncio.wait_for(done.wait(), 5)
    assert not wheel
    ticker.close()
    wheel.at(loop.time(), lambda _: pytest.fail("it was closed"))
    await asyncio.sleep(0)
