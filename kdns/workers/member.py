"""One worker as its parent sees it: a process, the channel to it, and whether it is there."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Final, Self

import msgspec

from kdns.telemetry.counts import Counts
from kdns.workers.channel import Channel, ChannelClosed
from kdns.workers.messages import (
    Bind,
    Configure,
    Count,
    Counted,
    Done,
    Ping,
    Refused,
    Serve,
    Stop,
    encode,
    report,
)

_TICK: Final = 1.0
HUNG: Final = 3
"""Pings in a row, a second apart, that a worker may leave unanswered."""

_BUSY: Final = 30
"""The same while it starts or takes a step, as reading a large file takes its time."""

_END: Final = 10.0
"""Seconds that a worker may take to end when it is told to."""


class Refusal(Exception):
    """A worker cannot take a step; says why, for whoever wrote the Corefile."""


class Gone(Exception):
    """A worker ended before it had done what it was told."""


class Member:
    """A worker process. `number` is its place, from 1; `counts` are what it last counted.

    `stores` are the numbers of the stores that it has copies of.
    """

    def __init__(self, number: int, process: subprocess.Popen[bytes], channel: Channel) -> None:
        self.number = number
        self.pid = process.pid
        self.channel = channel
        self.stores: set[int] = set()
        self.counts: Counts | None = None
        self._process = process
        self._steps: deque[asyncio.Future[None]] = deque()
        self._told: asyncio.Future[None] | None = None
        self._gone = False
        self._leaving = False

    @classmethod
    async def start(cls, number: int) -> Self:
        """A new process. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = _spawn(theirs.fileno())
        except BaseException:
            ours.close()
            raise
        return cls(number, process, await Channel.over(ours))

    async def step(self, step: Configure | Bind | Serve) -> None:
        """Have a step taken. Raises Refusal and Gone."""
        if self._gone:
            raise Gone
        done = asyncio.get_running_loop().create_future()
        self._steps.append(done)
        self.channel.send(encode(step))
        await done

    async def count(self) -> None:
        """Have `counts` be what they are now. Raises Gone."""
        if self._gone:
            raise Gone
        if self._told is None:
            self._told = asyncio.get_running_loop().create_future()
            self.channel.send(encode(Count()))
        await asyncio.shield(self._told)

    async def stop(self) -> None:
        """Have it answer what has arrived and end; it is killed if it does not."""
        if not self._gone:
            self._leaving = True
            self.channel.send(encode(Stop()))
            try:
                await asyncio.to_thread(self._process.wait, _END)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once."""
        if self._process.poll() is None:
            self._process.kill()

    async def run(self) -> str:
        """Hear what it reports until it is gone, and say how it ended."""
        listening = asyncio.create_task(self._listen())
        silent = 0
        heard = -1
        try:
            while not listening.done():
                silent = 0 if self.channel.moved != heard else silent + 1
                heard = self.channel.moved
                limit = _BUSY if self._steps or not heard else HUNG
                if silent > limit and not self._leaving:
                    self.kill()
                    await listening
                    return f"did not answer for {limit:g} seconds and was killed"
                self.channel.send(encode(Ping()))
                await asyncio.wait((listening,), timeout=_TICK)
            await listening
            return _how(await asyncio.to_thread(self._process.wait))
        finally:
            listening.cancel()
            self.kill()
            await self.channel.close()
            await asyncio.shield(asyncio.to_thread(self._process.wait))
            self._end()

    async def _listen(self) -> None:
        try:
            while True:
                self._hear(await self.channel.receive())
        except ChannelClosed:
            self._end()
        except msgspec.MsgspecError:
            self.kill()
            self._end()

    def _hear(self, message: bytes) -> None:
        match report(message):
            case Done():
                if not (step := self._steps.popleft()).done():
                    step.set_result(None)
            case Refused(why):
                if not (step := self._steps.popleft()).done():
                    step.set_exception(Refusal(why))
            case Counted(counts):
                self.counts = counts
                if self._told is not None:
                    self._told.set_result(None)
                    self._told = None

    def _end(self) -> None:
        """Nothing more is heard of it: whoever waits must not wait on."""
        self._gone = True
        waiting = [*self._steps] + ([self._told] if self._told is not None else [])
        self._steps.clear()
        self._told = None
        for future in waiting:
            if not future.done():
                future.set_exception(Gone())


def _spawn(descriptor: int) -> subprocess.Popen[bytes]:
    """A new Python, so that nothing of this process's loop and threads is in it."""
    # Modules are to be found where this process found them.
    path = os.pathsep.join(each or str(Path.cwd()) for each in sys.path)
    return subprocess.Popen(  # noqa: S603 - the words are all ours
        [sys.executable, "-P", "-m", "kdns.workers", str(descriptor)],
        stdin=subprocess.DEVNULL,
        pass_fds=(descriptor,),
        env={**os.environ, "PYTHONPATH": path},
    )


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    return f"was killed by {signal.Signals(-status).name}"
