"""How soon a change is answered, on a server at rest and on a busy one."""

from __future__ import annotations

import gc
import multiprocessing
import random
import select
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

from bench.live.changes import Prober, Times, Witness, make, put_back
from bench.live.steady import Steady, share
from bench.live.urgency import urgent
from bench.load import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.dataset import Service
    from bench.live.replies import Asked

GIVE_UP = 5.0  # seconds after the last change
_TICK = 0.0001  # seconds between two turns, as at the steady rate; the API server has the rest


class Pace(NamedTuple):
    """So many changes, one every `apart` seconds, beside so many queries a second."""

    changes: int
    apart: float
    rate: int = 0


class Delays(NamedTuple):
    """Milliseconds from a commit's response to the first answer with it, of `changes` in all.

    `unanswered` ones were never seen. `judged` answers were looked at; `wrong` says how many were
    not right, by what they were. What follows is of the load beside, `p999` in milliseconds.
    """

    p50: float
    p99: float
    longest: float
    changes: int
    unanswered: int
    commit_p50: float
    judged: int
    wrong: dict[str, int]
    sent: int = 0
    lost: int = 0
    missed: int = 0
    p999: float = 0.0


def latency(
    port: int, kubeconfig: Path, services: Sequence[Service], pace: Pace, load: Sequence[Asked]
) -> Delays:
    """Change the services in another process and ask for them. Raises NoAnswer."""
    times = Times(pace.changes)
    making = multiprocessing.get_context("fork").Process(
        target=make, args=(kubeconfig, services, times, pace.apart), daemon=True
    )
    making.start()
    witness = Witness(services, times)
    prober = Prober(port, services, witness)
    steady = Steady(port, load, random.Random(1), rate=pace.rate) if pace.rate else None  # noqa: S311
    gc.disable()
    try:
        with urgent():
            _ask(prober, steady, times, pace)
    finally:
        gc.enable()
        making.join(GIVE_UP)
        making.kill()
        prober.close()
        if steady is not None:
            steady.close()
        put_back(kubeconfig, services)
    if not times.all_done():
        raise NoAnswer("the API server did not take all changes")
    return _delays(times, witness, prober, steady)


def _ask(prober: Prober, steady: Steady | None, times: Times, pace: Pace) -> None:
    give_up = time.monotonic() + GIVE_UP + pace.changes * pace.apart
    while time.monotonic() < give_up:
        wait = steady.turn() if steady is not None else _TICK
        pending = prober.turn()
        if not pending and times.all_done():
            break
        if wait:
            select.select((), (), (), wait)
    if steady is not None:
        steady.finish()


def _delays(times: Times, witness: Witness, prober: Prober, steady: Steady | None) -> Delays:
    taken = witness.delays()
    unanswered = times.count - len(taken)
    commits = [
        done - begun for begun, done in zip(times.begun[1:], times.done[1:], strict=True) if done
    ]
    found = Delays(
        p50=share(taken, 0.50, unanswered),
        p99=share(taken, 0.99, unanswered),
        longest=max(taken, default=0.0),
        changes=times.count,
        unanswered=unanswered,
        commit_p50=statistics.median(commits) / 1e6,
        judged=witness.judged,
        wrong=dict(witness.wrong),
    )
    if steady is None:
        return found._replace(lost=prober.lost)
    tally = steady.tally
    return found._replace(
        wrong=dict(witness.wrong + tally.faults),
        judged=witness.judged + tally.sampled,
        sent=tally.sent,
        lost=tally.lost + prober.lost,
        missed=tally.missed,
        p999=share(tally.latencies, 0.999, tally.lost) * 1000,
    )
