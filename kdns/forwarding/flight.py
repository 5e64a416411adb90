"""One question on its way: who waits for it, whom it was asked, and whom it is asked next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from kdns.dns import codes
from kdns.dns.reply import Reply
from kdns.dns.response import read
from kdns.forwarding.exchange import Lost, Pending, Question
from kdns.forwarding.proxy_metrics import PROXY
from kdns.forwarding.upstream import Upstream, Way

if TYPE_CHECKING:
    from kdns.forwarding.forwarder import Forwarder

Key = tuple[Question, bool]
"""A question, and whether it is asked over TCP."""

_USELESS: Final = frozenset((codes.SERVFAIL, codes.REFUSED))
_LATE: Final = "timed out"
_FOREIGN: Final = "answers about other names"


class Attempt:
    """A question that one upstream was asked over one way."""

    __slots__ = ("_flight", "began", "missed", "patience", "pending", "upstream", "way", "why")

    def __init__(
        self, flight: Flight, upstream: Upstream, way: Way, began: float, patience: float
    ) -> None:
        self._flight = flight
        self.upstream = upstream
        self.way = way
        self.began = began
        self.patience = patience
        """Seconds until it is most likely lost."""
        self.pending: Pending | None = None
        self.missed = False
        self.why = ""
        """Why there is no answer; "" while there may be one, or was one."""

    def miss(self, now: float) -> None:
        """The upstream owes an answer."""
        if self.pending is not None and not self.missed:
            self.missed = True
            self.upstream.missed(now)

    def heard(self, message: bytes | Lost) -> bool:
        if self._flight.done:
            return True
        if isinstance(message, Lost):
            self._flight.lost(self, message)
            return True
        reply = read(message)
        if reply is None:
            if not self.way.stream:
                return False
            self._flight.lost(self, Lost("sent what is no DNS message"))
            return True
        self.pending = None
        foreign = not reply.answer and not reply.rcode and message[6:8] != b"\0\0"
        self._flight.answered(self, reply, foreign=foreign)
        return True


class Flight:
    """One question, until it is answered or the time for it is over."""

    __slots__ = (
        "_forwarder",
        "_last",
        "askers",
        "attempts",
        "began",
        "deadline",
        "done",
        "hedged",
        "key",
        "question",
    )

    def __init__(
        self, forwarder: Forwarder, key: Key, question: Question, began: float, deadline: float
    ) -> None:
        self._forwarder = forwarder
        self._last: Reply | None = None
        self.key = key
        self.question = question
        self.began = began
        self.deadline = deadline
        self.askers: list[asyncio.Future[Reply]] = []
        self.attempts: list[Attempt] = []
        self.hedged = False
        self.done = False

    @property
    def stream(self) -> bool:
        return self.key[1]

    def ask(self, upstream: Upstream, now: float, *, stream: bool) -> None:
        """Ask one more upstream, or one of them again."""
        way = upstream.way(stream)
        patience = way.latency.loss
        for attempt in self.attempts:
            if attempt.upstream is upstream:
                patience *= 2
        attempt = Attempt(self, upstream, way, now, patience)
        self.attempts.append(attempt)
        upstream.asked += 1
        attempt.pending = way.transport.send(self.question, attempt.heard)
        self._wait(now + way.latency.hedge)

    def step(self, now: float) -> None:
        """Do what has become due. Whatever goes wrong, who asked has an answer."""
        if self.done:
            return
        try:
            self._step(now)
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Nothing can be followed up: a question without an end would take all equal ones along."""
        if not self.done:
            self._finish(self._last or self._failure())

    def _step(self, now: float) -> None:
        for attempt in self.attempts:
            if now >= attempt.began + attempt.patience:
                attempt.miss(now)
        newest = self.attempts[-1]
        lost_at = newest.began + newest.patience
        if now >= self.deadline:
            self._end(now)
        elif now >= lost_at:
            if not self._ask_next(now, again=True):
                if self._waiting():
                    self._wait(self.deadline)
                else:
                    self._end(now)
        else:
            hedge_at = newest.began + newest.way.latency.hedge
            if newest.pending is None or self.hedged:
                self._wait(lost_at)
            elif now < hedge_at:
                self._wait(hedge_at)
            elif not self._hedge(now):
                self._wait(lost_at)

    def answered(self, attempt: Attempt, reply: Reply, *, foreign: bool) -> None:
        """An upstream said something that can be read; `foreign`: of other names alone."""
        now = self._forwarder.clock()
        rcode = codes.SERVFAIL if foreign else reply.rcode
        upstream = attempt.upstream
        upstream.answered(attempt.way, reply.rcode, now - attempt.began)
        if rcode not in self._forwarder.failover:
            if len(self.attempts) > 1:
                self._outrun(attempt, now)
            self._finish(reply)
            return
        if rcode in _USELESS:
            upstream.bad(now, _FOREIGN if foreign else f"answers {codes.rcode_name(rcode)}")
        attempt.why = _FOREIGN if foreign else codes.rcode_name(rcode)
        self._last = self._failure() if foreign else reply
        if not self._ask_next(now, again=False) and not self._waiting():
            self._finish(self._last)

    def lost(self, attempt: Attempt, lost: Lost) -> None:
        """There will be no answer to an attempt."""
        attempt.pending = None
        now = self._forwarder.clock()
        upstream = attempt.upstream
        if lost.by_tcp:
            upstream.alive()
            self.ask(upstream, now, stream=True)
            return
        attempt.why = lost.reason
        attempt.missed = True
        if not lost.local:
            upstream.missed(now)
        upstream.fail(now, lost.reason)
        if self._ask_next(now, again=False):
            return
        if self._forwarder.next(self, again=True) is None and not self._waiting():
            self._end(now)
        else:
            self._wait(attempt.began + attempt.patience)

    def _hedge(self, now: float) -> bool:
        """Ask another upstream too, or the same again from another port, if that is not too much
        of a load."""
        upstream = self._forwarder.next(self, again=True)
        if upstream is None or not self._forwarder.budget.spend():
            return False
        self.hedged = True
        self._forwarder.hedged(upstream)
        self.ask(upstream, now, stream=self.stream)
        return True

    def _ask_next(self, now: float, *, again: bool) -> bool:
        upstream = self._forwarder.next(self, again=again)
        if upstream is None:
            return False
        self._forwarder.retried(upstream)
        self.ask(upstream, now, stream=self.stream)
        return True

    def _waiting(self) -> bool:
        return any(attempt.pending is not None for attempt in self.attempts)

    def _wait(self, when: float) -> None:
        self._forwarder.wheel.at(min(when, self.deadline), self.step)

    def _outrun(self, first: Attempt, now: float) -> None:
        """An answer came from one upstream while another still owed it."""
        for attempt in self.attempts:
            if attempt.pending is not None and attempt.upstream is not first.upstream:
                attempt.miss(now)
                attempt.upstream.bad(now, "answers late")

    def _end(self, now: float) -> None:
        """No upstream has answered, and none will."""
        for attempt in self.attempts:
            if attempt.pending is not None:
                attempt.why = _LATE
                attempt.miss(now)
                attempt.upstream.fail(now, _LATE)
        self._finish(self._last or self._failure())

    def _failure(self) -> Reply:
        failed = [attempt for attempt in self.attempts if attempt.why]
        # In one order, whoever was asked first: one reason is one line in the log.
        whys = sorted({f"{attempt.upstream.name} {attempt.why}" for attempt in failed})
        return unreachable(f"no upstream answered: {', '.join(whys)}")

    def _finish(self, reply: Reply) -> None:
        self.done = True
        reply.plugin = PROXY
        for attempt in self.attempts:
            if attempt.pending is not None:
                attempt.pending.give_up()
                attempt.pending = None
        # Nothing refers to itself any longer: the collector need not look for it.
        self.attempts.clear()
        self._forwarder.landed(self)
        given = False
        for asker in self.askers:
            if not asker.done():
                # What plugins do to one asker's reply is not for the next.
                asker.set_result(reply.changed() if given else reply)
                given = True


def unreachable(why: str, error: int = codes.EDE_UNREACHABLE) -> Reply:
    """SERVFAIL for want of an upstream, and why, for the client and the log; `error` is the
    extended error's code."""
    return Reply(
        rcode=codes.SERVFAIL,
        recursion_available=True,
        extended_error=(error, why),
        lifetime=0,
        failure=why,
        plugin=PROXY,
    )
