"""The addresses of this machine, as text that can be bound."""

from __future__ import annotations

from types import SimpleNamespace

import ifaddr

from kdns.frontend.interfaces import interfaces
from kdns.plugins.site import Interface


def test_interfaces(monkeypatch) -> None:
    found = ["192.0.2.1", ("fd00::5", 0, 0), ("fe80::5", 0, 4)]
    ips = [SimpleNamespace(ip=ip) for ip in found]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: [SimpleNamespace(name="eth0", ips=ips)])
    assert interfaces() == [
        Interface("eth0", "192.0.2.1"),
        Interface("eth0", "fd00::5"),
        Interface("eth0", "fe80::5%eth0"),
    ]


def test_this_machine_has_a_loopback_address() -> None:
    assert "127.0.0.1" in [interface.address for interface in interfaces()]
