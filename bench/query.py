"""Queries as bytes, and what a right reply to one looks like."""

from __future__ import annotations

import struct
from typing import NamedTuple

A, SOA, AAAA, SRV = 1, 6, 28, 33
TYPE_NAMES = {A: "A", SOA: "SOA", AAAA: "AAAA", SRV: "SRV"}
NOERROR, NXDOMAIN = 0, 3

HEADER = struct.Struct("!6H")
_RECURSION_DESIRED = 0x0100
_OPT = struct.Struct("!BHHIH")
_COOKIE = struct.Struct("!HH8s")
COOKIE_OFFSET = _OPT.size + 4
"""Where an OPT record that has a client cookie (RFC 7873) carries its 8 bytes."""


class Expected(NamedTuple):
    """A right reply: its rcode, the number of its answers (any, where truncated), its TC bit."""

    rcode: int
    answers: int
    truncated: bool = False


class Query(NamedTuple):
    """`name` is without a dot at its end; `edns` is the UDP size offered, 0 for no OPT record."""

    name: str
    qtype: int
    expected: Expected
    edns: int = 0
    cookie: bool = False

    def head(self) -> bytes:
        """Header (ID 0, RD) and question."""
        header = HEADER.pack(0, _RECURSION_DESIRED, 1, 0, 0, 1 if self.edns else 0)
        return header + wire_name(self.name) + struct.pack("!HH", self.qtype, 1)

    def tail(self) -> bytes:
        """The OPT record, or nothing."""
        if not self.edns:
            return b""
        option = _COOKIE.pack(10, 8, b"\0" * 8) if self.cookie else b""
        return _OPT.pack(0, 41, self.edns, 0, len(option)) + option

    def wire(self) -> bytes:
        return self.head() + self.tail()


def wire_name(name: str) -> bytes:
    labels = [label.encode() for label in name.split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def question(message: bytes) -> bytes:
    """The first question, its name lower-cased; b"" if there is none."""
    end = message.find(b"\0", 12) + 1
    return message[12:end].lower() + message[end : end + 4] if end and message[5] else b""


def question_text(message: bytes) -> str:
    """The first question for people, such as `web.shop.svc.cluster.local A`."""
    wire = question(message)
    labels = []
    while wire and wire[0]:
        labels.append(wire[1 : 1 + wire[0]].decode(errors="replace"))
        wire = wire[1 + wire[0] :]
    qtype = int.from_bytes(wire[1:3])
    return f"{'.'.join(labels)} {TYPE_NAMES.get(qtype, qtype)}"


def fault(reply: bytes, expected: Expected) -> str | None:
    """What is wrong with a reply, in a few words; None where it is as expected."""
    if len(reply) < HEADER.size:
        return f"{len(reply)} bytes, shorter than a header"
    _, flags, _, answers, _, _ = HEADER.unpack_from(reply)
    if not flags & 0x8000:
        return "not a reply"
    if flags & 0xF != expected.rcode:
        return f"rcode {flags & 0xF}, not {expected.rcode}"
    if bool(flags & 0x0200) is not expected.truncated:
        return "whole where it should be truncated" if expected.truncated else "truncated"
    if answers != expected.answers and not expected.truncated:
        return f"{answers} answers, not {expected.answers}"
    return None
