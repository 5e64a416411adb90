"""Events on their way from a feed into a store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from itertools import count

import pytest

from kdns.cluster.feed import Delete, Event
from kdns.cluster.follow import COMPLAIN_AGAIN, SLICE, follow


class Told:
    """A feed of so many events."""

    def __init__(self, events: int) -> None:
        self.events_left = events
        self.closed = False

    async def events(self) -> AsyncGenerator[Event, None]:
        try:
            for number in range(self.events_left):
                yield Delete("Service", "default", f"s{number}")
        finally:
            self.closed = True


def ticking(step: float):
    steps = count()
    return lambda: next(steps) * step


async def test_what_is_touched_is_forgotten() -> None:
    forgotten: list[object] = []
    feed = Told(3)
    touched = iter([{b"a"}, (), {b"b", b"c"}])
    await follow(feed, lambda _: next(touched), forgotten.append, lambda: 0.0)

    assert forgotten == [{b"a"}, {b"b", b"c"}]
    assert feed.closed


@pytest.mark.parametrize("failing", ["apply", "forget"])
async def test_a_defect_ends_nothing_and_is_said_once_a_minute(caplog, failing) -> None:
    applied: list[Event] = []

    def apply(event: Event) -> Iterable[bytes]:
        applied.append(event)
        if failing == "apply":
            raise RuntimeError("a defect")
        return {b"a"}

    def forget(_: object) -> None:
        if failing == "forget":
            raise RuntimeError("a defect")

    # Each failure looks at the clock twice or thrice: three lines at 0, 60 and 120 s, about.
    await follow(Told(100), apply, forget, ticking(0.65), _nothing)

    assert len(applied) == 100
    assert 2 <= len(caplog.messages) <= 1 + 100 * 3 * 0.65 / COMPLAIN_AGAIN
    assert caplog.messages[0].startswith("1 changes could not be applied")


async def test_others_get_a_turn_in_a_long_run_of_events() -> None:
    turns: list[int] = []
    applied: list[Event] = []

    async def pause() -> None:
        turns.append(len(applied))

    await follow(
        Told(20), lambda event: applied.append(event) or (), print, ticking(SLICE / 5), pause
    )

    assert turns
    assert max(b - a for a, b in zip([0, *turns], turns, strict=False)) <= 6


async def _nothing() -> None:
    pass
