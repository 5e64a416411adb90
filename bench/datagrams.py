"""Prebuilt datagrams for sendmmsg, renewed in place a pass at a time.

A query's bytes are laid out once. What has to differ between passes (IDs, a random first label,
cookies, letter case) is written over all of them together, column by column, so that a random name
costs the load no more than a known one. Queries of one length leave in bursts that the kernel cuts
into datagrams (UDP_SEGMENT of udp(7)): sending is then a fifth of the work, receiving is unchanged,
and the load stays ahead of any server.
"""

from __future__ import annotations

import ctypes
import random
import socket
from enum import Enum
from typing import TYPE_CHECKING

from bench.query import COOKIE_OFFSET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.query import Query

RANDOM_LABEL = 12
"""Letters in a first label that `Vary.LABEL` writes over: 60 random bits."""

BURST = 16
"""The most queries sent as one."""

_HEAD, _TAIL = 96, 32  # bytes of the slot of a header and question, and of an OPT record
_LETTERS = bytes(b"abcdefghijklmnopqrstuvwxyz234567"[value % 32] for value in range(256))
_NAME = 12  # offset of the question's name
_UDP_SEGMENT = 103


class Vary(Enum):
    """What is random in each query, next to its ID."""

    NOTHING = "nothing"
    LABEL = "first label"
    COOKIE = "cookie"
    CASE = "case"


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class Mmsghdr(ctypes.Structure):
    """`struct mmsghdr` of recvmmsg(2): a message and how many bytes of it there were."""

    _fields_ = (("header", _Msghdr), ("length", ctypes.c_uint32))


class _SegmentSize(ctypes.Structure):
    """A control message that holds the length of each datagram of a burst."""

    _fields_ = (
        ("length", ctypes.c_size_t),
        ("level", ctypes.c_int),
        ("type", ctypes.c_int),
        ("size", ctypes.c_uint16),
    )


class Outbox:
    """The datagrams of `queries` as an array of mmsghdr, each a burst of up to BURST of them.

    `sizes` has the number of queries in each burst. `renew()` makes the next pass: fresh IDs and
    whatever `vary` says. With Vary.LABEL every first label must have RANDOM_LABEL letters.
    """

    def __init__(self, queries: Sequence[Query], vary: Vary, chance: random.Random) -> None:
        bursts = list(_bursts(queries))
        chance.shuffle(bursts)
        self.sizes = [len(burst) for burst in bursts]
        self._vary = vary
        self._chance = chance
        self._count = len(queries)
        heads = [query.head() for burst in bursts for query in burst]
        tails = [query.tail() for burst in bursts for query in burst]
        if max(map(len, heads)) > _HEAD or max(map(len, tails)) > _TAIL:
            raise ValueError("a query does not fit its slot")
        if vary is Vary.LABEL and any(head[_NAME] != RANDOM_LABEL for head in heads):
            raise ValueError(f"a first label is not {RANDOM_LABEL} letters long")
        self._heads = bytearray(b"".join(head.ljust(_HEAD, b"\0") for head in heads))
        self._tails = bytearray(b"".join(tail.ljust(_TAIL, b"\0") for tail in tails))
        self._letters = int.from_bytes(b"".join(map(_case_bits, heads)))
        self._lower = int.from_bytes(self._heads) | self._letters
        self._lay_out(heads, tails)
        self.renew()

    def address(self, burst: int) -> int:
        """Where the mmsghdr of a burst is."""
        return ctypes.addressof(self._messages) + burst * ctypes.sizeof(Mmsghdr)

    def renew(self) -> None:
        if self._vary is Vary.CASE:
            flips = self._letters & self._chance.getrandbits(8 * len(self._heads))
            self._heads[:] = (self._lower ^ flips).to_bytes(len(self._heads))
        for column in range(2):
            self._heads[column::_HEAD] = self._chance.randbytes(self._count)
        if self._vary is Vary.LABEL:
            for column in range(_NAME + 1, _NAME + 1 + RANDOM_LABEL):
                letters = self._chance.randbytes(self._count).translate(_LETTERS)
                self._heads[column::_HEAD] = letters
        elif self._vary is Vary.COOKIE:
            for column in range(COOKIE_OFFSET, COOKIE_OFFSET + 8):
                self._tails[column::_TAIL] = self._chance.randbytes(self._count)

    def _lay_out(self, heads: Sequence[bytes], tails: Sequence[bytes]) -> None:
        head_at = ctypes.addressof(ctypes.c_char.from_buffer(self._heads))
        tail_at = ctypes.addressof(ctypes.c_char.from_buffer(self._tails))
        self._parts = (_Iovec * (2 * self._count))()
        for n, (head, tail) in enumerate(zip(heads, tails, strict=True)):
            self._parts[2 * n] = _Iovec(head_at + n * _HEAD, len(head))
            self._parts[2 * n + 1] = _Iovec(tail_at + n * _TAIL, len(tail))
        self._controls = (_SegmentSize * len(self.sizes))()
        self._messages = (Mmsghdr * len(self.sizes))()
        first = 0
        for message, control, size in zip(self._messages, self._controls, self.sizes, strict=True):
            control.length = _SegmentSize.size.offset + ctypes.sizeof(ctypes.c_uint16)
            control.level, control.type = socket.IPPROTO_UDP, _UDP_SEGMENT
            control.size = len(heads[first]) + len(tails[first])
            message.header.iov = ctypes.addressof(self._parts[2 * first])
            message.header.iovlen = 2 * size
            message.header.control = ctypes.addressof(control)
            message.header.controllen = ctypes.sizeof(control)
            first += size


def _bursts(queries: Iterable[Query]) -> Iterator[list[Query]]:
    """The queries grouped by length, BURST at a time, in their order otherwise."""
    open_bursts: dict[int, list[Query]] = {}
    for query in queries:
        burst = open_bursts.setdefault(len(query.wire()), [])
        burst.append(query)
        if len(burst) == BURST:
            yield open_bursts.pop(len(query.wire()))
    yield from open_bursts.values()


class Inbox:
    """Room for `count` datagrams as recvmmsg fills it, each cut at `size` bytes."""

    def __init__(self, count: int, size: int = 8192) -> None:
        self.count = count
        self._size = size
        self._buffer = ctypes.create_string_buffer(count * size)
        at = ctypes.addressof(self._buffer)
        self._parts = (_Iovec * count)(*(_Iovec(at + n * size, size) for n in range(count)))
        self._messages = (Mmsghdr * count)()
        for n in range(count):
            self._messages[n].header.iov = ctypes.addressof(self._parts[n])
            self._messages[n].header.iovlen = 1
        self.address = ctypes.addressof(self._messages)

    def datagram(self, number: int) -> bytes:
        at = ctypes.addressof(self._buffer) + number * self._size
        return ctypes.string_at(at, self._messages[number].length)


def _case_bits(head: bytes) -> bytes:
    """A slot with 0x20 set under every letter of the question's name."""
    end = head.index(b"\0", _NAME)
    bits = bytes(0x20 if chr(byte).isalpha() else 0 for byte in head[_NAME:end])
    return (bytes(_NAME) + bits).ljust(_HEAD, b"\0")
