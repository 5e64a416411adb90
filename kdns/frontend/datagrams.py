"""Datagrams of a UDP socket, a batch at a time, by the calls that every system has.

`kdns.frontend.mmsg` has the same signature for Linux.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

BATCH: Final = 64
"""Datagrams of one batch at most: more would starve what else the loop has to do."""

RECEIVE: Final = 4096
"""Bytes kept of a query; a longer one is cut, and then malformed by its own counts."""


class Sender(NamedTuple):
    """Where a datagram came from: host, port and what else a socket address has, and what the
    batch that it was in has to know to send a reply there later."""

    address: Any
    origin: Any


class Batch(Protocol):
    """The datagrams that one wake-up of a socket brought."""

    unsent: int
    """Replies that the system did not take since the socket was opened."""

    def receive(self) -> list[bytes]:
        """What has arrived, at most BATCH; empty for nothing. Raises OSError."""

    def sender(self, index: int) -> Sender:
        """Who sent a datagram of the batch."""

    def send(self, replies: Sequence[bytes | None]) -> None:
        """Send a reply to each datagram of the batch, None for no reply.

        A reply that cannot be sent is counted and dropped: no client's address ends the loop.
        """

    def send_late(self, replies: Sequence[tuple[Sender, bytes]]) -> None:
        """Send replies to datagrams of batches before this one, in the same way.

        To be called before `receive`, or after `send`.
        """


class Singles:
    """A batch by one system call a datagram."""

    def __init__(self, sock: socket.socket) -> None:
        self.unsent = 0
        self._socket = sock
        self._senders: list[Sender] = []

    def receive(self) -> list[bytes]:
        self._senders.clear()
        packets: list[bytes] = []
        while len(packets) < BATCH:
            try:
                packet, control, _, address = self._socket.recvmsg(RECEIVE, 64)
            except (BlockingIOError, InterruptedError):
                break
            packets.append(packet)
            self._senders.append(Sender(address, control))
        return packets

    def sender(self, index: int) -> Sender:
        return self._senders[index]

    def send(self, replies: Sequence[bytes | None]) -> None:
        for sender, reply in zip(self._senders, replies, strict=True):
            if reply is not None:
                self._send(sender, reply)

    def send_late(self, replies: Sequence[tuple[Sender, bytes]]) -> None:
        for sender, reply in replies:
            self._send(sender, reply)

    def _send(self, sender: Sender, reply: bytes) -> None:
        try:
            self._socket.sendmsg([reply], sender.origin, 0, sender.address)
        except OSError:
            self.unsent += 1
