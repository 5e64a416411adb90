"""The UDP frontend: packets in, replies out, a batch each time the socket wakes."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Iterator
from functools import partial
from typing import Final

from kdns.dns.query import Client
from kdns.frontend import mmsg
from kdns.frontend.datagrams import BATCH, Batch, Sender, Singles
from kdns.frontend.responder import Responder
from kdns.frontend.sockets import deafen, is_wildcard

logger = logging.getLogger(__name__)

_ROUNDS: Final = 4
"""Full batches in a row before the event loop gets its turn."""

_MAX_WAITING: Final = 8192
"""Queries of one socket that wait for a reply; one more is dropped, and its client asks again."""

_MAX_OF_CLIENT: Final = 1024
"""Of those, of one address: it takes neither the place of others, nor the answers to all that it
asked at one stroke (CVE-2024-33655)."""

_DRAIN: Final = 5.0
"""Seconds that replies may still take when the socket is to go."""


class UdpFrontend:
    """Serves one bound, non-blocking UDP socket until closed."""

    def __init__(
        self, sock: socket.socket, responder: Responder, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.responder = responder
        self.dropped = 0
        self._socket = sock
        self._loop = loop
        self._batch = batch_of(sock)
        self._waiting: set[asyncio.Task[None]] = set()
        self._of_client: dict[object, int] = {}
        self._late: list[tuple[Sender, bytes]] = []
        self._closed = False
        loop.add_reader(sock, self._readable)

    @property
    def unsent(self) -> int:
        """Replies that the system did not take."""
        return self._batch.unsent

    async def drain(self) -> None:
        """Answer what has arrived and is being waited for; what comes later is another's."""
        deaf = deafen(self._socket)
        while self._readable() and deaf:  # noqa: ASYNC110 - gives others their turn
            await asyncio.sleep(0)
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=_DRAIN)
        self._send_late()

    def close(self) -> None:
        """Stop reading and close the socket."""
        self._loop.remove_reader(self._socket)
        for task in self._waiting:
            task.cancel()
        self._closed = True
        self._socket.close()

    def _readable(self) -> bool:
        """Answer what there is, as far as one turn goes; whether there may be more."""
        for _ in range(_ROUNDS):
            try:
                packets = self._batch.receive()
            except OSError as error:
                # An ICMP error that came back for an earlier reply: somebody else's trouble.
                logger.debug("receiving on %s: %s", self._socket.getsockname(), error)
                continue
            if packets:
                self._answer(packets)
            if len(packets) < BATCH:
                return False
        return True

    def _answer(self, packets: list[bytes]) -> None:
        responder = self.responder
        answers = responder.answers
        lasting, epochal = answers.lasting.get, answers.epochal.get
        fleeting = answers.fleeting.get
        begin = responder.clock()
        if begin >= answers.until:
            answers.tick(begin)
        chained = 0
        replies: list[bytes | None] = []
        for packet in packets:
            key = packet[2:]
            kept = lasting(key) or epochal(key) or fleeting(key)
            if kept is not None:
                replies.append(packet[:2] + kept.whole())
                continue
            reply = responder.recall(packet)
            if reply is None:
                chained += 1
                reply = self._ask(packet, len(replies))
            replies.append(reply)
        self._batch.send(replies)
        responder.batches.observe(responder.clock() - begin, len(packets) - chained)

    def _ask(self, packet: bytes, index: int) -> bytes | None:
        sender = self._batch.sender(index)
        answer = self.responder.ask(packet, Client(*sender.address[:2]))
        if answer is None or isinstance(answer, bytes):
            return answer
        if isinstance(answer, Iterator):
            return next(answer, None)
        client = sender.address[0]
        of_client = self._of_client.get(client, 0)
        if len(self._waiting) >= _MAX_WAITING or of_client >= _MAX_OF_CLIENT:
            self.dropped += 1
            if asyncio.iscoroutine(answer):
                answer.close()
            return None
        self._of_client[client] = of_client + 1
        task = self._loop.create_task(self._reply_later(sender, answer))
        self._waiting.add(task)
        task.add_done_callback(partial(self._waited, client))
        return None

    def _waited(self, client: object, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
        left = self._of_client[client] - 1
        if left:
            self._of_client[client] = left
        else:
            del self._of_client[client]

    async def _reply_later(self, sender: Sender, answer: Awaitable[bytes | None]) -> None:
        reply = await answer
        if reply is not None:
            if not self._late:
                # What else comes in this turn of the loop goes out together.
                self._loop.call_soon(self._send_late)
            self._late.append((sender, reply))

    def _send_late(self) -> None:
        late, self._late = self._late, []
        if not self._closed:
            self._batch.send_late(late)


def batch_of(sock: socket.socket) -> Batch:
    """The fastest way that this system has to read and write a UDP socket in batches."""
    if mmsg.available():
        return mmsg.Mmsg(sock, pktinfo=is_wildcard(sock))
    return Singles(sock)
