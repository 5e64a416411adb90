"""kdns in a thread of this process, and what it and CoreDNS are started from."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers.process import ServerProcess, answers, free_ports
from kdns.cluster.feed import Feed
from kdns.corefile import parser
from kdns.corefile.parser import Corefile
from kdns.server import Server

_START_SECONDS = 30.0

_COREFILE = """\
. {{
    bind 127.0.0.1 ::1
    ready {{$READY}}
    kubernetes {zones} {{
        {{$SOURCE}}
        {options}
    }}
}}
"""


def corefile(*options: str, zones: str = "cluster.local in-addr.arpa ip6.arpa") -> str:
    """A server block on loopback; `{$SOURCE}` says where the objects come from."""
    return _COREFILE.format(zones=zones, options="\n        ".join(options))


def sourced(text: str, source: str) -> str:
    """A Corefile with its objects from a `kubernetes` property."""
    return text.replace("{$SOURCE}", source)


INSECURE = "insecure"
"""The variant that has the most names."""

_REVERSE = ("in-addr.arpa.", "ip6.arpa.")
_RANGES = "10.96.0.0/16 10.244.0.0/20 fd00:10:96::/48"

VARIANTS = {
    INSECURE: corefile("pods insecure"),
    "disabled": corefile(),
    "verified": corefile("pods verified"),
    "namespaces": corefile("pods insecure", "namespaces default prod"),
    "ignore": corefile("ignore empty_service"),
    "pod-names": corefile("endpoint_pod_names"),
    "noendpoints": corefile("pods insecure", "noendpoints"),
    "ttl": corefile("ttl 600"),
    "ttl-0": corefile("ttl 0"),
    "fallthrough": corefile("pods insecure", "fallthrough"),
    "fallthrough-some": corefile(
        "pods insecure", "fallthrough in-addr.arpa prod.svc.cluster.local"
    ),
    "cidr": corefile("pods insecure", zones=f"cluster.local {_RANGES}"),
}
"""Corefiles that say everything that changes answers, by a short name."""

TTL = {"ttl": 600, "ttl-0": 0}
"""Where it is not 5 seconds."""

ZONES = {
    INSECURE: ("cluster.local.", *_REVERSE),
    "cidr": (
        "cluster.local.",
        "96.10.in-addr.arpa.",
        *(f"{n}.244.10.in-addr.arpa." for n in range(16)),
        "6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa.",
    ),
}
"""Zones of a variant, where they are not those of the first."""


ZONE_COREFILE = VARIANTS[INSECURE].replace(". {", "cluster.local in-addr.arpa ip6.arpa {", 1)
"""The same for a server that has nothing to do with other names."""


UNBOUND_COREFILE = corefile().replace("bind 127.0.0.1 ::1", "")
"""The same on all addresses of this machine."""


@contextmanager
def kdns(text: str, feed: Feed) -> Iterator[int]:
    """A kdns server over a feed, by a Corefile; the port it listens on."""
    port, ready = free_ports(2)
    environment = {"READY": f"127.0.0.1:{ready}"}
    started: list[BaseException | None] = []
    waiting = threading.Event()
    stop = threading.Event()

    def read() -> Corefile:
        return parser.parse(sourced(text, "manifests ."), "Corefile", environment, port)

    async def serve() -> None:
        server = Server(read, Path(), lambda _: feed)
        try:
            await server.start()
        except BaseException as error:
            started.append(error)
            raise
        finally:
            waiting.set()
        running = asyncio.create_task(server.run())
        await asyncio.to_thread(stop.wait)
        server.stop()
        await running

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="kdns")
    thread.start()
    try:
        assert waiting.wait(_START_SECONDS), "kdns did not start in time"
        assert not started, started
        yield port
    finally:
        stop.set()
        thread.join()


@contextmanager
def nsd(folder: Path) -> Iterator[int]:
    """NSD with a zone of two names; raises FileNotFoundError where it is not installed."""
    path = shutil.which("nsd")
    if path is None:
        raise FileNotFoundError("nsd is not on PATH")
    [port] = free_ports(1)
    (folder / "zone").write_text(
        "cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5\n"
        "cluster.local. 5 NS ns.dns.cluster.local.\n"
        "ns.dns.cluster.local. 5 A 127.0.0.1\n"
        "kubernetes.default.svc.cluster.local. 5 A 10.96.0.1\n"
    )
    config = folder / "nsd.conf"
    config.write_text(_NSD.format(port=port, folder=folder))
    with ServerProcess([path, "-d", "-c", config], folder / "log") as process:
        process.wait_until(lambda: answers(port), _START_SECONDS)
        yield port


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
remote-control:
    control-enable: no
zone:
    name: cluster.local
    zonefile: "{folder}/zone"
"""
