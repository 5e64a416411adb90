"""The servers that the tests of a session share."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.wire.cluster import MemoryFeed, decoded
from tests.wire.servers import VARIANTS, kdns


@pytest.fixture(scope="session")
def kdns_port() -> Iterator[Callable[[str], int]]:
    """kdns_port(variant) -> the port where kdns serves the cluster by that Corefile."""
    ports: dict[str, int] = {}
    items = decoded()
    with ExitStack() as running:

        def port(variant: str) -> int:
            if variant not in ports:
                server = kdns(VARIANTS[variant], MemoryFeed(items))
                ports[variant] = running.enter_context(server)
            return ports[variant]

        yield port


@pytest.fixture(scope="session", params=["127.0.0.1", "::1"], ids=["ipv4", "ipv6"])
def host(request: pytest.FixtureRequest) -> str:
    """A loopback address of each family."""
    address = str(request.param)
    if ":" in address:
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind((address, 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback address")
    return address
