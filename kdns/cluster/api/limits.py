"""Limits that a client of the API server keeps to by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from kdns.cluster.api.timing import Timing

DEFAULT_QPS: Final = 5.0
DEFAULT_BURST: Final = 10
"""client-go's, for the one of the two that is not given."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests a second, requests at once after a pause, requests under way. 0: no limit."""

    qps: float = 0.0
    burst: int = 0
    max_inflight: int = 0


class Limiter:
    """A token bucket and a semaphore. A request is under way until its answer begins."""

    def __init__(self, limits: Limits, timing: Timing) -> None:
        limited = bool(limits.qps or limits.burst)
        self._qps = (limits.qps or DEFAULT_QPS) if limited else 0.0
        self._burst = float(limits.burst or DEFAULT_BURST)
        self._tokens = self._burst
        self._timing = timing
        self._filled_at = timing.clock()
        self._inflight = asyncio.Semaphore(limits.max_inflight) if limits.max_inflight else None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Wait for leave to send a request; the seconds that took."""
        began = self._timing.clock()
        if self._qps:
            await self._take()
        if self._inflight is None:
            yield self._timing.clock() - began
            return
        async with self._inflight:
            yield self._timing.clock() - began

    async def _take(self) -> None:
        now = self._timing.clock()
        self._tokens = min(self._tokens + (now - self._filled_at) * self._qps, self._burst)
        self._filled_at = now
        self._tokens -= 1
        if self._tokens < 0:
            await self._timing.sleep(-self._tokens / self._qps)
