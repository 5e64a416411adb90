"""Netlink by hand: what of the kernel's protocol an interface and a table of rules take.

The layouts are those of linux/netlink.h. Numbers are in the machine's own byte order where nothing
else is said.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

ROUTE: Final = 0
NETFILTER: Final = 12

REQUEST: Final = 0x1
ACK: Final = 0x4
DUMP: Final = 0x300
CREATE: Final = 0x400
EXCLUSIVE: Final = 0x200
APPEND: Final = 0x800

_ERROR: Final = 2
_DONE: Final = 3
_ACK_TLVS: Final = 0x200
_CAPPED: Final = 0x100
_MESSAGE_TEXT: Final = 1  # NLMSGERR_ATTR_MSG

_SOL_NETLINK: Final = 270
_CAP_ACK: Final = 10
_EXT_ACK: Final = 11

_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_CODE: Final = struct.Struct("=i")
_NESTED: Final = 0x8000
_TYPE_MASK: Final = 0x3FFF
_LARGEST: Final = 1 << 16


class Refused(OSError):
    """What the kernel answered instead; `strerror` has its own words where it gave any."""


class Message(NamedTuple):
    """A request's type, flags and body, or an answer's."""

    kind: int
    flags: int
    body: bytes


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to the next."""
    length = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def text(kind: int, value: str) -> bytes:
    """An attribute of text that ends in NUL."""
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute of attributes."""
    return attribute(kind | _NESTED, b"".join(attributes))


def attributes(body: bytes) -> dict[int, bytes]:
    """Payloads by type; what is cut short is left out."""
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size or at + length > len(body):
            break
        found[kind & _TYPE_MASK] = body[at + _ATTRIBUTE.size : at + length]
        at += length + -length % 4
    return found


class Netlink:
    """A socket to one family of the kernel. `port` is its name there, unlike any other's.

    The kernel works a request off before `send` returns, so that nothing here ever waits.
    """

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
        try:
            self._socket.bind((0, 0))
            for option in (_CAP_ACK, _EXT_ACK):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[0]
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def ask(self, kind: int, flags: int, body: bytes) -> list[Message]:
        """One request, and what came in answer to it. Raises Refused."""
        return self.send([Message(kind, flags | ACK, body)])

    def send(self, messages: Iterable[Message]) -> list[Message]:
        """Requests in one go, and what came in answer. Raises Refused for the first that failed."""
        packet = bytearray()
        for message in messages:
            self._sequence += 1
            length = _HEADER.size + len(message.body)
            packet += _HEADER.pack(
                length, message.kind, message.flags | REQUEST, self._sequence, self.port
            )
            packet += message.body + bytes(-length % 4)
        self._socket.send(packet)
        refused: Refused | None = None
        found: list[Message] = []
        for message in self._answers():
            if message.kind != _ERROR:
                found.append(message)
            elif refused is None:
                refused = _refusal(message)
        if refused:
            raise refused
        return found

    def _answers(self) -> Iterator[Message]:
        while True:
            try:
                packet = self._socket.recv(_LARGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            at = 0
            while at + _HEADER.size <= len(packet):
                length, kind, flags, _, _ = _HEADER.unpack_from(packet, at)
                if kind != _DONE:
                    yield Message(kind, flags, packet[at + _HEADER.size : at + length])
                at += max(length, _HEADER.size) + -length % 4


def _refusal(message: Message) -> Refused | None:
    code = -_CODE.unpack_from(message.body)[0]
    if not code:
        return None
    said = os.strerror(code)
    if message.flags & _ACK_TLVS and message.flags & _CAPPED:
        words = attributes(message.body[_CODE.size + _HEADER.size :]).get(_MESSAGE_TEXT, b"")
        if words:
            said = f"{said}: {words.rstrip(bytes(1)).decode(errors='replace')}"
    return Refused(code, said)
