"""A folder of manifests as a feed, and as a one-shot load."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from kdns.cluster.feed import Delete, Event, Synced, Upsert
from kdns.cluster.manifests.addresses import Settings
from kdns.cluster.manifests.controlplane import Item
from kdns.cluster.manifests.documents import ManifestError
from kdns.cluster.manifests.files import unreadable
from kdns.cluster.manifests.kinds import GivenSlice
from kdns.cluster.manifests.turns import Turns
from kdns.cluster.manifests.view import UNCHANGED, Changes, View
from kdns.cluster.objects import Object

POLL_SECONDS = 0.4

_BATCH = 64  # events between two turns of the event loop
_log = logging.getLogger("plugin/kubernetes")


class Loaded(NamedTuple):
    """Objects in feed order, and everything that is wrong, by path and line."""

    objects: list[Object]
    errors: list[ManifestError]


def load(path: str | os.PathLike[str], settings: Settings | None = None) -> Loaded:
    """Everything below `path`, a folder or one file. Raises ManifestError where it is missing."""
    _require(path)
    view = View(path, settings or Settings(), time.time)
    view.refresh()
    errors = [report.error for report in view.reports]
    return Loaded(list(map(_whole, view.objects.values())), errors)


class ManifestFolder:
    """Feed of the manifests below `path`: a folder, or one file.

    Every `poll_seconds` the folder is looked at again; `sleep` is how to wait for that, `clock` the
    wall clock in seconds. Raises ManifestError where `path` is not there. Afterwards a folder that
    has gone, and files with errors, are logged once a change and counted in `errors_total`, and
    what they held stays served. `errors` is what is wrong now, `objects` how many objects there
    are, `changes_total` how often the folder was found changed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        settings: Settings | None = None,
        *,
        poll_seconds: float = POLL_SECONDS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        _require(path)
        self.path = os.fspath(path)
        self.settings = settings or Settings()
        self.errors: list[ManifestError] = []
        self.errors_total = 0
        self.changes_total = 0
        self.objects = 0
        self._poll_seconds = poll_seconds
        self._sleep = sleep
        self._clock = clock

    async def events(self) -> AsyncGenerator[Event, None]:
        """As `Feed.events`; each call is a view of its own, with everything from the start."""
        view = View(self.path, self.settings, self._clock, Turns())
        reported: set[tuple[str, bytes]] = set()
        synced = False
        while True:
            try:
                changes = await asyncio.to_thread(view.refresh)
            except Exception:  # noqa: BLE001 - a defect met by one manifest must not end the feed
                self.errors_total += 1
                _log.exception("%s: this change is not served, what was before stays", self.path)
            else:
                self._report(view, reported)
                self.changes_total += synced and changes != UNCHANGED
                async for event in _paced(changes):
                    yield event
                if not synced:
                    yield Synced()
                synced = True
            await self._sleep(self._poll_seconds)

    def _report(self, view: View, reported: set[tuple[str, bytes]]) -> None:
        """Log what is wrong since the last time; the same line in other content is news."""
        reports = view.reports
        for report in reports:
            if (str(report.error), report.digest) not in reported:
                self.errors_total += 1
                note = " (what was served before stays)" if report.held else ""
                _log.error("%s%s", report.error, note)
        reported.clear()
        reported.update((str(report.error), report.digest) for report in reports)
        self.errors = [report.error for report in reports]
        self.objects = len(view.objects)


async def _paced(changes: Changes) -> AsyncIterator[Event]:
    """One by one, with a turn for the event loop between batches."""
    deletes: Iterator[Event] = (Delete(*key) for key in changes.gone)
    upserts: Iterator[Event] = (Upsert(_whole(item)) for item in changes.upserted)
    for index, event in enumerate(chain(deletes, upserts)):
        if index % _BATCH == 0:
            await asyncio.sleep(0)
        yield event


def _whole(item: Item) -> Object:
    return item.whole() if isinstance(item, GivenSlice) else item


def _require(path: str | os.PathLike[str]) -> None:
    try:
        Path(path).stat()
    except OSError as error:
        raise ManifestError(os.fspath(path), 0, "", unreadable(error)) from None
