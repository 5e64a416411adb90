"""Names outside the cluster, and the name server that all servers forward them to."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.peers.process import ServerProcess, answers, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DOMAIN = "example.com"
HOSTS = 1000
TTL = 3600
MISSING = "NSD, the upstream of names outside the cluster, is not on PATH"

_START_SECONDS = 30.0


def host(number: int) -> str:
    """One of HOSTS names, each with an A and an AAAA record; without a dot at its end."""
    return f"host-{number}.{DOMAIN}"


def unique(label: str) -> str:
    """A name that exists, as any label does, with an A record."""
    return f"{label}.any.{DOMAIN}"


def _records() -> Iterator[str]:
    """All of them in one zone, the root: its name servers are what probes of health ask for."""
    yield f". {TTL} SOA a.{DOMAIN}. hostmaster.{DOMAIN}. 1 7200 1800 86400 60"
    yield f". {TTL} NS a.{DOMAIN}."
    yield f"a.{DOMAIN}. {TTL} A 127.0.0.1"
    yield f"{unique('*')}. {TTL} A 192.0.2.1"
    for number in range(HOSTS):
        yield f"{host(number)}. {TTL} A 198.18.{number >> 8}.{number & 255}"
        yield f"{host(number)}. {TTL} AAAA 2001:db8::{number:x}"


class Upstream:
    """NSD with the names above, on `port` of 127.0.0.1. Raises NotStarted.

    It answers nothing while it is paused, and takes nothing from its socket.
    """

    def __init__(self, path: str, folder: Path, *, cores: Iterable[int] | None = None) -> None:
        [self.port] = free_ports(1)
        (folder / "zone").write_text("\n".join(_records()) + "\n")
        config = folder / "nsd.conf"
        config.write_text(_NSD.format(port=self.port, folder=folder))
        self._process = ServerProcess([path, "-d", "-c", config], folder / "log", cores=cores)
        try:
            self._process.wait_until(lambda: answers(self.port), _START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        self._process.stop()

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._process.pids():
            os.kill(pid, number)


def executable() -> str | None:
    """The NSD to run."""
    return shutil.which("nsd")


_NSD = """\
server:
    ip-address: 127.0.0.1@{port}
    server-count: 1
    username: ""
    chroot: ""
    zonesdir: "{folder}"
    pidfile: "{folder}/pid"
    database: ""
    xfrdfile: "{folder}/xfrd.state"
    zonelistfile: "{folder}/zone.list"
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: "."
    zonefile: "{folder}/zone"
"""
