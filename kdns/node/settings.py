"""What the node-local mode is told to do to a node's network."""

from __future__ import annotations

from typing import Final, NamedTuple

LINKS: Final = ("auto", "dummy", "tun", "existing")
"""Kinds of interface: `auto` is the device of that name if there is one, else dummy, else tun."""

FILTERS: Final = ("auto", "nft", "nft-socket", "iptables", "iptables-socket", "none")
"""Packet-filter backends; `auto` takes nft, iptables-socket or iptables, the first that works."""

SETUP_ERRORS: Final = ("iptables", "iptables_lock", "interface_add", "interface_check", "configmap")
"""Types of setup errors, as node-cache counts them. Errors of nftables count as `iptables`."""


class Settings(NamedTuple):
    """What to make, hold and take down; times in seconds."""

    addresses: tuple[str, ...]
    """IPv4 and IPv6 addresses to serve on, canonical text."""
    interface: str = "nodelocaldns"
    link: str = "auto"
    """One of LINKS."""
    setup_interface: bool = True
    filter: str = "auto"
    """One of FILTERS; `none` is -setupiptables=false."""
    port: int = 53
    health_port: int = 8080
    sync_interval: float = 60.0
    """Between two checks that interface, addresses and rules are still there."""
    skip_teardown: bool = False
    """Leave interface and rules at the end; a table that the kernel ties to us goes anyway."""
    drain: float = 20.0
    """Longest wait for the serving process to end by itself after SIGTERM."""
