"""What the process lends to the plugins of one Corefile, and the work they leave with it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Protocol

from kdns.cluster.source import Source
from kdns.dns.reply import Reply
from kdns.forwarders import Forwarders
from kdns.forwarding.cache import Settings
from kdns.forwarding.forwarder import Forwarder
from kdns.forwarding.options import Options
from kdns.frontend.interfaces import interfaces
from kdns.plugins.site import Chore, Interface
from kdns.records.store import Store
from kdns.telemetry.series import SeriesRegistry

_log: Final = logging.getLogger("kdns")

COLLECT_AFTER: Final = 20_000
"""New objects until the collector looks for cycles. Queries make none: to look after each 700, as
it does by itself, is an eighth of the cost of a query that waits for an upstream."""

_MAX_SPAWNED: Final = 1024
"""Answers that nobody waits for and that are under way."""


class Stores(Protocol):
    """Where the records of sources are kept."""

    def store(self, source: Source) -> Store:
        """The store of a source."""

    def age(self, source: Source) -> float:
        """Seconds since a source that is out of touch was last heard of; 0 for any other."""


class Facilities:
    """As `kdns.plugins.site.Facilities`; notes what a Corefile uses."""

    def __init__(
        self,
        stores: Stores,
        series: SeriesRegistry,
        forget_answers: Callable[[], None],
        forwarders: Forwarders,
        secret: bytes,
        cache: Settings | None = None,
    ) -> None:
        self.used: set[Source] = set()
        self.forwarded: set[Options] = set()
        self.series = series
        self.secret = secret
        self.cache = cache or Settings()
        self.forget_answers = forget_answers
        self._stores = stores
        self._forwarders = forwarders
        self._spawned: set[asyncio.Future[Reply]] = set()

    def store(self, source: Source) -> Store:
        if source.snapshot in {each.snapshot for each in self.used - {source}} - {None}:
            raise ValueError(
                f"snapshot {source.snapshot} is named for two clusters, or for one with different"
                " options: give each its own file"
            )
        self.used.add(source)
        return self._stores.store(source)

    def forwarder(self, options: Options) -> Forwarder:
        self.forwarded.add(options)
        return self._forwarders.forwarder(options)

    def age(self, source: Source) -> float:
        return self._stores.age(source)

    def spawn(self, answer: Awaitable[Reply]) -> bool:
        if len(self._spawned) >= _MAX_SPAWNED:
            if inspect.iscoroutine(answer):
                answer.close()
            return False
        task = asyncio.ensure_future(answer)
        self._spawned.add(task)
        task.add_done_callback(self._ended)
        return True

    def interfaces(self) -> Sequence[Interface]:
        return interfaces()

    def clock(self) -> float:
        return time.perf_counter()

    def _ended(self, task: asyncio.Future[Reply]) -> None:
        self._spawned.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a plugin failed while nobody waited", exc_info=task.exception())


class Chores:
    """The work that a Corefile's plugins asked for, while that Corefile is served."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    async def replace(self, chores: Iterable[Chore]) -> None:
        """End the work there was, and begin this."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = [asyncio.create_task(_work(chore)) for chore in chores]


async def _work(chore: Chore) -> None:
    try:
        await chore()
    except Exception:  # noqa: BLE001 - whatever it was, queries are answered on
        _log.exception("a plugin's work in the background has ended")
