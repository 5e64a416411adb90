"""The steady load against a server that does as it is told, in a thread."""

import math
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from bench.live import steady
from bench.live.replies import asked
from bench.live.steady import Steady, share
from bench.load import NoAnswer, Tally
from bench.peers.process import free_ports
from bench.query import HEADER, A

RATE = 1000
ASKED = [asked(f"web-{n}.shop.svc.cluster.local", A, [f"10.0.0.{n}"]) for n in range(50)]
RIGHT = {one.query.head()[HEADER.size :]: one.right for one in ASKED}

Answer = Callable[[bytes, int], list[bytes]]


def right(query: bytes, _number: int) -> list[bytes]:
    [address] = RIGHT[query[HEADER.size :]].addresses
    header = query[:2] + b"\x84\0\0\1\0\1\0\0\0\0"
    return [header + query[HEADER.size :] + b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4" + address]


def none(query: bytes, _number: int) -> list[bytes]:
    return [query[:2] + b"\x84\3\0\1\0\0\0\0\0\0" + query[HEADER.size :]]


class Server:
    """Answers what `answer` makes of each query and its number."""

    def __init__(self) -> None:
        self.answer: Answer = right
        self.seen = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(512)
            if not query:
                return
            for reply in self.answer(query, self.seen):
                self._socket.sendto(reply, client)
            self.seen += 1


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(steady, "PATIENCE", 0.2)
    made = Server()
    yield made
    made.stop()


def run(server: Server, seconds: float = 0.2) -> Tally:
    load = Steady(server.port, ASKED, random.Random(1), rate=RATE)  # noqa: S311 - the same every time
    end = time.monotonic() + seconds
    try:
        return load.run(lambda: time.monotonic() > end)
    finally:
        load.close()


def test_every_reply_is_timed_and_looked_at(server: Server) -> None:
    tally = run(server)
    assert tally.sent + tally.missed == pytest.approx(RATE * 0.2, rel=0.1)
    assert tally.sent == tally.received == tally.sampled > 50
    assert tally.lost == 0
    assert not tally.faults
    assert all(0 < latency < 1 for latency in tally.latencies)


def test_one_wrong_reply_is_noticed(server: Server) -> None:
    server.answer = lambda query, number: (none if number == 40 else right)(query, number)
    tally = run(server)
    assert tally.faults == {"rcode 3, not 0": 1}


def test_addresses_of_another_name_are_wrong(server: Server) -> None:
    def another(query: bytes, number: int) -> list[bytes]:
        [reply] = right(query, number)
        return [reply[:-1] + b"\xff"]

    server.answer = another
    tally = run(server)
    assert tally.faults == {"other addresses": tally.received}


def test_what_is_not_answered_is_lost(server: Server) -> None:
    server.answer = lambda query, number: right(query, number) if number % 10 else []
    tally = run(server)
    assert tally.lost == tally.sent - tally.received == -(-tally.sent // 10)


def test_a_late_reply_of_another_query_is_not_taken_for_one(server: Server) -> None:
    """IDs come round again: who answers with somebody else's question answers nobody."""
    first: list[bytes] = []

    def late(query: bytes, number: int) -> list[bytes]:
        first.append(query)
        [reply] = right(query[:2] + first[0][2:], number)
        return [reply, reply, *right(query, number)] if number else [reply]

    server.answer = late
    tally = run(server)
    assert tally.received == tally.sent
    assert not tally.faults


def test_silence_is_no_answer(server: Server) -> None:
    server.answer = lambda _query, _number: []
    with pytest.raises(NoAnswer):
        run(server)


def test_a_dead_port_is_no_answer() -> None:
    load = Steady(free_ports(1)[0], ASKED, random.Random(1), rate=RATE)  # noqa: S311 - the same every time
    with pytest.raises(NoAnswer):
        load.run(lambda: False)
    load.close()


@pytest.mark.parametrize(
    ("part", "lost", "latency"),
    [
        (0.5, 0, 50),
        (0.99, 0, 99),
        (0.999, 0, 100),
        (0.99, 1, 100),
        (0.999, 1, math.inf),
        (0.5, 100, 100),
        (0.5, 102, math.inf),
    ],
)
def test_a_share_counts_what_was_lost(part: float, lost: int, latency: float) -> None:
    assert share(range(100, 0, -1), part, lost) == latency


def test_a_share_of_nothing_is_lost() -> None:
    assert share([], 0.5) == math.inf
