"""TCP on kept connections: one query outstanding on each, the next sent when its reply is whole."""

from __future__ import annotations

import itertools
import select
import socket
import time
from typing import TYPE_CHECKING

from bench.load import Inspector, NoAnswer, Tally

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from bench.query import Query

CONNECTIONS = 8
PATIENCE = 5.0  # seconds without any reply after which the server has fallen silent
SAMPLE_EVERY = 97
_LARGEST = 2 + 65535


class Streams:
    """Connections that are opened once; one that the server closes is opened again."""

    def __init__(self, port: int, queries: Sequence[Query], chance: random.Random) -> None:
        framed = [_framed(query, chance) for query in queries]
        chance.shuffle(framed)
        self._queries = itertools.cycle(framed)
        self._inspector = Inspector(queries)
        self._port = port
        self._epoll = select.epoll()
        self._open: dict[int, socket.socket] = {}
        for _ in range(CONNECTIONS):
            self._connect()

    def close(self) -> None:
        for used in self._open.values():
            used.close()
        self._epoll.close()

    def run(self, seconds: float) -> Tally:
        for fd, _ in self._epoll.poll(0):  # closed by the server while nothing was asked
            self._drop(self._open[fd])
            self._connect()
        tally = Tally()
        start = time.perf_counter()
        end = start + seconds
        parts: dict[int, bytes] = {}
        for used in list(self._open.values()):
            self._ask(used, tally, parts)
        while parts:
            ready = self._epoll.poll(PATIENCE)
            if not ready:
                raise NoAnswer(f"silent for {PATIENCE:g} s on {len(parts)} connections")
            asking = time.perf_counter() < end
            for fd, _ in ready:
                if self._whole(self._open[fd], tally, parts) and asking:
                    self._ask(self._open.get(fd) or self._connect(), tally, parts)
        tally.seconds = time.perf_counter() - start
        return tally

    def _ask(self, used: socket.socket, tally: Tally, parts: dict[int, bytes]) -> None:
        try:
            used.send(next(self._queries))
        except OSError as error:
            raise NoAnswer(f"send: {error}") from error
        parts[used.fileno()] = b""
        tally.sent += 1

    def _whole(self, used: socket.socket, tally: Tally, parts: dict[int, bytes]) -> bool:
        """Takes in what has come; whether the connection is done with its query."""
        fd = used.fileno()
        try:
            came = used.recv(_LARGEST)
        except BlockingIOError:
            return False  # an event of the connection that had this descriptor before
        except ConnectionError:
            came = b""
        if not came:
            tally.lost += parts.pop(fd, None) is not None
            self._drop(used)
            return True
        reply = parts.get(fd, b"") + came
        if len(reply) < 2 or len(reply) < 2 + int.from_bytes(reply[:2]):
            parts[fd] = reply
            return False
        parts.pop(fd, None)
        tally.received += 1
        if tally.received % SAMPLE_EVERY == 1:
            self._inspector.inspect(reply[2:], tally)
        return True

    def _connect(self) -> socket.socket:
        try:
            made = socket.create_connection(("127.0.0.1", self._port), PATIENCE)
        except OSError as error:
            raise NoAnswer(f"connect: {error}") from error
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open[made.fileno()] = made
        self._epoll.register(made.fileno(), select.EPOLLIN)
        return made

    def _drop(self, used: socket.socket) -> None:
        self._epoll.unregister(used.fileno())
        del self._open[used.fileno()]
        used.close()


def _framed(query: Query, chance: random.Random) -> bytes:
    wire = chance.randbytes(2) + query.wire()[2:]
    return len(wire).to_bytes(2) + wire
