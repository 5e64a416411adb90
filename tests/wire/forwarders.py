"""Servers that forward zones to upstreams, with a cache: kdns, CoreDNS, Unbound and dnsmasq."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench.peers import coredns
from bench.peers.coredns import CorefileServer
from bench.peers.process import ServerProcess, answers, free_ports
from bench.servers import kdns_executable

START_SECONDS = 30.0

Forwards = Mapping[str, Sequence[int]]
"""Zones, absolute, and the ports of their upstreams on 127.0.0.1."""

Start = Callable[[Forwards, Path], AbstractContextManager[tuple[int, Path]]]
"""Starts a server with its files in an empty folder: its port on 127.0.0.1 and its log.

Raises FileNotFoundError, saying what is missing, where it is not installed.
"""


def corefile(forwards: Forwards) -> str:
    """One server block that forwards each zone, the widest last, and caches."""
    lines = [
        f"    forward {zone} {' '.join(f'127.0.0.1:{port}' for port in ports)} {{\n"
        f"        policy sequential\n    }}"
        for zone, ports in sorted(forwards.items(), key=lambda each: -len(each[0]))
    ]
    return "\n".join([". {", "    bind 127.0.0.1", "    errors", *_TAIL, *lines, "}", ""])


_TAIL = ("    ready {$READY}", "    prometheus {$METRICS}", "    cache 30")


@contextmanager
def _by_corefile(path: str, forwards: Forwards) -> Iterator[tuple[int, Path]]:
    server = CorefileServer(path, corefile(forwards), ready_seconds=START_SECONDS)
    with server:
        yield server.port, server.process.log


@contextmanager
def kdns(forwards: Forwards, folder: Path) -> Iterator[tuple[int, Path]]:
    """kdns as a process of its own."""
    path = kdns_executable()
    assert path is not None, "kdns is not installed beside this Python"
    with _by_corefile(path, forwards) as running:
        yield running


@contextmanager
def _coredns(forwards: Forwards, folder: Path) -> Iterator[tuple[int, Path]]:
    path = coredns.executable()
    if path is None:
        raise FileNotFoundError(coredns.MISSING)
    with _by_corefile(path, forwards) as running:
        yield running


@contextmanager
def _unbound(forwards: Forwards, folder: Path) -> Iterator[tuple[int, Path]]:
    [port] = free_ports(1)
    zones = "\n".join(
        f'forward-zone:\n    name: "{zone}"\n'
        + "\n".join(f"    forward-addr: 127.0.0.1@{each}" for each in ports)
        for zone, ports in forwards.items()
    )
    config = folder / "unbound.conf"
    config.write_text(f"{_UNBOUND.format(port=port, folder=folder)}{zones}\n")
    with _running("unbound", ["-d", "-c", config], port, folder) as running:
        yield running


_UNBOUND = """\
server:
    interface: 127.0.0.1@{port}
    num-threads: 1
    do-daemonize: no
    do-not-query-localhost: no
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: "{folder}/pid"
    use-syslog: no
    module-config: "iterator"
    incoming-num-tcp: 100
    outgoing-num-tcp: 100
remote-control:
    control-enable: no
"""


@contextmanager
def _dnsmasq(forwards: Forwards, folder: Path) -> Iterator[tuple[int, Path]]:
    [port] = free_ports(1)
    lines = [
        f"server=/{'#' if zone == '.' else zone.rstrip('.')}/127.0.0.1#{each}"
        for zone, ports in forwards.items()
        for each in ports
    ]
    config = folder / "dnsmasq.conf"
    user = "root" if os.geteuid() == 0 else ""
    config.write_text(_DNSMASQ.format(port=port, user=user) + "\n".join(lines) + "\n")
    with _running("dnsmasq", ["-C", config], port, folder) as running:
        yield running


_DNSMASQ = """\
port={port}
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
keep-in-foreground
user={user}
pid-file
cache-size=1000
"""


@contextmanager
def _running(
    name: str, arguments: Sequence[str | Path], port: int, folder: Path
) -> Iterator[tuple[int, Path]]:
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"{name} is not on PATH")
    log = folder / "log"
    with ServerProcess([path, *arguments], log) as process:
        process.wait_until(lambda: answers(port), START_SECONDS)
        yield port, log


PEERS: dict[str, Start] = {"CoreDNS": _coredns, "Unbound": _unbound, "dnsmasq": _dnsmasq}
"""What kdns is compared with."""
