"""Turns for other threads in the midst of long work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_WORK = 0.0005  # seconds
_REST = 0.0005  # seconds
_LOOKED_AT = 16  # items between two looks at the clock

T = TypeVar("T")


class Turns:
    """Has the thread that works through `each` rest for as long as it worked, once it is `wanted`.

    The interpreter has threads take turns too, but where they share a core one that never rests
    keeps it until the scheduler's next tick, which is milliseconds away.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.wanted = False
        self._clock = clock
        self._sleep = sleep
        self._since = clock()

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """The items, with a rest between them when it is time."""
        for index, item in enumerate(items):
            if index % _LOOKED_AT == 0:
                self.rest()
            yield item

    def rest(self) -> None:
        """Rest if it is time."""
        if self.wanted and self._clock() - self._since > _WORK:
            self._sleep(_REST)
            self._since = self._clock()
