"""Rounds: a load run against a server while its processor time and replies are accounted."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

from bench.load import NoAnswer
from bench.peers.process import core_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.load import Load, Tally
    from bench.peers.process import ServerProcess

WARM_UP = 0.2  # seconds of load before each round, not accounted
SETTLED = 0.01  # resident memory that moves less than this in a second has settled
SETTLE_SECONDS = 15.0


class Round(NamedTuple):
    """One server's turn at one scenario. Latencies are in microseconds, None where not taken.

    `busy` is the part of its core that the server used, `others` the part that all else had; where
    `busy` is below 1 the load, not the server, may have set `rate` (queries a second).
    """

    scenario: str
    server: str
    carrier: str
    queries: int
    lost: int
    missed: int
    seconds: float
    rate: float
    cpu_us: float
    busy: float
    others: float
    reply_bytes: float
    sampled: int
    faults: dict[str, int]
    p50: float | None = None
    p99: float | None = None
    longest: float | None = None


class Summary(NamedTuple):
    """The median of each number over the rounds of one server at one scenario."""

    carrier: str
    cpu_us: float
    rate: float
    busy: float
    lost: int
    missed: int
    reply_bytes: float
    faults: dict[str, int]
    p50: float | None
    p99: float | None
    longest: float | None


def measure(
    load: Load,
    process: ServerProcess,
    core: int,
    seconds: float,
    *,
    scenario: str,
    server: str,
    carrier: str,
) -> Round:
    """One round with the server on `core`. Raises NoAnswer, also where all replies were lost."""
    load.run(WARM_UP)
    core_before, before = core_seconds(core), process.cpu_seconds()
    tally = load.run(seconds)
    cpu, used = process.cpu_seconds() - before, core_seconds(core) - core_before
    if not tally.received:
        raise NoAnswer("no reply to any query")
    p50, p99, longest = latencies(tally)
    return Round(
        scenario=scenario,
        server=server,
        carrier=carrier,
        queries=tally.received,
        lost=tally.lost,
        missed=tally.missed,
        seconds=tally.seconds,
        rate=tally.received / tally.seconds,
        cpu_us=cpu / tally.received * 1e6,
        busy=cpu / tally.seconds,
        others=max(0.0, used - cpu) / tally.seconds,
        reply_bytes=tally.reply_bytes,
        sampled=tally.sampled,
        faults={f"{what} ({tally.examples[what]})": n for what, n in tally.faults.items()},
        p50=p50,
        p99=p99,
        longest=longest,
    )


def latencies(tally: Tally) -> tuple[float | None, float | None, float | None]:
    """Median, 99th percentile and longest in microseconds; None where none was taken."""
    if len(tally.latencies) < 2:
        return None, None, None
    hundredths = statistics.quantiles(tally.latencies, n=100)
    return hundredths[49] * 1e6, hundredths[98] * 1e6, max(tally.latencies) * 1e6


def summary(rounds: Sequence[Round]) -> Summary:
    """What to say of at least one round of the same server and scenario."""
    faults: dict[str, int] = {}
    for one in rounds:
        for what, count in one.faults.items():
            faults[what] = faults.get(what, 0) + count
    return Summary(
        carrier=rounds[0].carrier,
        cpu_us=statistics.median(one.cpu_us for one in rounds),
        rate=statistics.median(one.rate for one in rounds),
        busy=statistics.median(one.busy for one in rounds),
        lost=sum(one.lost for one in rounds),
        missed=sum(one.missed for one in rounds),
        reply_bytes=statistics.median(one.reply_bytes for one in rounds),
        faults=faults,
        p50=_median(one.p50 for one in rounds),
        p99=_median(one.p99 for one in rounds),
        longest=max((one.longest for one in rounds if one.longest is not None), default=None),
    )


def _median(values: Iterable[float | None]) -> float | None:
    taken = [value for value in values if value is not None]
    return statistics.median(taken) if taken else None


def settled_bytes(process: ServerProcess) -> int:
    """Resident memory once it has stopped moving, or after SETTLE_SECONDS."""
    deadline = time.monotonic() + SETTLE_SECONDS
    now = process.resident_bytes()
    while time.monotonic() < deadline:
        before = now
        time.sleep(1)
        now = process.resident_bytes()
        if abs(now - before) < SETTLED * before:
            break
    return now
