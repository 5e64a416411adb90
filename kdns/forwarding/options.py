"""What a `forward` says: whom to ask, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

Way = Literal["dns", "tls", "https"]
"""Plain DNS over UDP and TCP, DNS over TLS (RFC 7858), DNS over HTTPS (RFC 8484)."""

Policy = Literal["random", "round_robin", "sequential"]


class Target(NamedTuple):
    """One upstream as written: `host` is an IP address, or a name to be resolved.

    `server_name` is what a certificate has to say ("": the one that holds for all, or the host);
    `path` belongs to `https` alone.
    """

    way: Way
    host: str
    port: int
    server_name: str = ""
    path: str = ""

    def __str__(self) -> str:
        """As in metrics and logs: `10.0.0.2:53`, `[::1]:53`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class ResolvFile(NamedTuple):
    """A file like /etc/resolv.conf, whose nameserver lines are upstreams."""

    path: Path


class Health(NamedTuple):
    """How an upstream that failed is probed: every `interval` seconds (0: never), by a query for
    the NS of `domain`, an absolute wire name."""

    interval: float = 0.5
    recursion_desired: bool = True
    domain: bytes = b"\0"


class Tls(NamedTuple):
    """Files and the name that upstreams over TLS and HTTPS are met with; None: the system's CAs."""

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    server_name: str = ""


_HEALTH: Final = Health()
_TLS: Final = Tls()


@dataclass(frozen=True, slots=True)
class Options:
    """Upstreams and how they are asked; times in seconds, 0 of a limit means none (CoreDNS).

    Equal options are one forwarder, across server blocks and reloads.
    """

    targets: tuple[Target | ResolvFile, ...]
    policy: Policy = "random"
    force_tcp: bool = False
    prefer_udp: bool = False
    expire: float = 10.0
    max_age: float = 0.0
    max_idle_conns: int = 0
    read_timeout: float = 2.0
    max_connect_attempts: int | None = None
    max_fails: int = 2
    health: Health = _HEALTH
    max_concurrent: int = 0
    failover: frozenset[int] = frozenset()
    failfast_all_unhealthy: bool = False
    source_address: str = ""
    resolver: tuple[str, ...] = ()
    tls: Tls = _TLS
    doh_method: Literal["POST", "GET"] = "POST"
    mixed_case: bool = False
