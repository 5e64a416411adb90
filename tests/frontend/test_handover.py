"""Two instances on one TCP port: who gets the connections while the first one goes."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import ExitStack

import dns.message
import pytest

from kdns.frontend.sockets import give_way, open_tcp, take_turns
from kdns.frontend.tcp import Limits, TcpFrontend

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can steer connections")
MANY = 64


def listening(undo: ExitStack, port: int = 0) -> socket.socket:
    sock = open_tcp("127.0.0.1", port, beside=True)
    undo.callback(sock.close)
    return sock


def connections(undo: ExitStack, port: int, count: int = MANY) -> list[socket.socket]:
    return [undo.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]


def accepted(sock: socket.socket) -> int:
    count = 0
    while True:
        try:
            sock.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_new_connections_go_to_the_instance_that_came_second() -> None:
    with ExitStack() as undo:
        first = listening(undo)
        port = first.getsockname()[1]
        second = listening(undo, port)
        connections(undo, port)
        assert 0 < accepted(first) < MANY
        assert 0 < accepted(second) < MANY
        give_way(first)
        connections(undo, port)
        assert (accepted(first), accepted(second)) == (0, MANY)
        first.close()
        connections(undo, port)
        assert accepted(second) == MANY


def test_the_third_instance_shares_with_the_second() -> None:
    with ExitStack() as undo:
        first = listening(undo)
        port = first.getsockname()[1]
        second = listening(undo, port)
        give_way(first)
        first.close()
        third = listening(undo, port)
        take_turns(third)
        connections(undo, port)
        assert 0 < accepted(second) < MANY
        assert 0 < accepted(third) < MANY
        give_way(second)
        connections(undo, port)
        assert (accepted(second), accepted(third)) == (0, MANY)


def test_an_instance_alone_gets_what_comes() -> None:
    with ExitStack() as undo:
        only = listening(undo)
        take_turns(only)
        give_way(only)
        connections(undo, only.getsockname()[1])
        assert accepted(only) == MANY


async def test_what_has_come_before_the_end_is_answered(cluster) -> None:
    """Connections that wait to be accepted would be lost with the socket."""
    query = dns.message.make_query("web.default.svc.cluster.local", "A").to_wire()
    framed = len(query).to_bytes(2, "big") + query
    with ExitStack() as undo:
        sock = listening(undo)
        port = sock.getsockname()[1]
        loop = asyncio.get_running_loop()
        frontend = TcpFrontend(sock, cluster.responder(transport="tcp"), loop, Limits())
        await frontend.start()
        clients = connections(undo, port)
        for client in clients:
            client.sendall(framed)
            client.setblocking(False)
        await frontend.drain(beside=True)
        frontend.close()
        for client in clients:
            async with asyncio.timeout(5):
                reply = await loop.sock_recv(client, 4096)
            assert dns.message.from_wire(reply[2:]).answer
