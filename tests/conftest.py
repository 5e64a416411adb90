"""The table of odd packets, for the tests of all rooms that packets pass through."""

from __future__ import annotations

import socket
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kdns.dns.names import from_text


class OddPacket(NamedTuple):
    """A row of odd_packets.toml. `reply` is an rcode or "silence"."""

    name: str
    packet: bytes
    parse: str
    reply: str
    records: int
    transport: str


def _bytes(words: str) -> bytes:
    packet = b""
    for word in words.split():
        text, _, times = word.partition("*")
        piece = from_text(text) if text.endswith(".") else bytes.fromhex(text)
        packet += piece * int(times or 1)
    return packet


def _row(row: dict[str, Any]) -> OddPacket:
    return OddPacket(
        row["name"],
        _bytes(row["packet"]),
        row["parse"],
        row.get("reply", row["parse"]),
        row.get("records", 0),
        row.get("transport", "any"),
    )


ODD_PACKETS = [
    _row(row)
    for row in tomllib.loads(Path(__file__).with_name("odd_packets.toml").read_text())["row"]
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `odd` is run for each row."""
    if "odd" in metafunc.fixturenames:
        metafunc.parametrize("odd", ODD_PACKETS, ids=[row.name for row in ODD_PACKETS])


@pytest.fixture(scope="session")
def odd_packets() -> list[OddPacket]:
    """Every row of odd_packets.toml."""
    return ODD_PACKETS


@pytest.fixture
def free_port() -> int:
    """A port that neither UDP nor TCP is using on any address just now."""
    for _ in range(100):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("", port))
            except OSError:
                continue
            return port
    pytest.fail("no port is free for both")
