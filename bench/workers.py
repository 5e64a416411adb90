"""`multisocket`: what two worker processes answer beside what one process does.

The load needs a processor too. So there are two kinds of queries: such as cost the server many
times what they cost the load, of which the rate tells how much more two workers do; and hits, which
cost the load as much as the server, of which processor time is what tells.
Run it on a machine with nothing else to do: python -m bench.workers.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

from bench.dataset import ZONE, Dataset, Size, generate
from bench.flood import Flood
from bench.measure import WARM_UP
from bench.peers.coredns import CorefileServer
from bench.peers.process import ServerProcess
from bench.query import NOERROR, A, Expected, Query
from bench.scenarios import SCENARIOS
from bench.servers import ManifestsFolder, kdns_executable

SIZE = Size(services=1_000, endpoints=20_000)
SOCKETS = 32  # each goes to one worker: with few of them one worker would get most
WINDOW = 512  # room for a burst in each socket
UNIQUE = 65_536  # names in a pass, four times as many as answers are kept
_PODS = int(IPv4Address("10.128.0.0"))

COREFILE = """\
. {{
    multisocket {workers}
    ready {{$READY}}
    prometheus {{$METRICS}}
    kubernetes {zone} {{
        manifests {manifests}
        pods insecure
    }}
    loadbalance
}}
"""


class Turn(NamedTuple):
    """One round: queries a second, and microseconds of processor time a query and process tree."""

    rate: float
    cpu: float
    lost: int


def pods(dataset: Dataset, chance: random.Random) -> list[Query]:
    """Pods' own names, each asked for again when its answer is kept no more."""
    addresses = (IPv4Address(_PODS + number) for number in range(UNIQUE))
    return [
        Query(
            f"{str(address).replace('.', '-')}.{chance.choice(dataset.namespaces)}.pod.{ZONE}",
            *(A, Expected(NOERROR, 1)),
        )
        for address in addresses
    ]


def turn(process: ServerProcess, load: Flood, seconds: float) -> Turn:
    load.run(WARM_UP)
    before = process.cpu_seconds()
    tally = load.run(seconds)
    if tally.faults:
        raise RuntimeError(f"wrong replies: {dict(tally.faults)}")
    used = process.cpu_seconds() - before
    return Turn(tally.received / tally.seconds, used / tally.received * 1e6, tally.lost)


def main() -> int:
    """The exit status is 1 where two workers are not what was hoped for of the unique names."""
    options = _options()
    path = kdns_executable()
    if path is None:
        sys.exit("kdns is not installed")
    dataset = generate(SIZE, 1)
    queries = {
        "hits": SCENARIOS[0].queries(dataset, _chance()),
        "unique names": pods(dataset, _chance()),
    }
    found: dict[tuple[str, int], list[Turn]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        manifests = ManifestsFolder(Path(folder), dataset).path
        for _ in range(options.rounds):
            for workers in (1, 2):
                text = COREFILE.format(workers=workers, zone=ZONE, manifests=manifests)
                with CorefileServer(path, text) as server:
                    for name, asked in queries.items():
                        load = Flood(server.port, asked, _chance(), window=WINDOW, sockets=SOCKETS)
                        taken = turn(server.process, load, options.seconds)
                        load.close()
                        found.setdefault((name, workers), []).append(taken)
    gains = {name: _report(name, found) for name in queries}
    return 0 if gains["unique names"] >= options.goal else 1


def _report(name: str, found: dict[tuple[str, int], list[Turn]]) -> float:
    """Print what is known of one kind of queries; how many times one process two workers are."""
    rates, cpus = [], []
    for workers in (1, 2):
        turns = found[name, workers]
        rates.append(statistics.median(each.rate for each in turns))
        cpus.append(statistics.median(each.cpu for each in turns))
        lost = sum(each.lost for each in turns)
        print(
            f"{name}, {workers}: {rates[-1]:,.0f}/s, {cpus[-1]:.2f} µs a query,"
            f" {rates[-1] * cpus[-1] / 1e6:.2f} processors busy, {lost} lost"
        )
    print(
        f"{name}: {rates[1] / rates[0]:.2f} times the rate with the load beside it,"
        f" {2 * cpus[0] / cpus[1]:.2f} times by processor time"
    )
    return rates[1] / rates[0]


def _chance() -> random.Random:
    return random.Random(1)  # noqa: S311 - has to be the same every time


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.workers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a turn (2)")
    parser.add_argument("--goal", type=float, default=1.7, help="times one process (1.7)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
