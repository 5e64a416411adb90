"""A server that is started from a Corefile: the real CoreDNS, or anything with its flags.

with ApiServer(objects) as api, CoreDNS(kubeadm(f"endpoint {api.url}")) as coredns:
    dns.query.udp(query, "127.0.0.1", port=coredns.port)
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.peers.process import ServerProcess, answers, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MISSING = "CoreDNS is not on PATH, and COREDNS names no executable"
"""Why a test that needs CoreDNS skips where `executable()` is None."""

READY_SECONDS = 60.0


def executable() -> str | None:
    """The CoreDNS to run: the environment's COREDNS, else `coredns` on PATH."""
    return shutil.which(os.environ.get("COREDNS") or "coredns")


def version(path: str) -> str:
    """What `-version` prints first, such as `CoreDNS-1.14.7`."""
    said = subprocess.run([path, "-version"], check=True, capture_output=True, text=True)
    return said.stdout.split()[0]


def kubeadm(
    source: str,
    *,
    reverse: bool = True,
    upstream: str = "127.0.0.1:9",
    cached: bool = False,
    room: int | None = None,
) -> str:
    """The Corefile kubeadm installs, over `source` (lines for the `kubernetes` block).

    `loop` is left out and names outside the cluster go to `upstream`, where nobody listens if none
    is given. `cached` lets the cache keep the cluster's zone, as Corefiles from before 2025 do;
    with `room` it keeps so many names, and for an hour. Ports come from the environment that
    CorefileServer gives.
    """
    keep = "" if cached else _NOT_THE_CLUSTER
    if room is not None:
        keep += f"\n        success {room}\n        denial {room}"
    return _KUBEADM.format(
        source=source,
        reverse=" in-addr.arpa ip6.arpa" if reverse else "",
        fallthrough="fallthrough in-addr.arpa ip6.arpa" if reverse else "",
        upstream=upstream,
        ttl=30 if room is None else 3600,
        keep=f" {{\n        {keep.strip()}\n    }}" if keep else "",
    )


_KUBEADM = """\
. {{
    errors
    health {{$HEALTH}} {{
        lameduck 5s
    }}
    ready {{$READY}}
    kubernetes cluster.local{reverse} {{
        {source}
        pods insecure
        {fallthrough}
        ttl 30
    }}
    prometheus {{$METRICS}}
    forward . {upstream} {{
        max_concurrent 1000
    }}
    cache {ttl}{keep}
    reload
    loadbalance
}}
"""
_NOT_THE_CLUSTER = """\
        disable success cluster.local
        disable denial cluster.local"""


class CorefileServer:
    """A running server with CoreDNS's flags, ready to be asked on `port` of 127.0.0.1.

    `corefile` must have the line `ready {$READY}`, which is how readiness is awaited, and leaves
    the port to `-dns.port`. {$HEALTH} and {$METRICS} are there for it too, as free addresses.
    `ready_after` is how many seconds it took from its start until `/ready` said so, to a few
    milliseconds. Raises NotStarted with the server's own words.
    """

    def __init__(
        self,
        path: str,
        corefile: str,
        *,
        cores: Iterable[int] | None = None,
        environment: Mapping[str, str] | None = None,
        ready_seconds: float = READY_SECONDS,
    ) -> None:
        self.port, *others = free_ports(4)
        self.ready, self.health, self.metrics = (f"127.0.0.1:{port}" for port in others)
        self._folder = tempfile.TemporaryDirectory(prefix="corefile-")
        folder = Path(self._folder.name)
        self.corefile = folder / "Corefile"
        self.corefile.write_text(corefile)
        self.ready_after = 0.0
        self._started = time.perf_counter()
        self.process = ServerProcess(
            [path, "-conf", self.corefile, "-dns.port", str(self.port)],
            folder / "log",
            cores=cores,
            environment={
                "READY": self.ready,
                "HEALTH": self.health,
                "METRICS": self.metrics,
                **(environment or {}),
            },
        )
        try:
            self.process.wait_until(self._is_ready, ready_seconds)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it at once, lameduck or not."""
        self.process.stop()
        self._folder.cleanup()

    def _is_ready(self) -> bool:
        if not self.ready_after:
            connection = http.client.HTTPConnection(self.ready, timeout=1)
            try:
                connection.request("GET", "/ready")
                if connection.getresponse().status != http.client.OK:
                    return False
            except (OSError, http.client.HTTPException):
                return False
            finally:
                connection.close()
            self.ready_after = time.perf_counter() - self._started
        return answers(self.port)  # CoreDNS is "ready" a moment before it listens


class CoreDNS(CorefileServer):
    """The real CoreDNS. Raises FileNotFoundError where there is none (see MISSING)."""

    def __init__(self, corefile: str, *, cores: Iterable[int] | None = None) -> None:
        path = executable()
        if path is None:
            raise FileNotFoundError(MISSING)
        super().__init__(path, corefile, cores=cores)
