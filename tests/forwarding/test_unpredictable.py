"""Ports and IDs over UDP: spread over all there are, each as likely as another (RFC 5452 §9.2)."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from kdns.dns.names import from_text
from kdns.forwarding.exchange import Question
from kdns.forwarding.options import Options, Target
from kdns.forwarding.udp import UdpTransport

COUNT = 10_000
AT_A_TIME = 100
BUCKETS = 64

MOST = 63 + 8 * (2 * 63) ** 0.5
"""Chi-squared of 63 degrees of freedom: eight standard deviations above its mean."""

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.fixture(scope="module")
def seen() -> list[tuple[int, int]]:
    """(port, ID) of so many questions, in the order in which they were asked."""
    return asyncio.run(_seen())


async def _seen() -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    question = Question(from_text("www.example.com") + b"\0\1\0\1", 0x0100, dnssec_ok=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        upstream.bind(("127.0.0.1", 0))
        target = Target("dns", *upstream.getsockname())
        loop = asyncio.get_running_loop()
        transport = UdpTransport(target, Options((target,)), loop)
        for _ in range(COUNT // AT_A_TIME):
            pending = [transport.send(question, lambda _: True) for _ in range(AT_A_TIME)]
            await asyncio.sleep(0)
            for each in pending:
                packet, (_, port) = upstream.recvfrom(512)
                found.append((port, int.from_bytes(packet[:2], "big")))
                each.give_up()
        transport.close()
    return found


def chi_squared(counts: Counter[int], count: int) -> float:
    expected = count / BUCKETS
    return sum((counts[bucket] - expected) ** 2 / expected for bucket in range(BUCKETS))


def test_ids(seen: list[tuple[int, int]]) -> None:
    numbers = [number for _, number in seen]
    for shift in (10, 0):  # the upper bits, and the lower
        counts = Counter((number >> shift) % BUCKETS for number in numbers)
        assert chi_squared(counts, COUNT) < MOST
    steps = Counter(((after - before) >> 10) % BUCKETS for before, after in pairwise(numbers))
    assert chi_squared(steps, COUNT - 1) < MOST
    assert len(set(numbers)) > 0.9 * COUNT  # 9,280 are to be expected


@pytest.mark.skipif(not _RANGE.exists(), reason="this system does not say which ports it has")
def test_ports(seen: list[tuple[int, int]]) -> None:
    low, high = map(int, _RANGE.read_text().split())
    ports = [port - low for port, _ in seen]
    width = high - low + 1
    assert 0 <= min(ports) < width / 100
    assert width * 99 / 100 < max(ports) < width
    counts = Counter(port * BUCKETS // width for port in ports)
    assert chi_squared(counts, COUNT) < MOST
    steps = Counter(
        (after - before) % width * BUCKETS // width for before, after in pairwise(ports)
    )
    assert chi_squared(steps, COUNT - 1) < MOST


def test_a_port_says_nothing_of_the_id_nor_of_the_next_port(seen: list[tuple[int, int]]) -> None:
    pairs = Counter((port % 8) * 8 + number % 8 for port, number in seen)
    assert chi_squared(pairs, COUNT) < MOST
    following = Counter((a % 8) * 8 + b % 8 for (a, _), (b, _) in pairwise(seen))
    assert chi_squared(following, COUNT - 1) < MOST


def test_a_port_is_not_used_again_soon(seen: list[tuple[int, int]]) -> None:
    """No more often than chance has it: one question in 280, among the last hundred."""
    ports = [port for port, _ in seen]
    again = sum(port in ports[at - 100 : at] for at, port in enumerate(ports) if at >= 100)
    assert again < COUNT / 100
