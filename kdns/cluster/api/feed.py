"""The API server as a feed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from kdns.cluster.api.access import Access
from kdns.cluster.api.client import Client
from kdns.cluster.api.consistency import Consistency
from kdns.cluster.api.limits import Limits
from kdns.cluster.api.outage import Outage
from kdns.cluster.api.reflector import Reflector
from kdns.cluster.api.resources import Resource
from kdns.cluster.api.stats import FeedStats
from kdns.cluster.api.timing import Timing
from kdns.cluster.feed import Event, Synced

CHECK_EVERY: Final = (600.0, 1800.0)
"""Bounds in seconds of the time between two consistency checks of a resource."""

_NO_LIMITS: Final = Limits()
_REAL: Final = Timing()


class ApiFeed:
    """Feed of the resources wanted, which must be of different kinds, from one API server.

    `Synced` comes when each has been listed once. As long as the API server is away nothing comes,
    and what has come is to be served on; `stats` says so, and the log.
    """

    def __init__(
        self,
        access: Access,
        wanted: Sequence[Resource],
        *,
        limits: Limits = _NO_LIMITS,
        check_every: tuple[float, float] = CHECK_EVERY,
        timing: Timing = _REAL,
    ) -> None:
        self.stats = FeedStats.of([resource.kind for resource in wanted])
        self._access = access
        self._wanted = wanted
        self._limits = limits
        self._check_every = check_every
        self._timing = timing

    async def events(self) -> AsyncGenerator[Event, None]:
        """As `Feed.events`; to be iterated once at a time.

        A defect that ends the watch of a resource is raised: the others alone would hide it.
        """
        # One piece waits while another one is read: who reads slowly slows the API server down.
        pieces: asyncio.Queue[Sequence[Event] | Exception] = asyncio.Queue(maxsize=1)
        unlisted = {resource.kind for resource in self._wanted}
        for each in self.stats.resources.values():
            each.begin()
        outage = Outage(self.stats, self._timing)
        client = Client(self._access, self._limits, self._timing, self.stats)

        async def emit(events: Sequence[Event]) -> None:
            await pieces.put(events)
            # Who reads them goes before whoever waits for the next ones.
            await asyncio.sleep(0)

        async def run(resource: Resource) -> None:
            async def listed() -> None:
                if resource.kind in unlisted:
                    unlisted.remove(resource.kind)
                    if not unlisted:
                        await pieces.put([Synced()])

            stats = self.stats.resources[resource.kind]
            reflector = Reflector(resource, client, outage, stats, self._timing, emit, listed)
            check = Consistency(reflector, client, stats, self._timing, self._check_every)
            try:
                await asyncio.gather(reflector.run(), check.run())
            except Exception as defect:  # noqa: BLE001 - raised to whoever reads
                await pieces.put(defect)

        tasks = [asyncio.create_task(run(resource)) for resource in self._wanted]
        try:
            while True:
                piece = await pieces.get()
                if isinstance(piece, Exception):
                    raise piece
                for event in piece:
                    yield event
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await client.close()
