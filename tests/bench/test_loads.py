"""The loads against a server that does as it is told, in a thread."""

import random
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial

import dns.message
import pytest

from bench.datagrams import RANDOM_LABEL, Vary
from bench.flood import Flood
from bench.load import Load, NoAnswer
from bench.paced import Paced
from bench.peers.process import free_ports
from bench.query import NXDOMAIN, A, Expected, Query
from bench.streams import CONNECTIONS, Streams

SECONDS = 0.1
QUERIES = [
    Query(f"web-{n}.shop.svc.cluster.local", A, Expected(0, 0), n % 2 * 1232) for n in range(50)
]
UNIQUE = [
    Query(f"{'x' * RANDOM_LABEL}.team-{n}.svc.cluster.local", A, Expected(NXDOMAIN, 0))
    for n in range(50)
]


Loader = Callable[[int, list[Query], random.Random], Load]
LOADS: list[Loader] = [Flood, partial(Paced, rate=1000), Streams]


class Echo:
    """Answers every query with an empty reply of `rcode`; `drop` says which it stays silent on."""

    def __init__(self, rcode: int = 0, drop: Callable[[int], bool] = lambda _: False) -> None:
        self.rcode = rcode
        self.truncated = False
        self.drop = drop
        self.seen: list[bytes] = []
        [self.port] = free_ports(1)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self._tcp = socket.create_server(("127.0.0.1", self.port))
        self._threads = [threading.Thread(target=self._datagrams)]
        self._threads += [threading.Thread(target=self._stream) for _ in range(CONNECTIONS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._tcp.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._udp.close()
        self._tcp.close()

    def _reply(self, query: bytes) -> bytes:
        end = query.index(b"\0", 12) + 5
        flags = bytes((0x85 | self.truncated << 1, 0x80 | self.rcode))
        return query[:2] + flags + query[4:6] + bytes(6) + query[12:end]

    def _datagrams(self) -> None:
        while True:
            query, client = self._udp.recvfrom(512)
            if not query:
                return
            self.seen.append(query)
            if not self.drop(len(self.seen)):
                self._udp.sendto(self._reply(query), client)

    def _stream(self) -> None:
        try:
            connection, _ = self._tcp.accept()
        except OSError:
            return
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while query := connection.recv(512):
                reply = self._reply(query[2:])
                framed = len(reply).to_bytes(2) + reply
                connection.sendall(framed[:5])  # a reply may come in pieces
                connection.sendall(framed[5:])


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.stop()


def chance() -> random.Random:
    return random.Random(1)  # noqa: S311 - the same every time


@pytest.mark.parametrize("load", LOADS)
def test_every_query_is_counted_and_none_is_lost(echo: Echo, load: Loader) -> None:
    asking = load(echo.port, QUERIES, chance())
    try:
        tallies = [asking.run(SECONDS), asking.run(SECONDS)]
    finally:
        asking.close()
    for tally in tallies:
        assert tally.received == tally.sent > 50
        assert tally.lost == 0
        assert tally.sampled > 0
        assert not tally.faults
        assert tally.seconds >= SECONDS * 0.99


@pytest.mark.parametrize("load", LOADS)
def test_wrong_replies_are_noticed(echo: Echo, load: Loader) -> None:
    echo.rcode = 2
    asking = load(echo.port, QUERIES, chance())
    tally = asking.run(SECONDS)
    asking.close()
    assert tally.faults == {"rcode 2, not 0": tally.sampled}
    assert tally.examples["rcode 2, not 0"].endswith(".shop.svc.cluster.local A")


@pytest.mark.parametrize("load", LOADS[:2])
def test_what_is_not_answered_is_lost(echo: Echo, load: Loader) -> None:
    echo.drop = lambda number: number % 10 == 0
    asking = load(echo.port, QUERIES, chance())
    tally = asking.run(SECONDS)
    asking.close()
    assert tally.lost == tally.sent - tally.received == tally.sent // 10


@pytest.mark.parametrize("load", LOADS[:2])
def test_silence_is_no_answer(echo: Echo, load: Loader) -> None:
    echo.drop = lambda _: True
    asking = load(echo.port, QUERIES, chance())
    with pytest.raises(NoAnswer):
        asking.run(SECONDS)
    asking.close()


def test_paced_asks_at_its_rate_and_times_each_reply(echo: Echo) -> None:
    asking = Paced(echo.port, QUERIES, chance(), rate=1000)
    tally = asking.run(0.2)
    asking.close()
    assert tally.sent + tally.missed == 200
    assert len(tally.latencies) == tally.received == tally.sent
    assert all(0 < latency < 1 for latency in tally.latencies)


@pytest.mark.parametrize("vary", list(Vary))
def test_each_query_is_well_formed_and_differs_as_it_should(echo: Echo, vary: Vary) -> None:
    plain = [query._replace(edns=1232, cookie=True) for query in QUERIES]
    queries = UNIQUE if vary is Vary.LABEL else plain if vary is Vary.COOKIE else QUERIES
    echo.rcode = NXDOMAIN if vary is Vary.LABEL else 0
    asking = Flood(echo.port, queries, chance(), vary=vary)
    tally = asking.run(SECONDS)
    asking.close()
    assert not tally.faults
    assert tally.lost == 0
    assert tally.sent >= 2 * len(queries)
    messages = [dns.message.from_wire(query) for query in echo.seen[: 4 * len(queries)]]
    names = [message.question[0].name.to_text(omit_final_dot=True) for message in messages]
    assert len({message.id for message in messages}) > len(queries)
    if vary is Vary.LABEL:
        assert len(set(names)) == len(names)
        assert {name[RANDOM_LABEL:] for name in names} == {
            query.name[RANDOM_LABEL:] for query in queries
        }
    else:
        assert {name.lower() for name in names} == {query.name for query in queries}
    assert (len(set(names)) > 3 * len(queries)) is (vary in (Vary.CASE, Vary.LABEL))
    if vary is Vary.COOKIE:
        assert len({message.options[0].to_wire() for message in messages}) == len(messages)


@pytest.mark.parametrize("truncated", [False, True])
def test_truncation_is_noticed_before_the_rounds(echo: Echo, truncated: bool) -> None:
    echo.truncated = truncated
    asking = Flood(echo.port, QUERIES, chance())
    assert asking.is_truncated() is truncated
    asking.close()
