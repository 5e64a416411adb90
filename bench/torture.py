"""Names outside the cluster at their worst: floods of them to a dead upstream, many to keep."""

from __future__ import annotations

import multiprocessing
import random
import socket
import string
import time
import urllib.request
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from bench import outside
from bench.datagrams import RANDOM_LABEL, Vary
from bench.flood import Flood
from bench.load import NoAnswer
from bench.measure import latencies, settled_bytes
from bench.paced import Paced
from bench.query import NOERROR, A, Expected, Query

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.sharedctypes import Synchronized

    from bench.outside import Upstream
    from bench.servers import Running

NAMES_A_SECOND = 5000
KEPT_NAMES = 100_000
_MORE = 1.3  # times as many are asked for, so that a cache in shards is full too
_FALLS_SILENT = 2.0  # seconds, in which a server learns that its upstream is dead
_TICK = 0.002  # seconds


class Torture(NamedTuple):
    """Answers from the cluster at rest and during the flood: queries a second at full speed, and
    the 99th percentile at the paced rate in microseconds. `names` is the flood's rate; `before` and
    `after` are resident bytes."""

    rate_at_rest: float
    rate: float
    p99_at_rest: float
    p99: float
    names: float
    before: int
    after: int


class Kept(NamedTuple):
    """Resident bytes of a server with nothing and with a full cache of so many names."""

    empty: int
    full: int
    names: int

    @property
    def more(self) -> int:
        """Bytes that KEPT_NAMES take, at what these take each."""
        return round((self.full - self.empty) * KEPT_NAMES / self.names)


def torture(
    server: Running,
    upstream: Upstream,
    queries: Sequence[Query],
    seconds: float,
    chance: random.Random,
) -> Torture:
    """Asks for the cluster's names while as many others go nowhere, then while they go to the
    server, whose upstream is dead: the load has the same work both times."""
    flood, paced = Flood(server.port, queries, chance), Paced(server.port, queries, chance)
    with closing(flood), closing(paced), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        flood.run(seconds / 4)
        with _names(nobody.getsockname()[1]):
            rate_at_rest, p99_at_rest = _answers(flood, paced, seconds)
        before = server.process.resident_bytes()
        upstream.pause()
        try:
            with _names(server.port) as sent:
                time.sleep(_FALLS_SILENT)
                first, start = sent.value, time.perf_counter()
                rate, p99 = _answers(flood, paced, seconds)
                names = (sent.value - first) / (time.perf_counter() - start)
        finally:
            upstream.resume()
        after = server.process.resident_bytes()
    return Torture(rate_at_rest, rate, p99_at_rest, p99, names, before, after)


def _answers(flood: Flood, paced: Paced, seconds: float) -> tuple[float, float]:
    """Queries a second, and the 99th percentile at the paced rate."""
    tally = flood.run(seconds)
    _, p99, _ = latencies(paced.run(seconds))
    if p99 is None:
        raise NoAnswer("hardly any reply")
    return tally.received / tally.seconds, p99


@contextmanager
def _names(port: int) -> Iterator[Synchronized[int]]:
    """Sends random names to a port for the while, and counts them."""
    context = multiprocessing.get_context("fork")
    sent = context.Value("i", 0)
    process = context.Process(target=_send_names, args=(port, sent), daemon=True)
    process.start()
    try:
        yield sent
    finally:
        process.kill()
        process.join()


def _send_names(port: int, sent: Synchronized[int]) -> None:
    chance = random.Random()  # noqa: S311 - only has to differ each time
    start = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("127.0.0.1", port))
        while True:
            time.sleep(_TICK)
            while sent.value < (time.monotonic() - start) * NAMES_A_SECOND:
                label = "".join(chance.choices(string.ascii_lowercase, k=RANDOM_LABEL))
                query = Query(outside.unique(label), A, Expected(NOERROR, 1)).wire()
                asking.send(chance.randbytes(2) + query[2:])
                sent.value += 1


def kept(server: Running, names: int, chance: random.Random) -> Kept:
    """Fills the cache of a server that has room for so many names and was asked nothing so far."""
    empty = settled_bytes(server.process)
    query = Query(outside.unique("x" * RANDOM_LABEL), A, Expected(NOERROR, 1))
    with closing(Flood(server.port, [query] * 4000, chance, vary=Vary.LABEL)) as load:
        asked = 0
        while asked < names * _MORE:
            asked += load.run(0.5).received
    entries = _entries(server.metrics)
    if not entries:
        raise NoAnswer("coredns_cache_entries says that no name is kept")
    return Kept(empty, settled_bytes(server.process), entries)


def _entries(metrics: str) -> int:
    """How many answers a server says that its caches hold."""
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    values = [line.rpartition(" ")[2] for line in lines if line.startswith("coredns_cache_entries")]
    return round(sum(map(float, values)))
