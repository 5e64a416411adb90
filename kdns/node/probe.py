"""Whether the node answers on an address: real queries, judged by who answered them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

PROBE_ZONE: Final = "node-cache.kdns.invalid"
"""A zone that no other server has: its authoritative answer can only be this node's."""


def server_block(addresses: Iterable[str], port: int = 53) -> str:
    """The server block to add to a node's Corefile, so that it can be told from its upstreams."""
    return f"{PROBE_ZONE}:{port} {{\n    bind {' '.join(addresses)}\n    whoami\n}}\n"
