"""What was measured, as tables for people and as JSON for programs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.measure import Round, Summary, summary
from bench.scenarios import SCENARIOS, Scenario
from bench.servers import CACHED, COREDNS, KDNS

if TYPE_CHECKING:
    from bench.change import Churn, Delays
    from bench.torture import Kept, Torture

KEEPS_RATE = 0.9
"""Part of its rate that kdns has to keep under torture."""

KEPT_MIB = 60
"""What a hundred thousand names in its cache may take."""

SATURATED = 0.95
"""Part of a core above which a server, not the load, set the rate."""

DISTURBED = 0.05
"""Part of the server's core, in the median round, that others may have in a run worth quoting."""

_MIB = 1 << 20


class Memory(NamedTuple):
    """Resident bytes with no object and with the whole dataset, and the latter's peak."""

    empty: int
    full: int
    peak: int


@dataclass
class Results:
    """Everything one run found out. `versions` has each server that took part, in column order."""

    setup: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    memory: dict[str, Memory] = field(default_factory=dict)
    delays: dict[str, Delays] = field(default_factory=dict)
    churn: dict[str, Churn] = field(default_factory=dict)
    torture: dict[str, Torture] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)

    def summaries(self) -> dict[tuple[str, str], Summary]:
        """By scenario and server name."""
        turns: dict[tuple[str, str], list[Round]] = {}
        for one in self.rounds:
            turns.setdefault((one.scenario, one.server), []).append(one)
        return {key: summary(rounds) for key, rounds in turns.items()}

    def as_json(self) -> dict[str, Any]:
        return {
            "setup": self.setup,
            "versions": self.versions,
            "summaries": [
                {"scenario": scenario, "server": server, **found._asdict()}
                for (scenario, server), found in self.summaries().items()
            ],
            "rounds": [one._asdict() for one in self.rounds],
            "memory_bytes": {name: found._asdict() for name, found in self.memory.items()},
            "change_ms": {name: found._asdict() for name, found in self.delays.items()},
            "churn_us": {name: found._asdict() for name, found in self.churn.items()},
            "torture": {name: found._asdict() for name, found in self.torture.items()},
            "kept_bytes": {name: found._asdict() for name, found in self.kept.items()},
            "left_out": self.left_out,
            "failures": self.failures,
        }


def times_less(
    summaries: dict[tuple[str, str], Summary], scenario: str, server: str, than: str = COREDNS
) -> float | None:
    """How many times less CPU a query than CoreDNS; None where either is missing."""
    reference, found = summaries.get((scenario, than)), summaries.get((scenario, server))
    return reference.cpu_us / found.cpu_us if reference and found and found.cpu_us else None


def tables(results: Results) -> str:
    """All tables, and what failed, as text."""
    found = results.summaries()
    servers = list(results.versions)
    asked = [s for s in SCENARIOS if any((s.name, name) in found for name in servers)]

    def by_scenario(title: str, cell: Callable[[Summary], str]) -> str:
        rows = [
            [
                s.title,
                *(cell(one) if (one := found.get((s.name, name))) else "-" for name in servers),
            ]
            for s in asked
        ]
        return table(title, ["", *servers], [row for row in rows if any(c != "-" for c in row[1:])])

    parts = [
        _cpu(found, asked, servers),
        by_scenario(
            "Rate without loss, 1,000/s (> where the server had not used its whole core)", _rate
        ),
        by_scenario("Reply, bytes", _size),
        by_scenario("Latency at the paced rate, µs: median / 99 % / longest", _latency),
        _memory(results),
        _changes(results),
        _torture(results),
        _kept(results),
    ]
    wrong = [
        f"{scenario}, {server}: {count} of the sampled replies: {what}"
        for (scenario, server), one in found.items()
        for what, count in one.faults.items()
    ]
    lost = [
        f"{scenario}, {server}: {one.lost} queries lost"
        for (scenario, server), one in found.items()
        if one.lost
    ]
    notes = results.left_out + results.failures + wrong + lost + _disturbance(results)
    return "\n\n".join(filter(None, [*parts, "\n".join(notes)]))


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with its first column to the left and the others to the right; "" without rows."""
    cells = [list(row) for row in rows]
    if not cells:
        return ""
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in [list(header), *cells]
    ]
    return "\n".join([title, *lines])


def _cpu(
    found: dict[tuple[str, str], Summary], asked: Sequence[Scenario], servers: Sequence[str]
) -> str:
    def cell(scenario: str, server: str) -> str:
        one = found.get((scenario, server))
        if one is None:
            return "-"
        less = times_less(found, scenario, server)
        return f"{one.cpu_us:.2f}" + (f" ({less:.1f}x)" if less and server != COREDNS else "")

    rows = []
    for scenario in asked:
        goals = [
            _goal(scenario.goal, times_less(found, scenario.name, KDNS)),
            _goal(scenario.goal_cached, times_less(found, scenario.name, KDNS, CACHED), " cached"),
        ]
        cells = [cell(scenario.name, name) for name in servers]
        rows.append([scenario.title, *cells, ", ".join(filter(None, goals))])
    return table("CPU a query, µs (times less than CoreDNS)", ["", *servers, "kdns's goal"], rows)


def _goal(goal: float | None, less: float | None, against: str = "") -> str:
    if goal is None:
        return ""
    return f"{goal:g}x{against}" + ("" if less is None else " met" if less >= goal else " missed")


def _disturbance(results: Results) -> list[str]:
    """A line where others had too much of the core for the numbers to be quoted."""
    others = statistics.median([one.others for one in results.rounds] or [0.0])
    if others < DISTURBED:
        return []
    return [f"not to be quoted: others had {others:.0%} of the server's core while it was measured"]


def _rate(one: Summary) -> str:
    if one.p50 is not None:
        return "-"
    return ("" if one.busy >= SATURATED else "> ") + f"{one.rate / 1000:.1f}"


def _size(one: Summary) -> str:
    return f"{one.reply_bytes:.0f} {one.carrier}" if one.reply_bytes else "-"


def _latency(one: Summary) -> str:
    if one.p50 is None or one.p99 is None or one.longest is None:
        return "-"
    return f"{one.p50:.0f} / {one.p99:.0f} / {one.longest:.0f}"


def _memory(results: Results) -> str:
    return table(
        "Resident memory, MiB",
        ["", *results.memory],
        [
            [what, *(f"{getattr(one, what) / _MIB:.1f}" for one in results.memory.values())]
            for what in Memory._fields
        ]
        if results.memory
        else [],
    )


def _changes(results: Results) -> str:
    one = table(
        "From one changed slice of 100 to its answer, ms",
        ["", "median", "longest", "changes"],
        [
            [name, f"{one.median:.2f}", f"{one.longest:.2f}", f"{one.changes}"]
            for name, one in results.delays.items()
        ],
    )
    many = table(
        "Replies at the paced rate while slices of 100 change, ms",
        ["", "longest at rest", "99 %", "longest", "changes/s", "lost", "not sent"],
        [
            [
                name,
                f"{one.longest_at_rest / 1000:.2f}",
                f"{one.p99 / 1000:.2f}",
                f"{one.longest / 1000:.2f}",
                f"{one.changes_a_second:.0f}",
                f"{one.lost}",
                f"{one.missed}",
            ]
            for name, one in results.churn.items()
        ],
    )
    return "\n\n".join(filter(None, [one, many]))


def _torture(results: Results) -> str:
    rows = []
    for name, one in results.torture.items():
        part = one.rate / one.rate_at_rest
        goal = f"{KEEPS_RATE:.0%} {'met' if part >= KEEPS_RATE else 'missed'}"
        rows.append(
            [
                name,
                f"{one.rate_at_rest / 1000:.1f}",
                f"{one.rate / 1000:.1f}",
                f"{part:.0%}",
                f"{one.p99_at_rest:.0f}",
                f"{one.p99:.0f}",
                f"{one.names:.0f}",
                f"{(one.after - one.before) / _MIB:+.1f}",
                goal if name == KDNS else "",
            ]
        )
    return table(
        "Answers from the cluster while names outside go to a dead upstream",
        ["", "1,000/s at rest", "then", "kept", "99 % µs", "then", "names/s", "MiB", "kdns's goal"],
        rows,
    )


def _kept(results: Results) -> str:
    rows = []
    for name, one in results.kept.items():
        more = one.more / _MIB
        goal = f"{KEPT_MIB} {'met' if more <= KEPT_MIB else 'missed'}"
        rows.append(
            [
                name,
                f"{one.empty / _MIB:.1f}",
                f"{one.full / _MIB:.1f}",
                f"{one.names}",
                f"{more:.1f}",
                goal if name == KDNS else "",
            ]
        )
    return table(
        "Memory of names kept, MiB",
        ["", "empty", "full", "names", "100,000 take", "kdns's goal"],
        rows,
    )
