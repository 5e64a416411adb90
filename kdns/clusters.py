"""The record stores of the process and the feeds they follow, across reloads."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from kdns.cluster.feed import Event, Feed, Synced
from kdns.cluster.follow import follow
from kdns.cluster.source import Source
from kdns.records.store import Store

_log: Final = logging.getLogger("plugin/kubernetes")


@dataclass(slots=True)
class _Cluster:
    store: Store
    synced: asyncio.Event
    task: asyncio.Task[None] | None = None


class Clusters:
    """One store and one feed for each source that a Corefile names.

    `open_feed` makes the feed of a source and may raise what makes that impossible. `forget` hears
    of every store name that changes.
    """

    def __init__(
        self,
        open_feed: Callable[[Source], Feed],
        forget: Callable[[Collection[bytes]], None],
        clock: Callable[[], float],
    ) -> None:
        self._open_feed = open_feed
        self._forget = forget
        self._clock = clock
        self._clusters: dict[Source, _Cluster] = {}

    def store(self, source: Source) -> Store:
        """The store of a source; nothing fills it before `start`."""
        if source not in self._clusters:
            store = Store(clock=time.time, endpoint_pod_names=source.endpoint_pod_names)
            self._clusters[source] = _Cluster(store, asyncio.Event())
        return self._clusters[source].store

    def sources(self) -> set[Source]:
        return set(self._clusters)

    def stores(self) -> list[Store]:
        return [cluster.store for cluster in self._clusters.values()]

    async def start(self, patience: float) -> bool:
        """Follow the sources that are not followed yet, and wait for their first sync.

        Whether all were synced within `patience` seconds. Raises what `open_feed` raises.
        """
        fresh = [item for item in self._clusters.items() if item[1].task is None]
        feeds = [(cluster, self._open_feed(source)) for source, cluster in fresh]
        for cluster, feed in feeds:
            cluster.task = asyncio.create_task(self._follow(cluster, feed))
        # A first list makes objects by the 100,000 and no cycles: nothing for the collector.
        gc.disable()
        try:
            async with asyncio.timeout(patience):
                for cluster, _ in feeds:
                    await cluster.synced.wait()
        except TimeoutError:
            return False
        finally:
            gc.enable()
        return True

    async def retire(self, sources: Iterable[Source]) -> None:
        """Stop following these sources and let go of their stores."""
        tasks = [self._clusters.pop(source).task for source in sources]
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _follow(self, cluster: _Cluster, feed: Feed) -> None:
        def apply(event: Event) -> Collection[bytes]:
            touched = cluster.store.apply(event)
            if isinstance(event, Synced):
                # What is loaded now stays: the collector need not look at it again and again, and
                # one look at all of a large cluster would hold up a server that is running.
                gc.freeze()
                cluster.synced.set()
            return touched

        await follow(feed, apply, self._forget, self._clock)
        _log.error("the feed of the cluster's objects has ended: records stay as they are")
