"""The page of setup errors: over sockets, turned by the loop that the supervisor has."""

from __future__ import annotations

import select
import socket

import pytest

from kdns.node.flags import Place
from kdns.node.journal import Journal
from kdns.node.loop import Loop
from kdns.node.page import ErrorPage, exposition


def fail(error: Exception) -> None:
    raise error


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def loop(time):
    made = Loop(fail, time)
    yield made
    made.close()


@pytest.fixture
def page(loop):
    journal = Journal([].append)
    journal.setup_errors["configmap"] = 2
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    sock.close()
    made = ErrorPage(Place("127.0.0.1", port), journal.setup_errors, loop)
    made.port = port
    yield made
    made.close()


def talk(loop: Loop, client: socket.socket) -> bytes:
    """Everything that comes until the server closes."""
    received = b""
    for _ in range(100):
        if select.select([client], [], [], 0)[0]:
            try:
                data = client.recv(65536)
            except ConnectionResetError:
                return received
            if not data:
                return received
            received += data
            continue
        loop.after(0.0, lambda: None)
        loop.turn()
    raise AssertionError("the connection stays open")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", 200),
        (b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"SECRET\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n" + b"SECRET: 1\r\n" * 2000, 200),
        (b"S" * 10000, 400),
    ],
)
def test_requests(page, loop, request_: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", page.port)) as client:
        client.sendall(request_)
        said = talk(loop, client)
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert b"SECRET" not in said
    body = said.partition(b"\r\n\r\n")[2]
    if request_.startswith(b"HEAD"):
        assert body == b""
    else:
        assert (b'{errortype="configmap"} 2\n' in body) == (status == 200)


def test_a_request_in_pieces(page, loop) -> None:
    with socket.create_connection(("127.0.0.1", page.port)) as client:
        for piece in (b"GET /met", b"rics HTTP/1.1\r\n", b"\r\n"):
            client.sendall(piece)
            loop.turn()
        assert talk(loop, client).startswith(b"HTTP/1.1 200 ")


def test_every_type_is_there_from_the_start() -> None:
    text = exposition(Journal().setup_errors).decode()
    types = ("configmap", "interface_add", "interface_check", "iptables", "iptables_lock")
    assert text.splitlines()[2:] == [
        f'coredns_nodecache_setup_errors_total{{errortype="{each}"}} 0' for each in types
    ]


def test_slow_clients_are_cut_off(page, loop, time) -> None:
    with socket.create_connection(("127.0.0.1", page.port)) as client:
        client.sendall(b"GET /metr")
        loop.turn()
        time.now = 6.0
        assert talk(loop, client) == b""


def test_many_clients_make_room_for_one_another(page, loop) -> None:
    clients = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(20)]
    try:
        loop.turn()
        assert len(page._open) == 16
        clients[-1].sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert talk(loop, clients[-1]).startswith(b"HTTP/1.1 200 ")
    finally:
        for client in clients:
            client.close()


def test_the_next_instance_has_the_port_as_well(page, loop) -> None:
    ErrorPage(Place("127.0.0.1", page.port), {}, loop).close()


def test_a_port_of_another_program(loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError):
        ErrorPage(Place(*taken.getsockname()), {}, loop)
