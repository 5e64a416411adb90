"""Messages between two ends of a socket pair."""

from __future__ import annotations

import asyncio
import socket

import pytest

from kdns.workers.channel import Channel, ChannelClosed


@pytest.fixture
async def ends():
    """Two channels that are each other's other side."""
    pair = socket.socketpair()
    channels = [await Channel.over(each) for each in pair]
    yield channels
    for each in channels:
        await each.close()


async def test_messages_arrive_whole_and_in_order(ends) -> None:
    here, there = ends
    sent = [b"", b"a", b"b" * 3_000_000, b"c"]
    for message in sent:
        here.send(message)
    assert [await there.receive() for _ in sent] == sent
    there.send(b"back")
    assert await here.receive() == b"back"


async def test_a_message_is_made_when_the_one_before_was_taken(ends) -> None:
    here, there = ends
    made = []

    def messages():
        for number in range(200):
            made.append(number)
            yield b"x" * 100_000

    here.send_each(messages())
    here.send(b"behind")
    await there.receive()
    assert len(made) < 100
    assert here.waiting == len(b"behind")
    for _ in range(199):
        await there.receive()
    assert await there.receive() == b"behind"
    await here.flush()
    assert here.waiting == 0


async def test_messages_that_nobody_takes_are_counted(ends) -> None:
    here, _ = ends
    for _ in range(100):
        here.send(b"x" * 100_000)
    await asyncio.sleep(0)
    assert here.waiting > 8_000_000
    assert here.moved == 0


async def test_the_other_side_is_gone(ends) -> None:
    here, there = ends
    here.send(b"last")
    await here.flush()
    await here.close()
    assert await there.receive() == b"last"
    with pytest.raises(ChannelClosed):
        await there.receive()


async def test_flush_does_not_wait_for_the_dead(ends) -> None:
    here, there = ends
    for _ in range(100):
        here.send(b"x" * 100_000)
    await there.close()
    with pytest.raises(ChannelClosed):
        await here.flush()
