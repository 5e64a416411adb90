"""What it costs a node to have an outside name looked up by a pod's `ndots:5`.

CoreDNS and kdns with the Corefile of a node, in front of a cluster's server and of an upstream: the
pod walks its search list, eight queries a name. kdns with `searchpath` is asked two.
Run it on a machine with nothing else to do: python -m bench.searchpath.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import outside
from bench.dataset import ZONE, Size, generate
from bench.flood import Flood
from bench.measure import WARM_UP
from bench.options import two_cores
from bench.outside import Upstream
from bench.peers import coredns
from bench.peers.coredns import CorefileServer, kubeadm
from bench.query import NOERROR, Expected, Query
from bench.scenarios import SCENARIOS
from bench.servers import COREDNS, KDNS, ManifestsFolder, kdns_executable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.peers.process import ServerProcess

SIZE = Size(services=1_000, endpoints=20_000)
WALK = 8  # queries: four names, A and AAAA
FIRST = 2
COMPLETED = f"{KDNS} with searchpath"
GOAL = 8.0

COREFILE = """\
{zone} {{
    bind 127.0.0.1
    ready {{$READY}}
    errors
    cache {{
        success 9984 30
        denial 9984 5
    }}
    {directive}
    forward . 127.0.0.1:{central} {{
        force_tcp
    }}
}}
. {{
    bind 127.0.0.1
    errors
    cache 30
    forward . 127.0.0.1:{upstream}
}}
"""


class Node(NamedTuple):
    """A server, and what it is asked: so many queries for each name that is looked up."""

    path: str
    directive: str
    queries: Sequence[Query]
    each: int


def first_steps(walk: Sequence[Query]) -> list[Query]:
    """Of whole walks the first name's queries, with an alias and an address as their answers."""
    return [
        query._replace(expected=Expected(NOERROR, 2))
        for start in range(0, len(walk), WALK)
        for query in walk[start : start + FIRST]
    ]


def turn(process: ServerProcess, load: Flood, seconds: float) -> float:
    """Microseconds of processor time a query."""
    load.run(WARM_UP)
    before = process.cpu_seconds()
    tally = load.run(seconds)
    if tally.faults or tally.lost:
        raise RuntimeError(f"wrong replies: {dict(tally.faults)}, {tally.lost} lost")
    return (process.cpu_seconds() - before) / tally.received * 1e6


def main() -> int:
    """The exit status is 1 where kdns with the plugin does not cost so many times less."""
    options = _options()
    kdns, peer, nsd = kdns_executable(), coredns.executable(), outside.executable()
    if kdns is None or nsd is None:
        sys.exit("kdns is not installed" if kdns is None else outside.MISSING)
    cores = two_cores()
    os.sched_setaffinity(0, [cores.load])
    dataset = generate(SIZE, 1)
    [scenario] = [each for each in SCENARIOS if each.name == "walk"]
    walk = scenario.queries(dataset, _chance())
    nodes = {
        KDNS: Node(kdns, "", walk, WALK),
        COMPLETED: Node(kdns, "searchpath", first_steps(walk), FIRST),
    }
    if peer is not None:
        nodes = {COREDNS: Node(peer, "", walk, WALK), **nodes}
    found: dict[str, list[float]] = {name: [] for name in nodes}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as started:
        upstream = started.enter_context(Upstream(nsd, Path(folder), cores=[cores.load]))
        manifests = ManifestsFolder(Path(folder), dataset).path
        text = kubeadm(f"manifests {manifests}", upstream=f"127.0.0.1:{upstream.port}")
        central = started.enter_context(CorefileServer(kdns, text, cores=[cores.load]))
        running = {}
        for name, node in nodes.items():
            text = COREFILE.format(
                zone=ZONE,
                directive=node.directive,
                central=central.port,
                upstream=upstream.port,
            )
            server = started.enter_context(CorefileServer(node.path, text, cores=[cores.server]))
            load = Flood(server.port, node.queries, _chance())
            started.callback(load.close)
            running[name] = server.process, load
            load.run(options.seconds)
        for _ in range(options.rounds):
            for name, (process, load) in running.items():
                found[name].append(turn(process, load, options.seconds))
    costs = {name: statistics.median(found[name]) * nodes[name].each for name in nodes}
    reference = costs.get(COREDNS)
    for name, cost in costs.items():
        less = f", {reference / cost:.1f} times less than {COREDNS}" if reference else ""
        each = nodes[name].each
        print(f"{name}: {each} queries a name, {cost:.1f} µs of processor time{less}")
    return 0 if reference is None or reference / costs[COMPLETED] >= GOAL else 1


def _chance() -> random.Random:
    return random.Random(1)  # noqa: S311 - has to be the same every time


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.searchpath", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a turn (2)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
