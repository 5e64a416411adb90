"""How long the health page takes to answer, as somebody outside would see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from kdns.frontend.http import Place
from kdns.telemetry.histogram import HEALTH_DURATION, Histogram

_INTERVAL: Final = 1.0
_TIMEOUT: Final = 3.0
_ANY_ADDRESS: Final = "127.0.0.1"
_REQUEST: Final = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class SelfProbe:
    """Asks for `/health` once a second, at `place`; not at all while that is None."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.place: Place | None = None
        self.durations = Histogram(HEALTH_DURATION)
        self.failures = 0
        self._clock = clock

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            await self.probe()

    async def probe(self) -> None:
        """Ask once, and count how it went."""
        if self.place is None:
            return
        begin = self._clock()
        try:
            async with asyncio.timeout(_TIMEOUT):
                healthy = await _ask(*self.place)
        except (OSError, TimeoutError):
            healthy = False
        self.durations.observe(self._clock() - begin)
        if not healthy:
            self.failures += 1


async def _ask(host: str, port: int) -> bool:
    reader, writer = await asyncio.open_connection(host or _ANY_ADDRESS, port)
    try:
        writer.write(_REQUEST)
        status = await reader.readline()
        return status.split(b" ")[1:2] == [b"200"]
    finally:
        writer.close()
