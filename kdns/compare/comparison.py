"""Two servers asked side by side, and the tally of what they said."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from kdns.compare.answers import Answer, Silence
from kdns.compare.differences import Difference, Passed, Verdict, judge
from kdns.compare.questions import Question

AT_ONCE: Final = 64
"""Questions under way."""
RATE: Final = 500
"""Questions a second to each server, by default."""


class Asking(Protocol):
    """One of the two servers; `timeouts` counts the tries that got no reply in time."""

    timeouts: int

    async def ask(self, question: Question) -> Answer | Silence: ...


@dataclass(slots=True)
class Tally:
    """What came of a comparison.

    `changed` counts questions whose answers differed once and not when they were asked again;
    `unanswered` those that a server said nothing to, by server; `passed` what was not the same and
    is no difference; `timeouts` tries without a reply in time, by server.
    """

    questions: int = 0
    differences: list[Difference] = field(default_factory=list)
    changed: int = 0
    unanswered: Counter[str] = field(default_factory=Counter)
    passed: Counter[Passed] = field(default_factory=Counter)
    timeouts: dict[str, int] = field(default_factory=dict)

    @property
    def same(self) -> int:
        return self.questions - len(self.differences)


async def compare(
    a: Asking, b: Asking, questions: Iterable[Question], rate: int = RATE, ttl: int | None = None
) -> Tally:
    """Ask both everything, at most `rate` a second; `ttl` as in `judge`.

    What differs is asked once more: a cluster may change between two questions. Differences are in
    the order of the questions.
    """
    tally = Tally()
    waiting = iter(questions)
    found: dict[int, Difference] = {}
    pace = _Pace(rate)

    async def ask(question: Question) -> tuple[Verdict, Answer | Silence, Answer | Silence]:
        await pace.turn()
        of_a, of_b = await asyncio.gather(a.ask(question), b.ask(question))
        return judge(question, of_a, of_b, ttl), of_a, of_b

    async def work() -> None:
        for question in waiting:
            number = tally.questions
            tally.questions += 1
            verdict, of_a, of_b = await ask(question)
            if verdict.difference is not None and not _silent(of_a, of_b):
                verdict, of_a, of_b = await ask(question)
                tally.changed += verdict.difference is None
            tally.passed.update(verdict.passed)
            tally.unanswered.update(_silent(of_a, of_b))
            if verdict.difference is not None:
                found[number] = verdict.difference

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
    tally.differences = [found[number] for number in sorted(found)]
    tally.timeouts = {"A": a.timeouts, "B": b.timeouts}
    return tally


def _silent(a: Answer | Silence, b: Answer | Silence) -> list[str]:
    return [name for name, reply in (("A", a), ("B", b)) if isinstance(reply, Silence)]


class _Pace:
    """Turns, `rate` a second at most."""

    def __init__(self, rate: int) -> None:
        self._interval = 1 / rate
        self._next = 0.0

    async def turn(self) -> None:
        now = asyncio.get_running_loop().time()
        at = max(now, self._next)
        self._next = at + self._interval
        await asyncio.sleep(at - now)
