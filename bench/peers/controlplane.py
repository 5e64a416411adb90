"""A control plane on loopback: a real etcd and a real kube-apiserver, to be killed and compacted.

Nothing else of Kubernetes runs, so Services have no EndpointSlices but those that are created.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import trustme
import yaml

from bench.peers.process import ServerProcess, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROGRAMS = ("etcd", "kube-apiserver")
MISSING = f"KUBEBUILDER_ASSETS names no folder that holds {' and '.join(PROGRAMS)}"
"""Why what needs a control plane is left out where `assets()` is None."""

START_SECONDS = 90.0
_GOGC = "400"  # memory is plenty, and collecting it takes time from what is measured beside
_PATIENCE = 10.0
_READY_PATIENCE = 1.0  # at a port that a paused server may share
_TRANSACTION = 128, 1 << 19  # operations and bytes, less than the most that etcd takes at once


def assets() -> Path | None:
    """The folder of the programs, as KUBEBUILDER_ASSETS names it."""
    named = os.environ.get("KUBEBUILDER_ASSETS", "")
    found = bool(named) and all((Path(named) / program).exists() for program in PROGRAMS)
    return Path(named) if found else None


class ControlPlane:
    """Started when made; `kubeconfig` is an administrator's. Its files go below `folder`.

    Raises NotStarted in the words of the program that does not start.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self.port, self._etcd_port, self._peer_port = free_ports(3)
        self._write_certificates()
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(self._kubeconfig()))
        self._tls = ssl.create_default_context(cafile=folder / "ca.crt")
        self._tls.load_cert_chain(folder / "admin.crt", folder / "admin.key")
        self._etcd = self._start_etcd()
        try:
            self._apiserver = self._start_apiserver(None)
        except BaseException:
            self._etcd.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._apiserver.stop()
        self._etcd.stop()

    def pin_etcd(self, cores: Iterable[int]) -> None:
        """Keep etcd to `cores` from now on."""
        allowed = list(cores)
        for task in Path(f"/proc/{self._etcd.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), allowed)

    def kill_apiserver(self) -> None:
        """Without a chance to say good-bye."""
        self._apiserver.stop()

    def start_apiserver(self, cores: Iterable[int] | None = None) -> None:
        """Returns once it is ready."""
        self._apiserver = self._start_apiserver(cores)

    def pause_apiserver(self) -> None:
        """Let it hear and say nothing more; what is connected stays connected."""
        os.kill(self._apiserver.pid, signal.SIGSTOP)

    def replace_apiserver(self, cores: Iterable[int] | None = None) -> None:
        """Kill a paused one once a new one is ready at the same port, so that no connection is
        ever refused."""
        paused = self._apiserver
        try:
            self._apiserver = self._start_apiserver(cores)
        finally:
            paused.stop()

    def store(self, objects: Iterable[tuple[str, Any]]) -> int:
        """Write objects behind the API server's back, by their keys; returns the last revision."""
        revision, puts, size = 0, [], 0
        for key, value in objects:
            encoded = json.dumps(value, separators=(",", ":")).encode()
            puts.append({"requestPut": {"key": _base64(key.encode()), "value": _base64(encoded)}})
            size += len(encoded)
            if len(puts) == _TRANSACTION[0] or size > _TRANSACTION[1]:
                revision = self._put(puts)
                puts, size = [], 0
        return self._put(puts) if puts else revision

    def compact(self, revision: int) -> None:
        """Forget all history before `revision`."""
        self._ask_etcd("compaction", {"revision": revision, "physical": True})

    def _put(self, puts: list[Any]) -> int:
        return int(self._ask_etcd("txn", {"success": puts})["header"]["revision"])

    def _ask_etcd(self, what: str, body: Mapping[str, Any]) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._etcd_port, timeout=_PATIENCE)
        try:
            connection.request("POST", f"/v3/kv/{what}", json.dumps(body))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise RuntimeError(f"etcd, {what}: {content.decode(errors='replace')}")
        return json.loads(content)

    def _start_etcd(self) -> ServerProcess:
        clients = f"http://127.0.0.1:{self._etcd_port}"
        peers = f"http://127.0.0.1:{self._peer_port}"
        return ServerProcess(
            [
                self._programs / "etcd",
                *("--data-dir", self._folder / "etcd"),
                "--unsafe-no-fsync",  # nothing here outlives the machine
                *("--listen-client-urls", clients, "--advertise-client-urls", clients),
                *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
                *("--initial-cluster", f"default={peers}"),
            ],
            self._folder / "etcd.log",
        )

    def _start_apiserver(self, cores: Iterable[int] | None) -> ServerProcess:
        file = self._folder.joinpath
        process = ServerProcess(
            [
                self._programs / "kube-apiserver",
                *("--etcd-servers", f"http://127.0.0.1:{self._etcd_port}"),
                *("--endpoint-reconciler-type", "none"),
                *("--bind-address", "127.0.0.1", "--secure-port", str(self.port)),
                "--permit-port-sharing",  # with the one that it replaces
                *("--tls-cert-file", file("server.crt"), "--tls-private-key-file"),
                *(file("server.key"), "--client-ca-file", file("ca.crt")),
                *("--authorization-mode", "RBAC"),
                *("--service-account-issuer", "https://kubernetes.default.svc"),
                *("--service-account-key-file", file("server.key")),
                *("--service-account-signing-key-file", file("server.key")),
                *("--service-cluster-ip-range", "10.96.0.0/12,fd00:10:96::/112"),
            ],
            file("kube-apiserver.log"),
            cores=cores,
            environment={"GOGC": _GOGC},
        )
        try:
            process.wait_until(self._is_ready, START_SECONDS)
        except BaseException:
            process.stop()
            raise
        return process

    def _is_ready(self) -> bool:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=_READY_PATIENCE, context=self._tls
        )
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _write_certificates(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self._folder / "ca.crt"))
        server = authority.issue_cert("127.0.0.1", "localhost")
        admin = authority.issue_cert(
            "admin@example.org", organization_name="system:masters", common_name="admin"
        )
        for name, issued in (("server", server), ("admin", admin)):
            issued.private_key_pem.write_to_path(str(self._folder / f"{name}.key"))
            issued.cert_chain_pems[0].write_to_path(str(self._folder / f"{name}.crt"))

    def _kubeconfig(self) -> dict[str, Any]:
        cluster = {
            "server": f"https://127.0.0.1:{self.port}",
            "certificate-authority": str(self._folder / "ca.crt"),
        }
        user = {
            "client-certificate": str(self._folder / "admin.crt"),
            "client-key": str(self._folder / "admin.key"),
        }
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bench", "cluster": cluster}],
            "users": [{"name": "admin", "user": user}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "admin"}}],
            "current-context": "bench",
        }


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
