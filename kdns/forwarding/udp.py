"""Upstreams over UDP: one question a port, and nothing but its answer is heard."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
from collections.abc import Callable, Iterator
from typing import ClassVar, Final

from kdns.dns import codes
from kdns.dns.edns import UDP_PAYLOAD
from kdns.dns.query import HEADER
from kdns.dns.response import answers, rcode, refuses_edns, truncated
from kdns.forwarding.exchange import Heard, Lost, Question, refused_here
from kdns.forwarding.options import Options, Target
from kdns.forwarding.ports import Port, Ports

_log: Final = logging.getLogger("plugin/forward")

_PORTS: Final = 8192
"""Ports to one upstream at a time, and no more than a quarter of the files that may be open."""

_PLAIN: Final = 900.0
"""Seconds that an upstream is asked without EDNS when it answered so alone."""

_CASE_FAULTS: Final = 3
"""Answers in a row in another case than asked, until an upstream is asked in one case."""

_TRUNCATED: Final = Lost("its answer did not fit over UDP", by_tcp=True)
_OTHER_CASE: Final = Lost("it did not keep the case of the name", by_tcp=True)
_NO_EDNS: Final = (codes.FORMERR, codes.NOTIMP)
_CLOSED: Final = OSError(errno.ESHUTDOWN, "is asked no more")
_REASONS: Final = {
    errno.ECONNREFUSED: Lost("connection refused"),
    errno.ENETUNREACH: Lost("network is unreachable"),
    errno.EHOSTUNREACH: Lost("no route to host"),
}

Bits = Callable[[int], bytes]
"""So many bytes that nobody can foretell."""


class Asked:
    """A question on its way; as `Pending`, and as the `Reader` of its port."""

    __slots__ = ("_edns", "_heard", "_number", "_question", "_refused", "_transport", "port")

    def __init__(
        self, transport: UdpTransport, question: Question, heard: Heard, number: bytes, edns: bool
    ) -> None:
        self.port: Port | None = None
        self._transport = transport
        self._question = question
        self._heard: Heard | None = heard
        self._number = number
        self._edns = edns
        self._refused = False

    def send(self) -> None:
        """Ask, from the port that was taken. Raises OSError."""
        if self.port is not None:
            self.port.sock.send(self._question.packet(self._number, edns=self._edns))

    def give_up(self) -> None:
        self._heard = None
        port, self.port = self.port, None
        if port is not None:
            self._transport.ports.release(port)

    def arrived(self, packet: bytes) -> None:
        if self._heard is None or len(packet) > UDP_PAYLOAD:
            return
        section = self._question.section
        if answers(packet, self._number, section):
            if rcode(packet) in _NO_EDNS:
                if self._edns and packet[10:12] == b"\0\0":
                    self._ask_plainly()
                    return
                # It may be the question that is refused, with EDNS and without.
            elif self._refused and packet[10:12] == b"\0\0":
                self._transport.avoid_edns()
            self._transport.case_faults = 0
            if truncated(packet):
                self.lose(_TRUNCATED)
            elif self._heard(packet):
                self.give_up()
        elif self._edns and refuses_edns(packet, self._number):
            self._ask_plainly()
        elif self._transport.mixed_case and _same_but_case(packet, self._number, section):
            self._transport.case_lost()
            self.lose(_OTHER_CASE)

    def failed(self, error: OSError) -> None:
        self.lose(_REASONS.get(error.errno or 0) or refused_here(error))

    def lose(self, why: Lost) -> None:
        """Let who asked hear that there will be no answer this way."""
        heard = self._heard
        self.give_up()
        if heard is not None:
            heard(why)

    def _ask_plainly(self) -> None:
        """Ask again without EDNS, from the same port: it is the same question, still unanswered."""
        self._edns, self._refused = False, True
        try:
            self.send()
        except OSError as error:
            self.failed(error)


class UdpTransport:
    """As `Transport`: one upstream over UDP; `target.host` is an IP address.

    Every question has a port and an ID of its own. Over UDP nobody can be sure of much: a response
    that is cut short or whose case differs is heard as lost, with `by_tcp`. `bits` has to be
    unpredictable.
    """

    proto: ClassVar = "udp"

    def __init__(
        self,
        target: Target,
        options: Options,
        loop: asyncio.AbstractEventLoop,
        bits: Bits = os.urandom,
    ) -> None:
        self.hits = 0
        self.misses = 0
        self.mixed_case = options.mixed_case
        self.case_faults = 0
        self.ports = Ports(target.host, target.port, options.source_address, loop, _most())
        self._target = target
        self._loop = loop
        self._bits = bits
        self._numbers = _pairs(bits)
        self._plain_until = 0.0
        self._closed = False

    def send(self, question: Question, heard: Heard) -> Asked:
        edns = not self._plain_until or self._loop.time() >= self._plain_until
        if self.mixed_case:
            question = question._replace(section=_mixed(question.section, self._bits))
        asked = Asked(self, question, heard, next(self._numbers), edns)
        if self._closed:
            self._loop.call_soon(asked.failed, _CLOSED)
            return asked
        self.misses += 1
        try:
            asked.port = self.ports.take(asked)
            asked.send()
        except OSError as error:
            self._loop.call_soon(asked.failed, error)
        return asked

    def close(self) -> None:
        self._closed = True
        for reader in self.ports.readers():
            reader.failed(_CLOSED)
        self.ports.close()

    def avoid_edns(self) -> None:
        """The upstream answered without EDNS what it had refused with it (RFC 6891 §7)."""
        self._plain_until = self._loop.time() + _PLAIN

    def case_lost(self) -> None:
        """The upstream answered in another case than it was asked."""
        self.case_faults += 1
        if self.case_faults >= _CASE_FAULTS:
            self.mixed_case = False
            _log.warning(
                "upstream %s does not keep the case of names: it is asked in one", self._target
            )


def _most() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _PORTS if files == resource.RLIM_INFINITY else min(_PORTS, files // 4)


def _pairs(bits: Bits) -> Iterator[bytes]:
    """Two bytes at a time: a system call serves many questions."""
    while True:
        block = bits(512)
        for at in range(0, 512, 2):
            yield block[at : at + 2]


def _mixed(section: bytes, bits: Bits) -> bytes:
    """A question with the case of each letter by chance (draft-vixie-dnsext-dns0x20).

    The lengths of labels are below any letter.
    """
    name = section[:-4].lower()
    chance = bits(len(name))
    upper = name.upper()
    return (
        bytes(upper[at] if chance[at] & 1 else byte for at, byte in enumerate(name)) + section[-4:]
    )


def _same_but_case(packet: bytes, number: bytes, section: bytes) -> bool:
    """Whether a message answers but for the case of the name."""
    name = packet[HEADER : HEADER + len(section) - 4]
    return name.lower() == section[:-4].lower() and answers(packet, number, name + section[-4:])
