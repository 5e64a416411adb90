"""One run of the benchmark: servers started, scenarios taken in turn, changes made, all stopped."""

from __future__ import annotations

import random
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from bench import change, dnsperf
from bench.dataset import Dataset
from bench.load import NoAnswer
from bench.measure import measure, settled_bytes
from bench.peers.process import NotStarted
from bench.report import Memory, Results
from bench.scenarios import SCENARIOS, Scenario
from bench.servers import COREDNS, KDNS, SERVERS, Cores, Running, Server

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from bench.load import Load

MEMORY, CHANGE, CHURN = "memory", "change", "churn"
EXTRAS = (MEMORY, CHANGE, CHURN)
"""What is measured next to the scenarios, of the servers in FOLLOWERS."""

FOLLOWERS = (KDNS, COREDNS)  # CoreDNS's cache would hide a change for as long as it keeps answers
CHURN_SECONDS = 5.0
EMPTY = Dataset([], [], [], [])


class Plan(NamedTuple):
    """What to run. `only` has names of scenarios and extras, `seconds` is the length of a round."""

    only: Collection[str]
    servers: Collection[str]
    rounds: int
    seconds: float
    seed: int
    cores: Cores


def run(plan: Plan, dataset: Dataset, folder: Path, results: Results) -> None:
    """Fills in `results`; the servers' files go below `folder`. Runs on the load's core."""
    with ExitStack() as started:
        running = []
        for server in SERVERS:
            if server.name not in plan.servers:
                continue
            if one := _started(server, plan, dataset, folder, results):
                started.callback(one.stop)
                running.append(one)
        for scenario in SCENARIOS:
            if scenario.name in plan.only:
                _take_turns(scenario, running, plan, dataset, results)
        for one in running:
            if one.name in FOLLOWERS:
                _change(one, plan, dataset, results)


def _started(
    server: Server, plan: Plan, dataset: Dataset, folder: Path, results: Results
) -> Running | None:
    """The server with the dataset, its memory noted; None, and why noted, if there is none."""
    path = server.executable()
    if path is None:
        results.left_out.append(f"{server.name} is left out: it is not installed (see README.md)")
        _say(results.left_out[-1])
        return None
    _say(f"starting {server.name}")
    try:
        empty = 0
        if MEMORY in plan.only and server.name in FOLLOWERS:
            empty = _empty_bytes(server, path, folder / f"{server.name}-empty", plan)
        within = folder / server.name
        within.mkdir()
        one = server.start(path, dataset, within, plan.cores)
    except NotStarted as error:
        results.failures.append(f"{server.name} did not start: {error}")
        _say(results.failures[-1])
        return None
    results.versions[server.name] = server.version(path)
    if empty:
        full = settled_bytes(one.process)
        results.memory[server.name] = Memory(empty, full, one.process.peak_bytes())
    return one


def _empty_bytes(server: Server, path: str, folder: Path, plan: Plan) -> int:
    folder.mkdir()
    one = server.start(path, EMPTY, folder, plan.cores)
    try:
        return settled_bytes(one.process)
    finally:
        one.stop()


def _take_turns(
    scenario: Scenario, running: list[Running], plan: Plan, dataset: Dataset, results: Results
) -> None:
    if scenario.transport == "dnsperf" and dnsperf.executable() is None:
        results.left_out.append(f"{scenario.name} is left out: {dnsperf.MISSING}")
        _say(results.left_out[-1])
        return
    queries = scenario.queries(dataset, _chance(plan))
    with ExitStack() as opened:
        loads: list[tuple[Running, Load, str]] = []
        for server in running:
            with _failing(results, f"{scenario.name}, {server.name}"):
                load, carrier = scenario.load(server.port, queries, _chance(plan))
                opened.callback(load.close)
                loads.append((server, load, carrier))
        for number in range(plan.rounds):
            for server, load, carrier in loads:
                with _failing(results, f"{scenario.name}, {server.name}"):
                    one = measure(
                        load,
                        server.process,
                        plan.cores.server,
                        plan.seconds,
                        scenario=scenario.name,
                        server=server.name,
                        carrier=carrier,
                    )
                    results.rounds.append(one)
                    _say(
                        f"{scenario.name} {number + 1}/{plan.rounds} {server.name}:"
                        f" {one.cpu_us:.2f} µs a query, {one.rate:,.0f}/s, {one.busy:.0%} busy"
                    )


def _change(server: Running, plan: Plan, dataset: Dataset, results: Results) -> None:
    if CHANGE in plan.only:
        _say(f"{CHANGE} {server.name}")
        with _failing(results, f"{CHANGE}, {server.name}"):
            results.delays[server.name] = change.delays(server, dataset.headless[0])
    if CHURN in plan.only:
        _say(f"{CHURN} {server.name}")
        hits = SCENARIOS[0].queries(dataset, _chance(plan))
        with _failing(results, f"{CHURN}, {server.name}"):
            results.churn[server.name] = change.churn(
                server, dataset.headless, hits, CHURN_SECONDS, _chance(plan)
            )


@contextmanager
def _failing(results: Results, what: str) -> Iterator[None]:
    """Notes that a server fell silent and lets the run go on without that number."""
    try:
        yield
    except NoAnswer as error:
        results.failures.append(f"{what}: {error}")
        _say(results.failures[-1])


def _chance(plan: Plan) -> random.Random:
    return random.Random(plan.seed)  # noqa: S311 - has to be the same every time


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
