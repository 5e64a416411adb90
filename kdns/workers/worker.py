"""One worker process: a Corefile's frontends, over copies of its parent's stores."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from prometheus_client import ProcessCollector

from kdns.cluster.follow import SLICE
from kdns.corefile.tokens import CorefileError
from kdns.facilities import COLLECT_AFTER, Chores, Facilities
from kdns.forwarders import Forwarders
from kdns.forwarding.options import Options
from kdns.frontend.frontends import Frontends, Opened
from kdns.frontend.sockets import ListenError
from kdns.plugins.plan import Plan, plan
from kdns.plugins.site import Requests
from kdns.telemetry.counts import Counts, counts
from kdns.telemetry.series import SeriesRegistry
from kdns.telemetry.traffic import Traffic
from kdns.workers.channel import Channel, ChannelClosed
from kdns.workers.copies import Copies
from kdns.workers.messages import (
    Abandon,
    Bind,
    Configure,
    Count,
    Counted,
    Done,
    Order,
    Ping,
    Pong,
    Refused,
    Report,
    Serve,
    State,
    Stop,
    encode,
    order,
)

_log: Final = logging.getLogger("plugin/multisocket")

_REFUSALS: Final = (CorefileError, ListenError, OSError, ValueError)


class Worker:
    """Does what its parent says, until that says stop or is gone."""

    def __init__(self, channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
        self._channel = channel
        self._traffic = Traffic()
        self._series = SeriesRegistry()
        self._frontends = Frontends(self._traffic, loop, time.perf_counter)
        self._copies = Copies(self._frontends.forget)
        self._chores = Chores()
        self._forwarders = Forwarders(self._series, loop, time.perf_counter)
        self._forwarded: set[Options] = set()
        self._kept: set[Options] = set()
        self._process = ProcessCollector(registry=None)
        self._plan = self._planned = Plan({}, Requests(), ())
        self._numbers: dict[str, int] = {}
        self._undo = ExitStack()
        self._opened: Opened = {}
        self._step: asyncio.Task[None] | None = None
        self._ended = False

    async def run(self) -> None:
        """Obey until the end; what has arrived then is answered."""
        # A first state makes objects by the 100,000 and no cycles: nothing for the collector.
        gc.disable()
        turn = time.perf_counter()
        try:
            while not self._ended:
                self._obey(order(await self._channel.receive()))
                if time.perf_counter() - turn > SLICE:
                    await asyncio.sleep(0)
                    turn = time.perf_counter()
        except ChannelClosed:
            if not self._ended:
                _log.warning("a worker ends: its parent process is gone")
            await self._close()
        if self._step is not None:
            await self._step

    def _obey(self, message: Order) -> None:
        match message:
            case Configure():
                self._try(lambda: self._configure(message))
            case Bind():
                self._try(self._bind)
            case Serve():
                self._begin(self._serve())
            case Abandon():
                self._abandon()
            case Ping():
                self._report(Pong())
            case Count():
                self._report(Counted(self._counts()))
            case Stop():
                self._ended = True
                self._begin(self._stop())
            case _:
                self._copies.take(message)
                if isinstance(message, State):
                    # A large state takes its time: this says that it is being taken.
                    self._report(Pong())

    def _configure(self, message: Configure) -> None:
        self._numbers = self._copies.numbers
        self._copies.numbers = message.sources
        forget = self._frontends.forget_all
        facilities = Facilities(
            self._copies, self._series, forget, self._forwarders, message.secret
        )
        self._planned = plan(message.corefile, Path(message.folder), facilities)
        self._forwarded = facilities.forwarded

    def _bind(self) -> None:
        routers = self._planned.routers
        # Its siblings are there already.
        shared = {endpoint.port for endpoint in routers}
        self._opened = self._frontends.open(routers, self._undo, shared)

    async def _serve(self) -> None:
        self._undo.pop_all()
        await self._forwarders.start()
        await self._frontends.serve(self._planned.routers, self._opened)
        self._kept = self._forwarded
        self._forwarders.keep(self._kept)
        await self._chores.replace(self._planned.requests.chores)
        self._plan = self._planned
        self._copies.keep(self._copies.numbers.values())
        if not gc.isenabled():
            gc.collect()
            gc.freeze()
            gc.set_threshold(COLLECT_AFTER)
            gc.enable()
        self._report(Done())

    def _abandon(self) -> None:
        self._undo.close()
        self._forwarders.keep(self._kept)
        self._copies.numbers = self._numbers
        self._copies.keep(self._numbers.values())

    async def _stop(self) -> None:
        await self._close()
        self._report(Counted(self._counts()))
        await self._channel.flush()

    async def _close(self) -> None:
        await self._chores.replace(())
        await self._frontends.close()
        self._forwarders.keep(())

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except _REFUSALS as error:
            self._report(Refused(str(error)))
        else:
            self._report(Done())

    def _begin(self, step: Coroutine[None, None, None]) -> None:
        """Do what takes time, while pings are answered."""
        before = self._step

        async def work() -> None:
            if before is not None:
                await before
            try:
                await step
            except Exception:  # noqa: BLE001 - the parent waits, and would for ever
                _log.exception("a worker could not do as it was told, and ends")
                self._ended = True
                await self._channel.close()

        self._step = asyncio.create_task(work())

    def _report(self, report: Report) -> None:
        self._channel.send(encode(report))

    def _counts(self) -> Counts:
        self._forwarders.measure()
        for gauge in self._plan.requests.gauges:
            gauge()
        could_not = self._frontends.could_not()
        return counts(self._traffic, self._series, could_not, self._process.collect())
