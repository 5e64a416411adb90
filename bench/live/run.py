"""One run: a cluster filled, the servers started and measured in turns, all stopped."""

from __future__ import annotations

import random
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from bench.live.latency import Pace, latency
from bench.live.relist import NOT_LISTED, await_answers, marker, relist_under_load, write
from bench.live.replies import Asked, asked
from bench.live.report import Memory
from bench.live.servers import installed
from bench.live.steady import RATE
from bench.live.storing import store
from bench.live.writing import Refused, fill
from bench.load import NoAnswer
from bench.measure import settled_bytes
from bench.peers.process import NotStarted
from bench.query import AAAA, A
from bench.scenarios import ASKED_SERVICES, EDNS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from bench.dataset import Dataset, Service
    from bench.live.report import Results
    from bench.live.servers import Server
    from bench.peers.controlplane import ControlPlane
    from bench.peers.coredns import CorefileServer
    from bench.servers import Cores

START, MEMORY, LATENCY, RELIST = "start", "memory", "latency", "relist"
PARTS = (START, MEMORY, LATENCY, RELIST)

STARTS = 5
AT_REST = Pace(changes=300, apart=0.015)
BUSY = Pace(changes=600, apart=0.02, rate=RATE)
SETTLE = 3.0  # seconds after a start before latencies are taken
NEEDS_A_PLANE = "left out: the API server of a given kubeconfig is not ours to kill"


class Plan(NamedTuple):
    """What to run. `kubeconfig` is a cluster's to be filled, or that of `plane`, which is ours."""

    only: Collection[str]
    servers: Collection[str]
    kubeconfig: Path
    plane: ControlPlane | None
    cores: Cores
    relists: int


def run(plan: Plan, dataset: Dataset, results: Results) -> None:
    """Fills in `results`. Runs on the load's core, but for what fills the cluster."""
    began = time.monotonic()
    _fill(plan, dataset)
    _say(f"filled in {time.monotonic() - began:.0f} s")
    servers = []
    for name in plan.servers:
        server = installed(name)
        if server is None:
            results.notes.append(f"{name} is left out: it is not installed (see README.md)")
            continue
        results.versions[name] = server.version
        servers.append(server)
    one = _Run(plan, dataset, results, servers)
    for part, measure in (
        (START, one.starts),
        (LATENCY, one.latencies),
        (RELIST, one.relists),
        (MEMORY, one.memory),
    ):
        if part in plan.only:
            began = time.monotonic()
            measure()
            _say(f"{part}: {time.monotonic() - began:.0f} s")


def _fill(plan: Plan, dataset: Dataset) -> None:
    if plan.plane is None:
        fill(plan.kubeconfig, dataset.objects())
        return
    store(plan.plane, dataset)
    plan.plane.pin_etcd([plan.cores.load])
    # Pinned from its start on, so that it makes itself as small as its core.
    plan.plane.start_apiserver([plan.cores.load])


class _Run:
    def __init__(
        self, plan: Plan, dataset: Dataset, results: Results, servers: list[Server]
    ) -> None:
        self._plan = plan
        self._dataset = dataset
        self._results = results
        self._servers = servers
        self._marks = 0
        self._load = hits(dataset)

    def starts(self) -> None:
        """The first one of each is not counted: it reads from disk, and compiles."""
        for number in range(STARTS + 1):
            for server in self._servers:
                with self._failing(START, server), self._start(server) as started:
                    if number:
                        after = started.ready_after
                        self._results.starts.setdefault(server.name, []).append(after)

    def latencies(self) -> None:
        for server in self._servers:
            with self._failing(LATENCY, server), self._start(server) as started:
                time.sleep(SETTLE)
                for found, pace in ((self._results.at_rest, AT_REST), (self._results.busy, BUSY)):
                    one = latency(
                        started.port, self._plan.kubeconfig, self._dataset.srv, pace, self._load
                    )
                    found[server.name] = one
                    _say(
                        f"{LATENCY} {server.name}: {one.p50:.2f} ms, {one.p99:.2f} at 99 %,"
                        f" of commits that took {one.commit_p50:.1f} ms"
                    )

    def relists(self) -> None:
        plane = self._plan.plane
        if plane is None:
            self._results.notes.append(f"{RELIST} is {NEEDS_A_PLANE}")
            return
        for server in self._servers:
            with self._failing(RELIST, server), self._start(server) as started:
                time.sleep(SETTLE)
                mark = self._mark()
                found = relist_under_load(started.port, plane, mark, self._load, self._plan.cores)
                self._results.relists[server.name] = found
                _say(f"{RELIST} {server.name}: {found.lost} of {found.sent} queries lost")

    def memory(self) -> None:
        """All at once: each relist is one of every server, and memory is no matter of time."""
        plane = self._plan.plane
        if plane is None:
            self._results.notes.append(f"{MEMORY} after relists is {NEEDS_A_PLANE}")
        with ExitStack() as running:
            started: dict[Server, CorefileServer] = {}
            for server in self._servers:
                with self._failing(MEMORY, server):
                    started[server] = running.enter_context(self._start(server))
            for server, one in started.items():
                ready = settled_bytes(one.process)
                self._results.memory[server.name] = Memory(ready, one.process.peak_bytes())
            if plane is not None:
                self._relist_all(plane, started)

    def _relist_all(self, plane: ControlPlane, started: dict[Server, CorefileServer]) -> None:
        backs: dict[str, list[float]] = {server.name: [] for server in started}
        for _ in range(self._plan.relists):
            mark = self._mark()
            plane.pause_apiserver()
            write(plane, mark)
            plane.replace_apiserver([self._plan.cores.load])
            ports = {server.name: one.port for server, one in started.items()}
            for name, seconds in await_answers(ports, mark).items():
                _say(f"{MEMORY} {name}: listed again after {seconds:.1f} s")
                backs[name].append(seconds)
        for server, one in started.items():
            name = server.name
            if len(backs[name]) < self._plan.relists:
                self._results.failures.append(f"{MEMORY}, {name}: {NOT_LISTED}")
            self._results.memory[name] = self._results.memory[name]._replace(
                after=settled_bytes(one.process), peak=one.process.peak_bytes(), backs=backs[name]
            )

    def _start(self, server: Server) -> CorefileServer:
        _say(f"starting {server.name}")
        return server.start(self._plan.kubeconfig, self._plan.cores)

    def _mark(self) -> Service:
        self._marks += 1
        return marker(self._dataset.namespaces[0], self._marks)

    @contextmanager
    def _failing(self, part: str, server: Server) -> Iterator[None]:
        """Notes what went wrong with one server and lets the run go on without that number."""
        try:
            yield
        except (NoAnswer, NotStarted, Refused) as error:
            self._results.failures.append(f"{part}, {server.name}: {error}")
            _say(self._results.failures[-1])


def hits(dataset: Dataset) -> list[Asked]:
    """A and AAAA of Services with cluster IPs, half of the queries with EDNS."""
    chance = random.Random(1)  # noqa: S311 - has to be the same every time
    found = []
    for service in chance.sample(dataset.services, min(ASKED_SERVICES, len(dataset.services))):
        for qtype in (A, AAAA):
            addresses = [each for each in service.addresses if (":" in each) is (qtype == AAAA)]
            found += [asked(service.dns_name, qtype, addresses, edns) for edns in (0, EDNS)]
    return found


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
