"""Questions to upstreams: each asked once at a time, of the upstream that does best."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final

from kdns.dns import codes
from kdns.dns.query import Query
from kdns.dns.reply import Reply, refusal
from kdns.forwarding.exchange import Heard, Pending, Question, Transport
from kdns.forwarding.flight import Flight, Key, unreachable
from kdns.forwarding.hedging import HedgeBudget
from kdns.forwarding.options import Options, Target
from kdns.forwarding.policy import order
from kdns.forwarding.proxy_metrics import (
    BROKEN,
    COALESCED,
    HEDGES,
    PROXY,
    REJECTED,
    RETRIES,
    UNASKED,
)
from kdns.forwarding.roster import Roster
from kdns.forwarding.standing import Rank
from kdns.forwarding.transports import transport
from kdns.forwarding.upstream import Upstream
from kdns.forwarding.wheel import Ticker, Wheel
from kdns.telemetry.series import SeriesRegistry

_log: Final = logging.getLogger("plugin/forward")

IN_FLIGHT: Final = 4096
"""Questions on their way at a time, whatever `max_concurrent` says."""

TRIALS: Final = 8
"""Of those, while no upstream answers."""

_TRIES: Final = 3
"""Times that one upstream is asked one question over UDP (RFC 9520 §3.1)."""

_LONGEST: Final = 4.0
"""Seconds until SERVFAIL: stub resolvers wait for five."""

_RETRIED: Final = frozenset((codes.SERVFAIL, codes.REFUSED))


class Forwarder:
    """The upstreams of equal options, for as many server blocks as have them.

    `make` makes the transport to a target, over TCP if its second argument is True.
    """

    def __init__(
        self,
        options: Options,
        series: SeriesRegistry,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        make: Callable[[Target, bool], Transport] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.options = options
        self.clock = clock
        self.failover = _RETRIED | options.failover
        self.wheel = Wheel()
        self.budget = HedgeBudget()
        self._ticker = Ticker(self.wheel, loop, clock)
        self._series = series
        self._loop = loop
        self._make = make or (lambda target, stream: transport(target, stream, options, loop))
        self._order = order(options.policy, chance)
        self._deadline = min(_LONGEST, 2 * (options.read_timeout or _LONGEST))
        self._flights: dict[Key, Flight] = {}
        self._upstreams: list[Upstream] = []
        self._leaving: list[Upstream] = []
        self._aside: dict[str, str] = {}
        self._best: list[Upstream] = []
        self._ranked_until = 0.0
        self._mute = ""
        self._down = False
        self._retired = False
        self._coalesced = series.count(COALESCED)
        self._broken = series.count(BROKEN)
        self._rejected = series.count(REJECTED)
        self._unasked = series.count(UNASKED)
        self._roster = Roster(options, loop, self.update)
        self.update(self._roster.targets())

    def ask(self, query: Query) -> Reply | Awaitable[Reply]:
        """What the upstreams say. Never raises.

        SERVFAIL with an extended error after 4 seconds at most, and at once where it is known that
        no upstream answers; REFUSED over `max_concurrent` (CoreDNS). Equal questions are asked once
        at a time.
        """
        options = self.options
        stream = options.force_tcp or (query.transport == "tcp" and not options.prefer_udp)
        question = Question.of(query)
        key = question, stream
        flight = self._flights.get(key)
        asker: asyncio.Future[Reply]
        if flight is not None:
            self._coalesced.value += 1
            asker = self._loop.create_future()
            flight.askers.append(asker)
            return asker
        now = self.clock()
        if now >= self._ranked_until:
            self._rank(now)
        refused = self._refuse()
        if refused is not None:
            return refused
        self.budget.earn()
        best = self._best
        upstream = best[0] if len(best) == 1 else self._order.first(best)
        flight = self._flights[key] = Flight(self, key, question, now, now + self._deadline)
        asker = self._loop.create_future()
        flight.askers.append(asker)
        try:
            flight.ask(upstream, now, stream=stream)
        except BaseException:
            flight.abandon()
            raise
        return asker

    async def start(self) -> None:
        """Find the upstreams that the options do not name by address, and keep up with them."""
        await self._roster.start()

    def targets(self) -> list[str]:
        """The upstreams there are now, those put aside too, as in metrics: `10.0.0.2:53`."""
        return [upstream.name for upstream in self._upstreams]

    def aside(self, target: str, reason: str) -> None:
        """Ask an upstream no more, whether it is there now or later, until it is called `back`."""
        self._aside[target] = reason
        for upstream in self._named(target):
            upstream.put_aside()
        self._changed()

    def back(self, target: str) -> None:
        """Ask an upstream again that was put aside. Harmless where it was not."""
        if self._aside.pop(target, None) is not None:
            for upstream in self._named(target):
                upstream.put_back()
            self._changed()

    def probe(self, target: str, question: Question, heard: Heard) -> Pending | None:
        """Ask one upstream, put aside or not, and think neither better nor worse of it for what
        it says; None where it is not there."""
        for upstream in self._named(target):
            return upstream.way(self.options.force_tcp).transport.send(question, heard)
        return None

    def update(self, targets: Iterable[Target]) -> None:
        """Ask these upstreams from now on, IP addresses all; what is on its way goes on."""
        wanted = list(dict.fromkeys(targets))
        known = {upstream.target: upstream for upstream in self._upstreams}
        leaving = [each for each in self._upstreams if each.target not in wanted]
        for upstream in leaving:
            upstream.leave()
        if leaving:
            self._leaving += leaving
            self.wheel.at(self.clock() + self._deadline, lambda _: self._let_go(leaving))
        self._upstreams = [known.get(target) or self._upstream(target) for target in wanted]
        self._changed()

    def measure(self) -> None:
        """Set the series that are counted elsewhere."""
        for upstream in self._upstreams:
            upstream.measure()

    def healthy(self) -> dict[str, bool]:
        """Which of the upstreams there are now are neither down nor put aside."""
        return {upstream.name: upstream.healthy for upstream in self._upstreams}

    def retire(self) -> None:
        """Let go of everything, when the last question that is on its way has been answered."""
        self._retired = True
        self._roster.close()
        if not self._flights:
            self._close()

    def next(self, flight: Flight, *, again: bool) -> Upstream | None:
        """Whom to ask a question next, if it may be asked once more.

        With `again`, of those too that have been asked and may have missed it.
        """
        attempts = flight.attempts
        limit = self.options.max_connect_attempts
        if limit and len(attempts) >= limit:
            return None
        now = self.clock()
        fit = []
        for upstream in self._order.all(self._usable()):
            mine = [attempt for attempt in attempts if attempt.upstream is upstream]
            if not mine:
                fit.append((0, upstream.standing.rank(now), upstream))
            elif (
                again
                and len(mine) < _TRIES
                and not upstream.standing.mute
                and not any(each.way.stream and each.pending is not None for each in mine)
            ):
                fit.append((len(mine), upstream.standing.rank(now), upstream))
        if not fit:
            return None
        return min(fit, key=lambda each: (each[1] is Rank.DOWN, each[0], each[1]))[2]

    def hedged(self, upstream: Upstream) -> None:
        """An upstream is asked because another is late."""
        self._series.count(HEDGES, upstream.name).value += 1

    def retried(self, upstream: Upstream) -> None:
        """An upstream is asked because there was no answer, or none of use."""
        self._series.count(RETRIES, upstream.name).value += 1

    def landed(self, flight: Flight) -> None:
        """A question has its answer."""
        del self._flights[flight.key]
        if self._retired and not self._flights:
            self._close()

    def _refuse(self) -> Reply | None:
        """What to answer at once where a question must not be asked."""
        waiting = len(self._flights)
        limit = self.options.max_concurrent
        if limit and waiting >= limit:
            self._rejected.value += 1
            why = f"max_concurrent: {limit} queries wait for upstreams"
            return refusal().changed(lifetime=0, failure=why, plugin=PROXY)
        if self._down:
            self._broken.value += 1
        if self._mute and (waiting >= TRIALS or not self._best or self._failfast()):
            self._unasked.value += 1
            looped = bool(self._aside) and not self._best
            return unreachable(self._mute, codes.EDE_LOOP if looped else codes.EDE_UNREACHABLE)
        if waiting >= IN_FLIGHT:
            self._unasked.value += 1
            return unreachable(f"{waiting} questions wait for upstreams")
        return None

    def _failfast(self) -> bool:
        return self._down and self.options.failfast_all_unhealthy

    def _usable(self) -> list[Upstream]:
        if not self._aside:
            return self._upstreams
        return [upstream for upstream in self._upstreams if upstream.name not in self._aside]

    def _rank(self, now: float) -> None:
        """See which upstreams do best, and until when that is so unless one is heard of."""
        usable = self._usable()
        ranks = [(upstream.standing.rank(now), upstream) for upstream in usable]
        least = min((rank for rank, _ in ranks), default=Rank.DOWN)
        self._best = [upstream for rank, upstream in ranks if rank is least]
        soon = [upstream.standing.until for rank, upstream in ranks if rank is not Rank.GOOD]
        self._ranked_until = min((until for until in soon if until > now), default=float("inf"))
        self._down = bool(usable) and least is Rank.DOWN
        self._mute = ""
        if all(upstream.standing.mute for upstream in usable):
            whys = [f"{each.name} {each.why or 'timed out'}" for each in usable]
            whys += [f"{name} {reason}" for name, reason in self._aside.items()]
            self._mute = f"no upstream answers: {', '.join(whys) or 'there is none'}"

    def _changed(self) -> None:
        self._ranked_until = 0.0

    def _upstream(self, target: Target) -> Upstream:
        options, clock = self.options, self.clock
        make, changed = self._make, self._changed
        upstream = Upstream(target, options, make, self.wheel, clock, self._series, changed)
        if upstream.name in self._aside:
            upstream.put_aside()
        return upstream

    def _named(self, name: str) -> list[Upstream]:
        return [upstream for upstream in self._upstreams if upstream.name == name]

    def _close(self) -> None:
        self._let_go(self._upstreams + self._leaving)
        self._upstreams = []
        self._changed()
        self._ticker.close()

    def _let_go(self, upstreams: Collection[Upstream]) -> None:
        for upstream in upstreams:
            upstream.close()
        self._leaving = [each for each in self._leaving if each not in upstreams]
