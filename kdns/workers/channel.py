"""Messages between two processes over a socket pair."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Iterator
from struct import Struct
from typing import Final, Self

_LENGTH: Final = Struct("!I")
_HIGH_WATER: Final = 1 << 18


class ChannelClosed(Exception):
    """The other side is gone."""


class Channel:
    """One end of a socket pair: whole messages, in order, both ways.

    `waiting` is how many bytes of messages wait for the other side to take them; `moved` grows with
    everything that it says.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.waiting = 0
        self.moved = 0
        self._reader = reader
        self._writer = writer
        self._outbox: deque[bytes | Iterator[bytes]] = deque()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        writer.transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._pump = asyncio.create_task(self._write())

    @classmethod
    async def over(cls, sock: socket.socket) -> Self:
        """The channel over this end, which it owns from now on."""
        sock.setblocking(False)
        return cls(*await asyncio.open_connection(sock=sock))

    def send(self, message: bytes) -> None:
        """Have a message written behind those that wait; never blocks."""
        self.waiting += len(message)
        self._outbox.append(message)
        self._filled.set()

    def send_each(self, messages: Iterator[bytes]) -> None:
        """Have messages written of which each is made when the one before it was taken."""
        self._outbox.append(messages)
        self._filled.set()

    async def receive(self) -> bytes:
        """The next message. Raises ChannelClosed."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            message = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise ChannelClosed from error
        self.moved += 1
        return message

    async def flush(self) -> None:
        """Wait until all messages are with the system. Raises ChannelClosed."""
        while self._outbox:
            if self._pump.done():
                raise ChannelClosed
            self._emptied.clear()
            emptied = asyncio.create_task(self._emptied.wait())
            await asyncio.wait((emptied, self._pump), return_when=asyncio.FIRST_COMPLETED)
            emptied.cancel()
        transport = self._writer.transport
        while transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        """Close this end; messages that wait are lost."""
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _write(self) -> None:
        with contextlib.suppress(OSError):  # whoever receives hears of it
            while True:
                await self._filled.wait()
                while self._outbox:
                    first = self._outbox[0]
                    if isinstance(first, bytes):
                        await self._put(first)
                        self.waiting -= len(first)
                    else:
                        for message in first:
                            await self._put(message)
                    self._outbox.popleft()
                self._filled.clear()
                self._emptied.set()

    async def _put(self, message: bytes) -> None:
        self._writer.write(_LENGTH.pack(len(message)) + message)
        await self._writer.drain()
