"""The queries of the benchmark of workers, and a load from many sockets."""

from __future__ import annotations

import random
import socket
import threading

from bench.dataset import Size, generate
from bench.flood import Flood
from bench.query import NOERROR, A, Expected, Query
from bench.workers import UNIQUE, pods


def chance() -> random.Random:
    return random.Random(1)  # noqa: S311 - has to be the same every time


def test_names_of_pods_are_all_different() -> None:
    dataset = generate(
        Size(services=20, endpoints=100, headless=2, headless_endpoints=5, srv=1, srv_endpoints=5)
    )
    queries = pods(dataset, chance())
    assert len({query.name for query in queries}) == UNIQUE
    first, _, rest = queries[0].name.partition(".")
    assert first == "10-128-0-0"
    assert rest.split(".")[1:] == ["pod", "cluster", "local"]


def test_every_socket_asks() -> None:
    query = Query("web.default.svc.cluster.local", A, Expected(NOERROR, 0))
    askers = set()
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)

        def serve() -> None:
            while (got := server.recvfrom(512))[0] != b"stop":
                askers.add(got[1])
                server.sendto(got[0][:2] + b"\x80\0" + got[0][4:], got[1])

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        load = Flood(port, [query] * 64, chance(), window=128, sockets=8)
        tally = load.run(0.2)
        load.close()
        with socket.socket(type=socket.SOCK_DGRAM) as stop:
            stop.sendto(b"stop", ("127.0.0.1", port))
        thread.join()
    assert tally.received == tally.sent - tally.lost > 0
    assert len(askers) == 8
