"""What was measured beside what is wanted, as a table for people and as JSON for programs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.report import table
from bench.servers import COREDNS, KDNS

if TYPE_CHECKING:
    from bench.live.latency import Delays
    from bench.live.relist import Relist

_MIB = 1 << 20


class Memory(NamedTuple):
    """Resident bytes when ready, at the most, and after relists; `backs` has the seconds from the
    API server being back until each of them was answered."""

    ready: int
    peak: int
    after: int | None = None
    backs: Sequence[float] = ()


@dataclass
class Results:
    """Everything one run found out, by server. `versions` has each that took part, in order."""

    setup: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    starts: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    at_rest: dict[str, Delays] = field(default_factory=dict)
    busy: dict[str, Delays] = field(default_factory=dict)
    relists: dict[str, Relist] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def wrong_or_lost(self, server: str) -> bool:
        """Whether a server answered wrongly, or failed to answer."""
        found = [part[server] for part in (self.at_rest, self.busy, self.relists) if server in part]
        return any(one.wrong or one.lost for one in found)

    def as_json(self) -> dict[str, Any]:
        found = asdict(self)
        for name in ("memory", "at_rest", "busy", "relists"):
            found[name] = {server: one._asdict() for server, one in getattr(self, name).items()}
        found["goals"] = [
            {"what": line.title, "goal": line.goal, "met": line.met(self)} for line in LINES
        ]
        return found


Value = Callable[[Results, str], float | None]
"""One number of one server, infinite where replies were lost; None where it was not measured."""


class Line(NamedTuple):
    """A line of the table. `goal` is kdns's, for people; `limit` the most that meets it, or None.

    `times` makes the limit one of CoreDNS's number in the same run.
    """

    title: str
    value: Value
    form: str
    goal: str = ""
    limit: float | None = None
    times: bool = False

    def met(self, results: Results) -> bool | None:
        """None where there is no goal, or not all was measured that it takes to tell."""
        found, limit = self.value(results, KDNS), self.limit
        if limit is not None and self.times:
            reference = self.value(results, COREDNS)
            limit = None if reference is None else limit * reference
        return None if found is None or limit is None else found <= limit

    def cell(self, results: Results, server: str) -> str:
        found = self.value(results, server)
        if found is None:
            return "-"
        return format(found, self.form) if found < math.inf else "lost"


def _of(part: str, number: Callable[[Any], float | None]) -> Value:
    def value(results: Results, server: str) -> float | None:
        one = getattr(results, part).get(server)
        return None if one is None else number(one)

    return value


def _after(memory: Memory) -> float | None:
    return None if memory.after is None else memory.after / _MIB


def _grown(memory: Memory) -> float | None:
    return None if memory.after is None else memory.after / memory.ready


def _wrong(one: Delays | Relist) -> float:
    return sum(one.wrong.values())


def _delays(part: str, when: str) -> list[Line]:
    return [
        Line(f"{when}: 50 %, ms", _of(part, lambda d: d.p50), ".2f", "CoreDNS's", 1, times=True),
        Line(f"{when}: 99 %, ms", _of(part, lambda d: d.p99), ".2f", "CoreDNS's", 1, times=True),
        Line(f"{when}: longest, ms", _of(part, lambda d: d.longest), ".2f"),
        Line(f"{when}: unanswered changes", _of(part, lambda d: d.unanswered), ".0f", "0", 0),
        Line(f"{when}: wrong answers", _of(part, _wrong), ".0f", "0", 0),
    ]


LINES = [
    Line("start to ready, s", _of("starts", statistics.median), ".2f", "1.5x CoreDNS's", 1.5, True),
    Line(
        "resident when ready, MiB",
        _of("memory", lambda m: m.ready / _MIB),
        ".0f",
        "0.75x CoreDNS's",
        0.75,
        True,
    ),
    Line("relists since", _of("memory", lambda m: len(m.backs) or None), ".0f"),
    Line("relists: longest, s", _of("memory", lambda m: max(m.backs, default=None)), ".1f"),
    Line("resident after relists, MiB", _of("memory", _after), ".0f"),
    Line("resident after relists, times", _of("memory", _grown), ".2f", "1.3 after 10", 1.3),
    Line("resident at the most, MiB", _of("memory", lambda m: m.peak / _MIB), ".0f"),
    *_delays("at_rest", "commit to answer at rest"),
    *_delays("busy", "commit to answer, busy"),
    Line("relist: queries lost", _of("relists", lambda r: r.lost), ".0f", "0", 0),
    Line("relist: 99.9 %, ms", _of("relists", lambda r: r.p999), ".2f", "10", 10),
    Line("relist: longest, ms", _of("relists", lambda r: r.longest), ".2f"),
    Line("relist: wrong answers", _of("relists", _wrong), ".0f", "0", 0),
    Line("relist: API server away, s", _of("relists", lambda r: r.away), ".1f"),
    Line("relist: up to date again after, s", _of("relists", lambda r: r.back), ".1f"),
]  # fmt: skip


def text(results: Results) -> str:
    """The table, and what there is to say of the run."""
    servers = list(results.versions)
    rows = []
    for line in LINES:
        cells = [line.cell(results, name) for name in servers]
        if any(cell != "-" for cell in cells):
            met = {None: "", True: " met", False: " missed"}[line.met(results)]
            rows.append([line.title, *cells, line.goal + met])
    parts = [table("At one API server", ["", *servers, "kdns's goal"], rows)]
    parts += ["\n".join(results.notes + _remarks(results) + results.failures)]
    return "\n\n".join(filter(None, parts))


def _remarks(results: Results) -> list[str]:
    said = []
    for when, part in (
        ("at rest", results.at_rest),
        ("busy", results.busy),
        ("relist", results.relists),
    ):
        found: Mapping[str, Delays | Relist] = part
        for name, one in found.items():
            said += [
                f"{when}, {name}: {count} answers: {what}" for what, count in one.wrong.items()
            ]
            if one.lost or one.missed:
                said.append(
                    f"{when}, {name}: of {one.sent:,} queries {one.lost:,} were lost;"
                    f" {one.missed:,} were not sent, as the load was held up"
                )
    return said
