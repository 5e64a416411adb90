"""What is asked of every server: each scenario a list of queries and the load that asks them."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING, Literal, NamedTuple

from bench import outside, zone
from bench.datagrams import RANDOM_LABEL, Vary
from bench.dataset import ZONE
from bench.dnsperf import Dnsperf
from bench.flood import WINDOW, Flood
from bench.paced import Paced
from bench.query import AAAA, NOERROR, NXDOMAIN, SRV, A, Expected, Query
from bench.streams import Streams

if TYPE_CHECKING:
    from bench.dataset import Dataset
    from bench.load import Load

ASKED_SERVICES = 1000
POOL = 4000  # queries in a pass
EXTERNAL_NAMES = 100
EDNS = 1232
WHOLE = 4096  # what a client offers that wants large answers over UDP
LARGE_WINDOW = 64  # replies of some kilobytes fill a socket's buffer sooner

Transport = Literal["udp", "tcp", "paced", "dnsperf"]


class Scenario(NamedTuple):
    """`goal` is how many times less CPU a query kdns has to take than CoreDNS, or None;
    `goal_cached` the same against CoreDNS with its cache.

    `whole` asks over TCP where a server truncates its UDP reply, as a client would. `outside` asks
    for names outside the cluster, for which there has to be an upstream; `passes` over all queries
    are made before anything is measured, so that a cache has what it keeps.
    """

    name: str
    title: str
    queries: Callable[[Dataset, random.Random], list[Query]]
    goal: float | None = None
    transport: Transport = "udp"
    vary: Vary = Vary.NOTHING
    window: int = WINDOW
    whole: bool = False
    goal_cached: float | None = None
    outside: bool = False
    passes: int = 0

    def load(self, port: int, queries: Sequence[Query], chance: random.Random) -> tuple[Load, str]:
        """The load at a server, and what carries it: "UDP" or "TCP"."""
        match self.transport:
            case "paced":
                return Paced(port, queries, chance), "UDP"
            case "tcp":
                return Streams(port, queries, chance), "TCP"
            case "dnsperf":
                return Dnsperf(port, queries), "TCP"
        flood = Flood(port, queries, chance, vary=self.vary, window=self.window)
        if self.whole and flood.is_truncated():
            flood.close()
            return Streams(port, queries, chance), "TCP"
        return flood, "UDP"


def _hits(dataset: Dataset, chance: random.Random) -> list[Query]:
    """A and AAAA of a thousand services, half of the queries with EDNS."""
    queries: list[Query] = []
    for service in chance.sample(dataset.services, min(ASKED_SERVICES, len(dataset.services))):
        has_ipv6 = any(":" in address for address in service.addresses)
        for qtype, count in ((A, 1), (AAAA, int(has_ipv6))):
            expected = Expected(NOERROR, count)
            queries += (Query(service.dns_name, qtype, expected, edns) for edns in (0, EDNS))
    chance.shuffle(queries)
    return queries


def _cookies(dataset: Dataset, chance: random.Random) -> list[Query]:
    return [query._replace(edns=EDNS, cookie=True) for query in _hits(dataset, chance)]


def _nonexistent(dataset: Dataset, chance: random.Random) -> list[Query]:
    """Half of the names below a namespace, half below `svc`; Vary.LABEL makes each unique."""
    namespaces = chance.choices(dataset.namespaces, k=POOL // 2)
    suffixes = [f"{namespace}.svc.{ZONE}" for namespace in namespaces]
    suffixes += [f"svc.{ZONE}"] * (POOL - len(suffixes))
    chance.shuffle(suffixes)
    return [
        Query(f"{'x' * RANDOM_LABEL}.{suffix}", A, Expected(NXDOMAIN, 0)) for suffix in suffixes
    ]


def _search_path(dataset: Dataset, chance: random.Random) -> list[Query]:
    """What `ndots:5` asks of the cluster, A and AAAA, before an outside name is tried as it is."""
    names = [
        f"{''.join(chance.choices(string.ascii_lowercase, k=chance.randrange(4, 12)))}.example.com"
        for _ in range(EXTERNAL_NAMES)
    ]
    queries: list[Query] = []
    while len(queries) < POOL:
        outside, namespace = chance.choice(names), chance.choice(dataset.namespaces)
        for suffix in (f"{namespace}.svc.{ZONE}", f"svc.{ZONE}", ZONE):
            name = f"{outside}.{suffix}"
            queries += (Query(name, qtype, Expected(NXDOMAIN, 0)) for qtype in (A, AAAA))
    return queries


def _headless_whole(dataset: Dataset, _chance: random.Random) -> list[Query]:
    return _filled(
        Query(service.dns_name, A, Expected(NOERROR, len(service.endpoints)), WHOLE)
        for service in dataset.headless
    )


def _headless_truncated(dataset: Dataset, _chance: random.Random) -> list[Query]:
    truncated = Expected(NOERROR, 0, truncated=True)
    return _filled(Query(service.dns_name, A, truncated) for service in dataset.headless)


def _srv(dataset: Dataset, _chance: random.Random) -> list[Query]:
    return _filled(
        Query(zone.srv_name(service), SRV, Expected(NOERROR, len(service.endpoints)), WHOLE)
        for service in dataset.srv
    )


def _forwarded(_dataset: Dataset, chance: random.Random) -> list[Query]:
    """A and AAAA of a thousand names, half of the queries with EDNS."""
    queries = [
        Query(outside.host(number), qtype, Expected(NOERROR, 1), edns)
        for number in range(outside.HOSTS)
        for qtype in (A, AAAA)
        for edns in (0, EDNS)
    ]
    chance.shuffle(queries)
    return queries


def _missed(_dataset: Dataset, _chance: random.Random) -> list[Query]:
    """Vary.LABEL makes each unique, so that each has to be asked upstream."""
    return _filled([Query(outside.unique("x" * RANDOM_LABEL), A, Expected(NOERROR, 1))])


def _walk(dataset: Dataset, chance: random.Random) -> list[Query]:
    """What `ndots:5` makes of an outside name: three that do not exist, then itself."""
    queries: list[Query] = []
    while len(queries) < POOL:
        name = outside.host(chance.randrange(EXTERNAL_NAMES))
        namespace = chance.choice(dataset.namespaces)
        for suffix in (f".{namespace}.svc.{ZONE}", f".svc.{ZONE}", f".{ZONE}", ""):
            expected = Expected(NXDOMAIN, 0) if suffix else Expected(NOERROR, 1)
            queries += (Query(name + suffix, qtype, expected) for qtype in (A, AAAA))
    return queries


def _filled(queries: Iterable[Query]) -> list[Query]:
    """The queries over and over, up to a whole pass."""
    return list(islice(cycle(list(queries)), POOL))


SCENARIOS = (
    Scenario("hits", "service A/AAAA", _hits, goal=12, goal_cached=6),
    Scenario("cookies", "random EDNS cookie", _cookies, goal=8, vary=Vary.COOKIE),
    Scenario("case", "random 0x20 case", _hits, goal=8, vary=Vary.CASE),
    Scenario("nxdomain", "unique NXDOMAIN", _nonexistent, goal=8, vary=Vary.LABEL),
    Scenario("search-path", "ndots:5 walk", _search_path),
    Scenario(
        "headless", "headless of 100, whole", _headless_whole, 20, window=LARGE_WINDOW, whole=True
    ),
    Scenario("headless-512", "headless of 100, truncated at 512", _headless_truncated, goal=20),
    Scenario("srv", "SRV of 20 with glue", _srv, goal=15, window=LARGE_WINDOW, whole=True),
    Scenario("tcp", "TCP, 8 kept connections", _hits, goal=2.5, transport="tcp"),
    Scenario("tcp-pipelined", "TCP, 8 x 12 outstanding (dnsperf)", _hits, transport="dnsperf"),
    Scenario("paced", "paced, 10,000/s", _hits, goal=2.5, transport="paced"),
    Scenario("forwarded", "forwarded, cached", _forwarded, goal=5, outside=True, passes=3),
    Scenario("missed", "forwarded, missed", _missed, 2, vary=Vary.LABEL, outside=True),
    Scenario("walk", "ndots:5 walk to its end", _walk, goal=8, outside=True, passes=3),
)
"""In the order of the tables."""
