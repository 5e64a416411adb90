"""The image's health check."""

from __future__ import annotations

import asyncio
import socket

import pytest

from kdns.corefile import parser
from kdns.probe import answers, main
from kdns.server import Server

COREFILE = """
.:{port} {{
    bind 127.0.0.1
    whoami
}}
"""


def _no_feed(_):
    raise AssertionError("there is nothing to feed")


async def test_a_server_that_is_up_and_one_that_is_gone(tmp_path, free_port) -> None:
    text = COREFILE.format(port=free_port)
    server = Server(lambda: parser.parse(text, "Corefile", {}), tmp_path, _no_feed)
    await server.start()
    try:
        assert await asyncio.to_thread(main, ["127.0.0.1", str(free_port)]) == 0
    finally:
        await server.close()
    assert main(["127.0.0.1", str(free_port)]) == 1


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(lambda query: b"", id="nothing"),
        pytest.param(lambda query: query, id="the query"),
        pytest.param(lambda query: b"\0\0" + query[2:], id="an answer to somebody else"),
        pytest.param(lambda query: query[:2] + b"\x90\4", id="half a header"),
    ],
)
async def test_what_is_no_answer(reply) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        probe = asyncio.create_task(
            asyncio.to_thread(answers, "127.0.0.1", peer.getsockname()[1], 5.0)
        )
        query, source = await asyncio.to_thread(peer.recvfrom, 512)
        peer.sendto(reply(query), source)
        assert not await probe


def test_silence_ends() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        assert not answers("127.0.0.1", peer.getsockname()[1], timeout=0.05)


def test_no_address() -> None:
    assert not answers("no such address", 53, timeout=0.05)
