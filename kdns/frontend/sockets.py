"""Opening the sockets that are listened on, and saying why one cannot be."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import struct
import sys
from contextlib import suppress
from typing import Final

from kdns.frontend.capability import take_low_ports

_RESERVE: Final = 128
_RECEIVE_BUFFER: Final = 4 << 20
_CURES: Final = {
    errno.EADDRINUSE: "another server has it: stop that one, or choose another port",
    errno.EACCES: "ports below 1024 need the capability NET_BIND_SERVICE: grant it, or choose a"
    " higher port",
    errno.EINVAL: "a link-local address needs its interface, as in fe80::1%eth0: add it",
    errno.EADDRNOTAVAIL: "no interface of this machine has the address: correct it",
}
_NO_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
_BACKLOG: Final = 1024
_BPF_RETURN: Final = 0x06
_SO_ATTACH_REUSEPORT_CBPF: Final = 51
_SO_DETACH_REUSEPORT_BPF: Final = 68
_IP_PKTINFO: Final = 8  # Linux's number; Python does not name it before 3.14


class ListenError(Exception):
    """A socket that cannot be opened: which, why, and what to do."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        reason = os.strerror(error.errno) if error.errno else str(error)
        cure = _CURES.get(error.errno or 0, "correct the address or the port")
        super().__init__(f"cannot listen on {at}: {reason}: {cure}")
        self.no_family = error.errno in _NO_FAMILY
        """Whether this machine does not have the address family at all."""


def raise_descriptor_limit() -> None:
    """Let this process have as many files and sockets open as it may allow itself (as Go does)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def descriptors() -> int:
    """How many connections there can be, less what the process needs for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_RESERVE, soft - _RESERVE) if soft != resource.RLIM_INFINITY else sys.maxsize


def open_udp(host: str, port: int, *, beside: bool = False) -> socket.socket:
    """A non-blocking UDP socket bound to an address in text; port 0 picks one.

    On a wildcard address it delivers what address each datagram was sent to. With `beside` this
    process has sockets of the port already, at addresses that may overlap. Raises ListenError.
    """
    sock = _socket(host, port, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        _bind(sock, host, port, beside=beside)
        if is_wildcard(sock) and sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        elif is_wildcard(sock):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def open_tcp(host: str, port: int, *, beside: bool = False, listen: bool = True) -> socket.socket:
    """A non-blocking TCP socket of an address in text that can `listen`; otherwise as `open_udp`.

    One that does not listen holds the port for those that do.
    """
    sock = _socket(host, port, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(sock, host, port, beside=beside)
        if listen:
            # A port may be bound by two and be refused here: serving must not fail later.
            _listen(sock, host, port)
    except BaseException:
        sock.close()
        raise
    return sock


def deafen(sock: socket.socket) -> bool:
    """Let packets for a UDP socket go to another of its port; whether the system can.

    A connected socket hears of its peer alone, and this one's is itself. Linux lets it send to
    others all the same.
    """
    if sys.platform != "linux":
        return False
    try:
        sock.connect(sock.getsockname())
    except OSError:
        return False
    return True


def give_way(sock: socket.socket) -> None:
    """Let new connections to a port that is shared go to the instance that came second.

    For one that came first, and is about to close. What has come to a listening socket is lost with
    it, so nothing more may come; alone it still gets what comes. Nothing changes where the system
    cannot do this.
    """
    # A packet filter that returns the number of a socket in the order of their coming; where there
    # is none of that number Linux chooses as ever.
    program = (ctypes.c_char * 8).from_buffer_copy(struct.pack("HBBI", _BPF_RETURN, 0, 0, 1))
    filter_ = struct.pack("HP", 1, ctypes.addressof(program))
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, filter_)


def take_turns(sock: socket.socket) -> None:
    """Undo what the instance before the one before gave way with."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_REUSEPORT_BPF, 0)


def is_wildcard(sock: socket.socket) -> bool:
    """Whether a socket is bound to every address of its family."""
    return sock.getsockname()[0] in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def _socket(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    ipv6 = ":" in host
    try:
        sock = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, kind)
    except OSError as error:
        raise ListenError(host, port, error) from error
    sock.setblocking(False)
    if ipv6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


def _bind(sock: socket.socket, host: str, port: int, *, beside: bool) -> None:
    try:
        if beside:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        place = _place(host, port)
        try:
            sock.bind(place)
        except PermissionError:
            if not take_low_ports():
                raise
            sock.bind(place)
    except OSError as error:
        raise ListenError(host, port, error) from error
    # From now on: another program is refused the port, and a later socket of this one is not.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _listen(sock: socket.socket, host: str, port: int) -> None:
    try:
        sock.listen(_BACKLOG)
    except OSError as error:
        raise ListenError(host, port, error) from error


def _place(host: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """What `bind` takes: it finds no scope in the text. Raises OSError for no such interface."""
    address, _, scope = host.partition("%")
    if not scope:
        return host, port
    return address, port, 0, int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
