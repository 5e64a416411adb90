"""The steps of a search list taken here, one after the other, until a name is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Final, Literal, NamedTuple

from cachetools import TLRUCache

from kdns.dns import codes
from kdns.dns.query import Query
from kdns.dns.reply import Reply
from kdns.plugins.basis import Basis
from kdns.plugins.plugin import Answer, Handler
from kdns.plugins.searchnames import Kind, Searched, Step

MAX_WALKS: Final = 256
"""Walks that are waited for at a time; each asks some ten questions."""

MAX_REMEMBERED: Final = 4096

AGREED: Final = 2
"""Seconds in which no other decision takes the place of one: a resolver's A and AAAA may come one
after the other. What upstreams say for the first time holds for nobody else: so the way is gone
again for the second to ask, who has it from a cache."""

End = Kind | Literal["none", "declined", "failed"]
"""At which kind of step a walk ended: at none, as nothing is there; or it was not gone, as the name
may mean something else, or not to its end, as there was no answer."""

_TYPES: Final = (codes.A, codes.AAAA)

_Ask = Callable[[bytes, int], Answer]


class Decision(NamedTuple):
    """Where a walk ended: at `target`, the last of so many `steps`, or where nothing is to be had.

    `basis` is what was asked on the way, but for the walk's own name and the type that was asked
    for. `found` are A and AAAA of the target, while they are fresh.
    """

    end: End
    basis: Basis
    target: bytes | None = None
    steps: int = 0
    found: tuple[Reply, Reply] | None = None


class _Verdict(NamedTuple):
    free: bool
    basis: Basis


def _ends(_: object, known: Decision | _Verdict, now: float) -> float:
    """The second from which something that is remembered is forgotten."""
    return max(known.basis.ends, now + AGREED)


class Walks:
    """Decides about names, once for A and AAAA, by asking the server itself by `lookup`.

    `ended` is told how each walk ended. Times are in seconds of `clock`.
    """

    def __init__(
        self, lookup: Handler, clock: Callable[[], float], ended: Callable[[End], None]
    ) -> None:
        self._lookup = lookup
        self._clock = clock
        self._ended = ended
        self._decisions: TLRUCache[bytes, Decision]
        self._decisions = TLRUCache(MAX_REMEMBERED, _ends, timer=self._now)
        self._verdicts: TLRUCache[tuple[bytes, ...], _Verdict]
        self._verdicts = TLRUCache(MAX_REMEMBERED, _ends, timer=self._now)
        self._under_way: dict[bytes, asyncio.Future[Decision]] = {}

    def decide(self, query: Query, searched: Searched) -> Decision | asyncio.Future[Decision]:
        """The decision about a name that does not exist for the type of `query`, which is A or
        AAAA. Where it has to be waited for, it must not be cancelled: others wait for it too."""
        name, now = searched.name, self._now()
        known = self._decisions.get(name)
        if known is not None and known.basis.ends > now:
            return known
        if name in self._under_way:
            return self._under_way[name]
        if len(self._under_way) >= MAX_WALKS:
            self._ended("failed")
            return known or Decision("failed", Basis(ends=now))
        walk = self._walk(query.qtype, searched, partial(self._ask, query))
        try:
            answer = next(walk)
            while isinstance(answer, Reply):
                answer = walk.send(answer)
        except StopIteration as stop:
            return self._decided(name, stop.value)
        task = asyncio.ensure_future(self._awaited(name, walk, answer))
        self._under_way[name] = task
        return task

    async def _awaited(
        self, name: bytes, walk: Generator[Answer, Reply, Decision], waiting: Awaitable[Reply]
    ) -> Decision:
        answer: Answer = waiting
        try:
            while True:
                answer = walk.send(answer if isinstance(answer, Reply) else await answer)
        except StopIteration as stop:
            return self._decided(name, stop.value)
        finally:
            del self._under_way[name]

    def _decided(self, name: bytes, decision: Decision) -> Decision:
        self._ended(decision.end)
        before = self._decisions.get(name)
        if before is not None and before.target != decision.target:
            return before
        # What records were a part of is not undone by time alone.
        if decision.basis.memorable:
            self._decisions[name] = decision._replace(found=None)
        return decision

    def _now(self) -> int:
        return int(self._clock())

    def _ask(self, query: Query, name: bytes, qtype: int) -> Answer:
        return self._lookup(query.renamed(name, qtype, (query.name,)))

    def _walk(
        self, qtype: int, searched: Searched, ask: _Ask
    ) -> Generator[Answer, Reply, Decision]:
        """Yields what is asked, and is sent what came of it."""
        (other,) = set(_TYPES) - {qtype}
        reply = yield ask(searched.name, other)
        basis = Basis().denied_by(reply, self._now())
        if reply.rcode != codes.NXDOMAIN or reply.answer:
            return Decision("declined", basis)
        verdict = yield from self._judge(searched, ask)
        basis = basis.within(verdict.basis)
        if not verdict.free:
            return Decision("declined", basis)
        for number, step in enumerate(searched.steps, 1):
            decision = yield from self._take(step, number, basis, ask)
            if decision.end != "none":
                return decision
            basis = decision.basis
        return Decision("none", basis)

    def _take(
        self, step: Step, number: int, basis: Basis, ask: _Ask
    ) -> Generator[Answer, Reply, Decision]:
        """One step, for both types at once: the end, or none and what was denied."""
        first, second = [ask(step.name, qtype) for qtype in _TYPES]
        found = ((yield first), (yield second))
        now = self._now()
        rcodes = {reply.rcode for reply in found}
        if codes.NOERROR in rcodes:
            # What is there is of no lasting use to other names: it bounds the decision alone.
            basis = basis.on(found[0], now).on(found[1], now)
            return Decision(step.kind, basis, step.name, number, found)
        basis = basis.denied_by(found[0], now).denied_by(found[1], now)
        return Decision("none" if rcodes == {codes.NXDOMAIN} else "failed", basis)

    def _judge(self, searched: Searched, ask: _Ask) -> Generator[Answer, Reply, _Verdict]:
        """Whether the name's namespace is there, and the name surely not part of another's."""
        key = searched.doubts
        now = self._now()
        known = self._verdicts.get(key)
        if known is not None and known.basis.ends > now:
            return known
        answers = [ask(name, codes.A) for name in (searched.namespace, *searched.doubts)]
        replies = []
        for answer in answers:
            replies.append((yield answer))  # noqa: PERF401 - a comprehension cannot yield
        namespace, *doubts = replies
        free = namespace.rcode == codes.NOERROR and all(
            doubt.rcode == codes.NXDOMAIN and not doubt.answer for doubt in doubts
        )
        basis, now = Basis(), self._now()
        for reply in replies:
            basis = basis.on(reply, now)
        verdict = _Verdict(free, basis)
        if basis.memorable:
            self._verdicts[key] = verdict
        return verdict
