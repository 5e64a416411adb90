"""What every process of kdns does before it serves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Final

from kdns.frontend.sockets import raise_descriptor_limit

_SWITCH_INTERVAL: Final = 0.0005


def prepare() -> None:
    """Settle what holds for the process as a whole."""
    # A thread that reads manifests gives way to queries at once.
    sys.setswitchinterval(_SWITCH_INTERVAL)
    raise_descriptor_limit()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the fastest event loop there is; None for Python's own."""
    try:
        import uvloop  # noqa: PLC0415 - Linux alone has it
    except ImportError:
        return None
    return uvloop.new_event_loop
