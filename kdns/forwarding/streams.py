"""Upstreams over TCP: kept connections, many questions on each, answers in any order.

RFC 7766, RFC 9210. What an upstream can cost is bounded in connections, in questions on each, and
in bytes kept of a message that is not whole; one sweep a second closes what is past its time.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from typing import ClassVar, Final, cast

from kdns.dns import codes
from kdns.dns.query import HEADER
from kdns.dns.response import answers, rcode, truncated
from kdns.forwarding.dialing import Patience, connect, lost
from kdns.forwarding.exchange import Heard, Lost, Question
from kdns.forwarding.options import Options, Target

CONNECTIONS: Final = 16
"""Connections to one upstream at a time."""

DEPTH: Final = 100
"""Questions on one connection at a time."""

_CROWD: Final = 10
"""Questions on each connection from which on one more is made: some upstreams answer in turn."""

_SWEEP: Final = 1.0
_AGE_JITTER: Final = 0.1
_SILENCE: Final = 1.0
"""Seconds without a word after which a connection that somebody gave up on is asked no more."""

_UNASKED: Final = 1000
"""Messages in a row that answer nothing, late answers among them, until a connection is closed."""

_NO_EDNS: Final = (codes.FORMERR, codes.NOTIMP)

_CLOSED: Final = Lost("closed the connection")
_GARBAGE: Final = Lost("sent what is no DNS message")
_FLOOD: Final = Lost("sent answers that nobody asked for")
_CUT_SHORT: Final = Lost("sent a truncated answer over TCP")
_UNREADABLE: Final = Lost("sent an answer that cannot be read")
_CROWDED: Final = Lost(f"has {CONNECTIONS * DEPTH} questions on their way over TCP")
_RETIRED: Final = Lost("is asked no more")


def matches(packet: bytes, number: bytes, question: Question) -> bool:
    """Whether a message answers, whatever the case of its name: nobody else writes on a stream."""
    section = question.section
    end = HEADER + len(section)
    folded = packet[:HEADER] + packet[HEADER : end - 4].lower() + packet[end - 4 : end]
    return answers(folded, number, section[:-4].lower() + section[-4:])


class Asked:
    """A question on its way; as `Pending`."""

    __slots__ = ("connection", "edns", "heard", "kept", "number", "question", "retried")

    def __init__(self, question: Question, heard: Heard) -> None:
        self.question = question
        self.heard: Heard | None = heard
        self.connection: Connection | None = None
        self.number = b""
        self.edns = True
        self.kept = False
        self.retried = False

    def give_up(self) -> None:
        self.heard = None
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.forget(self)

    def tell(self, what: bytes | Lost) -> None:
        """Let who asked hear. A message that cannot be read is the upstream's own."""
        heard, self.heard = self.heard, None
        if heard is not None and not heard(what) and isinstance(what, bytes):
            heard(_UNREADABLE)


class Connection(asyncio.Protocol):
    """One connection, from before it is made until it is gone."""

    def __init__(self, upstream: TcpTransport, ends: float) -> None:
        self.transport: asyncio.Transport | None = None
        self.dial: asyncio.Task[None] | None = None
        self.asked: dict[bytes, Asked] = {}
        self.answered = 0
        self._upstream = upstream
        self._ends = ends
        self._idle_since = 0.0
        self._silent_since: float | None = None
        self._retired = False
        self._over = False
        self._edns = True
        self._unasked = 0
        self._rest = bytearray()
        self._missing = 0
        self._outbox: list[bytes] = []

    def fits(self, now: float) -> bool:
        """Whether it takes one more question."""
        return not self._retired and len(self.asked) < DEPTH and not self.outlived(now)

    def outlived(self, now: float) -> bool:
        """Whether it is too old, or has been idle for too long."""
        idle = self.transport is not None and not self.asked
        return now >= self._ends or (
            idle and now - self._idle_since >= self._upstream.options.expire
        )

    def ask(self, asked: Asked) -> None:
        """Send a question, or as soon as the connection is made."""
        asked.connection = self
        asked.edns = self._edns
        asked.number = secrets.token_bytes(2)
        while asked.number in self.asked:
            asked.number = secrets.token_bytes(2)
        self.asked[asked.number] = asked
        if self.transport is not None:
            asked.kept = True
            self._silent_since = self._silent_since or self._upstream.now()
            self._write(asked)

    def forget(self, asked: Asked) -> None:
        """Nobody waits for it any longer.

        A connection that has been silent all the while is asked no more: its other end may be gone
        without a word, as behind a gateway that lost its state.
        """
        del self.asked[asked.number]
        silent = self._silent_since
        if silent is not None and self._upstream.now() - silent >= _SILENCE:
            self._retired = True
        self._rest_if_idle()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._idle_since = self._upstream.now()
        if self._over:
            self.transport.abort()
        elif self.asked:
            self._silent_since = self._idle_since
            self._write(*self.asked.values())

    def pause_writing(self) -> None:
        """The upstream does not take what it is sent."""
        self._retired = True
        self._upstream.loop.call_soon(self._rest_if_idle)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            self._rest += data
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = bytes(self._rest)
            self._rest.clear()
        at, end = 0, len(data)
        while end - at >= 2:
            length = data[at] << 8 | data[at + 1]
            if length < HEADER:
                self.end(_GARBAGE)
                return
            if end - at < 2 + length:
                break
            self._hear(data[at + 2 : at + 2 + length])
            at += 2 + length
            if self._unasked > _UNASKED:
                self.end(_FLOOD)
                return
        if at < end:
            self._rest += data[at:]
            whole = 2 + (data[at] << 8 | data[at + 1]) if end - at >= 2 else 2
            self._missing = whole - (end - at)
        self._rest_if_idle()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.end(_CLOSED)

    def end(self, why: Lost) -> None:
        """Let go of the socket. What was asked is asked once more elsewhere, or lost."""
        if self._over:
            return
        self._over = True
        self._upstream.dismiss(self)
        if self.dial is not None:
            self.dial.cancel()
        if self.transport is not None:
            self.transport.abort()
        asked, self.asked = self.asked, {}
        if self.answered and len(asked) > 1:
            self._upstream.crowd = min(self._upstream.crowd, self.answered)
        for each in asked.values():
            each.connection = None
            self._upstream.bereave(each, self, why)

    def _hear(self, packet: bytes) -> None:
        asked = self.asked.get(packet[:2])
        if asked is None:
            self._unasked += 1
        elif asked.edns and _refuses_edns(packet):
            asked.edns = False
            self._write(asked)
        elif matches(packet, asked.number, asked.question):
            del self.asked[asked.number]
            asked.connection = None
            self._unasked = 0
            self._edns = self._edns and (asked.edns or _refuses_edns(packet))
            self.answered += 1
            self._upstream.answered(self)
            asked.tell(_CUT_SHORT if truncated(packet) else packet)
        else:
            self._unasked += 1
        self._silent_since = self._upstream.now() if self.asked else None

    def _write(self, *questions: Asked) -> None:
        """Send questions, together with what else is asked in this turn of the loop."""
        if not self._outbox:
            self._upstream.loop.call_soon(self._flush)
        for each in questions:
            packet = each.question.packet(each.number, edns=each.edns)
            self._outbox += (len(packet).to_bytes(2, "big"), packet)

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, []
        if self.transport is not None and not self._over:
            self.transport.write(b"".join(outbox))

    def _rest_if_idle(self) -> None:
        """Where nothing is on its way any longer, keep the connection or not."""
        if not self.asked and self.transport is not None:
            self._idle_since = self._upstream.now()
            if self._retired or not self._upstream.keeps(self):
                self.end(_CLOSED)


class TcpTransport:
    """As `Transport`: one upstream over TCP; `target.host` is an IP address.

    `now` is the clock of `expire` and `max_age`, in seconds.
    """

    proto: ClassVar[str] = "tcp"

    def __init__(self, target: Target, options: Options, loop: asyncio.AbstractEventLoop) -> None:
        self.target = target
        self.options = options
        self.loop = loop
        self.now = loop.time
        self.hits = 0
        self.misses = 0
        self.crowd = _CROWD
        self.server_name = target.server_name or options.tls.server_name or target.host
        self._connections: list[Connection] = []
        self._patience = Patience()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def send(self, question: Question, heard: Heard) -> Asked:
        asked = Asked(question, heard)
        self._place(asked)
        return asked

    def close(self) -> None:
        self._closed = True
        for connection in list(self._connections):
            connection.end(_RETIRED)

    def sweep(self) -> None:
        """Close the connections that are past their time."""
        now = self.now()
        for connection in list(self._connections):
            if not connection.asked and connection.outlived(now):
                connection.end(_CLOSED)

    def keeps(self, connection: Connection) -> bool:
        """Whether a connection that has become idle stays open."""
        if connection.outlived(self.now()):
            return False
        limit = self.options.max_idle_conns
        return not limit or sum(not each.asked for each in self._connections) <= limit

    def answered(self, connection: Connection) -> None:
        """A connection has brought one more answer."""
        if connection.answered > self.crowd:
            self.crowd = min(connection.answered, _CROWD)

    def dismiss(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.remove(connection)
        if not self._connections and self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def bereave(self, asked: Asked, connection: Connection, why: Lost) -> None:
        """A connection has ended with a question on it (RFC 7766 §6.2.4).

        Where it had worked up to then, the question is asked once more, over a new one: an upstream
        may close a kept connection at any time, or answer but so many questions on one.
        """
        if (asked.kept or connection.answered) and not asked.retried and not self._closed:
            asked.retried = True
            self._place(asked)
        else:
            self.loop.call_soon(asked.tell, why)

    async def greet(self, connection: Connection) -> None:
        """Make the connection. Raises OSError, and what `dialing.lost` knows besides."""
        sock = await connect(
            self.target.host, self.target.port, self.options.source_address, self.loop
        )
        await self.loop.create_connection(lambda: connection, sock=sock)

    def _place(self, asked: Asked) -> None:
        """Choose a connection for a question, or make one; it is lost where there are too many."""
        if self._closed:
            self.loop.call_soon(asked.tell, _RETIRED)
            return
        now = self.now()
        fit = [each for each in self._connections if each.fits(now)]
        if asked.retried:
            fit = [each for each in fit if each.transport is None]
        best = min(fit, key=lambda each: len(each.asked), default=None)
        crowded = best is None or len(best.asked) >= self.crowd
        if crowded and len(self._connections) < CONNECTIONS:
            self.misses += 1
            self._open().ask(asked)
        elif best is not None:
            self.hits += 1
            best.ask(asked)
        else:
            self.loop.call_soon(asked.tell, _CROWDED)

    def _open(self) -> Connection:
        max_age = self.options.max_age
        # Less than allowed, by chance: not all of them end at once.
        age = max_age * random.uniform(1 - _AGE_JITTER, 1) if max_age else float("inf")  # noqa: S311 - no secret
        connection = Connection(self, self.now() + age)
        self._connections.append(connection)
        connection.dial = self.loop.create_task(self._dial(connection))
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(_SWEEP, self._sweep_on)
        return connection

    async def _dial(self, connection: Connection) -> None:
        began = self.loop.time()
        failure = None
        try:
            async with asyncio.timeout(self._patience.seconds):
                await self.greet(connection)
        except Exception as error:  # noqa: BLE001 - whatever it was, it is heard
            failure = lost(error, self.server_name)
        self._patience.took(self.loop.time() - began)
        connection.dial = None
        if failure is not None:
            connection.end(failure)

    def _sweep_on(self) -> None:
        self.sweep()
        if self._connections:
            self._sweeper = self.loop.call_later(_SWEEP, self._sweep_on)


def _refuses_edns(packet: bytes) -> bool:
    """Whether a response is that of a server without EDNS, or of one that likes no message."""
    return packet[2] & 0x80 > 0 and rcode(packet) in _NO_EDNS and packet[10:12] == b"\0\0"
