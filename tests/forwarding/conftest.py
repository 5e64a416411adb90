"""Event loops for the tests of upstreams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

_STREAMS = ("test_streams.py", "test_tls.py", "test_https.py")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Streams are tested on both loops, which do TLS and connecting each in its own way."""
    factories = {"asyncio": asyncio.new_event_loop}
    if item.path.name in _STREAMS:
        factories["uvloop"] = uvloop.new_event_loop
    return factories
