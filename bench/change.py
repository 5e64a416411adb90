"""Changes while a server runs: how soon one is answered, and whether many delay the replies."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from bench.load import NoAnswer
from bench.measure import latencies
from bench.paced import Paced
from bench.query import NOERROR, A, Expected, Query
from bench.servers import FEED_NICENESS

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence
    from multiprocessing.sharedctypes import Synchronized

    from bench.dataset import Service
    from bench.servers import Feed, Running

CHANGES = 25
CHANGES_A_SECOND = 100
GIVE_UP = 5.0  # seconds
APART = 0.05  # seconds between changes that are timed
_NEW_ADDRESSES = int(IPv4Address("10.200.0.1"))


class Delays(NamedTuple):
    """Milliseconds from a change being in place to the first reply that has it."""

    median: float
    longest: float
    changes: int


class Churn(NamedTuple):
    """Latencies in microseconds, at the paced rate, before and while slices change."""

    longest_at_rest: float
    p99: float
    longest: float
    changes_a_second: float
    lost: int
    missed: int


def moved(service: Service, number: int) -> Service:
    """The service with its first endpoint at the address of that number, which no other has had."""
    address = str(IPv4Address(_NEW_ADDRESSES + number))
    return replace(service, endpoints=[address, *service.endpoints[1:]])


def delays(server: Running, service: Service) -> Delays:
    """Moves one endpoint again and again and asks for its name until it is there.

    Raises NoAnswer for a change that is not answered within GIVE_UP seconds.
    """
    assert server.feed is not None
    taken = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(GIVE_UP)
        asking.connect(("127.0.0.1", server.port))
        for number in range(CHANGES):
            after = moved(service, number)
            name = after.endpoint_name(after.endpoints[0])
            query = Query(name, A, Expected(NOERROR, 1)).wire()
            server.feed.put(after.slice_manifest())
            taken.append(_seconds_until_answered(asking, query) * 1000)
            time.sleep(APART)
        server.feed.put(service.slice_manifest())
    taken.sort()
    return Delays(taken[len(taken) // 2], taken[-1], len(taken))


def _seconds_until_answered(asking: socket.socket, query: bytes) -> float:
    start = time.perf_counter()
    try:
        while True:
            asking.send(query)
            reply = asking.recv(4096)
            taken = time.perf_counter() - start
            if reply[3] & 0xF == NOERROR and reply[7]:
                return taken
            if taken > GIVE_UP:
                raise NoAnswer(f"a change was not answered within {GIVE_UP:g} s")
    except OSError as error:
        raise NoAnswer(str(error)) from error


def churn(
    server: Running,
    services: Sequence[Service],
    queries: Sequence[Query],
    seconds: float,
    chance: random.Random,
) -> Churn:
    """Asks at the paced rate at rest, then as long again while slices change."""
    assert server.feed is not None
    load = Paced(server.port, queries, chance)
    context = multiprocessing.get_context("fork")
    done = context.Value("i", 0)
    changing = context.Process(target=_change, args=(server.feed, services, done), daemon=True)
    try:
        load.run(seconds / 4)
        at_rest = latencies(load.run(seconds))[2]
        changing.start()
        before, start = done.value, time.perf_counter()
        tally = load.run(seconds)
        rate = (done.value - before) / (time.perf_counter() - start)
    finally:
        load.close()
        if changing.pid is not None:
            changing.kill()
            changing.join()
    _, p99, longest = latencies(tally)
    if at_rest is None or p99 is None or longest is None:
        raise NoAnswer("hardly any reply")
    return Churn(at_rest, p99, longest, rate, tally.lost, tally.missed)


def _change(feed: Feed, services: Sequence[Service], done: Synchronized[int]) -> None:
    os.nice(FEED_NICENESS)
    start = time.monotonic()
    for number, service in _rounds(services):
        feed.put(moved(service, number).slice_manifest())
        done.value = number + 1
        time.sleep(max(0.0, start + (number + 1) / CHANGES_A_SECOND - time.monotonic()))


def _rounds(services: Sequence[Service]) -> Iterator[tuple[int, Service]]:
    number = 0
    while True:
        for service in services:
            yield CHANGES + number, service
            number += 1
