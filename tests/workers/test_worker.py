"""A worker in this process, whose parent is the test."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest

from kdns.workers.channel import Channel, ChannelClosed
from kdns.workers.messages import Done, Serve, encode, report
from kdns.workers.worker import Worker


@pytest.fixture
async def parent():
    """The worker, and its parent's end of the channel."""
    ours, theirs = socket.socketpair()
    channel = await Channel.over(ours)
    worker = Worker(await Channel.over(theirs), asyncio.get_running_loop())
    running = asyncio.create_task(worker.run())
    yield worker, channel
    await channel.close()
    async with asyncio.timeout(5):
        await running
    await worker._channel.close()
    gc.enable()
    gc.unfreeze()


async def test_a_step_is_reported(parent) -> None:
    _, channel = parent
    channel.send(encode(Serve()))
    assert report(await channel.receive()) == Done()


async def test_one_whose_step_breaks_ends(parent, monkeypatch, caplog) -> None:
    """Else its parent would wait for it, and for no other."""
    worker, channel = parent

    def broken(_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(worker._copies, "keep", broken)
    channel.send(encode(Serve()))
    with pytest.raises(ChannelClosed):
        async with asyncio.timeout(5):
            await channel.receive()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
