"""Datagrams by recvmmsg and sendmmsg: up to `BATCH` of them for one system call (Linux).

All buffers and headers are made once and point at each other for good; a batch only reads and
writes lengths. What a datagram came with, its sender and the address it was sent to, is where the
header of its reply points: the control data received is the control data to send.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import sys
from collections.abc import Sequence
from typing import Any, Final

from kdns.frontend.datagrams import BATCH, RECEIVE, Sender

_SEND: Final = 2048
_NAME: Final = 32
_CONTROL: Final = 64
_MSG_DONTWAIT: Final = 0x40


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("header", _Msghdr), ("length", ctypes.c_uint))


_HEADER: Final = ctypes.sizeof(_Mmsghdr)
_HEADER_WORDS: Final = _HEADER // 4
_LENGTH_WORD: Final = _Mmsghdr.length.offset // 4
_CMSG_HEADER: Final = 16

_libc = ctypes.CDLL(None, use_errno=True)


def available() -> bool:
    """Whether this system has both calls."""
    return (
        sys.platform == "linux"
        and ctypes.sizeof(ctypes.c_void_p) == 8
        and hasattr(_libc, "recvmmsg")
        and hasattr(_libc, "sendmmsg")
    )


class Mmsg:
    """The `kdns.frontend.datagrams.Batch` of one non-blocking UDP socket.

    `pktinfo` says that the socket delivers IP_PKTINFO or IPV6_RECVPKTINFO, as one that is bound to
    no address of its own must: replies then leave from the address that was asked.
    """

    def __init__(self, sock: socket.socket, *, pktinfo: bool) -> None:
        self.unsent = 0
        self._socket = sock
        self._fd = sock.fileno()
        ipv4 = sock.family == socket.AF_INET
        self._name_size = 16 if ipv4 else 28
        self._info_size = (12 if ipv4 else 20) if pktinfo else 0
        self._interface = _CMSG_HEADER + (0 if ipv4 else 16)
        # A slice of a c_char array is bytes in one step, which its stub does not know.
        self._data: Any = (ctypes.c_char * (BATCH * RECEIVE))()
        self._out = bytearray(BATCH * _SEND)
        self._names = bytearray(BATCH * _NAME)
        self._control = bytearray(BATCH * _CONTROL)
        self._vectors_in = _vectors(ctypes.addressof(self._data), RECEIVE)
        self._incoming = self._headers(self._vectors_in)
        self._vectors_out = _vectors(_address(self._out), _SEND)
        self._outgoing = self._headers(self._vectors_out)
        self._pristine = bytes(self._incoming)
        self._incoming_bytes = memoryview(self._incoming).cast("B")
        self._lengths = self._incoming_bytes.cast("I")
        self._out_lengths = memoryview(self._vectors_out).cast("B").cast("Q")
        self._incoming_address = ctypes.addressof(self._incoming)
        self._outgoing_address = ctypes.addressof(self._outgoing)
        pointer, number, unsigned = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint
        self._recvmmsg = _libc["recvmmsg"]
        self._recvmmsg.argtypes = (number, pointer, unsigned, number, pointer)
        self._sendmmsg = _libc["sendmmsg"]
        self._sendmmsg.argtypes = (number, pointer, unsigned, number)

    def receive(self) -> list[bytes]:
        self._incoming_bytes[:] = self._pristine
        count: int = self._recvmmsg(self._fd, self._incoming_address, BATCH, _MSG_DONTWAIT, None)
        if count <= 0:
            code = ctypes.get_errno()
            if not count or code in (errno.EAGAIN, errno.EINTR):
                return []
            raise OSError(code, errno.errorcode.get(code, str(code)))
        data, lengths = self._data, self._lengths
        packets = []
        begin, word = 0, _LENGTH_WORD
        for _ in range(count):
            packets.append(data[begin : begin + lengths[word]])
            begin += RECEIVE
            word += _HEADER_WORDS
        if self._info_size:
            self._unbind_interfaces(count)
        return packets

    def sender(self, index: int) -> Sender:
        name = bytes(self._names[index * _NAME : index * _NAME + self._name_size])
        port = int.from_bytes(name[2:4], "big")
        if self._socket.family == socket.AF_INET:
            address: tuple[object, ...] = (socket.inet_ntoa(name[4:8]), port)
        else:
            scope = int.from_bytes(name[24:28], sys.byteorder)
            address = (socket.inet_ntop(socket.AF_INET6, name[8:24]), port, 0, scope)
        begin = index * _CONTROL
        control = bytes(self._control[begin : begin + _CMSG_HEADER + self._info_size])
        return Sender(address, (name, control))

    def send(self, replies: Sequence[bytes | None]) -> None:
        out, lengths = self._out, self._out_lengths
        first = index = begin = 0
        for reply in replies:
            if reply is None:
                self._flush(first, index)
                first = index + 1
            else:
                size = len(reply)
                out[begin : begin + size] = reply
                lengths[2 * index + 1] = size
            index += 1
            begin += _SEND
        self._flush(first, index)

    def send_late(self, replies: Sequence[tuple[Sender, bytes]]) -> None:
        for first in range(0, len(replies), BATCH):
            some = replies[first : first + BATCH]
            for index, (sender, _) in enumerate(some):
                name, control = sender.origin
                self._names[index * _NAME : index * _NAME + len(name)] = name
                self._control[index * _CONTROL : index * _CONTROL + len(control)] = control
            self.send([reply for _, reply in some])

    def _flush(self, first: int, end: int) -> None:
        """Send the replies from `first` to before `end`, past those that the system refuses."""
        while first < end:
            address = self._outgoing_address + first * _HEADER
            sent = self._sendmmsg(self._fd, address, end - first, _MSG_DONTWAIT)
            if sent >= 0:
                first += sent
            elif ctypes.get_errno() == errno.EAGAIN:
                self.unsent += end - first
                return
            else:
                self.unsent += 1
                first += 1

    def _unbind_interfaces(self, count: int) -> None:
        """Let routing choose the way back; only a link-local address means one interface."""
        for begin in range(0, count * _CONTROL, _CONTROL):
            local = self._control[begin + _CMSG_HEADER : begin + _CMSG_HEADER + 2]
            if self._interface == _CMSG_HEADER or local != b"\xfe\x80":
                place = begin + self._interface
                self._control[place : place + 4] = bytes(4)

    def _headers(self, vectors: ctypes.Array[_Iovec]) -> ctypes.Array[_Mmsghdr]:
        """Headers that point at one vector, one name and one control buffer each."""
        aligned = (_CMSG_HEADER + self._info_size + 7) // 8 * 8 if self._info_size else 0
        names, control = _address(self._names), _address(self._control)
        headers = (_Mmsghdr * BATCH)()
        for index in range(BATCH):
            header = headers[index].header
            header.name = names + index * _NAME
            header.name_length = self._name_size
            header.vectors = ctypes.addressof(vectors) + index * ctypes.sizeof(_Iovec)
            header.vector_count = 1
            header.control = control + index * _CONTROL if aligned else None
            header.control_length = aligned
        return headers


def _address(buffer: bytearray) -> int:
    """Where a buffer is in memory, for as long as nobody changes its size."""
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))


def _vectors(address: int, stride: int) -> ctypes.Array[_Iovec]:
    """Vectors over a buffer at `address`, one every `stride` bytes."""
    vectors = (_Iovec * BATCH)()
    for index in range(BATCH):
        vectors[index].base = address + index * stride
        vectors[index].length = stride
    return vectors
