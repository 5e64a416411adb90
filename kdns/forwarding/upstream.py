"""One upstream: the ways to it, how it does, and what the log and the metrics hear of that."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from kdns.dns import codes
from kdns.dns.query import RD
from kdns.forwarding.exchange import Lost, Pending, Question, Transport
from kdns.forwarding.latency import Latency
from kdns.forwarding.options import Options, Target
from kdns.forwarding.proxy_metrics import DURATIONS, HITS, MISSES, PROBES_FAILED, PROXY
from kdns.forwarding.standing import Standing
from kdns.forwarding.wheel import Wheel
from kdns.telemetry.histogram import Histogram
from kdns.telemetry.series import SeriesRegistry

_log: Final = logging.getLogger("plugin/forward")

_REPORT: Final = 30.0
"""Seconds of failures that are one line in the log."""

_PROBE_TIMEOUT: Final = 1.0

Make = Callable[[Target, bool], Transport]
"""The transport to a target, over TCP if True."""


class Way:
    """One transport to an upstream, and how long answers take over it."""

    __slots__ = ("_hits", "_misses", "latency", "stream", "transport")

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.latency = Latency()
        self.stream = transport.proto != "udp"
        self._hits = 0
        self._misses = 0

    def counted(self) -> tuple[int, int]:
        """Hits and misses of its transport since this was called last."""
        hits, misses = self.transport.hits, self.transport.misses
        new = hits - self._hits, misses - self._misses
        self._hits, self._misses = hits, misses
        return new


class Upstream:
    """One upstream of one forwarder, which hears of changes of its standing by `changed`."""

    def __init__(
        self,
        target: Target,
        options: Options,
        make: Make,
        wheel: Wheel,
        clock: Callable[[], float],
        series: SeriesRegistry,
        changed: Callable[[], None],
    ) -> None:
        self.target = target
        self.name = str(target)
        self.standing = Standing(options.max_fails)
        self.why = ""
        """The last reason for its failures."""
        self._make = make
        self._ways: dict[bool, Way] = {}
        self._series = series
        self._durations: dict[int, Histogram] = {}
        self._wheel = wheel
        self._clock = clock
        self._changed = changed
        self.asked = 0
        """Questions since the last line in the log."""
        self._failed = 0
        self._reporting = False
        self._probe = Probe(self, options, wheel, clock)
        self._aside = False
        self._up = True

    @property
    def healthy(self) -> bool:
        """Whether it is neither down nor put aside."""
        return self._up and not self._aside

    def way(self, stream: bool) -> Way:
        """How to ask it, over TCP or as it is written."""
        stream = stream and self.target.way == "dns"
        way = self._ways.get(stream)
        if way is None:
            way = self._ways[stream] = Way(self._make(self.target, stream))
        return way

    def answered(self, way: Way, rcode: int, seconds: float) -> None:
        """An answer came over a way after so long."""
        way.latency.took(seconds)
        durations = self._durations.get(rcode)
        if durations is None:
            labels = PROXY, self.name, codes.rcode_label(rcode)
            durations = self._durations[rcode] = self._series.histogram(DURATIONS, *labels)
        durations.observe(seconds)
        self.alive()

    def alive(self) -> None:
        """It was heard of."""
        if self.standing.heard():
            self._probe.end()
            self._now(healthy=True)

    def bad(self, now: float, why: str) -> None:
        """Its answer was of no use, or another's came first."""
        if self.standing.bad(now):
            self.fail(now, why)
            self._changed()

    def missed(self, now: float) -> None:
        """It owes an answer since long."""
        self.standing.missed(now)
        self._probe.begin(now)
        self._changed()

    def probe_failed(self, now: float) -> None:
        """It did not answer a probe."""
        was = self.standing.down
        self.standing.failed_probe(now)
        self._series.count(PROBES_FAILED, PROXY, self.name).value += 1
        if self.standing.down and not was:
            self._now(healthy=False)

    def measure(self) -> None:
        """Count what its transports have; other forwarders may count for this name too."""
        for way in self._ways.values():
            labels = PROXY, self.name, way.transport.proto
            hits, misses = way.counted()
            self._series.count(HITS, *labels).value += hits
            self._series.count(MISSES, *labels).value += misses

    def put_aside(self) -> None:
        """It is asked and probed no more."""
        self._probe.end()
        self._aside = True

    def put_back(self) -> None:
        """It may be asked again."""
        self._aside = False

    def leave(self) -> None:
        """It is no upstream any more; what is on its way goes on until `close`."""
        self._probe.close()

    def close(self) -> None:
        """Let go of its sockets; what is on its way is heard as lost."""
        self.leave()
        self.measure()
        for way in self._ways.values():
            way.transport.close()

    def _now(self, *, healthy: bool) -> None:
        was, self._up = self._up, healthy
        if was != healthy:
            _log.info("upstream %s %s", self.name, "answers again" if healthy else "is down")
        self._changed()

    def fail(self, now: float, why: str) -> None:
        """A question has ended without its answer, or with none of use."""
        self.why = why
        self._failed += 1
        if not self._reporting:
            self._reporting = True
            self.asked = self._failed = 0
            self._wheel.at(now + _REPORT, self._report)
            _log.warning("upstream %s failed: %s%s", self.name, why, str(self._probe))

    def _report(self, now: float) -> None:
        failed, asked = self._failed, max(self.asked, self._failed)
        self.asked = self._failed = 0
        self._reporting = failed > 0
        if failed:
            self._wheel.at(now + _REPORT, self._report)
            _log.warning(
                "upstream %s failed %d of %d queries in the last %g s: %s%s",
                *(self.name, failed, asked, _REPORT, self.why, str(self._probe)),
            )


class Probe:
    """Asks an upstream that owes answers, until it gives one."""

    def __init__(
        self, upstream: Upstream, options: Options, wheel: Wheel, clock: Callable[[], float]
    ) -> None:
        health = options.health
        section = health.domain + codes.NS.to_bytes(2, "big") + codes.CLASS_IN.to_bytes(2, "big")
        self._question = Question(section, RD if health.recursion_desired else 0, False)
        self._interval = health.interval if options.max_fails else 0.0
        self._stream = options.force_tcp
        self._upstream = upstream
        self._wheel = wheel
        self._clock = clock
        self._running = False
        self._round = 0
        self._next = 0.0
        self._pending: Pending | None = None

    def __str__(self) -> str:
        """What of it there is to say at the end of a line."""
        return "; it is probed" if self._running else ""

    def begin(self, now: float) -> None:
        """Ask until there is an answer, or `end`."""
        if self._interval and not self._running:
            self._running = True
            self._wheel.at(max(now, self._next), partial(self._ask, self._round))

    def end(self) -> None:
        """There is no need any more."""
        self._running = False
        self._round += 1
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.give_up()

    def close(self) -> None:
        """End for good."""
        self._interval = 0.0
        self.end()

    def _ask(self, round_: int, now: float) -> None:
        if not self._running or round_ != self._round:
            return
        self._next = now + self._interval
        self._round += 1
        transport = self._upstream.way(self._stream).transport
        self._pending = transport.send(self._question, partial(self._heard, self._round))
        self._wheel.at(now + _PROBE_TIMEOUT, partial(self._late, self._round))

    def _heard(self, round_: int, message: bytes | Lost) -> bool:
        if round_ == self._round and self._running:
            self._pending = None
            if isinstance(message, Lost) and message.local:
                self._go_on(self._clock())
            elif isinstance(message, Lost) and not message.by_tcp:
                self._fail(self._clock())
            else:
                # Whatever it says, it is there (CoreDNS).
                self._upstream.alive()
                self.end()
        return True

    def _late(self, round_: int, now: float) -> None:
        if round_ == self._round and self._running and self._pending is not None:
            self._pending.give_up()
            self._pending = None
            self._fail(now)

    def _fail(self, now: float) -> None:
        self._upstream.probe_failed(now)
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        self._round += 1
        self._wheel.at(now + self._interval, partial(self._ask, self._round))
