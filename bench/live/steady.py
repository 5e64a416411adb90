"""UDP at a fixed rate that leaves the rest of its core to others, with every reply looked at.

Where an API server shares the core with the load, a load that spins would starve it. This one
sleeps between queries; replies are stamped by the kernel, so that nothing waits for it to wake up.
"""

from __future__ import annotations

import math
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

from bench.live.replies import read
from bench.load import NoAnswer, Tally
from bench.query import HEADER

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from bench.live.replies import Asked

RATE = 10_000  # queries a second
LATE = 1_000_000  # nanoseconds behind its time at which a query is left out
PATIENCE = 5.0  # seconds after which a query is lost, as a resolver's

_NANO = 1_000_000_000
_ROUNDING = 1e-6
_IDS = 1 << 16
_UNTIMED = -1
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@qq")


def stamped_socket(port: int) -> socket.socket:
    """Connected to `port` of loopback, never blocking; what it receives carries its time."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    made.connect(("127.0.0.1", port))
    made.setblocking(False)
    return made


def receive(used: socket.socket) -> tuple[bytes, int] | None:
    """A datagram and when it came, in nanoseconds since the epoch; None where there is none.

    Raises NoAnswer where nobody listens.
    """
    try:
        reply, control, _, _ = used.recvmsg(4096, 64)
    except BlockingIOError:
        return None
    except OSError as error:
        raise NoAnswer(str(error)) from error
    seconds, nanoseconds = _TIMESPEC.unpack_from(control[0][2])
    return reply, seconds * _NANO + nanoseconds


class Steady:
    """One query every 1/`rate` seconds from one socket; `tally.sampled` is every reply.

    A query that the load itself held up for long is not timed; it is never sent to catch up.
    """

    def __init__(
        self, port: int, asked: Sequence[Asked], chance: random.Random, *, rate: int = RATE
    ) -> None:
        self.tally = Tally()
        self._socket = stamped_socket(port)
        self._asked = list(asked)
        chance.shuffle(self._asked)
        self._bodies = [one.query.wire()[2:] for one in self._asked]
        self._questions = [one.query.head()[HEADER.size :] for one in self._asked]
        # The first right reply of each, less its ID: most others are the same to the byte.
        self._right = [b""] * len(self._asked)
        self._interval = _NANO // rate
        self._sent_at = [0] * _IDS
        self._number = 0
        self._began = self._due = 0

    def close(self) -> None:
        self._socket.close()

    def turn(self) -> float:
        """Send a query if it is due and take in all replies; seconds until the next is due."""
        now = time.time_ns()
        if not self._began:
            self._began = self._due = now
        if now >= self._due:
            if now - self._due > LATE:
                missed = (now - self._due) // self._interval
                self.tally.missed += missed
                self._due += missed * self._interval
            self._send()
            self._due += self._interval
        self._receive()
        return max(0, self._due - time.time_ns()) / _NANO

    def run(self, until: Callable[[], bool]) -> Tally:
        """Ask until so told, then wait for the replies still due."""
        while not until():
            if wait := self.turn():
                select.select((), (), (), wait)
        return self.finish()

    def finish(self) -> Tally:
        """Wait for the replies still due. Raises NoAnswer where there was not one."""
        self.tally.seconds = (time.time_ns() - self._began) / _NANO
        patience = time.monotonic() + PATIENCE
        while any(self._sent_at) and time.monotonic() < patience:
            select.select((self._socket,), (), (), 0.1)
            self._receive()
        self.tally.lost += sum(map(bool, self._sent_at))
        if not self.tally.received:
            raise NoAnswer("no reply to any query")
        return self.tally

    def _send(self) -> None:
        number = self._number
        self._number += 1
        id_ = number % _IDS
        if self._sent_at[id_]:
            self.tally.lost += 1
        body = self._bodies[number % len(self._bodies)]
        before = time.time_ns()
        try:
            self._socket.send(id_.to_bytes(2) + body)
        except OSError as error:
            raise NoAnswer(str(error)) from error
        self._sent_at[id_] = before if time.time_ns() - before < LATE else _UNTIMED
        self.tally.sent += 1

    def _receive(self) -> None:
        while came := receive(self._socket):
            reply, at = came
            id_ = int.from_bytes(reply[:2])
            sent_at = self._sent_at[id_]
            # The last query sent with this ID: its number is the next one's less how far it is back
            number = self._number - 1 - (self._number - 1 - id_) % _IDS
            index = number % len(self._bodies)
            if not sent_at or not reply.startswith(self._questions[index], HEADER.size):
                continue  # a second reply, or one of a query given up for lost
            self._sent_at[id_] = 0
            self.tally.received += 1
            self.tally.sampled += 1
            if sent_at != _UNTIMED:
                self.tally.latencies.append((at - sent_at) / _NANO)
            if reply[2:] != self._right[index]:
                self._look_at(reply, index)

    def _look_at(self, reply: bytes, index: int) -> None:
        one = self._asked[index]
        try:
            said = read(reply)
        except ValueError as error:
            wrong = str(error)
        else:
            if said == one.right:
                self._right[index] = reply[2:]
                return
            wrong = "other addresses"
            if said.rcode != one.right.rcode:
                wrong = f"rcode {said.rcode}, not {one.right.rcode}"
        self.tally.faults[wrong] += 1
        self.tally.examples.setdefault(wrong, one.query.name)


def share(latencies: Sequence[float], part: float, lost: int = 0) -> float:
    """The latency that `part` of all stay within; infinite where too many had no reply."""
    rank = max(1, math.ceil(part * (len(latencies) + lost) - _ROUNDING))
    return sorted(latencies)[rank - 1] if rank <= len(latencies) else math.inf
