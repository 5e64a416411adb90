"""UDP sockets to one upstream, each of whose uses has a port that nobody can foretell.

RFC 5452 §9.2: the system chooses the port, at random from the whole of its range for outgoing
connections. On Linux a socket that is disconnected gives its port back, and gets another one when
it is connected again: a third of what a new socket costs.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import socket
import sys
from struct import pack
from typing import Final, Protocol

_RECEIVE: Final = 4096
"""Bytes read of a datagram; more than any that is taken."""

_BUFFER: Final = 16384
"""Bytes that the system keeps of what arrives at one port: an answer, and some forgeries."""

_IDLE: Final = 512
"""Sockets kept for later; the others are closed after use."""

_STALE: Final = 64
"""Datagrams for a former port that are read away before a socket is closed instead."""

_MTU_DISCOVER: Final = {socket.AF_INET: (0, 10), socket.AF_INET6: (41, 23)}
_OMIT: Final = 5
"""IP_PMTUDISC_OMIT: no forged ICMP error makes our packets go in fragments (RFC 9715)."""

_BIND_ADDRESS_NO_PORT: Final = 24
_UNCONNECTED: Final = ctypes.create_string_buffer(pack("=H", socket.AF_UNSPEC), 28)
_STALE_BYTES: Final = ctypes.create_string_buffer(1)

_libc = ctypes.PyDLL(None, use_errno=True)  # these calls wait for nothing
_connect = _libc["connect"]
_connect.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32)
_recv = _libc["recv"]
_recv.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Reader(Protocol):
    """Who has a port for now."""

    def arrived(self, packet: bytes) -> None:
        """A datagram came from the upstream's address; a long one is cut."""

    def failed(self, error: OSError) -> None:
        """The port is of no use any more, as after an ICMP error."""


class Port:
    """One socket, and who reads it."""

    __slots__ = ("deaf", "fd", "reader", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.reader: Reader | None = None
        self.deaf = False
        """Whether there was an error: libuv tells of no other event after one."""

    def readable(self) -> None:
        """Read one datagram; the loop calls again while there are more."""
        reader = self.reader
        try:
            packet = self.sock.recv(_RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.deaf = True
            if reader is not None:
                reader.failed(error)
            return
        if reader is not None:
            reader.arrived(packet)


class Ports:
    """The sockets to one address, `limit` at most.

    `host` is an IP address, which may have a scope behind it as in `fe80::1%eth0`; `source` is the
    address of this machine to send from, "" for the one that routing chooses.
    """

    def __init__(
        self, host: str, port: int, source: str, loop: asyncio.AbstractEventLoop, limit: int
    ) -> None:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        )
        self._family = socket.AddressFamily(found[0][0])
        self._address: tuple[object, ...] = found[0][4]
        self._source = source
        self._loop = loop
        self._limit = limit
        self._idle: list[Port] = []
        self._open: set[Port] = set()
        self._renews = sys.platform == "linux"
        self._sure = False
        raw = _sockaddr(self._family, self._address)
        self._raw = ctypes.create_string_buffer(raw, len(raw))
        self._raw_at = ctypes.addressof(self._raw)
        self._raw_size = len(raw)
        self._unconnected_at = ctypes.addressof(_UNCONNECTED)
        self._stale_at = ctypes.addressof(_STALE_BYTES)

    def take(self, reader: Reader) -> Port:
        """A connected socket with a new port, until it is released. Raises OSError."""
        while self._idle:
            port = self._idle.pop()
            if not port.deaf and self._empty(port):
                if _connect(port.fd, self._raw_at, self._raw_size) < 0:
                    self._drop(port)
                    raise _error()
                port.reader = reader
                return port
            self._drop(port)
        port = self._new()
        port.reader = reader
        return port

    def release(self, port: Port) -> None:
        """Give a port back: nothing that arrives for it reaches anybody."""
        port.reader = None
        if not self._renews or port.deaf or len(self._idle) >= _IDLE:
            self._drop(port)
        elif _connect(port.fd, self._unconnected_at, self._raw_size) < 0 or not self._renewed(port):
            self._renews = False
            self._drop(port)
        else:
            self._idle.append(port)

    def readers(self) -> list[Reader]:
        """Who has a port now."""
        return [port.reader for port in self._open if port.reader is not None]

    def close(self) -> None:
        """Close all sockets."""
        for port in list(self._open):
            self._drop(port)
        self._idle.clear()

    def _renewed(self, port: Port) -> bool:
        """Whether the port is given back: asked once, as not every system called Linux does it."""
        self._sure = self._sure or port.sock.getsockname()[1] == 0
        return self._sure

    def _empty(self, port: Port) -> bool:
        """Read away what had arrived for a former port: it must not be heard on the new one."""
        for _ in range(_STALE):
            if (
                _recv(port.fd, self._stale_at, 1, socket.MSG_DONTWAIT) < 0
                and ctypes.get_errno() == errno.EAGAIN
            ):
                return True
        return False

    def _new(self) -> Port:
        if len(self._open) >= self._limit:
            raise OSError(errno.EMFILE, f"all of its {self._limit} UDP ports are taken")
        sock = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            if sys.platform == "linux":
                level, option = _MTU_DISCOVER[self._family]
                with contextlib.suppress(OSError):
                    sock.setsockopt(level, option, _OMIT)
                    sock.setsockopt(0, _BIND_ADDRESS_NO_PORT, 1)
            if self._source:
                sock.bind((self._source, 0))
            sock.connect(self._address)
            port = Port(sock)
            self._loop.add_reader(sock, port.readable)
        except BaseException:
            sock.close()
            raise
        self._open.add(port)
        return port

    def _drop(self, port: Port) -> None:
        self._open.discard(port)
        self._loop.remove_reader(port.sock)
        port.sock.close()


def _error() -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))


def _sockaddr(family: int, address: tuple[object, ...]) -> bytes:
    """An address as the system's calls want it."""
    host, port, *more = address
    head = pack("=H", family) + pack("!H", port)
    host = str(host).partition("%")[0]
    if family == socket.AF_INET:
        return head + socket.inet_aton(host) + bytes(8)
    flow, scope = more
    return head + pack("!I", flow) + socket.inet_pton(socket.AF_INET6, host) + pack("=I", scope)
