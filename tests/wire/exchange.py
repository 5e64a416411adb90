"""Asking a server, and its replies in a form that can be compared."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

TIMEOUT = 5.0
_WINDOW = 32


class Record(NamedTuple):
    """One record as text, names in lower case."""

    owner: str
    type: str
    ttl: int
    data: str


class Answer(NamedTuple):
    """What of a reply two servers have to agree on.

    Sections are sets, and of an SOA only MNAME and TTL count, as in CoreDNS's own tests. `flags`
    are those that a server sets, as text.
    """

    rcode: str
    flags: str
    answer: frozenset[Record]
    authority: frozenset[Record]
    additional: frozenset[Record]

    def agrees(self, other: Answer) -> bool:
        """Whether both say the same; of what was cut off on the way (TC), only that it was."""
        if "TC" not in self.flags.split() or self.rcode != other.rcode:
            return self == other
        return self.flags == other.flags and bool(self.answer) == bool(other.answer)

    def __str__(self) -> str:
        sections = (sorted(self.answer), sorted(self.authority), sorted(self.additional))
        lines = [f"  {' '.join(map(str, each))}" for section in sections for each in section]
        return "\n".join([f"{self.rcode} {self.flags}", *lines[:12]])


def question(name: str, qtype: str) -> tuple[dns.name.Name, int]:
    return dns.name.from_text(name), dns.rdatatype.from_text(qtype)


def answer_of(reply: dns.message.Message) -> Answer:
    """A reply in comparable form. Checks on the way that a CNAME comes before what it leads to."""
    owner = reply.question[0].name if reply.question else None
    for each in reply.answer:
        assert each.name == owner, f"{each.name} is not where the chain has come to: {reply}"
        if each.rdtype == dns.rdatatype.CNAME:
            owner = each[0].target
    return Answer(
        dns.rcode.to_text(reply.rcode()),
        dns.flags.to_text(reply.flags & ~(dns.flags.QR | dns.flags.RD)),
        frozenset(_records(reply.answer)),
        frozenset(_records(reply.authority)),
        frozenset(_records(reply.additional)),
    )


def _records(section: Iterable[dns.rrset.RRset]) -> Iterator[Record]:
    for rrset in section:
        owner, qtype = rrset.name.to_text().lower(), dns.rdatatype.to_text(rrset.rdtype)
        for data in rrset:
            soa = rrset.rdtype == dns.rdatatype.SOA
            text = data.mname.to_text() if soa else data.to_text()
            yield Record(owner, qtype, rrset.ttl, text.lower())


class Stream:
    """A TCP connection that asks many questions at once; replies may come in any order."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection((host, port), TIMEOUT)
        self._rest = b""

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, questions: Sequence[tuple[dns.name.Name, int]]) -> Iterator[dns.message.Message]:
        """The replies to (name, type) pairs, in the order of the questions."""
        for first in range(0, len(questions), _WINDOW):
            some = questions[first : first + _WINDOW]
            packets = [_packet(number, *each) for number, each in enumerate(some)]
            self._socket.sendall(b"".join(len(each).to_bytes(2, "big") + each for each in packets))
            replies = {}
            for _ in some:
                reply = dns.message.from_wire(self._frame())
                replies[reply.id] = reply
            assert len(replies) == len(some), "two replies have one ID"
            yield from (replies[number] for number in range(len(some)))

    def _frame(self) -> bytes:
        size = int.from_bytes(self._read(2), "big")
        return self._read(size)

    def _read(self, size: int) -> bytes:
        while len(self._rest) < size:
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._rest += data
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def _packet(number: int, name: dns.name.Name, qtype: int) -> bytes:
    head = number.to_bytes(2, "big") + bytes.fromhex("0100 0001 0000 0000 0000")
    return head + bytes(name.to_wire() or b"") + qtype.to_bytes(2, "big") + bytes((0, 1))
