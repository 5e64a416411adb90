"""The odd packets of `packets.yaml`, and sending them to a server."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import dns.exception
import dns.message
import dns.name
import dns.rcode
import yaml

from tests.wire.exchange import TIMEOUT

_FILE = Path(__file__).with_name("packets.yaml")

SENTINEL = bytes.fromhex("7777 0100 0001 0000 0000 0000 07636c7573746572 056c6f63616c 00 0006 0001")
"""A good query, for the SOA of cluster.local: its reply says that what came before was seen."""


class Outcome(NamedTuple):
    """Response codes, none of them for silence, and a number of answer records or None for any."""

    rcodes: frozenset[str]
    answers: int | None = None

    def allows(self, reply: bytes | None) -> bool:
        """Whether a reply, or None for silence, is what was asked for."""
        if reply is None:
            return not self.rcodes
        answers = int.from_bytes(reply[6:8], "big")
        return rcode_of(reply) in self.rcodes and self.answers in (None, answers)


class Row(NamedTuple):
    """A packet, where it is written what to make of it, and that by transport."""

    name: str
    source: str
    packet: bytes
    expected: dict[str, Outcome]

    def __str__(self) -> str:
        return self.name


def rows() -> list[Row]:
    """All rows of the file."""
    read = yaml.safe_load(_FILE.read_text())
    return [made for row in read["rows"] for made in _made(row, read["words"])]


def _made(row: dict[str, object], words: dict[str, str]) -> Iterator[Row]:
    packet = _assembled(str(row["send"]), words)
    expected = {transport: _outcome(str(row.get(transport, row["expect"]))) for transport in ASK}
    name, source = str(row["name"]), str(row["source"])
    lengths = row.get("cut")
    if isinstance(lengths, list):
        for length in lengths:
            yield Row(f"{name}: {length} bytes", source, packet[:length], expected)
    else:
        yield Row(name, source, packet, expected)


def _assembled(text: str, words: dict[str, str]) -> bytes:
    """The bytes of words, names and hexadecimal digits; a name also continues labels before it."""
    packet = b""
    for token in text.split():
        word, _, times = token.partition("*")
        if word in words:
            data = _assembled(words[word], words)
        elif word.endswith("."):
            data = bytes(dns.name.from_text(word).to_wire() or b"")
        else:
            data = bytes.fromhex(word)
        packet += data * int(times or 1)
    return packet


def _outcome(text: str) -> Outcome:
    if text == "silent":
        return Outcome(frozenset())
    codes, _, answers = text.partition(" ")
    return Outcome(frozenset(codes.split("|")), int(answers) if answers else None)


def rcode_of(reply: bytes) -> str:
    """The response code, with its upper bits where the reply is well enough formed to have them."""
    try:
        return dns.rcode.to_text(dns.message.from_wire(reply).rcode())
    except dns.exception.DNSException:
        return dns.rcode.to_text(dns.rcode.Rcode(reply[3] & 15))


def over_udp(packet: bytes, host: str, port: int, patience: float = 0.0) -> bytes | None:
    """The reply to a packet, or None for silence.

    Silence is when a good query sent after it is answered first, and nothing follows in `patience`
    seconds: a server that keeps datagrams in order needs none.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect((host, port))
        sock.send(packet)
        sock.send(SENTINEL)
        reply = sock.recv(1 << 16)
        if not _is_sentinel(reply):
            return reply
        ready, _, _ = select.select([sock], [], [], patience)
        return sock.recv(1 << 16) if ready else None


def over_tcp(packet: bytes, host: str, port: int, patience: float = 0.0) -> bytes | None:
    """As `over_udp`, on a stream that keeps its order; None also where the server closes it."""
    with socket.create_connection((host, port), TIMEOUT) as sock, sock.makefile("rb") as stream:
        try:
            for each in (packet, SENTINEL):
                sock.sendall(len(each).to_bytes(2, "big") + each)
            reply = stream.read(int.from_bytes(stream.read(2), "big"))
        except ConnectionError:
            return None
        return None if not reply or _is_sentinel(reply) else reply


def _is_sentinel(reply: bytes) -> bool:
    return reply[:2] == SENTINEL[:2]


ASK = {"udp": over_udp, "tcp": over_tcp}
