"""UDP at full speed: a window of queries is kept outstanding, so that no loss is forced.

One thread moves datagrams in batches with sendmmsg and recvmmsg; Python runs once a batch, and one
reply in SAMPLE_EVERY is looked at.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import time
from typing import TYPE_CHECKING

from bench.datagrams import RANDOM_LABEL, Inbox, Outbox, Vary
from bench.load import Inspector, NoAnswer, Tally

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from bench.query import Query

WINDOW = 128  # outstanding in all: what a socket's default buffer holds without loss
SOCKETS = 2
SAMPLE_EVERY = 509
SILENCE = 0.25  # seconds without any reply after which those due are lost
_BUFFER = 1 << 22
_LARGEST = 65535

_libc = ctypes.CDLL(None, use_errno=True)
_sendmmsg, _recvmmsg = _libc.sendmmsg, _libc.recvmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
_recvmmsg.argtypes = (*_sendmmsg.argtypes, ctypes.c_void_p)


class Flood:
    """A closed loop over UDP. `window` is shared evenly by the sockets."""

    def __init__(
        self,
        port: int,
        queries: Sequence[Query],
        chance: random.Random,
        *,
        vary: Vary = Vary.NOTHING,
        window: int = WINDOW,
        sockets: int = SOCKETS,
    ) -> None:
        self._sockets = [_connected(port) for _ in range(sockets)]
        self._share = window // sockets
        self._outbox = Outbox(queries, vary, chance)
        self._inbox = Inbox(self._share)
        skip = 1 + RANDOM_LABEL if vary is Vary.LABEL else 0
        self._inspector = Inspector(queries, skip=skip)
        self._first = queries[0].wire()
        self._next = 0

    def close(self) -> None:
        for used in self._sockets:
            used.close()

    def is_truncated(self) -> bool:
        """Whether the server truncates its reply to the first query."""
        asking = self._sockets[0]
        asking.settimeout(SILENCE * 4)
        try:
            asking.send(self._first)
            return bool(asking.recv(_LARGEST)[2] & 0x02)
        except OSError as error:
            raise NoAnswer(str(error)) from error
        finally:
            asking.setblocking(False)

    def run(self, seconds: float) -> Tally:
        tally = Tally()
        due = {used.fileno(): 0 for used in self._sockets}
        poll = select.poll()
        for fd in due:
            poll.register(fd, select.POLLIN)
        next_sample = 0
        start = time.perf_counter()
        end = start + seconds
        asking = True
        while asking or any(due.values()):
            moved = 0
            for fd, waited_for in due.items():
                if got := _moved(_recvmmsg(fd, self._inbox.address, self._share, _DONTWAIT, None)):
                    moved += got
                    tally.received += got
                    due[fd] = max(0, waited_for - got)
                    if tally.received >= next_sample:
                        next_sample = tally.received + SAMPLE_EVERY
                        self._inspector.inspect(self._inbox.datagram(0), tally)
                if asking and (room := self._share - due[fd]):
                    due[fd] += self._send(fd, room, tally)
            asking = asking and time.perf_counter() < end
            if not moved and not poll.poll(SILENCE * 1000):
                tally.lost += sum(due.values())
                due = dict.fromkeys(due, 0)
                if not tally.received:
                    raise NoAnswer("no reply to any query")
        tally.seconds = time.perf_counter() - start
        return tally

    def _send(self, fd: int, room: int, tally: Tally) -> int:
        """Sends the next bursts that fit in `room`; returns how many queries they were."""
        sizes, first = self._outbox.sizes, self._next
        last, count = first, 0
        while last < len(sizes) and count + sizes[last] <= room:
            count += sizes[last]
            last += 1
        if last == first:
            return 0
        bursts = _moved(_sendmmsg(fd, self._outbox.address(first), last - first, _DONTWAIT))
        self._next += bursts
        if bursts < last - first:
            count = sum(sizes[first : first + bursts])
        if self._next == len(sizes):
            self._next = 0
            self._outbox.renew()
        tally.sent += count
        return count


_DONTWAIT = int(socket.MSG_DONTWAIT)


def _connected(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    made.connect(("127.0.0.1", port))
    return made


def _moved(result: int) -> int:
    """What a call of the mmsg family moved; nothing where it would have had to wait."""
    if result >= 0:
        return result
    number = ctypes.get_errno()
    if number in (errno.EAGAIN, errno.EINTR, errno.ENOBUFS):
        return 0
    raise NoAnswer(os.strerror(number))
