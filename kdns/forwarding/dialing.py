"""Making connections to upstreams: sockets, how long to wait for them, and why they fail."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from typing import Final

from kdns.forwarding.exchange import Lost, refused_here

_SHORTEST: Final = 1.0
_LONGEST: Final = 5.0
"""CoreDNS waits for up to 30 seconds; nobody who asks here does."""

_WEIGHT: Final = 4
_LIVENESS: Final = (
    ("TCP_KEEPIDLE", 15),
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 5000),
)
"""Seconds until an idle peer is probed, between probes, and probes; then milliseconds that what was
sent may go without an acknowledgement. Each where the system has it."""


class Patience:
    """How long a connection may take to be made: twice what the last ones took, within bounds.

    As in CoreDNS a moving average, where failed attempts count too.
    """

    def __init__(self, shortest: float = _SHORTEST, longest: float = _LONGEST) -> None:
        self._shortest = shortest
        self._longest = longest
        self._average = longest / 2

    @property
    def seconds(self) -> float:
        return min(max(2 * self._average, self._shortest), self._longest)

    def took(self, seconds: float) -> None:
        """A connection was made, or failed, after so long."""
        self._average += (seconds - self._average) / _WEIGHT


def new_socket(family: int) -> socket.socket:
    """A TCP socket that waits for nobody, and notices when its peer is gone without a word."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _LIVENESS:
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return sock


async def connect(
    host: str, port: int, source: str, loop: asyncio.AbstractEventLoop
) -> socket.socket:
    """A TCP connection to an IP address, which may have a scope behind it as in `fe80::1%eth0`.

    Raises OSError.
    """
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    )
    family, _, _, _, address = found[0]
    if source and (":" in source) != (family == socket.AF_INET6):
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    sock = new_socket(family)
    try:
        if source:
            sock.bind((source, 0))
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def lost(error: BaseException, name: str) -> Lost:
    """Why a connection was not made, for a log; `name` is what the certificate had to say."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Lost(
            f"certificate is not valid for {name} ({error.verify_message.partition(',')[0]})"
        )
    if isinstance(error, ssl.SSLError):
        return Lost(f"TLS failed ({(error.reason or str(error)).replace('_', ' ').lower()})")
    if isinstance(error, TimeoutError):
        return Lost("timed out while connecting")
    if isinstance(error, socket.gaierror):
        return Lost("has no IP address")
    if isinstance(error, ConnectionRefusedError):
        return Lost("connection refused")
    if isinstance(error, ConnectionError):
        return Lost("closed the connection")
    if isinstance(error, OSError) and error.errno:
        return refused_here(OSError(error.errno, os.strerror(error.errno)))
    return Lost(str(error) or type(error).__name__)
