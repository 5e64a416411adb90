"""Saying that the API server is away: enough to know, never a flood."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Final

from kdns.cluster.api.stats import FeedStats
from kdns.cluster.api.timing import Timing
from kdns.cluster.objects import Kind

_log: Final = logging.getLogger("plugin/kubernetes")

SILENCE: Final = 60.0
"""Seconds between two lines about the same outage."""


class Outage:
    """Keeps `failing` and `why` of a feed's resources, and logs.

    The first failure is logged, then one line a minute for as long as any resource fails, and one
    when all are back.
    """

    def __init__(self, stats: FeedStats, timing: Timing) -> None:
        self._stats = stats
        self._timing = timing
        self._since = 0.0
        self._logged_at: float | None = None
        self._told = False

    def failed(self, kind: Kind, why: str) -> None:
        """A resource is out of touch, and was already if it failed before."""
        now = self._timing.clock()
        if not self._away():
            self._since = now
        stats = self._stats.resources[kind]
        if stats.failing is None:
            stats.failing = now
        stats.why = why
        if self._logged_at is None or now - self._logged_at >= SILENCE:
            self._logged_at = now
            self._told = True
            _log.warning("%s", self._line(now))

    def recovered(self, kind: Kind) -> None:
        """A resource is in touch, as it may have been all the time."""
        stats = self._stats.resources[kind]
        if stats.failing is None:
            return
        stats.failing, stats.why = None, ""
        if not self._away() and self._told:
            self._told = False
            away = self._timing.clock() - self._since
            _log.info("%s: back after %.0fs", self._server(), away)

    def _away(self) -> bool:
        return any(stats.failing is not None for stats in self._stats.resources.values())

    def _server(self) -> str:
        return f"API server {self._stats.server}".rstrip()

    def _line(self, now: float) -> str:
        reasons: dict[str, list[str]] = {}
        for kind, stats in self._stats.resources.items():
            if stats.failing is not None:
                reasons.setdefault(stats.why, []).append(kind)
        said = "; ".join(f"{', '.join(kinds)}: {why}" for why, kinds in reasons.items())
        away = now - self._since
        began = datetime.fromtimestamp(self._timing.wall() - away, UTC)
        synced = all(stats.synced for stats in self._stats.resources.values())
        effect = "what is known stays served" if synced else "not all objects are known yet"
        return (
            f"{self._server()}: out of touch since {began:%H:%M:%S} UTC"
            f" ({away:.0f}s), {effect}: {said}"
        )
