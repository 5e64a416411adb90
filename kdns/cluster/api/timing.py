"""Time and chance as the API room uses them, and the back-off made from them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

FIRST_DELAY: Final = 0.8
LAST_DELAY: Final = 30.0
HEALTHY_AFTER: Final = 120.0


@dataclass(frozen=True, slots=True)
class Timing:
    """`clock` and `wall` count seconds, `wall` those of the Unix epoch.

    `timeout(seconds)` raises TimeoutError out of its block when they are over.
    """

    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform
    timeout: Callable[[float], AbstractAsyncContextManager[object]] = asyncio.timeout


class Backoff:
    """Delays as client-go's reflector has them.

    0.8 s, doubled up to 30 s, each made up to twice as long by chance; from the start again when
    the last failure is two minutes ago.
    """

    __slots__ = ("_delay", "_last", "_timing")

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._delay = FIRST_DELAY
        self._last = timing.clock()

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        now = self._timing.clock()
        if now - self._last > HEALTHY_AFTER:
            self._delay = FIRST_DELAY
        delay = self._delay * self._timing.uniform(1.0, 2.0)
        self._delay = min(self._delay * 2, LAST_DELAY)
        self._last = now + delay
        return delay
