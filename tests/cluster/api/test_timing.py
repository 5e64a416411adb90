from __future__ import annotations

import asyncio

import pytest

from kdns.cluster.api.limits import Limiter, Limits
from kdns.cluster.api.stats import Durations
from kdns.cluster.api.timing import Backoff, Timing


@pytest.mark.parametrize(("chance", "first"), [(0, [0.8, 1.6, 3.2]), (1, [1.6, 3.2, 6.4])])
def test_backoff_doubles_up_to_its_cap_and_jitters(chance, first):
    timing = Timing(clock=lambda: 0.0, uniform=lambda low, high: (low, high)[chance])
    backoff = Backoff(timing)
    delays = [backoff.next() for _ in range(20)]

    assert delays[:3] == pytest.approx(first)
    assert max(delays) == 30 * (1 + chance)


def test_backoff_starts_again_after_two_healthy_minutes(time):
    backoff = Backoff(time.timing)
    for _ in range(5):
        time.now += backoff.next()
    time.now += 119
    assert backoff.next() == pytest.approx(25.6)
    time.now += 25.6 + 121
    assert backoff.next() == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("limits", "waits"),
    [
        (Limits(), [0] * 12),
        (Limits(qps=2, burst=1), [0, 0.5, 0.5, 0.5]),
        (Limits(qps=1), [0] * 10 + [1, 1]),
        (Limits(burst=2), [0, 0, 0.2, 0.2]),
    ],
)
async def test_requests_wait_their_turn(time, limits, waits):
    limiter = Limiter(limits, time.timing)
    waited = []
    for _ in waits:
        async with limiter.turn() as seconds:
            waited.append(seconds)

    assert waited == pytest.approx(waits)


async def test_pauses_fill_the_bucket_no_further_than_the_burst(time):
    limiter = Limiter(Limits(qps=1, burst=2), time.timing)
    time.now += 100
    for _ in range(3):
        async with limiter.turn():
            pass

    assert time.slept == [1]


async def test_requests_under_way_are_limited(time):
    limiter = Limiter(Limits(max_inflight=2), time.timing)
    done = asyncio.Event()
    inside = 0

    async def request():
        nonlocal inside
        async with limiter.turn():
            inside += 1
            await done.wait()

    requests = [asyncio.create_task(request()) for _ in range(3)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert inside == 2
    done.set()
    await asyncio.gather(*requests)
    assert inside == 3


def test_durations_are_counted_by_bucket():
    durations = Durations()
    for seconds in (0.001, 0.005, 0.006, 11):
        durations.observe(seconds)

    assert durations.counts == [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert durations.sum == pytest.approx(11.012)
