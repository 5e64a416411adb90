"""Sockets that can be opened, and what is said of those that cannot."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from kdns.frontend import sockets
from kdns.frontend.sockets import ListenError, is_wildcard, open_tcp, open_udp

OPEN = [open_udp, open_tcp]


@pytest.mark.parametrize("open_socket", OPEN)
@pytest.mark.parametrize(
    ("host", "wildcard"), [("127.0.0.1", False), ("0.0.0.0", True), ("::1", False), ("::", True)]
)
def test_open(ipv6, open_socket, host: str, wildcard: bool) -> None:
    with open_socket(host, 0) as sock:
        assert sock.getsockname()[0] == host
        assert sock.getsockname()[1] > 0
        assert not sock.getblocking()
        assert is_wildcard(sock) == wildcard


def test_ipv6_leaves_ipv4_alone(ipv6, free_port) -> None:
    for open_socket in OPEN:
        with open_socket("::", free_port), open_socket("0.0.0.0", free_port):
            pass


def test_a_udp_socket_on_every_address_knows_which_one_was_asked(ipv6) -> None:
    for host, level, option in (
        ("0.0.0.0", socket.IPPROTO_IP, 8),
        ("::", socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO),
    ):
        with open_udp(host, 0) as sock:
            assert sock.getsockopt(level, option) == 1


@pytest.mark.parametrize("open_socket", OPEN)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_in_use(ipv6, open_socket, host: str) -> None:
    with open_socket(host, 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ListenError) as refused:
            open_socket(host, port)
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    assert str(refused.value) == (
        f"cannot listen on {at}: Address already in use: another server has it: stop that one, or"
        " choose another port"
    )
    assert not refused.value.no_family


@pytest.mark.parametrize("open_socket", OPEN)
def test_an_address_of_another_machine(open_socket) -> None:
    with pytest.raises(ListenError, match="no interface of this machine has the address"):
        open_socket("198.51.100.1", 0)


@pytest.mark.parametrize("open_socket", OPEN)
@pytest.mark.parametrize(
    ("code", "says", "no_family"),
    [
        (errno.EACCES, "need the capability NET_BIND_SERVICE: grant it, or choose a higher", False),
        (errno.EADDRNOTAVAIL, "no interface of this machine has the address", True),
        (errno.EPERM, "correct the address or the port", False),
    ],
)
def test_what_bind_says(monkeypatch, open_socket, code: int, says: str, no_family: bool) -> None:
    """Root may bind anything, so the system's word is made up."""

    class Refusing(socket.socket):
        def bind(self, address):
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(sockets.socket, "socket", Refusing)
    with pytest.raises(ListenError) as refused:
        open_socket("127.0.0.1", 53)
    assert str(refused.value).startswith(f"cannot listen on 127.0.0.1:53: {os.strerror(code)}: ")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.no_family == no_family


@pytest.mark.parametrize("open_socket", OPEN)
def test_a_machine_without_the_family(monkeypatch, open_socket) -> None:
    def missing(*_):
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    monkeypatch.setattr(sockets.socket, "socket", missing)
    with pytest.raises(ListenError) as refused:
        open_socket("::", 53)
    assert refused.value.no_family
    assert str(refused.value).startswith("cannot listen on [::]:53: Address family not supported")


@pytest.mark.parametrize("open_socket", OPEN)
@pytest.mark.parametrize("host", ["not an address", "example.invalid.", "1.2.3", "::g"])
def test_a_host_that_is_no_address(open_socket, host: str) -> None:
    with pytest.raises(ListenError, match="cannot listen on"):
        open_socket(host, 0)


@pytest.mark.parametrize("open_socket", OPEN)
@pytest.mark.parametrize(
    ("host", "bound"),
    [
        ("fe80::1%lo", ("fe80::1", 53, 0, 1)),
        ("fe80::1%7", ("fe80::1", 53, 0, 7)),
        ("fd00::1", ("fd00::1", 53)),
    ],
)
def test_a_scope_is_bound_as_a_number(ipv6, monkeypatch, open_socket, host: str, bound) -> None:
    """Which link-local addresses a machine has is not for a test to say."""
    found = []

    class Noting(socket.socket):
        def bind(self, address):
            found.append(address)

    monkeypatch.setattr(sockets.socket, "socket", Noting)
    monkeypatch.setattr(sockets.socket, "if_nametoindex", {"lo": 1}.__getitem__)
    open_socket(host, 53).close()
    assert found == [bound]


@pytest.mark.parametrize("open_socket", OPEN)
@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("fe80::1%nowhere", "cannot listen on [fe80::1%nowhere]:0: no interface with this name"),
        ("fe80::1", "a link-local address needs its interface, as in fe80::1%eth0"),
    ],
)
def test_a_scope_that_is_missing_or_unknown(ipv6, open_socket, host: str, says: str) -> None:
    with pytest.raises(ListenError) as refused:
        open_socket(host, 0)
    assert says in str(refused.value)


def test_a_tcp_socket_listens_once_it_is_open() -> None:
    with open_tcp("127.0.0.1", 0) as sock, socket.create_connection(sock.getsockname(), timeout=10):
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def test_a_port_that_is_bound_and_refused_to_listeners() -> None:
    """Two may bind a port with SO_REUSEADDR, and one of them may listen."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with open_tcp("127.0.0.1", port), pytest.raises(OSError, match="in use"):
            other.listen()
    with pytest.MonkeyPatch.context() as patch:

        class Refusing(socket.socket):
            def listen(self, *_):
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

        patch.setattr(sockets.socket, "socket", Refusing)
        with pytest.raises(ListenError, match="another server has it"):
            open_tcp("127.0.0.1", 0)
