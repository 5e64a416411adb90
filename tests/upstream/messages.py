"""What an upstream may send: right answers, and what a liar or a broken server makes of them."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset

HEADER = 12

Transport = Literal["udp", "tcp", "tls"]


@dataclass(frozen=True)
class Asked:
    """One question as it arrived: by what, from which address and port, when, and its message."""

    transport: Transport
    source: tuple[str, int]
    at: float
    packet: bytes

    @cached_property
    def message(self) -> dns.message.Message:
        return dns.message.from_wire(self.packet, ignore_trailing=True)

    @property
    def number(self) -> bytes:
        """The ID."""
        return self.packet[:2]

    @property
    def section(self) -> bytes:
        """The question, its case kept."""
        return self.packet[HEADER : self.packet.index(0, HEADER) + 5]

    @property
    def asked_name(self) -> str:
        """The question's name, its case kept."""
        return self.message.question[0].name.to_text()

    @property
    def name(self) -> str:
        """The question's name in lower case, absolute."""
        return self.asked_name.lower()

    @property
    def type(self) -> str:
        return dns.rdatatype.to_text(self.message.question[0].rdtype)

    @property
    def options(self) -> list[int]:
        """The codes of its EDNS options."""
        return [int(option.otype) for option in self.message.options]

    @classmethod
    def of(cls, transport: Transport, source: tuple[str, int], packet: bytes) -> Asked:
        return cls(transport, source, time.monotonic(), packet)


Packet = Callable[[Asked], bytes]
"""What is sent for a question."""


def answer(
    *records: str,
    authority: Iterable[str] = (),
    additional: Iterable[str] = (),
    rcode: str = "NOERROR",
    flags: str = "QR RD RA",
    edns: bool = True,
    options: Iterable[dns.edns.Option] = (),
    name: str = "@",
) -> Packet:
    """A response with these records; each is `owner ttl type data`, `@` the name asked for and `%`
    the name above it.

    EDNS is there where the question has it. With `name` it answers for another question's name.
    """

    def packet(asked: Asked) -> bytes:
        reply = dns.message.make_response(asked.message, our_payload=1232)
        reply.flags = dns.flags.from_text(flags)
        if name != "@":
            question = reply.question[0]
            reply.question = [
                dns.rrset.from_text(name, 0, question.rdclass, question.rdtype),
            ]
        for section, lines in (
            (reply.answer, records),
            (reply.authority, authority),
            (reply.additional, additional),
        ):
            section.extend(_rrset(line, asked) for line in lines)
        if edns and asked.message.edns >= 0:
            reply.use_edns(0, 0, 1232, 1232, options=list(options))
        else:
            reply.use_edns(False)
        reply.set_rcode(dns.rcode.from_text(rcode))
        return reply.to_wire(max_size=65535)

    return packet


def _rrset(line: str, asked: Asked) -> dns.rrset.RRset:
    above = asked.asked_name.partition(".")[2]
    owner, ttl, rtype, data = line.replace("@", asked.asked_name).replace("%", above).split(" ", 3)
    rclass = asked.message.question[0].rdclass
    return dns.rrset.from_text(owner, int(ttl, 0), rclass, rtype, data)


def header_only(flags: int) -> Packet:
    """A header that counts nothing."""
    return lambda asked: asked.number + struct.pack("!HHHHH", flags, 0, 0, 0, 0)


def words(text: str) -> Packet:
    """A packet in words: `id`, `question`, hexadecimal bytes, names with their final dot, each
    with an optional `*times`."""

    def packet(asked: Asked) -> bytes:
        made = b""
        for token in text.split():
            word, _, times = token.partition("*")
            if word == "id":
                piece = asked.number
            elif word == "question":
                piece = asked.section
            elif word.endswith("."):
                piece = dns.name.from_text(word).to_wire() or b""
            else:
                piece = bytes.fromhex(word)
            made += piece * int(times or 1)
        return made

    return packet


def with_number(packet: Packet, change: int = 1) -> Packet:
    """Another ID than was asked with, off by `change`."""

    def changed(asked: Asked) -> bytes:
        number = (int.from_bytes(asked.number, "big") + change) & 0xFFFF
        return number.to_bytes(2, "big") + packet(asked)[2:]

    return changed


def with_flags(packet: Packet, *, on: int = 0, off: int = 0) -> Packet:
    """The second word of the header with bits set and cleared."""

    def changed(asked: Asked) -> bytes:
        made = packet(asked)
        flags = int.from_bytes(made[2:4], "big") & ~off | on
        return made[:2] + flags.to_bytes(2, "big") + made[4:]

    return changed


def with_question(
    packet: Packet, *, qtype: int | None = None, qclass: int | None = None, fold: bool = False
) -> Packet:
    """Another type or class in the question, or its name in lower case."""

    def changed(asked: Asked) -> bytes:
        made = packet(asked)
        end = HEADER + len(asked.section) - 4
        name, old_type, old_class = made[HEADER:end], *struct.unpack_from("!HH", made, end)
        rest = struct.pack(
            "!HH", old_type if qtype is None else qtype, old_class if qclass is None else qclass
        )
        return made[:HEADER] + (name.lower() if fold else name) + rest + made[end + 4 :]

    return changed


def cut(packet: Packet, size: int) -> Packet:
    """The first bytes alone; a negative size leaves so many out at the end."""
    return lambda asked: packet(asked)[:size]


def longer(packet: Packet, junk: bytes) -> Packet:
    """The packet with something behind it."""
    return lambda asked: packet(asked) + junk
