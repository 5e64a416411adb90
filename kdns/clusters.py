"""The record stores of the process and the feeds they follow, across reloads."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
)
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from kdns.cluster.api.stats import FeedStats
from kdns.cluster.feed import Event, Feed, Synced, Upsert
from kdns.cluster.follow import follow
from kdns.cluster.objects import EndpointSlice
from kdns.cluster.source import Source
from kdns.records.store import Store
from kdns.snapshots import SnapshotFile
from kdns.stores import new_store
from kdns.telemetry.histogram import PROGRAMMING, Histogram

_log: Final = logging.getLogger("plugin/kubernetes")

_TRIGGERED: Final = "endpoints.kubernetes.io/last-change-trigger-time"
"""When the change happened that an EndpointSlice tells of, by the controller that wrote it."""


_AGAIN: Final = 30.0
"""Seconds until a feed that has ended, as none should, is read from its start."""


@dataclass(slots=True)
class _Cluster:
    store: Store
    synced: asyncio.Event
    snapshot: SnapshotFile | None = None
    feed: Feed | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Audience(Protocol):
    """Whoever keeps copies of the stores."""

    def hear(self, source: Source, store: Store, event: Event) -> None:
        """The store of a source is about to take in an event."""

    async def room(self) -> None:
        """Wait until those who hear are not too far behind."""


class _Sweeping:
    """A feed that takes away, before it is synced, what it has not confirmed of restored records.

    In a cluster that has changed a lot since, to do so at once would hold up queries for 0.3 s.
    """

    def __init__(self, feed: Feed, store: Store) -> None:
        self._feed = feed
        self._store = store

    async def events(self) -> AsyncGenerator[Event, None]:
        async with aclosing(self._feed.events()) as events:
            async for event in events:
                if isinstance(event, Synced):
                    for gone in self._store.unconfirmed_deletes():
                        yield gone
                yield event


class Clusters:
    """One store and one feed for each source that a Corefile names.

    `open_feed` makes the feed of a source and may raise what makes that impossible. `forget` hears
    of every store name that changes, and `audience`, where there is one, of every event.
    """

    def __init__(
        self,
        open_feed: Callable[[Source], Feed],
        forget: Callable[[Collection[bytes]], None],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.programming = Histogram(PROGRAMMING)
        self.audience: Audience | None = None
        self._open_feed = open_feed
        self._forget = forget
        self._clock = clock
        self._sleep = sleep
        self._clusters: dict[Source, _Cluster] = {}

    def store(self, source: Source) -> Store:
        """The store of a source; nothing fills it before `start`."""
        if source not in self._clusters:
            cluster = _Cluster(new_store(source), asyncio.Event())
            if source.snapshot is not None:
                cluster.snapshot = SnapshotFile(source.snapshot, _identity(source))
            self._clusters[source] = cluster
        return self._clusters[source].store

    def sources(self) -> set[Source]:
        return set(self._clusters)

    def feeds(self) -> list[FeedStats]:
        """What there is to know of the feeds from API servers."""
        found = (_stats(cluster) for cluster in self._clusters.values())
        return [stats for stats in found if stats is not None]

    def snapshots(self) -> list[SnapshotFile]:
        """The files that records outlive a restart in."""
        files = (cluster.snapshot for cluster in self._clusters.values())
        return [file for file in files if file is not None]

    def rejected(self) -> int:
        """Objects, and parts of objects, that the stores could not serve."""
        return sum(cluster.store.rejected for cluster in self._clusters.values())

    def manifest_counts(self) -> tuple[int, int] | None:
        """Errors met in manifests and changes of them; None where no source is one of manifests."""
        folders = [each.feed for source, each in self._clusters.items() if source.manifests]
        if not folders:
            return None
        errors, changes = (
            sum(getattr(folder, name, 0) for folder in folders)
            for name in ("errors_total", "changes_total")
        )
        return errors, changes

    def age(self, source: Source) -> float:
        """Seconds since a source that is out of touch was last heard of; 0 for any other."""
        cluster = self._clusters.get(source)
        stats = _stats(cluster) if cluster is not None else None
        return stats.age(time.monotonic()) if stats is not None else 0.0

    async def start(self) -> bool:
        """Follow the sources that are not followed yet, and wait for their first sync.

        One with a snapshot is not waited for. Whether the others were synced within their patience.
        Raises what `open_feed` raises.
        """
        fresh = {source: each for source, each in self._clusters.items() if not each.tasks}
        for source, cluster in fresh.items():
            cluster.feed = self._open_feed(source)
        for source, cluster in fresh.items():
            if cluster.snapshot is not None and await cluster.snapshot.load(cluster.store):
                cluster.synced.set()
            cluster.tasks.append(asyncio.create_task(self._follow(source, cluster)))
            if cluster.snapshot is not None:
                cluster.tasks.append(asyncio.create_task(cluster.snapshot.run(cluster.store)))
        # A first list makes objects by the 100,000 and no cycles: nothing for the collector.
        gc.disable()
        try:
            async with asyncio.timeout(max((source.patience for source in fresh), default=0.0)):
                for cluster in fresh.values():
                    await cluster.synced.wait()
        except TimeoutError:
            return False
        finally:
            gc.enable()
        return True

    async def retire(self, sources: Iterable[Source]) -> None:
        """Stop following these sources and let go of their stores."""
        leaving = {source: self._clusters.pop(source) for source in sources}
        if not leaving:
            return
        await self._end(leaving)
        leaving.clear()
        await asyncio.sleep(0)  # lets the loop forget their tasks
        # Their records hang in cycles of plugins that were frozen with them: none would ever go.
        gc.unfreeze()
        gc.collect()
        gc.freeze()

    async def _end(self, leaving: Mapping[Source, _Cluster]) -> None:
        tasks = [task for cluster in leaving.values() for task in cluster.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        staying = {source.snapshot: each.snapshot for source, each in self._clusters.items()}
        for source, cluster in leaving.items():
            if heir := staying.get(source.snapshot):
                # The same cluster with other options, most often: its file is another one's now.
                heir.supersede()
            elif cluster.snapshot is not None:
                await cluster.snapshot.save(cluster.store)

    async def _follow(self, source: Source, cluster: _Cluster) -> None:
        store = cluster.store

        def apply(event: Event) -> Collection[bytes]:
            if self.audience is not None:
                self.audience.hear(source, store, event)
            touched = store.apply(event)
            if isinstance(event, Synced):
                # What is loaded now stays: the collector need not look at it again and again, and
                # one look at all of a large cluster would hold up a server that is running.
                gc.freeze()
                cluster.synced.set()
            elif store.synced and isinstance(event, Upsert):
                self._time(event, store)
            return touched

        feed = cluster.feed
        while feed is not None:
            try:
                sweeping = _Sweeping(feed, store) if store.unconfirmed else feed
                await follow(sweeping, apply, self._forget, self._clock, self._pause)
            except Exception:  # noqa: BLE001 - whatever it was, what is served stays, and is mended
                _log.exception("following the cluster's objects failed: they are read anew")
            else:
                _log.error("the feed of the cluster's objects has ended: they are read anew")
            store.doubt()
            await self._sleep(_AGAIN)

    async def _pause(self) -> None:
        """Give everybody else a turn, and those who keep copies time to catch up."""
        await asyncio.sleep(0)
        if self.audience is not None:
            await self.audience.room()

    def _time(self, event: Upsert, store: Store) -> None:
        """Record how long a change of a headless service took to get here (CoreDNS)."""
        item = event.object
        if not isinstance(item, EndpointSlice):
            return
        triggered = item.metadata.annotations.get(_TRIGGERED)
        if triggered is None or not store.is_headless(item.service, item.metadata.namespace):
            return
        try:
            at = datetime.fromisoformat(triggered).timestamp()
        except ValueError:
            return
        self.programming.observe(max(0.0, time.time() - at))


def _identity(source: Source) -> str:
    """What has to be the same for records to be of use again."""
    return repr(replace(source, snapshot=None, patience=0.0))


def _stats(cluster: _Cluster) -> FeedStats | None:
    """Those of a feed that has some, which is one from an API server."""
    stats = getattr(cluster.feed, "stats", None)
    return stats if isinstance(stats, FeedStats) else None
