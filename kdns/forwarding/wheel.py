"""What is to be done later, by time: one tick for all of it instead of a timer each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

_log: Final = logging.getLogger("plugin/forward")

TICK: Final = 0.01
"""Seconds; nothing is done before its time, and all of it less than two ticks after."""

Work = Callable[[float], None]
"""Told what time it is."""


class Wheel:
    """Work by the tick that it is due in.

    There is no taking back: work that has become void says so itself when it is called.
    """

    def __init__(self) -> None:
        self.wake: Callable[[], None] = _nobody
        """Called when there is something to wait for, and was not before."""
        self._slots: dict[int, list[Work]] = {}
        self._soonest = 0
        self._turned = 0

    def __bool__(self) -> bool:
        return bool(self._slots)

    def at(self, when: float, work: Work) -> None:
        """Do this at a time in seconds of the clock that `turn` is told."""
        tick = int(when / TICK) + 1
        slot = self._slots.get(tick)
        if slot is not None:
            slot.append(work)
        elif self._slots:
            self._slots[tick] = [work]
            self._soonest = min(self._soonest, tick)
        else:
            self._slots[tick] = [work]
            self._soonest = tick
            self.wake()

    def turn(self, now: float) -> None:
        """Do what is due. What fails is logged, and keeps nothing else from being done."""
        tick = int(now / TICK)
        while self._slots and self._soonest <= tick:
            slot = self._slots.pop(self._soonest, ())
            self._soonest += 1
            for work in slot:
                try:
                    work(now)
                except Exception:  # noqa: BLE001 - questions wait for what else is due
                    _log.exception("a question to an upstream was not followed up")


def _nobody() -> None:
    pass


class Ticker:
    """Turns a wheel for as long as something is on it."""

    def __init__(
        self, wheel: Wheel, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]
    ) -> None:
        self._wheel = wheel
        self._loop = loop
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        wheel.wake = self._arm

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        self._timer = None
        try:
            self._wheel.turn(self._clock())
        finally:
            if self._wheel:
                self._arm()

    def close(self) -> None:
        """Turn no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._wheel.wake = _nobody
