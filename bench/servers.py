"""The servers that take part: how each is found, configured, fed with a dataset and started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from bench import zone
from bench.dataset import ZONE
from bench.peers import coredns
from bench.peers.apiserver import ApiServer
from bench.peers.coredns import CorefileServer, kubeadm
from bench.peers.process import ServerProcess, answers, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.dataset import Dataset
    from bench.peers.storage import Manifest

START_SECONDS = 120.0
FEED_NICENESS = 10  # what feeds a server must not delay the load, on whose core it runs
LARGEST_UDP = 4096  # so that no server's own limit makes its replies smaller than another's


class Feed(Protocol):
    """Where a server learns of changes while it runs."""

    def put(self, manifest: Manifest) -> None:
        """Returns when the changed object is where the server will find it."""


class Cores(NamedTuple):
    """The one core of the server measured, and that of the load and whatever feeds the server."""

    server: int
    load: int


@dataclass
class Running:
    """A started server; `feed` is None for one that reads its zone once, `metrics` the address of
    its metrics, "" for one without.
    """

    name: str
    port: int
    process: ServerProcess
    feed: Feed | None
    _resources: ExitStack
    metrics: str = ""
    forwards: bool = True

    def stop(self) -> None:
        self._resources.close()


class ManifestsFolder:
    """A folder of manifests: a List a namespace, each headless slice in its own file."""

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        self._folder = folder / "manifests"
        self._aside = folder / "aside"  # on the same file system, so that a change is one rename
        self._folder.mkdir()
        self._aside.mkdir()
        wide = {(service.namespace, service.name) for service in dataset.headless}
        lists: dict[str, list[Manifest]] = {}
        for manifest in dataset.objects():
            metadata = manifest["metadata"]
            namespace = metadata.get("namespace", "namespaces")
            label = metadata.get("labels", {}).get("kubernetes.io/service-name")
            if (namespace, label) in wide:
                self.put(manifest)
            else:
                lists.setdefault(namespace, []).append(manifest)
        for name, items in lists.items():
            whole = {"apiVersion": "v1", "kind": "List", "items": items}
            (self._folder / f"{name}.json").write_bytes(msgspec.json.encode(whole))

    @property
    def path(self) -> Path:
        return self._folder

    def put(self, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        file = f"{metadata['namespace']}-{metadata['name']}.json"
        aside = self._aside / file
        aside.write_bytes(msgspec.json.encode(manifest))
        aside.replace(self._folder / file)


class Place(NamedTuple):
    """Where a server runs: an empty folder for its files, its core, and the port on 127.0.0.1 that
    it forwards to. `room` is how many names its cache is to keep, or None for what is usual."""

    folder: Path
    cores: Cores
    upstream: int
    room: int | None = None


Start = Callable[[str, "Dataset", Place], Running]
"""Starts an executable with a dataset. Raises NotStarted."""


class Server(NamedTuple):
    """A column of the tables. `executable` is the path that `version` and `start` take, or None.

    One that does not forward is not asked for names outside the cluster.
    """

    name: str
    executable: Callable[[], str | None]
    version: Callable[[str], str]
    start: Start
    forwards: bool = True


def _start_kdns(path: str, dataset: Dataset, place: Place) -> Running:
    manifests = ManifestsFolder(place.folder, dataset)
    corefile = kubeadm(
        f"manifests {manifests.path}", upstream=f"127.0.0.1:{place.upstream}", room=place.room
    )
    with ExitStack() as resources:
        served = resources.enter_context(
            CorefileServer(path, corefile, cores=[place.cores.server], ready_seconds=START_SECONDS)
        )
        kept = resources.pop_all()
        return Running("kdns", served.port, served.process, manifests, kept, served.metrics)


def _coredns(name: str, *, cached: bool) -> Start:
    def start(path: str, dataset: Dataset, place: Place) -> Running:
        with ExitStack() as resources:
            api = resources.enter_context(
                ApiServer(dataset.objects(), cores=[place.cores.load], nice=FEED_NICENESS)
            )
            corefile = kubeadm(
                f"endpoint {api.url}",
                upstream=f"127.0.0.1:{place.upstream}",
                cached=cached,
                room=place.room,
            )
            served = resources.enter_context(
                CorefileServer(
                    path,
                    corefile,
                    cores=[place.cores.server],
                    ready_seconds=START_SECONDS,
                )
            )
            kept = resources.pop_all()
            return Running(name, served.port, served.process, api, kept, served.metrics)

    return start


def _start_nsd(path: str, dataset: Dataset, place: Place) -> Running:
    folder = place.folder
    (folder / "zone").write_text("\n".join(zone.records(dataset)) + "\n")
    [port] = free_ports(1)
    config = folder / "nsd.conf"
    config.write_text(f"""\
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
    ipv4-edns-size: {LARGEST_UDP}
remote-control:
    control-enable: no
zone:
    name: {ZONE}
    zonefile: "{folder}/zone"
""")
    return _start("nsd", [path, "-d", "-c", config], port, place)


def _start_unbound(path: str, dataset: Dataset, place: Place) -> Running:
    folder = place.folder
    [port] = free_ports(1)
    config = folder / "unbound.conf"
    data = "\n".join(f"    local-data: '{record}'" for record in zone.records(dataset))
    config.write_text(f"""\
server:
    interface: 127.0.0.1@{port}
    num-threads: 1
    do-daemonize: no
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: "{folder}/pid"
    use-syslog: no
    module-config: "iterator"
    max-udp-size: {LARGEST_UDP}
    edns-buffer-size: {LARGEST_UDP}
    incoming-num-tcp: 64
    do-not-query-localhost: no
    local-zone: "{ZONE}." static
{data}
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{place.upstream}
""")
    return _start("unbound", [path, "-d", "-c", config], port, place)


def _start_dnsmasq(path: str, dataset: Dataset, place: Place) -> Running:
    """Without ClusterIP services' endpoint names and SRV, which it looks up one by one."""
    folder = place.folder
    hosts: list[str] = []
    srv: list[str] = []
    for service in dataset.all_services():
        hosts += (
            f"{address} {name}"
            for name, address in zone.addresses(service)
            if name == service.dns_name or not service.addresses
        )
    for service in dataset.srv:
        srv += (f"{zone.srv_name(service)},{name},{port}" for name, port in zone.targets(service))
    (folder / "hosts").write_text("\n".join(hosts) + "\n")
    [port] = free_ports(1)
    config = folder / "dnsmasq.conf"
    config.write_text(
        f"""\
port={port}
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
keep-in-foreground
user={"root" if os.geteuid() == 0 else ""}
pid-file
addn-hosts={folder}/hosts
local=/{ZONE}/
server=127.0.0.1#{place.upstream}
dns-forward-max=1000
local-ttl={zone.TTL}
edns-packet-max={LARGEST_UDP}
cache-size=10000
"""
        + "\n".join(f"srv-host={line}" for line in srv)
        + "\n"
    )
    return _start("dnsmasq", [path, "-C", config], port, place)


def _start(name: str, argv: Iterable[str | Path], port: int, place: Place) -> Running:
    with ExitStack() as resources:
        process = resources.enter_context(
            ServerProcess([*argv], place.folder / "log", cores=[place.cores.server])
        )
        process.wait_until(lambda: answers(port), START_SECONDS)
        return Running(name, port, process, None, resources.pop_all())


def kdns_executable() -> str | None:
    """The environment's KDNS, else the `kdns` beside this Python, else the one on PATH."""
    beside = Path(sys.executable).with_name("kdns")
    named = os.environ.get("KDNS") or (str(beside) if beside.exists() else "kdns")
    return shutil.which(named)


def _on_path(name: str) -> Callable[[], str | None]:
    return lambda: shutil.which(name)


def _version(flag: str) -> Callable[[str], str]:
    def first_line(path: str) -> str:
        said = subprocess.run([path, flag], capture_output=True, text=True, check=False)
        lines = (said.stdout + said.stderr).split("\n")
        return lines[0].partition("  ")[0].strip()

    return first_line


KDNS, COREDNS, CACHED = "kdns", "coredns", "coredns+cache"
SERVERS = (
    Server(KDNS, kdns_executable, _version("-version"), _start_kdns),
    Server(COREDNS, coredns.executable, coredns.version, _coredns(COREDNS, cached=False)),
    Server(CACHED, coredns.executable, coredns.version, _coredns(CACHED, cached=True)),
    Server("unbound", _on_path("unbound"), _version("-V"), _start_unbound),
    Server("nsd", _on_path("nsd"), _version("-v"), _start_nsd, forwards=False),
    Server("dnsmasq", _on_path("dnsmasq"), _version("-v"), _start_dnsmasq),
)
