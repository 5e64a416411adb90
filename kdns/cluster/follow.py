"""Keeping records up with a feed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing
from typing import Final

from kdns.cluster.feed import Event, Feed

_log: Final = logging.getLogger("plugin/kubernetes")

COMPLAIN_AGAIN: Final = 60.0
SLICE: Final = 0.001
"""Longest time in seconds that changes are applied without a turn for anybody else."""


async def _pass() -> None:
    await asyncio.sleep(0)


async def follow(
    feed: Feed,
    apply: Callable[[Event], Collection[bytes]],
    forget: Callable[[Collection[bytes]], None],
    clock: Callable[[], float],
    pause: Callable[[], Awaitable[None]] = _pass,
) -> None:
    """Apply a feed's events for as long as it has any, and have what they touch forgotten.

    Queries are answered between the slices of a long run of events, in `pause`. `clock` counts
    seconds.
    """
    turn = clock()
    complained = float("-inf")
    unsaid = 0
    async with aclosing(feed.events()) as events:
        async for event in events:
            try:
                if touched := apply(event):
                    forget(touched)
            except Exception:  # noqa: BLE001 - one object must not end the watch
                unsaid += 1
                if clock() - complained >= COMPLAIN_AGAIN:
                    _log.exception("%d changes could not be applied, lastly %.200r", unsaid, event)
                    complained, unsaid = clock(), 0
            if clock() - turn > SLICE:
                await pause()
                turn = clock()
