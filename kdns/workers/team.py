"""All workers of a server: started, kept up with the stores, reloaded, replaced, counted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from kdns.cluster.feed import Event
from kdns.cluster.source import Source
from kdns.corefile.parser import Corefile
from kdns.frontend.frontends import Pair
from kdns.plugins.plan import Endpoint
from kdns.records.store import Store
from kdns.telemetry.counts import Sum
from kdns.workers.copies import serials
from kdns.workers.member import Gone, Member, Refusal
from kdns.workers.messages import (
    Abandon,
    Bind,
    Complete,
    Configure,
    Serve,
    State,
    encode,
    told,
)
from kdns.workers.ports import Ports

_log: Final = logging.getLogger("plugin/multisocket")

_BEHIND: Final = 8 << 20
"""Bytes of changes that may wait for one worker before the feeds wait for it."""

_FRAME: Final = 128
_SCRAPE: Final = 1.0
_COUNT_EVERY: Final = 10.0
_RECENT: Final = 30.0
_MAX_DELAY: Final = 8.0


class TeamError(ValueError):
    """Workers that cannot serve a Corefile: why, in one line."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What workers serve: a Corefile, how many they are, where, and the sources of its stores."""

    corefile: Corefile
    folder: str
    secret: bytes
    size: int
    endpoints: Collection[Endpoint]
    sources: Collection[Source]


@dataclass(slots=True)
class _Past:
    """What is known of workers that are gone. `died` are times of those that were not told to go.

    Their sizes of messages are rounded sooner than those of one process, so that workers that die
    again and again do not fill the memory.
    """

    sum: Sum = field(default_factory=lambda: Sum(max_tallies=4096))
    replaced: int = 0
    silent: int = 0
    died: deque[float] = field(default_factory=lambda: deque(maxlen=1024))


class Team:
    """The workers of a server, none to begin with; an audience of its stores.

    `store` finds the store of a source, and `clock` counts seconds. `start` makes a worker.
    """

    def __init__(
        self,
        store: Callable[[Source], Store],
        clock: Callable[[], float],
        start: Callable[[int], Awaitable[Member]] = Member.start,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._clock = clock
        self._start = start
        self._sleep = sleep
        self._past = _Past()
        self._ports = Ports()
        self._held: dict[Endpoint, list[Pair]] = {}
        self._serving: dict[int, Member] = {}
        self._fresh: dict[int, Member] = {}
        self._tasks: dict[Member, asyncio.Task[None]] = {}
        self._setting: Setting | None = None
        self._wanted: Setting | None = None
        self._numbers: dict[Source, int] = {}
        self._numbered = 0
        self._changing = asyncio.Lock()
        self._missing = asyncio.Event()
        self._upkeep: list[asyncio.Task[None]] = []

    @property
    def serving(self) -> int:
        """How many workers answer queries."""
        return len(self._serving)

    def hear(self, source: Source, store: Store, event: Event) -> None:
        """As `kdns.clusters.Audience`."""
        number = self._numbers.get(source)
        hearing = [each for each in self._members() if number in each.stores]
        if number is None or not hearing:
            return
        message = told(number, time.time(), event, store.unconfirmed)
        for each in hearing:
            each.channel.send(message)

    async def room(self) -> None:
        """As `kdns.clusters.Audience`; a worker that takes nothing at all is not waited for long.

        It does not answer its pings either, and so does not live.
        """
        while any(each.channel.waiting > _BEHIND for each in self._members()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def ports(self) -> set[int]:
        """The ports that are held for workers."""
        return self._ports.numbers()

    def hold(self, endpoints: Iterable[Endpoint], undo: ExitStack, shared: Collection[int]) -> None:
        """Have the ports for what is to be prepared; as `Ports.hold`. Raises ListenError."""
        self._held = self._ports.hold(endpoints, undo, shared)

    async def prepare(self, setting: Setting) -> None:
        """Have all workers ready to serve a setting, and its number of them.

        `commit` or `abandon` has to follow. Raises TeamError, and all is as it was.
        """
        await self._changing.acquire()
        self._wanted = setting
        for source in setting.sources:
            if source not in self._numbers:
                self._numbered += 1
                self._numbers[source] = self._numbered
        try:
            await self._hire(setting)
            members = [each for each in self._members() if each.number <= setting.size]
            found = await asyncio.gather(
                *(self._prepare(each, setting) for each in members), return_exceptions=True
            )
            _check(found)
        except BaseException:
            await self.abandon()
            raise

    async def commit(self) -> None:
        """Have all workers serve what was prepared; one that cannot is replaced."""
        before, setting = self._setting, self._wanted
        assert setting is not None, "nothing was prepared"  # noqa: S101 - the contract of `prepare`
        self._setting = setting
        self._serving |= self._fresh
        self._fresh.clear()
        surplus = [each for number, each in self._serving.items() if number > setting.size]
        for each in surplus:
            del self._serving[each.number]
        staying = list(self._serving.values())
        await asyncio.gather(*(each.step(Serve()) for each in staying), return_exceptions=True)
        await self._retire(surplus)
        self._ports.keep(setting.endpoints, self._held)
        self._keep_numbers(setting)
        if before is None or before.size != setting.size:
            _log.info("%d worker processes answer", setting.size)
        if not self._upkeep:
            self._upkeep = [asyncio.create_task(self._mend()), asyncio.create_task(self._count())]
        self._settle()

    async def abandon(self) -> None:
        """Go on as before `prepare`."""
        fresh = list(self._fresh.values())
        self._fresh.clear()
        for each in fresh:
            each.kill()
        for each in self._serving.values():
            each.channel.send(encode(Abandon()))
        await self._retire(fresh)
        self._keep_numbers(self._setting)
        self._settle()

    async def close(self) -> None:
        """End all workers, after answers to what has arrived."""
        upkeep, self._upkeep = self._upkeep, []
        for task in upkeep:
            task.cancel()
        await asyncio.gather(*upkeep, return_exceptions=True)
        members = list(self._members())
        self._serving.clear()
        self._fresh.clear()
        self._setting = None
        await self._retire(members)
        self._ports.keep((), {})

    async def total(self) -> Sum:
        """What all workers have counted, those that are gone included.

        A worker that does not say so within a second counts with what it said last.
        """
        members = list(self._serving.values())
        told = await self._ask(members)
        self._past.silent += len(members) - told
        whole = Sum()
        whole.add(self._past.sum.counts(), alive=False)
        # Those that are leaving too: only what is gone for good is in the past.
        for each in self._tasks:
            if each.counts is not None:
                whole.add(each.counts, alive=self._serving.get(each.number) is each)
        return whole

    def metrics(self) -> Iterator[Metric]:
        """What there is to say of the workers themselves."""
        yield GaugeMetricFamily(
            "kdns_workers", "Worker processes that answer queries.", value=len(self._serving)
        )
        yield CounterMetricFamily(
            "kdns_workers_replaced",
            "Counter of worker processes that ended unasked, or hung, and were replaced.",
            value=self._past.replaced,
        )
        yield CounterMetricFamily(
            "kdns_workers_silent",
            "Counter of scrapes to which a worker process did not say in time what it had counted.",
            value=self._past.silent,
        )

    def _members(self) -> Iterator[Member]:
        yield from self._serving.values()
        yield from self._fresh.values()

    async def _hire(self, setting: Setting) -> None:
        """Start as many workers as are missing."""
        known = self._serving.keys() | self._fresh.keys()
        for number in sorted(set(range(1, setting.size + 1)) - known):
            try:
                made = self._fresh[number] = await self._start(number)
            except OSError as error:
                raise TeamError(f"a worker process cannot be started: {error}") from error
            self._tasks[made] = asyncio.create_task(self._watch(made))

    async def _prepare(self, member: Member, setting: Setting) -> None:
        numbers = {source: self._numbers[source] for source in setting.sources}
        by_text = {repr(source): number for source, number in numbers.items()}
        configure = Configure(setting.corefile, setting.folder, setting.secret, by_text)
        await member.step(configure)
        for source, number in numbers.items():
            if number not in member.stores:
                member.stores.add(number)
                member.channel.send_each(state(number, self._store(source)))
        await member.step(Bind())

    async def _watch(self, member: Member) -> None:
        """See a worker to its end."""
        how = await member.run()
        if member.counts is not None:
            self._past.sum.add(member.counts, alive=False)
            member.counts = None
        del self._tasks[member]
        for some in (self._serving, self._fresh):
            if some.get(member.number) is member:
                del some[member.number]
                self._past.replaced += 1
                self._past.died.append(self._clock())
                _log.error(
                    "worker %d (process %d) %s: another takes its place",
                    *(member.number, member.pid, how),
                )
                self._missing.set()

    async def _retire(self, members: Iterable[Member]) -> None:
        """Have workers end that are no longer among those that serve."""
        leaving = list(members)
        await asyncio.gather(*(each.stop() for each in leaving))
        tasks = [self._tasks[each] for each in leaving if each in self._tasks]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _mend(self) -> None:
        """Replace workers that are gone, for as long as this is not cancelled."""
        while True:
            await self._missing.wait()
            await self._sleep(self._delay())
            async with self._changing:
                self._missing.clear()
                if self._setting is not None:
                    await self._replace(self._setting)

    async def _replace(self, setting: Setting) -> None:
        begin = self._clock()
        try:
            await self._hire(setting)
            fresh = list(self._fresh.values())
            await asyncio.gather(*(self._bring_up(each, setting) for each in fresh))
        except (TeamError, Refusal) as error:
            _log.error("no worker could take the place of one that is gone: %s", error)
            fresh = list(self._fresh.values())
            self._fresh.clear()
            await self._retire(fresh)
            self._past.died.append(self._clock())
            self._missing.set()
            return
        for each in fresh:
            if self._serving.get(each.number) is each:
                seconds = self._clock() - begin
                _log.info(
                    "worker %d serves again, as process %d, after %.2fs",
                    *(each.number, each.pid, seconds),
                )

    async def _bring_up(self, member: Member, setting: Setting) -> None:
        """Have a new worker serve. Raises Refusal."""
        try:
            await self._prepare(member, setting)
            await member.step(Serve())
        except Gone:
            return  # it is missing again, and has been logged
        if self._fresh.pop(member.number, None) is member:
            self._serving[member.number] = member

    def _delay(self) -> float:
        """Seconds until workers are replaced: none, unless more died of late than there are."""
        now = self._clock()
        recent = sum(now - at < _RECENT for at in self._past.died)
        beyond = recent - (self._setting.size if self._setting is not None else 0)
        return min(_MAX_DELAY, 0.125 * 2.0 ** min(beyond, 10)) if beyond > 0 else 0.0

    async def _count(self) -> None:
        """Ask now and then what was counted, so that little of it is lost with a worker."""
        while True:
            await self._sleep(_COUNT_EVERY)
            await self._ask(self._serving.values())

    async def _ask(self, members: Iterable[Member]) -> int:
        """Have workers tell what they have counted; how many did in time."""
        asked = [asyncio.create_task(each.count()) for each in members]
        if not asked:
            return 0
        done, late = await asyncio.wait(asked, timeout=_SCRAPE)
        for task in late:
            task.cancel()
        return sum(task.exception() is None for task in done)

    def _keep_numbers(self, setting: Setting | None) -> None:
        """Forget the stores that are no longer in use."""
        used = set(setting.sources) if setting is not None else set()
        self._numbers = {source: n for source, n in self._numbers.items() if source in used}
        for each in self._members():
            each.stores.intersection_update(self._numbers.values())

    def _settle(self) -> None:
        """End what `prepare` began."""
        self._wanted = None
        self._changing.release()
        if self._setting is not None and len(self._serving) < self._setting.size:
            self._missing.set()


def state(number: int, store: Store) -> Iterator[bytes]:
    """A store as messages, each made when it is asked for; what changes from now on is to follow.

    Its flags are those of now: a sync that comes meanwhile comes as an event too.
    """
    synced, restored = store.synced, store.restored

    def messages() -> Iterator[bytes]:
        saved = store.saved()
        while items := list(islice(saved, _FRAME)):
            yield encode(State(number, items))
        yield encode(Complete(number, synced, restored, serials(store)))

    return messages()


def _check(found: Iterable[BaseException | None]) -> None:
    """Raise TeamError for the first refusal, or where no worker is left."""
    results = list(found)
    for result in results:
        if isinstance(result, Refusal):
            raise TeamError(str(result))
        if result is not None and not isinstance(result, Gone):
            raise result
    if all(isinstance(result, Gone) for result in results):
        raise TeamError("every worker process ended as it was to serve: see what was logged before")
