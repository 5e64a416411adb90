"""What every load returns, and the check of replies that all of them share."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from bench.query import fault, question, question_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.query import Expected, Query


class NoAnswer(RuntimeError):
    """The server is gone or has fallen silent."""


@dataclass
class Tally:
    """One run of a load. Times are in seconds.

    `lost` queries got no reply in time. `missed` ones were never sent, because the load itself was
    held up when they were due. `faults` are what was wrong with replies that were looked at, with
    the question of the first of each kind in `examples`.
    """

    sent: int = 0
    received: int = 0
    lost: int = 0
    missed: int = 0
    seconds: float = 0.0
    sampled: int = 0
    sampled_bytes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    @property
    def reply_bytes(self) -> float:
        """Mean size of the replies that were looked at."""
        return self.sampled_bytes / self.sampled if self.sampled else 0.0


class Load(Protocol):
    """Queries at one server, kept connected between runs."""

    def run(self, seconds: float) -> Tally:
        """Asks for so long, then waits for the replies still due. Raises NoAnswer."""

    def close(self) -> None: ...


class Inspector:
    """Checks replies against what their question was expected to get.

    `skip` bytes at the start of a question are not compared: names that differ in their first label
    alone share one expectation.
    """

    def __init__(self, queries: Sequence[Query], *, skip: int = 0) -> None:
        self._skip = skip
        self._expected: dict[bytes, Expected] = {
            question(query.head())[skip:]: query.expected for query in queries
        }

    def inspect(self, reply: bytes, tally: Tally) -> None:
        tally.sampled += 1
        tally.sampled_bytes += len(reply)
        expected = self._expected.get(question(reply)[self._skip :])
        wrong = fault(reply, expected) if expected else "a question that was not asked"
        if wrong:
            tally.faults[wrong] += 1
            tally.examples.setdefault(wrong, question_text(reply))
