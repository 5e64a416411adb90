"""An event loop of a page: descriptors and timers for a process too small for asyncio."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable


class Timer:
    """A call that is due at `when`; `cancel` it, and it never comes."""

    __slots__ = ("call", "when")

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """Runs calls when their descriptor is ready or their time has come, one after another.

    What a call raises goes to `broken`; the loop goes on.
    """

    def __init__(
        self,
        broken: Callable[[Exception], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self._broken = broken
        self._poll = select.epoll()
        self._ready: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def watch(self, descriptor: int, call: Callable[[], None], events: int | None = None) -> None:
        """Call whenever the descriptor can be read, or is as `events` (select.EPOLL*) says."""
        mask = select.EPOLLIN if events is None else events
        if descriptor in self._ready:
            self._poll.modify(descriptor, mask)
        else:
            self._poll.register(descriptor, mask)
        self._ready[descriptor] = call

    def forget(self, descriptor: int) -> None:
        """Watch no more; before the descriptor is closed."""
        if self._ready.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call once, `seconds` from now."""
        timer = Timer(self.clock() + seconds, call)
        heapq.heappush(self._timers, (timer.when, next(self._order), timer))
        return timer

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """Call again and again, `seconds` from the end of one to the start of the next."""

        def again() -> None:
            try:
                call()
            finally:
                self.after(seconds, again)

        self.after(seconds, again)

    def run(self, until: Callable[[], bool]) -> None:
        """Turn until `until` says so; it is asked after every turn."""
        while not until():
            self.turn()

    def turn(self) -> None:
        """Wait for what is due next, and call it."""
        for descriptor, _ in self._poll.poll(self._patience()):
            if call := self._ready.get(descriptor):
                self._guarded(call)
        now = self.clock()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.call is not None:
                self._guarded(timer.call)

    def close(self) -> None:
        self._poll.close()

    def _patience(self) -> float | None:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - self.clock())

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - nobody else would hold the rules
            self._broken(error)
