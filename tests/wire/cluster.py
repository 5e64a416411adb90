"""One cluster with every shape that names can take, as the API server would serve it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address
from typing import Any

import msgspec

from kdns.cluster.feed import Event, Synced, Upsert
from kdns.cluster.objects import (
    SERVICE_NAME_LABEL,
    EndpointSlice,
    Namespace,
    Object,
    Pod,
    Service,
)

Manifest = dict[str, Any]

BIG = 100
HUGE = 5000


def objects() -> list[Manifest]:
    """All manifests, in an order in which an API server could list them."""
    return [
        *map(_namespace, ("default", "empty", "kube-system", "prod", "staging")),
        *_cluster_ip_services(),
        *_headless_services(),
        *_external_names(),
        *_wide_services(),
        *_pods(),
    ]


def decoded(manifests: list[Manifest] | None = None) -> list[Object]:
    """Manifests, all of them by default, as a feed yields them."""
    kinds: dict[str, type[Object]] = {
        "Namespace": Namespace,
        "Service": Service,
        "EndpointSlice": EndpointSlice,
        "Pod": Pod,
    }
    return [msgspec.convert(each, kinds[each["kind"]]) for each in manifests or objects()]


class MemoryFeed:
    """A feed of these objects, then of what is pushed; it never ends.

    Without `syncs` it never says that all objects are there.
    """

    def __init__(self, items: list[Object], *, syncs: bool = True) -> None:
        self._items = items
        self._syncs = syncs

    async def events(self) -> AsyncIterator[Event]:
        self._loop = asyncio.get_running_loop()
        self._pushed: asyncio.Queue[Event] = asyncio.Queue()
        for item in self._items:
            yield Upsert(item)
        if self._syncs:
            yield Synced()
        while True:
            yield await self._pushed.get()

    def push(self, event: Event) -> None:
        """Tell of a change, from any thread, once the server has started."""
        self._loop.call_soon_threadsafe(self._pushed.put_nowait, event)


def _cluster_ip_services() -> Iterator[Manifest]:
    yield service("kubernetes", "10.96.0.1", ports=["https:443"])
    yield slice_of("kubernetes", "192.0.2.10", ports=["https:6443"])
    yield service("1kubernetes", "10.96.0.2", ports=[":443"])
    yield slice_of("1kubernetes", "192.0.2.11", ports=[":6443"])
    yield service("web", "10.96.0.20", ports=["http:80"])
    yield slice_of(
        "web", "10.244.1.20@web-7f-a", "10.244.1.21@web-7f-b", "!10.244.1.22", ports=["http:8080"]
    )
    yield service("web6", "fd00:10:96::20", ports=["http:80"])
    yield slice_of("web6", "fd00:10:244::20", "fd00:10:244::", ports=["http:8080"])
    yield service("dual", "10.96.0.21", "fd00:10:96::21", ports=["http:80", "https:443"])
    yield slice_of("dual", "10.244.1.30", ports=["http:8080", "https:8443"])
    yield slice_of("dual", "fd00:10:244::30", ports=["http:8080", "https:8443"], name="dual-6")
    yield service("plain", "10.96.0.22", ports=[":8080"])
    yield slice_of("plain", "10.244.2.10", ports=[":8080"])
    yield service("radio", "10.96.0.24", ports=["diameter:3868/SCTP", "gtp:2152/UDP", "oam:22"])
    yield service("portless", "10.96.0.25")
    yield slice_of("portless", "10.244.2.20")
    yield service("manual", "10.96.0.26", ports=["http:80"], selected=False)
    yield slice_of("manual", "203.0.113.5", ports=["http:80"])
    yield service("idle", "10.96.0.27", ports=["http:80"])
    yield service("starting", "10.96.0.28", ports=["http:80"])
    yield slice_of("starting", "!10.244.2.30", ports=["http:80"])
    yield service("named", "10.96.0.29", ports=["http:80"])
    yield slice_of("named", "10.244.2.40=alpha", "10.244.2.41=beta", ports=["http:80"])
    yield service("balanced", "10.96.0.30", ports=["http:80"], type="LoadBalancer")
    yield service("ported", "10.96.0.31", ports=["http:80"], type="NodePort")
    yield service("pending", "", ports=["http:80"])
    yield service("proxy", "10.96.0.32", ports=["http:80"], selected=False)
    yield slice_of("proxy", "10.96.0.20", ports=["http:80"])
    yield service("web", "10.96.0.40", ports=["http:80"], namespace="staging")
    yield slice_of("web", "10.244.3.10", ports=["http:80"], namespace="staging")
    yield service("web", "10.96.0.41", ports=["http:80"], namespace="ghost")
    yield slice_of("nobody", "10.244.3.20=orphan", ports=["http:80"])
    dns = ["dns:53/UDP", "dns-tcp:53", "metrics:9153"]
    yield service("kube-dns", "10.96.0.10", ports=dns, namespace="kube-system")
    yield slice_of("kube-dns", "10.244.9.53", ports=dns, namespace="kube-system")


def _headless_services() -> Iterator[Manifest]:
    def headless(name: str, *ports: str, **spec: Any) -> Manifest:
        return service(name, "None", ports=ports, namespace="prod", **spec)

    def part(of: str, *endpoints: str, **rest: Any) -> Manifest:
        return slice_of(of, *endpoints, namespace="prod", **rest)

    yield headless("db", "postgres:5432", "metrics:9187")
    yield part(
        "db",
        "10.244.4.10=db-0@db-0",
        "10.244.4.11=db-1@db-1",
        "!10.244.4.12=db-2@db-2",
        ports=["postgres:5432", "metrics:9187"],
    )
    yield headless("peers", "gossip:7946", "gossip-udp:7946/UDP")
    yield part(
        "peers",
        "10.244.4.20@peers-a",
        "10.244.4.21@" + 63 * "p",
        "10.244.4.22@" + 64 * "p",
        "10.244.4.23@peers.d",
        ports=["gossip:7946", "gossip-udp:7946/UDP"],
    )
    yield headless("twin", "http:80")
    yield part("twin", "10.244.4.30+10.244.4.31=twin-0", "10.244.4.32=twin-1", ports=["http:80"])
    yield headless("both", "http:80")
    yield part("both", "10.244.4.40=both-0", "10.244.4.41=both-1", ports=["http:80"])
    yield part(
        "both",
        "fd00:10:244::40=both-0",
        "fd00:10:244::41=both-1",
        ports=["http:80"],
        name="both-6",
    )
    yield headless("moved", "http:80")
    yield part("moved", "10.244.4.50", "10.244.4.51", ports=["http:80"])
    yield part("moved", "10.244.4.51", "10.244.4.52", ports=["http:80"], name="moved-b")
    yield headless("published", "http:80", publishNotReadyAddresses=True)
    yield part("published", "10.244.4.60=published-0", ports=["http:80"])
    yield headless("unready", "http:80", publishNotReadyAddresses=True)
    yield part("unready", "!10.244.4.61=unready-0", "10.244.4.62=unready-1", ports=["http:80"])
    yield headless("none", "http:80")
    yield headless("starting", "http:80")
    yield part("starting", "!10.244.4.63=starting-0", ports=["http:80"])
    yield headless("portless")
    yield part("portless", "10.244.4.70=portless-0")
    yield headless("unnamed", ":9000")
    yield part("unnamed", "10.244.4.71=unnamed-0", ports=[":9000"])
    yield headless("six", "http:80")
    yield part("six", "fd00::", "fd00::1", "2001:db8:0:1::", "2001:db8::1:0:5", ports=["http:80"])
    yield headless("split", "http:80", "admin:81")
    yield part("split", "10.244.4.80", ports=["http:8080"])
    yield part("split", "10.244.4.81", ports=["http:8081", "admin:81"], name="split-b")
    yield headless("anyport", "http:80")
    yield part("anyport", "10.244.4.82", ports=["http:"])
    yield headless("foreign", "http:80")
    yield part("foreign", "backend.example.com", ports=["http:80"])
    yield headless("shared-a", "http:80")
    yield part("shared-a", "10.244.4.90=same", ports=["http:80"])
    yield headless("shared-b", "http:80")
    yield part("shared-b", "10.244.4.90=same", ports=["http:80"])
    yield headless("eight", "http:80")
    yield part("eight", *(f"10.244.4.{n}" for n in range(100, 108)), ports=["http:80"])
    yield headless("leaving", "http:80")
    yield part("leaving", "~10.244.4.91=leaving-0", "?10.244.4.92=leaving-1", ports=["http:80"])
    yield service("db", "None", ports=["postgres:5432"], namespace="staging")
    yield slice_of("db", "10.244.4.10=db-0", ports=["postgres:5432"], namespace="staging")


def _external_names() -> Iterator[Manifest]:
    zone = "cluster.local"
    targets = {
        "outside": "www.example.com",
        "outside-dot": "example.net.",
        "inside": f"web.default.svc.{zone}",
        "inside-dual": f"dual.default.svc.{zone}",
        "inside-headless": f"db.prod.svc.{zone}",
        "inside-endpoint": f"db-0.db.prod.svc.{zone}",
        "inside-port": f"_http._tcp.web.default.svc.{zone}",
        "inside-pod": f"10-244-1-20.default.pod.{zone}",
        "inside-hidden": f"web.staging.svc.{zone}",
        "inside-empty": f"none.prod.svc.{zone}",
        "apex": zone,
        "server": f"ns.dns.{zone}",
        "version": f"dns-version.{zone}",
        "missing": f"nothere.default.svc.{zone}",
        "chain": f"inside.default.svc.{zone}",
        "chain-outside": f"outside.default.svc.{zone}",
        "chain-missing": f"missing.default.svc.{zone}",
        "loop-a": f"loop-b.default.svc.{zone}",
        "loop-b": f"loop-a.default.svc.{zone}",
        "self": f"self.default.svc.{zone}",
        "into-loop": f"loop-a.default.svc.{zone}",
        "literal": "192.0.2.1",
        "literal6": "2001:db8::1",
        **{f"hop-{n}": f"hop-{n + 1}.default.svc.{zone}" for n in range(1, 12)},
        "hop-12": f"web.default.svc.{zone}",
    }
    for name, target in targets.items():
        yield external(name, target)
    yield external("ported-outside", "www.example.com", ports=["http:80"])
    yield slice_of("outside", "10.244.5.1=outside-0", ports=["http:80"])


def _wide_services() -> Iterator[Manifest]:
    yield service("big", "None", ports=["http:80"], namespace="prod")
    yield slice_of(
        "big",
        *(f"10.244.64.{n}=big-{n}" for n in range(1, BIG + 1)),
        ports=["http:8080"],
        namespace="prod",
    )
    yield service("huge", "None", ports=["http:80"], namespace="prod")
    for first in range(0, HUGE, 100):
        addresses = (ip_address("10.245.0.0") + n for n in range(first, first + 100))
        yield slice_of(
            "huge",
            *map(str, addresses),
            ports=["http:8080"],
            name=f"huge-{first}",
            namespace="prod",
        )


def _pods() -> Iterator[Manifest]:
    yield _pod("web-7f-a", "10.244.1.20")
    yield _pod("dual-a", "10.244.1.30", "fd00:10:244::30")
    yield _pod("six-a", "fd00::")
    yield _pod("waiting")
    yield _pod("done", "10.244.1.99", phase="Succeeded")
    yield _pod("kube-proxy-a", "192.0.2.10")
    yield _pod("kube-proxy-b", "192.0.2.10")
    yield _pod("db-0", "10.244.4.10", namespace="prod")
    yield _pod("web-a", "10.244.3.10", namespace="staging")


def _namespace(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def service(
    name: str,
    *addresses: str,
    ports: tuple[str, ...] | list[str] = (),
    namespace: str = "default",
    selected: bool = True,
    **spec: Any,
) -> Manifest:
    """`addresses` are clusterIPs; a port is `name:number/PROTOCOL`, as in `:80` or `dns:53/UDP`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": addresses[0],
            "clusterIPs": [address for address in addresses if address],
            "ports": [{**_port(text), "targetPort": 8080} for text in ports],
            **({"selector": {"app": name}} if selected else {}),
            **spec,
        },
    }


def external(name: str, target: str, ports: tuple[str, ...] | list[str] = ()) -> Manifest:
    spec = {"type": "ExternalName", "externalName": target, "ports": [*map(_port, ports)]}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def slice_of(
    owner: str,
    *endpoints: str,
    ports: tuple[str, ...] | list[str] = (),
    namespace: str = "default",
    name: str = "",
) -> Manifest:
    """A slice of a Service's endpoints, which are `address+address=hostname@pod`.

    The first character says how they are: `!` is not ready, `~` not ready but serving while it
    ends, `?` says nothing, others are ready.
    """
    first = endpoints[0].lstrip("!~?").partition("=")[0].partition("@")[0].partition("+")[0]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name or owner,
            "namespace": namespace,
            "labels": {SERVICE_NAME_LABEL: owner},
        },
        "addressType": _address_type(first),
        "endpoints": [_endpoint(text) for text in endpoints],
        "ports": [_port(text) for text in ports] or None,
    }


def _address_type(text: str) -> str:
    try:
        return f"IPv{ip_address(text).version}"
    except ValueError:
        return "FQDN"


_CONDITIONS = {
    "!": {"ready": False, "serving": False, "terminating": False},
    "~": {"ready": False, "serving": True, "terminating": True},
    "?": {},
}


def _endpoint(text: str) -> Manifest:
    ready = {"ready": True, "serving": True, "terminating": False}
    rest, _, pod = text.lstrip("!~?").partition("@")
    addresses, _, hostname = rest.partition("=")
    made: Manifest = {
        "addresses": addresses.split("+"),
        "conditions": _CONDITIONS.get(text[0], ready),
    }
    if hostname:
        made["hostname"] = hostname
    if pod:
        made["targetRef"] = {"kind": "Pod", "name": pod, "namespace": "default"}
    return made


def _port(text: str) -> Manifest:
    name, _, rest = text.partition(":")
    number, _, protocol = rest.partition("/")
    made: Manifest = {"name": name, "protocol": protocol or "TCP"}
    if number:
        made["port"] = int(number)
    return made


def _pod(
    name: str, *addresses: str, phase: str = "Running", namespace: str = "default"
) -> Manifest:
    status: Manifest = {"phase": phase if addresses else "Pending"}
    if addresses:
        status["podIP"] = addresses[0]
        status["podIPs"] = [{"ip": address} for address in addresses]
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}
