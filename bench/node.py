"""A node's cache: kdns as node-cache and CoreDNS with the same Corefile, and kdns restarted.

Both stand in front of a cluster's server and of an upstream, and give cached answers. Memory is
that with 10,000 names kept. In a restart a new instance takes the ports beside the old one, which
is told to end while queries come at a fixed rate: none may be lost.
Run it on a machine with nothing else to do: python -m bench.node.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import outside
from bench.dataset import ZONE, Size, generate
from bench.flood import Flood
from bench.measure import WARM_UP, settled_bytes
from bench.options import two_cores
from bench.outside import Upstream
from bench.paced import RATE, Paced
from bench.peers import coredns
from bench.peers.coredns import CorefileServer, kubeadm
from bench.peers.process import NotStarted, ServerProcess, answers, free_ports
from bench.query import NOERROR, A, Expected, Query
from bench.scenarios import SCENARIOS, Scenario
from bench.servers import COREDNS, KDNS, Cores, ManifestsFolder, kdns_executable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.load import Load, Tally

SIZE = Size(services=1_000, endpoints=20_000)
NAMES = 10_000
GOAL = 5.0
LARGEST = 45 << 20  # bytes
START_SECONDS = 30.0
ASKED = ("hits", "forwarded", "tcp", "paced")

BLOCK = """\
{zone}:{port} {{
    errors
    cache {cache}
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . {upstream}
    prometheus 127.0.0.1:{metrics}{more}
    }}
"""
BY_TCP = "__PILLAR__CLUSTER__DNS__:{central} {{\n            force_tcp\n    }}"
HALVES = "{{\n            success {0} 30\n            denial {0} 5\n    }}"


class Ports(NamedTuple):
    """Of one node."""

    dns: int
    metrics: int
    health: int
    errors: int


class Node(NamedTuple):
    """One server on the node."""

    process: ServerProcess
    ports: Ports


def template(ports: Ports, central: int) -> str:
    """NodeLocal's Corefile with its ports and the central server's, without `reload` and `loop`,
    and with room for the names that are to be kept."""
    by_tcp = BY_TCP.format(central=central)
    zones = [(ZONE, HALVES.format(9984)), ("in-addr.arpa", "30"), ("ip6.arpa", "30")]
    blocks = [(zone, cache, by_tcp) for zone, cache in zones]
    blocks.append((".", HALVES.format(2 * NAMES), "__PILLAR__UPSTREAM__SERVERS__"))
    health = f"\n    health 127.0.0.1:{ports.health}"
    return "".join(
        BLOCK.format(
            zone=zone,
            port=ports.dns,
            cache=cache,
            upstream=upstream,
            metrics=ports.metrics,
            more=health if zone == ZONE else "",
        )
        for zone, cache, upstream in blocks
    )


class NodeCache:
    """What starts instances of `kdns node-cache` that share their ports."""

    def __init__(self, path: str, folder: Path, central: int, upstream: int, cores: Cores) -> None:
        self.ports = Ports(*free_ports(4))
        self._path = path
        self._folder = folder
        self._cores = cores
        self._count = 0
        (folder / "kube-dns").mkdir()
        (folder / "kube-dns" / "upstreamNameservers").write_text(f'["127.0.0.1:{upstream}"]')
        (folder / "Corefile.base").write_text(template(self.ports, central))

    def start(self) -> ServerProcess:
        """One more. Raises NotStarted."""
        self._count += 1
        folder = self._folder
        words = ["-localip=127.0.0.1", "-setupinterface=false", "-setupiptables=false"]
        words += [f"-dns.port={self.ports.dns}", f"-conf={folder}/Corefile-{self._count}"]
        words += [f"-basecorefile={folder}/Corefile.base", f"-kubednscm={folder}/kube-dns"]
        words += [f"-metrics-listen-address=127.0.0.1:{self.ports.errors}"]
        log = folder / f"log-{self._count}"
        process = ServerProcess(
            [self._path, "node-cache", *words],
            log,
            cores=[self._cores.server],
            environment={"KUBE_DNS_SERVICE_HOST": "127.0.0.1"},
        )
        try:
            process.wait_until(lambda: "the node answers on" in log.read_text(), START_SECONDS)
        except NotStarted:
            process.stop()
            raise
        return process

    def corefile(self) -> str:
        """What kdns made of the template."""
        return (self._folder / "Corefile-1").read_text()


def turn(process: ServerProcess, load: Load, seconds: float) -> float:
    """Microseconds of processor time a query."""
    load.run(WARM_UP)
    before = process.cpu_seconds()
    tally = load.run(seconds)
    if tally.faults:
        raise RuntimeError(f"wrong replies: {dict(tally.faults)}")
    return (process.cpu_seconds() - before) / tally.received * 1e6


def keep(port: int) -> None:
    """Have NAMES names kept."""
    names = (outside.unique(f"name-{number}") for number in range(NAMES))
    load = Flood(port, [Query(name, A, Expected(NOERROR, 1)) for name in names], _chance())
    asked = 0
    while asked < 2 * NAMES:
        asked += load.run(WARM_UP).received
    load.close()


def restart(cache: NodeCache, old: ServerProcess, load: Paced, seconds: float) -> Tally:
    """The load over the whole of a restart, in the middle of which the new instance comes."""
    failed: list[NotStarted] = []

    def replace() -> None:
        try:
            new = cache.start()
        except NotStarted as error:
            failed.append(error)
            return
        started.append(new)
        os.kill(old.pid, signal.SIGTERM)

    started: list[ServerProcess] = []
    timer = threading.Timer(seconds / 4, replace)
    timer.start()
    try:
        return load.run(seconds)
    finally:
        timer.join()
        ended = bool(started) and not old.stop(signal.SIGTERM)
        for process in started:
            process.stop()
        if failed:
            raise failed[0]
        if not ended:
            raise RuntimeError("the old instance did not end by itself")


def main() -> int:
    """The exit status is 1 where kdns costs, holds or loses more than it may."""
    options = _options()
    kdns, peer, nsd = kdns_executable(), coredns.executable(), outside.executable()
    if kdns is None or nsd is None:
        sys.exit("kdns is not installed" if kdns is None else outside.MISSING)
    cores = two_cores()
    os.sched_setaffinity(0, [cores.load])
    dataset = generate(SIZE, 1)
    good = True
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as started:
        upstream = started.enter_context(Upstream(nsd, Path(folder), cores=[cores.load]))
        manifests = ManifestsFolder(Path(folder), dataset).path
        text = kubeadm(f"manifests {manifests}", upstream=f"127.0.0.1:{upstream.port}")
        central = started.enter_context(CorefileServer(kdns, text, cores=[cores.load]))
        within = Path(folder) / "node"
        within.mkdir()
        cache = NodeCache(kdns, within, central.port, upstream.port, cores)
        nodes = {KDNS: Node(started.enter_context(cache.start()), cache.ports)}
        if peer is not None:
            nodes[COREDNS] = _coredns(peer, cache, Path(folder), cores, started)
        for name, node in nodes.items():
            keep(node.ports.dns)
            held = settled_bytes(node.process)
            print(f"{name}: {held / 1e6:.1f} MB held with {NAMES:,} names kept")
            good &= name != KDNS or held <= LARGEST
        for scenario in SCENARIOS:
            if scenario.name in ASKED:
                queries = scenario.queries(dataset, _chance())
                good &= _compare(scenario, queries, nodes, options)
        if options.restart:
            hits = next(each for each in SCENARIOS if each.name == "hits")
            load = Paced(cache.ports.dns, hits.queries(dataset, _chance()), _chance(), rate=RATE)
            started.callback(load.close)
            tally = restart(cache, nodes[KDNS].process, load, options.restart)
            print(f"restart: {tally.lost} of {tally.sent:,} queries lost at {RATE:,} a second")
            good &= tally.lost == 0
    return 0 if good else 1


def _coredns(path: str, cache: NodeCache, folder: Path, cores: Cores, started: ExitStack) -> Node:
    ports = Ports(*free_ports(4))
    text = cache.corefile()
    for mine, other in zip(ports, cache.ports, strict=True):
        text = text.replace(f":{other}", f":{mine}")
    corefile = folder / "Corefile"
    corefile.write_text(text)
    words = [path, "-conf", corefile, "-dns.port", str(ports.dns)]
    process = ServerProcess(words, folder / "coredns.log", cores=[cores.server])
    started.enter_context(process)
    process.wait_until(lambda: answers(ports.dns), START_SECONDS)
    return Node(process, ports)


def _compare(
    scenario: Scenario,
    queries: Sequence[Query],
    nodes: dict[str, Node],
    options: argparse.Namespace,
) -> bool:
    """Whether kdns costs as much less as it has to; by turns, so that both have the same days."""
    found: dict[str, list[float]] = {name: [] for name in nodes}
    with ExitStack() as opened:
        loads: dict[str, Load] = {}
        for name, node in nodes.items():
            filling = Flood(node.ports.dns, queries, _chance())
            opened.callback(filling.close)
            asked = 0
            while asked < 2 * len(queries):
                asked += filling.run(WARM_UP).received
            loads[name], _ = scenario.load(node.ports.dns, queries, _chance())
            opened.callback(loads[name].close)
        for _ in range(options.rounds):
            for name, node in nodes.items():
                found[name].append(turn(node.process, loads[name], options.seconds))
    costs = {name: statistics.median(each) for name, each in found.items()}
    shown = ", ".join(f"{name} {cost:.2f} µs" for name, cost in costs.items())
    if COREDNS not in costs:
        print(f"{scenario.title}: {shown}")
        return True
    times = costs[COREDNS] / costs[KDNS]
    print(f"{scenario.title}: {shown}: {times:.1f} times less")
    return times >= GOAL or scenario.transport != "udp"


def _chance() -> random.Random:
    return random.Random(1)  # noqa: S311 - has to be the same every time


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.node", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a turn (2)")
    parser.add_argument(
        "--restart", type=float, default=20.0, help="seconds of load over a restart (20); 0: none"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
