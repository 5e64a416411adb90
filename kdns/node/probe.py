"""Whether the node answers on an address: real queries, judged by who answered them."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from kdns.node.loop import Loop
from kdns.node.rules import MARK

PROBE_ZONE: Final = "node-cache.kdns.invalid"
"""A zone that no other server has: its authoritative answer can only be this node's.

It takes no upstream to answer, so that an upstream's death is not taken for the node's.
"""

LOST: Final = 0
ANSWERED: Final = 1
AUTHORITATIVE: Final = 2

_HEADER: Final = struct.Struct("!HHHHHH")
_LENGTH: Final = struct.Struct("!H")
_RESPONSE: Final = 0x8000
_SAYS_SO: Final = 0x8400  # QR, AA
_SAYS_SO_MASK: Final = 0x840F  # and the rcode
_QUESTION: Final = (
    b"".join(bytes((len(each),)) + each.encode() for each in PROBE_ZONE.split("."))
    + b"\0\0\x01\0\x01"
)
_LARGEST: Final = 4096
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Probe:
    """One query to one address; `done` is called with its outcome, unless it is given up first.

    It bears a mark, which is how rules tell it from everybody else's queries. It is asked from the
    address itself, so that one that the node has lost is noticed whoever else may answer.
    """

    def __init__(
        self,
        loop: Loop,
        address: str,
        port: int,
        stream: bool,
        done: Callable[[int], None],
    ) -> None:
        self.open = False
        self._loop = loop
        self._stream = stream
        self._done = done
        self._identity = os.urandom(2)
        self._heard = b""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
        self._socket = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        try:
            self._ask(address, port)
        except OSError:
            self._socket.close()
            done(LOST)

    def give_up(self) -> None:
        """Wait no longer; nothing is called."""
        if self.open:
            self.open = False
            self._loop.forget(self._socket.fileno())
            self._socket.close()

    def _ask(self, address: str, port: int) -> None:
        if self._stream:
            # A second's worth of closed connections would linger for a minute.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        with suppress(PermissionError):  # without the right to mark there is none to have rules
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        self._socket.bind((address, 0))
        code = self._socket.connect_ex((address, port))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        if self._stream:
            self._loop.watch(self._socket.fileno(), self._write, select.EPOLLOUT)
        else:
            self._socket.send(self._query())
            self._loop.watch(self._socket.fileno(), self._read)
        self.open = True

    def _query(self) -> bytes:
        header = _HEADER.pack(0, 0, 1, 0, 0, 0)[2:]
        return self._identity + header + _QUESTION

    def _write(self) -> None:
        query = self._query()
        try:
            self._socket.send(_LENGTH.pack(len(query)) + query)
        except OSError:
            self._end(LOST)
            return
        self._loop.watch(self._socket.fileno(), self._read)

    def _read(self) -> None:
        try:
            part = self._socket.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:
            self._end(LOST)
            return
        if not self._stream:
            self._judge(part)
        elif not part:
            self._end(LOST)
        else:
            self._heard += part
            length = _LENGTH.size
            if len(self._heard) >= length:
                length += _LENGTH.unpack_from(self._heard)[0]
                if len(self._heard) >= length:
                    self._judge(self._heard[_LENGTH.size : length])

    def _judge(self, message: bytes) -> None:
        """Take a response to our very question; anything else was for nobody."""
        if len(message) < _HEADER.size or message[:2] != self._identity:
            return
        flags = _HEADER.unpack_from(message)[1]
        if not flags & _RESPONSE:
            return
        ours = flags & _SAYS_SO_MASK == _SAYS_SO
        self._end(AUTHORITATIVE if ours else ANSWERED)

    def _end(self, outcome: int) -> None:
        self.give_up()
        self._done(outcome)
