"""The network interfaces of this machine."""

from __future__ import annotations

import ifaddr

from kdns.plugins.site import Interface


def interfaces() -> list[Interface]:
    """Every address of every interface."""
    return [
        Interface(str(adapter.name), _text(ip.ip, str(adapter.name)))
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]


def _text(found: str | tuple[str, int, int], name: str) -> str:
    """What ifaddr found, for IPv6 an address, a flow and a scope, as text (RFC 4007 section 11)."""
    if isinstance(found, str):
        return found
    address, _, scope = found
    return f"{address}%{name}" if scope else address
