"""The composition root: a Corefile to running frontends, reloads of it, and the way down."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import secrets
import time
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client.core import Metric

from kdns.cluster.feed import Feed, FeedError
from kdns.cluster.source import Source
from kdns.cluster_metrics import feed_metrics, object_metrics, programming_metrics, snapshot_metrics
from kdns.clusters import Clusters
from kdns.corefile.parser import Corefile
from kdns.corefile.tokens import CorefileError, Position
from kdns.facilities import COLLECT_AFTER, Chores, Facilities
from kdns.forwarders import Forwarders
from kdns.forwarding.cache import Settings
from kdns.forwarding.options import Options
from kdns.frontend.frontends import Frontends
from kdns.frontend.http import HttpFrontends
from kdns.frontend.page import Page
from kdns.frontend.selfprobe import SelfProbe
from kdns.frontend.sockets import ListenError
from kdns.pages import (
    Made,
    Ready,
    enabled_metrics,
    health_metrics,
    pages,
    reload_metrics,
    socket_metrics,
)
from kdns.plugins.plan import Plan, plan
from kdns.plugins.site import Readiness, Requests
from kdns.telemetry.counts import Sum, counts
from kdns.telemetry.exposition import CONTENT_TYPE, Exposition
from kdns.telemetry.series import SeriesRegistry
from kdns.telemetry.traffic import Traffic

if TYPE_CHECKING:
    from kdns.workers.team import Setting, Team

_log: Final = logging.getLogger("kdns")
_reload_log: Final = logging.getLogger("plugin/reload")

_REFUSALS: Final = (CorefileError, ListenError, FeedError, OSError, ValueError)
"""What stands in the way of a Corefile, each with a line for whoever wrote it."""

_NOT_ASKED: Final = 1.0


class Role(NamedTuple):
    """What a server is for, where that makes a difference.

    `cache`: what caches do where the Corefile says nothing else. `beside`: another instance may
    have the same ports, which goes as this one comes. `small`: memory counts for more than speed.
    """

    cache: Settings = Settings()
    beside: bool = False
    small: bool = False


class StartError(Exception):
    """Why the server cannot run, where, and what to do, in one line."""


class Server:
    """One process's worth of kdns.

    `read` yields the Corefile as it is now and raises CorefileError; `folder` is what its relative
    paths begin at. `open_feed` makes the feed of a source, and raises FeedError or ValueError where
    that cannot be. `default` is what an empty Corefile stands for at the start. `role` holds for
    what this process serves itself.
    """

    def __init__(
        self,
        read: Callable[[], Corefile],
        folder: Path,
        open_feed: Callable[[Source], Feed],
        default: Corefile | None = None,
        role: Role = Role(),  # noqa: B008 - it cannot change
    ) -> None:
        self._read = read
        self._role = role
        self._default = default
        self._folder = folder
        self._traffic = Traffic()
        self._exposition = Exposition(self._traffic)
        self._exposition.sources.append(self._metrics)
        loop = asyncio.get_running_loop()
        self._frontends = Frontends(self._traffic, loop, time.perf_counter, beside=role.beside)
        self._http = HttpFrontends(beside=role.beside)
        self._series = SeriesRegistry()
        self._chores = Chores()
        self._forwarders = Forwarders(self._series, loop, time.perf_counter)
        self._forwarded: Collection[Options] = ()
        self._clusters = Clusters(open_feed, self._frontends.forget, time.perf_counter)
        self._team: Team | None = None
        self._whole: Sum | None = None
        self._plan = Plan({}, Requests(), ())
        self._digest = ""
        self._secret = secrets.token_bytes(16)
        self._ready: list[Ready] = []
        self._failed_reloads = 0
        self._refused: tuple[str, str] | None = None
        self._probe = SelfProbe(time.perf_counter)
        self._tasks: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()

    async def start(self) -> None:
        """Begin to serve. Raises StartError."""
        try:
            corefile = self._read()
            if not corefile.blocks and self._default is not None:
                corefile = self._default
            await self._serve(corefile, patient=True)
        except _REFUSALS as error:
            raise StartError(str(error)) from error
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER)
        for endpoint in self._plan.routers:
            _log.info("listening on %s", endpoint.server)
        self._spawn(self._watch_corefile())
        self._spawn(self._probe.run())

    async def run(self) -> None:
        """Serve until `stop` is called, then go on for as long as `lameduck` says, and end."""
        await self._stopping.wait()
        for page in self._ready:
            page.stopping = True
        lameduck = max((health.lameduck for health in self._plan.requests.health), default=0.0)
        if lameduck:
            _log.info("going down, and serving for another %gs", lameduck)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurrying.wait(), lameduck)
        await self.close()

    def stop(self) -> None:
        """Let `run` come to its end; called again, without what is left of `lameduck`."""
        if self._stopping.is_set():
            self._hurrying.set()
        self._stopping.set()

    def request_reload(self) -> None:
        """Read the Corefile again soon, and serve it if it is good."""
        self._spawn(self.reload(asked=True))

    async def reload(self, *, asked: bool = False) -> None:
        """Read the Corefile again, and serve it if it is good and has changed.

        One that is refused is tried again each time, as a port may come free or a folder appear,
        and counted and logged once for what it says and the reason, or each time it is `asked` for.
        """
        async with self._reloading:
            if asked:
                self._refused = None
            digest = ""
            try:
                corefile = self._read()
                digest = corefile.digest()
                if digest != self._digest:
                    _refuse_empty(corefile)
                    await self._serve(corefile, patient=False)
                    _reload_log.info("running configuration SHA512 = %s", self._digest)
            except _REFUSALS as error:
                refused = digest, str(error)
                if refused != self._refused:
                    self._refused = refused
                    self._failed_reloads += 1
                    _reload_log.error(
                        "the Corefile was not taken over, what ran goes on: %s", error
                    )
            else:
                self._refused = None

    async def close(self) -> None:
        """Stop serving, after answers to what has arrived."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._chores.replace(())
        await self._frontends.close()
        self._forwarders.keep(())
        if self._team is not None:
            await self._team.close()
        await self._http.close()
        await self._clusters.retire(self._clusters.sources())

    async def _serve(self, corefile: Corefile, *, patient: bool) -> None:
        """Put a Corefile to work, whole or not at all.

        With `patient` it is served also when its clusters are not synced in time.
        """
        forget = self._frontends.forget_all
        facilities = Facilities(
            self._clusters,
            self._series,
            forget,
            self._forwarders,
            self._secret,
            self._role.cache,
        )
        known = self._clusters.sources()
        with ExitStack() as undo:
            try:
                wanted = plan(corefile, self._folder, facilities)
                await asyncio.gather(*(check() for check in wanted.requests.checks))
                team = self._team_for(wanted)
                own = wanted.routers if team is None else {}
                by_place, ready = pages(wanted, self._scrape)
                sockets = self._frontends.open(own, undo, self._ports_of_workers())
                if team is not None:
                    team.hold(wanted.routers, undo, self._frontends.ports())
                http_sockets = self._http.open(by_place, undo)
                if not await self._clusters.start() and not patient:
                    raise TimeoutError("the cluster was not synced within its startup_timeout")
                if team is not None:
                    await team.prepare(self._setting(corefile, wanted, facilities.used))
            except BaseException:
                await self._clusters.retire(self._clusters.sources() - known)
                self._forwarders.keep(self._forwarded)
                raise
            undo.pop_all()
        if team is not None:
            await team.commit()
            self._forwarded = ()
        else:
            self._forwarded = facilities.forwarded
            await self._forwarders.start()
        await self._frontends.serve(own, sockets)
        self._forwarders.keep(self._forwarded)
        if team is None and self._team is not None:
            await self._team.close()
        for page in ready:
            page.stopping = self._stopping.is_set()
        await self._http.serve(by_place, http_sockets)
        await self._chores.replace(wanted.requests.chores if team is None else ())
        self._probe.place = next((health.address for health in wanted.requests.health), None)
        self._plan, self._ready, self._digest = wanted, ready, corefile.digest()
        for notice in corefile.notices:
            _log.warning("%s", notice)
        await self._clusters.retire(self._clusters.sources() - facilities.used)

    def _team_for(self, wanted: Plan) -> Team | None:
        """The workers that are to serve a plan; None where this process does."""
        if wanted.workers == 1:
            return None
        if self._team is None:
            from kdns.workers.team import Team  # noqa: PLC0415 - most servers have no workers

            self._team = Team(self._clusters.store, time.perf_counter)
            self._clusters.audience = self._team
        team = self._team
        readiness = Readiness("multisocket", lambda: team.serving > 0, sticky=False)
        wanted.requests.readiness.append(readiness)
        return team

    def _ports_of_workers(self) -> Collection[int]:
        return self._team.ports() if self._team is not None else ()

    def _setting(self, corefile: Corefile, wanted: Plan, sources: set[Source]) -> Setting:
        from kdns.workers.team import Setting  # noqa: PLC0415 - as in `_team_for`

        return Setting(
            corefile,
            str(self._folder),
            self._secret,
            wanted.workers,
            frozenset(wanted.routers),
            sources,
        )

    def _scrape(self) -> Made:
        if self._team is not None:
            return self._scrape_all(self._team)
        return Page(200, self._exposition.render(), CONTENT_TYPE)

    async def _scrape_all(self, team: Team) -> Page:
        """The metrics of this process and all of its workers, that are and that were."""
        whole = await team.total()
        alone = self._plan.workers == 1
        if alone:
            self._gauge()
        own = counts(self._traffic, self._series, self._frontends.could_not(), ())
        whole.add(own, alive=alone)
        self._whole = whole
        try:
            return Page(200, self._exposition.render(whole), CONTENT_TYPE)
        finally:
            self._whole = None

    def _gauge(self) -> None:
        self._forwarders.measure()
        for gauge in self._plan.requests.gauges:
            gauge()

    async def _watch_corefile(self) -> None:
        while True:
            settings = self._plan.requests.reload
            if settings is None:
                await asyncio.sleep(_NOT_ASKED)
                continue
            jitter = random.uniform(-settings.jitter, settings.jitter)  # noqa: S311 - spreads load
            await asyncio.sleep(settings.interval + jitter)
            await self.reload()

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _metrics(self) -> Iterator[Metric]:
        yield from enabled_metrics(self._plan.enabled)
        if self._whole is None or self._team is None:
            self._gauge()
            yield from self._series.metrics()
            yield from socket_metrics(self._frontends.could_not())
        else:
            yield from self._whole.series.metrics()
            yield from socket_metrics(self._whole.sockets)
            yield from self._team.metrics()
        yield from reload_metrics(self._failed_reloads, self._digest)
        if self._clusters.sources():
            yield from object_metrics(self._clusters.rejected(), self._clusters.manifest_counts())
        snapshots = self._clusters.snapshots()
        if snapshots:
            failures = sum(file.failures for file in snapshots)
            saved_at = min(file.saved_at for file in snapshots)
            yield from snapshot_metrics(failures, saved_at, time.time())
        feeds = self._clusters.feeds()
        if feeds:
            yield from programming_metrics(self._clusters.programming)
            yield from feed_metrics(feeds, time.monotonic())
        if self._probe.place is not None:
            yield from health_metrics(self._probe.durations, self._probe.failures)


def _refuse_empty(corefile: Corefile) -> None:
    """Raise CorefileError for nothing to serve: a file is empty for a while as it is written."""
    if not corefile.blocks:
        raise CorefileError(
            "the Corefile is empty: write a server block, or start again to serve the default",
            Position(corefile.files[0].path),
        )
