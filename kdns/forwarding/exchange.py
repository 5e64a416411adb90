"""The contract between who wants an upstream's word and the transports that fetch it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from struct import pack
from typing import ClassVar, Final, NamedTuple, Protocol

from kdns.dns import codes
from kdns.dns.edns import UDP_PAYLOAD
from kdns.dns.query import CD, RD, Query

_OPT: Final = {
    dnssec_ok: pack("!BHHBBHH", 0, codes.OPT, UDP_PAYLOAD, 0, 0, dnssec_ok << 15, 0)
    for dnssec_ok in (False, True)
}
_AD: Final = 0x0020
_SCARCE: Final = frozenset(
    # The last one is of connecting: no port is free.
    (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN)
)


class Question(NamedTuple):
    """What upstreams are asked, and all of a client's query that they get to see.

    Client cookies, client subnet and other options stay behind (RFC 7873 §5, RFC 7871 §11.1).
    `section` is the question, `flags` its RD, CD and AD; equal questions in lower case are one
    question, whoever asks.
    """

    section: bytes
    flags: int
    dnssec_ok: bool

    @classmethod
    def of(cls, query: Query) -> Question:
        """The question of a client's query, in lower case: some servers do not echo another."""
        edns = query.edns
        section = query.name + query.question[-4:]
        return cls(section, query.flags & (RD | CD | _AD), bool(edns and edns.dnssec_ok))

    @property
    def key(self) -> tuple[bytes, int, bool]:
        """The same for all questions that one answer is for."""
        section = self.section
        return section[:-4].lower() + section[-4:], self.flags, self.dnssec_ok

    def packet(self, number: bytes, *, edns: bool = True) -> bytes:
        """The message to send, with an ID of two bytes."""
        head = number + pack("!HHHHH", self.flags, 1, 0, 0, 1 if edns else 0)
        return head + self.section + (_OPT[self.dnssec_ok] if edns else b"")


class Lost(NamedTuple):
    """Why there will be no answer on this way, for logs and extended errors.

    Told of the upstream or the way to it; a packet that answers something else is never a reason.
    With `by_tcp` the upstream did answer, and TCP is the way to hear it whole. With `local` this
    machine had nothing to ask with, which says nothing of the upstream.
    """

    reason: str
    by_tcp: bool = False
    local: bool = False


def refused_here(error: OSError) -> Lost:
    """What the system says of a socket, as a reason."""
    reason = (error.strerror or str(error)).lower()
    return Lost(reason, local=error.errno in _SCARCE)


Heard = Callable[[bytes | Lost], bool]
"""Takes the response's message, or why there is none; not called from within `send`.

True: this was it, and there is no second call. False: the message cannot be read; over UDP, where
anybody may have sent it, the waiting goes on.
"""


class Pending(Protocol):
    """One question that an upstream was sent."""

    def give_up(self) -> None:
        """Nobody waits any longer: nothing is heard of it. Harmless when it was heard already."""


class Transport(Protocol):
    """One way to one upstream. Bounded in sockets and in questions on their way.

    `hits` and `misses` count the questions that went over a connection that was there, and those
    that one was made for; `proto` is the label of both.
    """

    proto: ClassVar[str]
    hits: int
    misses: int

    def send(self, question: Question, heard: Heard) -> Pending:
        """Ask. `heard` gets a whole message that matches in ID, question, class, opcode and QR.

        Anything else that arrives is ignored (RFC 5452 §9.1). Sets no time limit: who asks gives
        up. Raises nothing that the network can cause: that is heard.
        """

    def close(self) -> None:
        """Let go of all sockets; what is on its way is heard as lost."""
