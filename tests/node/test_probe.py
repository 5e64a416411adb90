"""One query, against a server whose answers the test gives."""

from __future__ import annotations

import socket

import pytest

from kdns.node.loop import Loop
from kdns.node.probe import ANSWERED, AUTHORITATIVE, LOST, PROBE_ZONE, Probe

NAME = b"".join(bytes((len(each),)) + each.encode() for each in PROBE_ZONE.split(".")) + b"\0"


class Server:
    """UDP and TCP on one port of loopback."""

    def __init__(self):
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        for each in (self.udp, self.tcp):
            each.settimeout(5)

    def close(self):
        self.udp.close()
        self.tcp.close()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


@pytest.fixture
def loop():
    broken = []
    made = Loop(broken.append)
    yield made
    made.close()
    assert broken == []


def _turns(loop, outcomes):
    loop.after(5, lambda: outcomes.append("nothing came"))
    loop.run(lambda: bool(outcomes))


def _flagged(query, flags):
    return query[:2] + flags.to_bytes(2, "big") + query[4:]


FLAGS = [(0x8400, AUTHORITATIVE), (0x8000, ANSWERED), (0x8403, ANSWERED), (0x8005, ANSWERED)]
FLAG_IDS = ["NOERROR with AA", "NOERROR", "NXDOMAIN with AA", "REFUSED"]


@pytest.mark.parametrize(("flags", "outcome"), FLAGS, ids=FLAG_IDS)
def test_udp(server, loop, flags, outcome):
    outcomes = []
    probe = Probe(loop, "127.0.0.1", server.port, False, outcomes.append)
    query, client = server.udp.recvfrom(512)
    assert query[2:] == b"\0\0\0\1\0\0\0\0\0\0" + NAME + b"\0\1\0\1"
    for noise in (b"", b"x", query, _flagged(bytes((query[0] ^ 1,)) + query[1:], 0x8400)):
        server.udp.sendto(noise, client)
    server.udp.sendto(_flagged(query, flags), client)
    _turns(loop, outcomes)
    assert outcomes == [outcome]
    assert not probe.open


@pytest.mark.parametrize(("flags", "outcome"), FLAGS, ids=FLAG_IDS)
def test_tcp(server, loop, flags, outcome):
    outcomes = []
    Probe(loop, "127.0.0.1", server.port, True, outcomes.append)
    connection, _ = server.tcp.accept()
    loop.turn()
    with connection:
        query = connection.recv(512)
        assert query[:2] == len(query[2:]).to_bytes(2, "big")
        answer = _flagged(query[2:], flags)
        for part in (query[:1], query[1:2], answer[:5]):
            connection.sendall(part)
            loop.turn()
        connection.sendall(answer[5:])
        _turns(loop, outcomes)
    assert outcomes == [outcome]


def test_tcp_that_is_closed(server, loop):
    outcomes = []
    Probe(loop, "127.0.0.1", server.port, True, outcomes.append)
    server.tcp.accept()[0].close()
    _turns(loop, outcomes)
    assert outcomes == [LOST]


@pytest.mark.parametrize("stream", [False, True], ids=["udp", "tcp"])
def test_nobody_is_there(server, loop, stream):
    server.close()
    outcomes = []
    Probe(loop, "127.0.0.1", server.port, stream, outcomes.append)
    _turns(loop, outcomes)
    assert outcomes == [LOST]


@pytest.mark.parametrize("stream", [False, True], ids=["udp", "tcp"])
def test_address_that_the_node_does_not_have(loop, stream):
    outcomes = []
    probe = Probe(loop, "192.0.2.77", 53, stream, outcomes.append)
    assert outcomes == [LOST]
    assert not probe.open


def test_given_up(server, loop):
    outcomes = []
    probe = Probe(loop, "127.0.0.1", server.port, False, outcomes.append)
    probe.give_up()
    probe.give_up()
    query, client = server.udp.recvfrom(512)
    server.udp.sendto(_flagged(query, 0x8400), client)
    loop.after(0, lambda: outcomes.append("the end"))
    loop.turn()
    assert outcomes == ["the end"]
