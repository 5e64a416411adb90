"""The page of setup errors, on node-cache's own port.

It is one page of some hundred bytes from a process that must stay small, so it does without a
library: a request is read up to the end of its first line, and its connection closed when answered.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Mapping
from typing import Final

from kdns.node.flags import Place
from kdns.node.loop import Loop, Timer

_PATIENCE: Final = 5.0
_CONNECTIONS: Final = 16
_LARGEST: Final = 8192  # bytes of a request; scrapers send some hundred
_BACKLOG: Final = 64
_FAMILY: Final = "coredns_nodecache_setup_errors_total"


def exposition(errors: Mapping[str, int]) -> bytes:
    """The errors by type, in Prometheus's text format."""
    lines = [
        f"# HELP {_FAMILY} The number of errors during periodic network setup for node-cache",
        f"# TYPE {_FAMILY} counter",
        *(f'{_FAMILY}{{errortype="{kind}"}} {count}' for kind, count in sorted(errors.items())),
    ]
    return "\n".join((*lines, "")).encode()


class ErrorPage:
    """Serves `/metrics` at a place, for as long as the loop turns.

    The port is shared with an instance that is about to go, or has just come. Raises OSError where
    it cannot be had.
    """

    def __init__(self, place: Place, errors: Mapping[str, int], loop: Loop) -> None:
        self._errors = errors
        self._loop = loop
        self._open: dict[_Connection, None] = {}
        self._socket = _listen(place)
        loop.watch(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Answer those that have come, and let go of the port."""
        self._accept()
        self._loop.forget(self._socket.fileno())
        self._socket.close()
        for connection in list(self._open):
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:  # nobody left, or one who left again
                return
            if len(self._open) >= _CONNECTIONS:
                # The oldest has had the longest time to say what it wants.
                next(iter(self._open)).close()
            connection = _Connection(sock, self._page, self._loop, self._open.pop)
            self._open[connection] = None
            connection.readable()

    def _page(self, request: bytes) -> tuple[str, bytes]:
        """Status and body for the first line of a request."""
        words = request.split()
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return "400 Bad Request", b"400: this is no request\n"
        if words[1].partition(b"?")[0] != b"/metrics":
            return "404 Not Found", b"404: there is no such page\n"
        if words[0] not in (b"GET", b"HEAD"):
            return "405 Method Not Allowed", b"405: pages can be read, and no more\n"
        return "200 OK", exposition(self._errors)


class _Connection:
    """One request, its answer, and no more."""

    def __init__(
        self,
        sock: socket.socket,
        page: Callable[[bytes], tuple[str, bytes]],
        loop: Loop,
        gone: Callable[[_Connection, None], None],
    ) -> None:
        self._socket = sock
        self._page = page
        self._loop = loop
        self._gone = gone
        self._received = b""
        self._answer = b""
        self._closed = False
        sock.setblocking(False)
        self._deadline: Timer = loop.after(_PATIENCE, self.close)
        loop.watch(sock.fileno(), self.readable)

    def readable(self) -> None:
        try:
            data = self._socket.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._received += data
        whole = b"\r\n\r\n" in self._received or b"\n\n" in self._received
        if not data:
            self.close()
        elif whole or len(self._received) > _LARGEST:
            line, _, _ = self._received.partition(b"\n")
            self._begin(line)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._deadline.cancel()
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._gone(self, None)

    def _begin(self, line: bytes) -> None:
        status, body = self._page(line)
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._answer = head.encode() + (b"" if line.startswith(b"HEAD ") else body)
        self._loop.watch(self._socket.fileno(), self._writable, select.EPOLLOUT)
        self._writable()

    def _writable(self) -> None:
        try:
            sent = self._socket.send(self._answer)
        except BlockingIOError:
            return
        except OSError:
            sent = len(self._answer)
        self._answer = self._answer[sent:]
        if not self._answer:
            self.close()


def _listen(place: Place) -> socket.socket:
    anywhere = not place.host
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    if anywhere and socket.has_dualstack_ipv6():
        family = socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not anywhere)
        sock.bind((place.host, place.port))
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
