"""Whose sockets are bound to an address."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from kdns.node.listening import listens

KINDS = (socket.SOCK_DGRAM, socket.SOCK_STREAM)


def _bound(address, port=0, kinds=KINDS):
    """Sockets on one port, the stream ones listening, and that port."""
    made = []
    for kind in kinds:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((address, port))
        port = sock.getsockname()[1]
        if kind == socket.SOCK_STREAM:
            sock.listen()
        made.append(sock)
    return made, port


@pytest.mark.parametrize(
    ("bound", "asked", "kinds", "there"),
    [
        ("127.0.0.1", "127.0.0.1", KINDS, True),
        ("127.0.0.2", "127.0.0.1", KINDS, False),
        ("0.0.0.0", "127.0.0.1", KINDS, True),
        ("::1", "::1", KINDS, True),
        ("::", "::1", KINDS, True),
        ("127.0.0.1", "127.0.0.1", KINDS[:1], False),
        ("127.0.0.1", "127.0.0.1", KINDS[1:], False),
    ],
    ids=["the address", "another", "wildcard", "ipv6", "ipv6 wildcard", "udp alone", "tcp alone"],
)
def test_own_sockets(bound, asked, kinds, there):
    sockets, port = _bound(bound, kinds=kinds)
    try:
        assert listens(os.getpid(), asked, port) is there
    finally:
        for each in sockets:
            each.close()


def test_sockets_of_a_child_are_its_parents_and_of_nobody_else():
    sockets, port = _bound("127.0.0.1")
    numbers = [each.fileno() for each in sockets]
    command = [sys.executable, "-c", "input()"]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=numbers) as child,
        subprocess.Popen(command, stdin=subprocess.PIPE) as stranger,
    ):
        for each in sockets:
            each.close()
        assert listens(child.pid, "127.0.0.1", port)
        assert listens(os.getpid(), "127.0.0.1", port)
        assert not listens(stranger.pid, "127.0.0.1", port)
        for each in (child, stranger):
            each.communicate(b"\n")
