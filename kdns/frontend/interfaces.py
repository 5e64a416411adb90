"""The network interfaces of this machine."""

from __future__ import annotations

import ifaddr

from kdns.plugins.site import Interface


def interfaces() -> list[Interface]:
    """Every address of every interface, scopes left out."""
    return [
        Interface(str(adapter.name), ip.ip if isinstance(ip.ip, str) else ip.ip[0])
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]
