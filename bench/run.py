"""One run of the benchmark: servers started, scenarios taken in turn, changes made, all stopped."""

from __future__ import annotations

import random
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import change, dnsperf, outside, torture
from bench.dataset import Dataset
from bench.load import NoAnswer
from bench.measure import WARM_UP, measure, settled_bytes
from bench.outside import Upstream
from bench.peers.process import NotStarted
from bench.report import Memory, Results
from bench.scenarios import SCENARIOS, Scenario
from bench.servers import COREDNS, KDNS, SERVERS, Cores, Place, Running, Server

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from bench.load import Load

MEMORY, CHANGE, CHURN, TORTURE, KEPT = "memory", "change", "churn", "torture", "kept"
EXTRAS = (MEMORY, CHANGE, CHURN, TORTURE, KEPT)
"""What is measured next to the scenarios: torture of all that forward, the others of FOLLOWERS."""

FOLLOWERS = (KDNS, COREDNS)  # CoreDNS's cache would hide a change for as long as it keeps answers
CHURN_SECONDS = 5.0
TORTURE_SECONDS = 5.0
NOBODY = 9  # a port of loopback where nobody listens, for servers without an upstream
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
        upstream = _upstream(plan, folder, results)
        if upstream is not None:
            started.callback(upstream.stop)
        port = NOBODY if upstream is None else upstream.port
        running = []
        for server in SERVERS:
            if server.name not in plan.servers:
                continue
            if one := _started(server, plan, dataset, Place(folder, plan.cores, port), results):
                started.callback(one.stop)
                running.append(one)
        for scenario in SCENARIOS:
            if scenario.name in plan.only and not (scenario.outside and upstream is None):
                _take_turns(scenario, running, plan, dataset, results)
        for one in running:
            if one.name in FOLLOWERS:
                _change(one, plan, dataset, results)
            if upstream is not None and one.forwards and TORTURE in plan.only:
                _torture(one, upstream, plan, dataset, results)


def _upstream(plan: Plan, folder: Path, results: Results) -> Upstream | None:
    """Who knows the names outside the cluster; None, and why noted, if nobody does or need."""
    wanted = {s.name for s in SCENARIOS if s.outside} | {TORTURE, KEPT}
    if not wanted.intersection(plan.only):
        return None
    path = outside.executable()
    if path is None:
        left_out = ", ".join(sorted(wanted.intersection(plan.only)))
        results.left_out.append(f"{left_out}: left out, {outside.MISSING}")
        _say(results.left_out[-1])
        return None
    within = folder / "upstream"
    within.mkdir()
    return Upstream(path, within, cores=[plan.cores.load])


def _started(
    server: Server, plan: Plan, dataset: Dataset, place: Place, results: Results
) -> Running | None:
    """The server with the dataset, its memory noted; None, and why noted, if there is none.

    `place` has the folder in which each server has one of its own.
    """
    path = server.executable()
    if path is None:
        results.left_out.append(f"{server.name} is left out: it is not installed (see README.md)")
        _say(results.left_out[-1])
        return None
    _say(f"starting {server.name}")
    try:
        empty = 0
        if MEMORY in plan.only and server.name in FOLLOWERS:
            with _alone(server, path, place) as one:
                empty = settled_bytes(one.process)
        if KEPT in plan.only and server.name in FOLLOWERS and place.upstream != NOBODY:
            _say(f"{KEPT} {server.name}")
            roomy = place._replace(room=torture.KEPT_NAMES)
            with (
                _failing(results, f"{KEPT}, {server.name}"),
                _alone(server, path, roomy) as one,
            ):
                results.kept[server.name] = torture.kept(one, torture.KEPT_NAMES, _chance(plan))
        within = place.folder / server.name
        within.mkdir()
        one = server.start(path, dataset, place._replace(folder=within))
        one.forwards = server.forwards
    except NotStarted as error:
        results.failures.append(f"{server.name} did not start: {error}")
        _say(results.failures[-1])
        return None
    results.versions[server.name] = server.version(path)
    if empty:
        full = settled_bytes(one.process)
        results.memory[server.name] = Memory(empty, full, one.process.peak_bytes())
    return one


@contextmanager
def _alone(server: Server, path: str, place: Place) -> Iterator[Running]:
    """The server without any object, for the while."""
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        one = server.start(path, EMPTY, place._replace(folder=Path(folder)))
        try:
            yield one
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
            if scenario.outside and not server.forwards:
                continue
            with _failing(results, f"{scenario.name}, {server.name}"):
                load, carrier = scenario.load(server.port, queries, _chance(plan))
                opened.callback(load.close)
                asked = 0
                while asked < scenario.passes * len(queries):
                    asked += load.run(WARM_UP).received
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


def _torture(
    server: Running, upstream: Upstream, plan: Plan, dataset: Dataset, results: Results
) -> None:
    _say(f"{TORTURE} {server.name}")
    hits = SCENARIOS[0].queries(dataset, _chance(plan))
    with _failing(results, f"{TORTURE}, {server.name}"):
        results.torture[server.name] = torture.torture(
            server, upstream, hits, TORTURE_SECONDS, _chance(plan)
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
