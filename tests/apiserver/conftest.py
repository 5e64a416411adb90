"""A real API server: the one that KDNS_TEST_KUBECONFIG names, or one started for the tests.

KUBEBUILDER_ASSETS is a folder that holds etcd, kube-apiserver and kube-controller-manager.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
import yaml

from kdns.cluster.api.access import FileAccess, Files
from kdns.cluster.api.feed import ApiFeed
from kdns.cluster.api.kubeconfig import Kubeconfig
from kdns.cluster.feed import Delete, Event, Synced, Upsert

PATIENCE = 20.0
_START_PATIENCE = 60.0
_PATHS = {
    "Namespace": "/api/v1/namespaces",
    "Service": "/api/v1/namespaces/{}/services",
    "Pod": "/api/v1/namespaces/{}/pods",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
    "ServiceImport": "/apis/multicluster.x-k8s.io/v1alpha1/namespaces/{}/serviceimports",
}
IMPORTS = "serviceimports.multicluster.x-k8s.io"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
IMPORTS_DEFINITION = {
    "metadata": {"name": IMPORTS},
    "spec": {
        "group": "multicluster.x-k8s.io",
        "scope": "Namespaced",
        "names": {"plural": "serviceimports", "kind": "ServiceImport"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": _ANYTHING},
            }
        ],
    },
}
"""Of ServiceImport (KEP-1645), with any content."""

_RELAXED_NAMES = "RelaxedServiceNameValidation"
_CONTROLLERS = (
    "namespace-controller,serviceaccount-controller,endpointslice-controller,"
    "root-ca-certificate-publisher-controller"
)


class ControlPlane:
    """etcd, kube-apiserver and the controllers that DNS depends on, on loopback."""

    def __init__(self, assets: Path, folder: Path) -> None:
        self.assets = assets
        self.folder = folder
        self.port, self.etcd_port, self._peer_port = free_ports(3)
        self.url = f"https://127.0.0.1:{self.port}"
        self.authority = trustme.CA()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        flags = subprocess.check_output([assets / "kube-apiserver", "--help"], text=True)
        relaxed = ["--feature-gates", f"{_RELAXED_NAMES}=true"]
        self._gates = relaxed if _RELAXED_NAMES in flags else []
        self._issue("server", self.authority.issue_cert("127.0.0.1", "localhost"))
        admin = self.authority.issue_cert(
            "admin@example.org", organization_name="system:masters", common_name="admin"
        )
        self._issue("admin", admin)
        self.authority.cert_pem.write_to_path(str(folder / "ca.crt"))
        self.tls = ssl.create_default_context(cafile=folder / "ca.crt")
        self.tls.load_cert_chain(folder / "admin.crt", folder / "admin.key")
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(self._kubeconfig()))

    @property
    def etcd_url(self) -> str:
        return f"http://127.0.0.1:{self.etcd_port}"

    def start(self) -> None:
        self.start_etcd()
        self.start_apiserver()
        controllers = ["--kubeconfig", self.kubeconfig, "--leader-elect=false", "--secure-port=0"]
        key = ["--service-account-private-key-file", "server.key", "--root-ca-file", "ca.crt"]
        self._start("kube-controller-manager", *controllers, *key, "--controllers", _CONTROLLERS)

    def start_etcd(self) -> None:
        peer = f"http://127.0.0.1:{self._peer_port}"
        clients = ["--listen-client-urls", self.etcd_url, "--advertise-client-urls", self.etcd_url]
        peers = ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        cluster = ["--initial-cluster", f"default={peer}"]
        # Nothing here outlives the machine, so nothing need be on its disk.
        self._start("etcd", "--data-dir", "etcd", "--unsafe-no-fsync", *clients, *peers, *cluster)

    def start_apiserver(self) -> None:
        """Until it is ready, and has a Service of its own."""
        self._start(
            "kube-apiserver",
            *("--etcd-servers", self.etcd_url, "--endpoint-reconciler-type", "none"),
            *("--bind-address", "127.0.0.1", "--secure-port", str(self.port)),
            *("--tls-cert-file", "server.crt", "--tls-private-key-file", "server.key"),
            *("--client-ca-file", "ca.crt", "--authorization-mode", "RBAC"),
            *("--service-account-key-file", "server.key"),
            *("--service-account-signing-key-file", "server.key"),
            *("--service-account-issuer", "https://kubernetes.default.svc"),
            *("--service-cluster-ip-range", "10.96.0.0/12,fd00:10:96::/112"),
            *self._gates,
        )
        deadline = time.monotonic() + _START_PATIENCE
        while not self._ready():
            if time.monotonic() > deadline or self._processes["kube-apiserver"].poll() is not None:
                log = (self.folder / "kube-apiserver.log").read_text()[-2000:]
                pytest.fail(f"the API server does not get ready:\n{log}")
            time.sleep(0.05)

    def restore(self) -> None:
        """Start what was killed of etcd and the API server."""
        if "etcd" not in self._processes:
            self.start_etcd()
        if "kube-apiserver" not in self._processes:
            self.start_apiserver()

    def kill(self, *names: str) -> None:
        """Without a chance to say good-bye; all of them where none is named."""
        for name in names or tuple(self._processes):
            process = self._processes.pop(name)
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _start(self, name: str, *arguments: str | Path) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [self.assets / name, *arguments]
            self._processes[name] = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def _ready(self) -> bool:
        # It makes its own Service a moment after it says that it is ready.
        own = "/api/v1/namespaces/default/services/kubernetes"
        return all(" 200 " in self._status(path) for path in ("/readyz", own))

    def _status(self, path: str) -> str:
        """The first line of an answer, "" where there is none."""
        try:
            raw = socket.create_connection(("127.0.0.1", self.port), timeout=5)
            with raw, self.tls.wrap_socket(raw, server_hostname="127.0.0.1") as connection:
                connection.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
                answer = b"".join(iter(lambda: connection.recv(4096), b""))
        except OSError:
            return ""
        return answer.decode().partition("\r\n")[0]

    def _issue(self, name: str, certificate: trustme.LeafCert) -> None:
        certificate.private_key_pem.write_to_path(str(self.folder / f"{name}.key"))
        certificate.cert_chain_pems[0].write_to_path(str(self.folder / f"{name}.crt"))

    def _kubeconfig(self) -> dict[str, Any]:
        user = {"client-certificate": "admin.crt", "client-key": "admin.key"}
        cluster = {"server": self.url, "certificate-authority": "ca.crt"}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "admin", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class RefusedError(Exception):
    """The API server does not do it: reason and message of its answer."""


class Cluster:
    """Writes to an API server, as whoever its kubeconfig says."""

    def __init__(self, access: Kubeconfig, session: aiohttp.ClientSession) -> None:
        self.access = access
        self.session = session

    async def create(self, path: str, body: Any) -> Any:
        return await self._request("POST", path, body)

    async def patch(self, path: str, body: Any) -> Any:
        return await self._request("PATCH", path, body, "application/merge-patch+json")

    async def delete(self, path: str) -> Any:
        return await self._request("DELETE", path)

    async def get(self, path: str) -> Any:
        return await self._request("GET", path)

    async def namespace(self, **labels: str) -> str:
        """A new one; its name."""
        body = {"metadata": {"generateName": "kdns-test-", "labels": labels}}
        created = await self.create("/api/v1/namespaces", body)
        return str(created["metadata"]["name"])

    async def put(self, manifest: dict[str, Any]) -> Any:
        """Create what a manifest says, with the status it has."""
        metadata = manifest["metadata"]
        path = path_of(manifest["kind"], metadata.get("namespace", ""))
        created = await self.create(path, manifest)
        if status := manifest.get("status"):
            await self.patch(f"{path}/{metadata['name']}/status", {"status": status})
        return created

    async def remove(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object at once, as if nothing ran in it."""
        path = f"{path_of(kind, namespace)}/{name}"
        await self._request("DELETE", path, {"gracePeriodSeconds": 0})

    async def _request(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> Any:
        credentials = await self.access.credentials()
        headers = {"Content-Type": kind}
        if credentials.authorization:
            headers["Authorization"] = credentials.authorization
        async with self.session.request(
            method,
            credentials.url + path,
            data=json.dumps(body) if body is not None else None,
            headers=headers,
            ssl=credentials.tls or True,
        ) as response:
            answer = await response.json()
            if not response.ok:
                raise RefusedError(answer["reason"], answer["message"])
            return answer


def acting(kubeconfig: Path, act: Callable[[Cluster], Awaitable[Any]]) -> Any:
    """What `act` gives, in a loop of its own: for fixtures of many tests."""

    async def run() -> Any:
        async with aiohttp.ClientSession() as session:
            return await act(Cluster(Kubeconfig(kubeconfig), session))

    return asyncio.run(run())


def path_of(kind: str, namespace: str = "") -> str:
    """Where the API has the objects of a kind."""
    return _PATHS[kind].format(namespace)


class Etcd:
    """Writes behind the API server's back, by etcd's JSON gateway."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def put(self, objects: dict[str, Any]) -> int:
        """Keys and objects, all in few revisions; the last revision."""
        requests = [
            {"requestPut": {"key": _base64(key), "value": _base64(json.dumps(value))}}
            for key, value in objects.items()
        ]
        revision = 0
        for start in range(0, len(requests), 128):
            answer = await self._post("txn", {"success": requests[start : start + 128]})
            revision = int(answer["header"]["revision"])
        return revision

    async def delete(self, key: str) -> int:
        answer = await self._post("deleterange", {"key": _base64(key)})
        return int(answer["header"]["revision"])

    async def compact(self, revision: int) -> None:
        await self._post("compaction", {"revision": revision, "physical": True})

    async def _post(self, what: str, body: Any) -> Any:
        async with self._session.post(f"{self._url}/v3/kv/{what}", json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class World:
    """The cluster as a feed tells it. `told` counts its events by (verb, kind, name)."""

    def __init__(self, feed: ApiFeed) -> None:
        self.feed = feed
        self.synced = False
        self.objects: dict[tuple[str, str, str], Any] = {}
        self.told: list[tuple[str, str, str]] = []

    def take(self, event: Event) -> None:
        if isinstance(event, Synced):
            self.synced = True
        elif isinstance(event, Upsert):
            kind, metadata = type(event.object).__name__, event.object.metadata
            self.objects[kind, metadata.namespace, metadata.name] = event.object
            self.told.append(("+", kind, metadata.name))
        elif isinstance(event, Delete):
            del self.objects[event.kind, event.namespace, event.name]
            self.told.append(("-", event.kind, event.name))

    async def run(self) -> None:
        async with aclosing(self.feed.events()) as events:
            async for event in events:
                self.take(event)

    async def until(self, condition: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():  # noqa: ASYNC110 - another process changes it
                    await asyncio.sleep(0.005)
        except TimeoutError:
            pytest.fail(f"it did not come to that: {self.feed.stats}, {list(self.objects)[:20]}")

    def has(self, kind: str, name: str) -> bool:
        return any(key[0] == kind and key[2] == name for key in self.objects)

    def get(self, kind: str, namespace: str, name: str) -> Any:
        return self.objects.get((kind, namespace, name))


@asynccontextmanager
async def reading(feed: ApiFeed, *, synced: bool = True) -> AsyncIterator[World]:
    """The world as the feed tells it, for as long as the block lasts."""
    world = World(feed)
    task = asyncio.create_task(world.run())
    try:
        if synced:
            await world.until(lambda: world.synced)
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Proxy:
    """Stands between a feed and the API server, in the middle of their TLS.

    `held`: nothing comes down; `pace` in seconds a chunk of `grain` bytes; `rewrite` is what comes
    down instead.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(plane.folder / "server.crt", plane.folder / "server.key")
        self.port = 0
        self.connections = 0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.grain = 2**16
        self.pace = 0.0
        self.rewrite: Callable[[bytes], bytes] = lambda content: content

    async def open(self) -> None:
        self._server = await asyncio.start_server(
            self._relay, "127.0.0.1", self.port, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections, and cut those there are."""
        if self._server is not None:
            self._server.close()
        self.flowing.set()
        self.cut()
        await asyncio.sleep(0)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def access(self) -> FileAccess:
        return FileAccess(f"https://127.0.0.1:{self.port}", Files(ca=self._plane.folder / "ca.crt"))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        upstream = await asyncio.open_connection("127.0.0.1", self._plane.port, ssl=self._plane.tls)
        self._writers += [writer, upstream[1]]
        await asyncio.gather(self._up(reader, upstream[1]), self._down(upstream[0], writer))

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while content := await reader.read(2**16):
                writer.write(content)
                await writer.drain()
        writer.transport.abort()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while content := await reader.read(self.grain):
                await self.flowing.wait()
                if self.pace:
                    await asyncio.sleep(self.pace)
                writer.write(self.rewrite(content))
                await writer.drain()
        writer.transport.abort()


def _assets() -> Path:
    folder = os.environ.get("KUBEBUILDER_ASSETS", "")
    if not folder:
        pytest.skip(
            "no API server: set KUBEBUILDER_ASSETS to a folder that holds etcd, kube-apiserver and"
            " kube-controller-manager (KDNS_TEST_KUBECONFIG is enough for some of these tests)"
        )
    return Path(folder)


@pytest.fixture(scope="session")
def start_plane(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[], ControlPlane]]:
    """Starts control planes, which end with the session."""
    started: list[ControlPlane] = []

    def starting() -> ControlPlane:
        started.append(ControlPlane(_assets(), tmp_path_factory.mktemp("control-plane")))
        started[-1].start()
        return started[-1]

    yield starting
    for plane in started:
        plane.kill()


@pytest.fixture(scope="session")
def plane(start_plane: Callable[[], ControlPlane]) -> ControlPlane:
    """One that tests share, and leave running."""
    return start_plane()


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> Path:
    """Of any cluster at all."""
    if given := os.environ.get("KDNS_TEST_KUBECONFIG", ""):
        return Path(given)
    shared: ControlPlane = request.getfixturevalue("plane")
    return shared.kubeconfig


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made
    await asyncio.sleep(0)  # what is cut closes its socket at the loop's next turn


@pytest.fixture
async def cluster(kubeconfig: Path, session: aiohttp.ClientSession) -> Cluster:
    return Cluster(Kubeconfig(kubeconfig), session)


@pytest.fixture
async def service_imports(cluster: Cluster) -> AsyncIterator[None]:
    """The API server has ServiceImports for as long as a test runs."""
    await define_imports(cluster)
    yield
    await cluster.delete(f"{DEFINITIONS}/{IMPORTS}")
    await _until(lambda: _gone(cluster, f"{DEFINITIONS}/{IMPORTS}"))


async def define_imports(cluster: Cluster) -> None:
    """Have ServiceImports from now on."""
    await cluster.create(DEFINITIONS, IMPORTS_DEFINITION)
    await _until(lambda: cluster.get(path_of("ServiceImport", "default")))


async def _gone(cluster: Cluster, path: str) -> None:
    try:
        await cluster.get(path)
    except RefusedError:
        return
    raise RefusedError("StillThere", path)


async def _until(attempt: Callable[[], Awaitable[object]]) -> None:
    """Until the API server does not refuse it any more."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await attempt()
            except (RefusedError, aiohttp.ContentTypeError):
                await asyncio.sleep(0.02)
            else:
                return


@pytest.fixture
def read_world() -> Callable[..., AbstractAsyncContextManager[World]]:
    return reading


@pytest.fixture
def etcd_of(session: aiohttp.ClientSession) -> Callable[[ControlPlane], Etcd]:
    return lambda plane: Etcd(plane.etcd_url, session)


@pytest.fixture
def cluster_of(session: aiohttp.ClientSession) -> Callable[[ControlPlane], Cluster]:
    return lambda plane: Cluster(Kubeconfig(plane.kubeconfig), session)


@pytest.fixture
async def proxy(plane: ControlPlane) -> AsyncIterator[Proxy]:
    made = Proxy(plane)
    await made.open()
    yield made
    await made.close()
