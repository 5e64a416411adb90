"""The TCP frontend: pipelined queries, replies as they are ready, bounds on everything (RFC 7766).

A connection costs no timer of its own: one sweep a second closes those that sat idle, kept a query
half sent, or did not read their replies.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final, cast

from kdns.dns.query import Client
from kdns.frontend.responder import Responder
from kdns.frontend.sockets import give_way

logger = logging.getLogger(__name__)

_SWEEP: Final = 1.0
_MAX_UNREAD: Final = 64 * 1024
_BACKLOG: Final = 1024
_HANDSHAKE: Final = 0.05  # seconds; connections from this node or its pods take less
_DRAIN: Final = 5.0  # seconds that replies may still take when the socket is to go


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds, as CoreDNS has them, and counts.

    `read`: from a query's first byte to its last. `write`: for the client to take what was sent.
    `idle`: without a query in hand. `unread`: connections whose client does not take
    its replies. `waiting`: queries of one connection that wait for a reply.
    """

    read: float = 3.0
    write: float = 5.0
    idle: float = 10.0
    connections: int = 20_000
    unread: int = 256
    connections_per_client: int = 1_000
    waiting: int = 100


class _Connection(asyncio.Protocol):
    """One client's stream of queries."""

    def __init__(self, frontend: TcpFrontend) -> None:
        self._frontend = frontend
        self._rest = b""
        self._waiting: set[asyncio.Task[None]] = set()
        self._paused = False
        self._behind = False
        self._ended = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._deadline = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername") or ("", 0)
        self.client = Client(peer[0].partition("%")[0], peer[1])
        self._deadline = self._frontend.now() + self._frontend.limits.idle
        if self._frontend.admit(self):
            self._transport.set_write_buffer_limits(high=_MAX_UNREAD)
        else:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        begun = bool(self._rest)
        self._rest += data
        answered = self._answer()
        if not self._paused and (answered or not begun):
            limits = self._frontend.limits
            self._deadline = self._frontend.now() + (limits.read if self._rest else limits.idle)

    def pause_writing(self) -> None:
        self._paused = True
        self._writable.clear()
        self._deadline = self._frontend.now() + self._frontend.limits.write
        self._transport.pause_reading()
        unread = self._frontend.unread
        unread.add(self)
        if len(unread) > self._frontend.limits.unread:
            self._transport.abort()

    def resume_writing(self) -> None:
        self._paused = False
        self._frontend.unread.discard(self)
        self._writable.set()
        self._go_on()

    def eof_received(self) -> bool:
        """Keep the connection open for as long as replies are due (RFC 7766 §6.2.3)."""
        self._ended = True
        return bool(self._waiting) or self._held()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        for task in self._waiting:
            task.cancel()
        self._frontend.dismiss(self)

    def sweep(self, now: float) -> None:
        """Close the connection if it is past its time."""
        if now >= self._deadline and (self._paused or not self._waiting):
            self._transport.abort()

    def close(self) -> None:
        """Close once what was written is sent."""
        self._transport.close()

    @property
    def waiting(self) -> set[asyncio.Task[None]]:
        return self._waiting

    def _answer(self) -> int:
        """Answer the whole queries at hand, as far as the limits go; how many there were."""
        responder = self._frontend.responder
        answers = responder.answers
        lasting, epochal = answers.lasting.get, answers.epochal.get
        fleeting = answers.fleeting.get
        begin = responder.clock()
        if begin >= answers.until:
            answers.tick(begin)
        data, end = self._rest, len(self._rest)
        replies: list[bytes] = []
        size = at = count = kept = 0
        while end - at >= 2 and not self._held():
            stop = at + 2 + (data[at] << 8 | data[at + 1])
            if stop > end:
                break
            packet = data[at + 2 : stop]
            at = stop
            count += 1
            key = packet[2:]
            answer = lasting(key) or epochal(key) or fleeting(key)
            reply = packet[:2] + answer.whole() if answer else responder.recall(packet)
            if reply is None:
                reply = self._ask(packet)
            else:
                kept += 1
            if reply is not None:
                replies += (len(reply).to_bytes(2, "big"), reply)
                size += len(reply)
                self._behind = size >= _MAX_UNREAD
        self._rest = data[at:]
        if replies:
            self._transport.write(b"".join(replies))
            responder.batches.observe(responder.clock() - begin, kept)
        if self._held():
            self._transport.pause_reading()
        if self._behind and not self._paused:
            self._frontend.loop.call_soon(self._go_on)
        return count

    def _ask(self, packet: bytes) -> bytes | None:
        answer = self._frontend.responder.ask(packet, self.client)
        if answer is None or isinstance(answer, bytes):
            return answer
        later = (
            self._send_all(answer) if isinstance(answer, Iterator) else self._reply_later(answer)
        )
        task = self._frontend.loop.create_task(later)
        self._waiting.add(task)
        task.add_done_callback(self._done)
        return None

    async def _reply_later(self, answer: Awaitable[bytes | None]) -> None:
        reply = await answer
        if reply is not None and not self._transport.is_closing():
            self._transport.write(len(reply).to_bytes(2, "big") + reply)

    async def _send_all(self, messages: Iterator[bytes]) -> None:
        """Send the messages of a transfer, one more each time that the client has taken some."""
        for message in messages:
            await self._writable.wait()
            if self._transport.is_closing():
                return
            self._transport.write(len(message).to_bytes(2, "big") + message)
            await asyncio.sleep(0)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A transfer that broke off: only the end of the connection tells the client.
            logger.error(
                "a zone transfer to %s failed", self.client.host, exc_info=task.exception()
            )
            self._transport.abort()
        self._go_on()

    def _held(self) -> bool:
        """Whether the client has to take replies, or wait for some, before its next query.

        `_behind` says that it got as much in one go as it may, and others have their turn.
        """
        waiting = len(self._waiting) >= self._frontend.limits.waiting
        return self._paused or self._behind or waiting

    def _go_on(self) -> None:
        """Answer what was held back, then read on."""
        if self._transport.is_closing():
            return
        self._behind = False
        self._deadline = self._frontend.now() + self._frontend.limits.idle
        if self._rest:
            self._answer()
        if self._held():
            return
        if not self._ended:
            self._transport.resume_reading()
        elif not self._waiting:
            self._transport.close()


class TcpFrontend:
    """Serves one bound TCP socket until closed."""

    def __init__(
        self,
        sock: socket.socket,
        responder: Responder,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
    ) -> None:
        self.responder = responder
        self.limits = limits
        self.loop = loop
        self.refused = 0
        self.now: Callable[[], float] = loop.time
        self._socket = sock
        self.unread: set[_Connection] = set()
        self._connections: set[_Connection] = set()
        self._clients: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Accept connections."""
        self._server = await self.loop.create_server(
            lambda: _Connection(self), sock=self._socket, backlog=_BACKLOG
        )
        self._sweeper = self.loop.call_later(_SWEEP, self.sweep)

    def admit(self, connection: _Connection) -> bool:
        """Whether one more connection is within the limits; if so it counts from now on."""
        host = connection.client.host
        if (
            len(self._connections) >= self.limits.connections
            or self._clients[host] >= self.limits.connections_per_client
        ):
            self.refused += 1
            return False
        self._connections.add(connection)
        self._clients[host] += 1
        return True

    def dismiss(self, connection: _Connection) -> None:
        """The connection is gone."""
        self.unread.discard(connection)
        if connection in self._connections:
            self._connections.discard(connection)
            host = connection.client.host
            self._clients[host] -= 1
            if not self._clients[host]:
                del self._clients[host]

    def sweep(self) -> None:
        """Close the connections that are past their time; runs itself again."""
        now = self.now()
        for connection in list(self._connections):
            connection.sweep(now)
        self._sweeper = self.loop.call_later(_SWEEP, self.sweep)

    async def drain(self, *, beside: bool = False) -> None:
        """Accept no more, and wait for the replies that are due.

        With `beside` another instance may listen on the port: no connection is lost on the way.
        """
        if beside:
            give_way(self._socket)
            await asyncio.sleep(_HANDSHAKE)
        if self._server is not None:
            self._server.close()
        waiting = {task for connection in self._connections for task in connection.waiting}
        if waiting:
            await asyncio.wait(waiting, timeout=_DRAIN)

    def close(self) -> None:
        """Close the socket and all connections."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()
        self._socket.close()
