"""The supervisor's event loop, by an injected clock where time matters."""

from __future__ import annotations

import os
import select

import pytest

from kdns.node.loop import Loop


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def broken():
    return []


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def loop(broken, clock):
    made = Loop(broken.append, clock)
    yield made
    made.close()


def test_timers_come_in_the_order_of_their_times(loop, clock):
    came = []
    for seconds in (3, 1, 2):
        loop.after(seconds, lambda seconds=seconds: came.append(seconds))
    clock.now += 2
    loop.turn()
    assert came == [1, 2]
    clock.now += 1
    loop.turn()
    assert came == [1, 2, 3]


def test_cancelled_timer_never_comes(loop, clock):
    came = []
    loop.after(1, lambda: came.append("first")).cancel()
    loop.after(2, lambda: came.append("second"))
    clock.now += 2
    loop.turn()
    assert came == ["second"]


def test_what_comes_again_survives_what_it_raises(loop, clock, broken):
    came = []

    def raises():
        came.append(clock.now)
        raise ValueError("no")

    loop.every(1, raises)
    for _ in range(3):
        clock.now += 1
        loop.turn()
    assert came == [101.0, 102.0, 103.0]
    assert [str(each) for each in broken] == ["no"] * 3


def test_descriptors(loop):
    read, write = os.pipe()
    came = []
    loop.watch(write, lambda: came.append("write"), select.EPOLLOUT)
    loop.turn()
    loop.forget(write)
    loop.forget(write)
    loop.watch(read, lambda: came.append(os.read(read, 8)))
    os.write(write, b"x")
    loop.run(lambda: len(came) == 2)
    assert came == ["write", b"x"]
    loop.forget(read)
    os.close(read)
    os.close(write)


def test_descriptor_that_an_earlier_call_forgets_is_not_called(loop):
    came = []
    pipes = [os.pipe() for _ in range(2)]

    def first_come(read):
        came.append(read)
        for each, _ in pipes:
            loop.forget(each)

    for read, write in pipes:
        loop.watch(read, lambda read=read: first_come(read))
        os.write(write, b"x")
    loop.turn()
    assert len(came) == 1
    for read, write in pipes:
        os.close(read)
        os.close(write)
