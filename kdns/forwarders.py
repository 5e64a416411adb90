"""The forwarders of the process, across reloads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from kdns.forwarding.forwarder import Forwarder
from kdns.forwarding.options import Options
from kdns.forwarding.proxy_metrics import tell_health
from kdns.telemetry.series import SeriesRegistry


class Forwarders:
    """One forwarder for each set of options that a Corefile names.

    What a forwarder knows of its upstreams, and its connections to them, outlive a reload.
    """

    def __init__(
        self,
        series: SeriesRegistry,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
    ) -> None:
        self._series = series
        self._loop = loop
        self._clock = clock
        self._forwarders: dict[Options, Forwarder] = {}

    def forwarder(self, options: Options) -> Forwarder:
        """The forwarder with these options; it opens and watches nothing before `start`."""
        if options not in self._forwarders:
            self._forwarders[options] = Forwarder(options, self._series, self._loop, self._clock)
        return self._forwarders[options]

    async def start(self) -> None:
        """Find the upstreams of those forwarders that are new, and keep up with them."""
        await asyncio.gather(*(each.start() for each in self._forwarders.values()))

    def keep(self, wanted: Collection[Options]) -> None:
        """Let go of all others, each when the last question that is on its way is answered."""
        for options in self._forwarders.keys() - wanted:
            self._forwarders.pop(options).retire()

    def measure(self) -> None:
        """Bring series up to date before a scrape."""
        healthy: dict[str, bool] = {}
        for forwarder in self._forwarders.values():
            forwarder.measure()
            for name, well in forwarder.healthy().items():
                healthy[name] = well and healthy.get(name, True)
        tell_health(self._series, healthy)
