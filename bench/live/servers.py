"""kdns and CoreDNS at the same API server, started as often as wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench.peers.coredns import CorefileServer, kubeadm
from bench.servers import COREDNS, KDNS, SERVERS, START_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from bench.servers import Cores

NAMES = (KDNS, COREDNS)


class Server(NamedTuple):
    """An installed server that follows an API server by a kubeconfig file."""

    name: str
    path: str
    version: str

    def start(self, kubeconfig: Path, cores: Cores) -> CorefileServer:
        """Ready, on its core. Raises NotStarted."""
        return CorefileServer(
            self.path,
            kubeadm(f"kubeconfig {kubeconfig}"),
            cores=[cores.server],
            # Its bytecode is kept as where it is installed, whatever this process was told.
            environment={"PYTHONDONTWRITEBYTECODE": ""},
            ready_seconds=START_SECONDS,
        )


def installed(name: str) -> Server | None:
    """None where it is not on this machine."""
    [server] = [server for server in SERVERS if server.name == name]
    path = server.executable()
    return None if path is None else Server(name, path, server.version(path))
