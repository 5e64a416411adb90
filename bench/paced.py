"""UDP at a fixed rate, each reply timed.

The kernel notes when a reply arrives, so that a pause of the load is not taken for the server's.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING

from bench.load import Inspector, NoAnswer, Tally

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from bench.query import Query

RATE = 10_000  # queries a second
LATE = 0.001  # seconds behind its time at which a query is left out
PATIENCE = 1.0  # seconds to wait for the last replies
SAMPLE_EVERY = 97

_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@qq")
_NANO = 1_000_000_000


class Paced:
    """One query every 1/`rate` seconds from one socket; the load spins and never sleeps."""

    def __init__(
        self, port: int, queries: Sequence[Query], chance: random.Random, *, rate: int = RATE
    ) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._bodies = [query.wire()[2:] for query in queries]
        chance.shuffle(self._bodies)
        self._inspector = Inspector(queries)
        self._interval = _NANO // rate
        self._number = 0

    def close(self) -> None:
        self._socket.close()

    def run(self, seconds: float) -> Tally:
        tally = Tally()
        sent_at: dict[int, int] = {}
        clock = time.perf_counter_ns
        start = due = clock()
        end = start + int(seconds * _NANO)
        while due < end:
            now = clock()
            missed = (min(now, end) - due) // self._interval
            if missed > 0 and now - due > LATE * _NANO:
                tally.missed += missed  # a burst to catch up would be no pace
                due += missed * self._interval
                continue
            if now >= due:
                self._send(sent_at)
                due += self._interval
            self._receive(sent_at, tally)
        tally.seconds = (clock() - start) / _NANO
        patience = clock() + int(PATIENCE * _NANO)
        while sent_at and clock() < patience:
            self._receive(sent_at, tally)
        tally.sent = tally.received + len(sent_at)
        tally.lost = len(sent_at)
        if not tally.received:
            raise NoAnswer("no reply to any query")
        return tally

    def _send(self, sent_at: dict[int, int]) -> None:
        number = self._number & 0xFFFF
        body = self._bodies[self._number % len(self._bodies)]
        self._number += 1
        sent_at[number] = time.time_ns()
        try:
            self._socket.send(number.to_bytes(2) + body)
        except OSError as error:
            raise NoAnswer(str(error)) from error

    def _receive(self, sent_at: dict[int, int], tally: Tally) -> None:
        try:
            reply, control, _, _ = self._socket.recvmsg(4096, 64)
        except BlockingIOError:
            return
        except OSError as error:
            raise NoAnswer(str(error)) from error
        sent = sent_at.pop(int.from_bytes(reply[:2]), None)
        if sent is None:
            return  # a second reply, or one given up for lost
        tally.received += 1
        seconds, nanoseconds = _TIMESPEC.unpack_from(control[0][2])
        tally.latencies.append((seconds * _NANO + nanoseconds - sent) / _NANO)
        if tally.received % SAMPLE_EVERY == 1:
            self._inspector.inspect(reply, tally)
