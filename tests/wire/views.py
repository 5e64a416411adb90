"""A cluster seen in every other way: by zone of its nodes, as a cluster set, from outside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from kdns.cluster.feed import Synced, Upsert
from kdns.cluster.objects import (
    IMPORT_NAME_LABEL,
    SERVICE_NAME_LABEL,
    SOURCE_CLUSTER_LABEL,
    EndpointSlice,
    Namespace,
    Object,
    Service,
    ServiceImport,
)
from kdns.dns import names
from kdns.records.external import ExternalOptions, ExternalReverseZone, ExternalZone
from kdns.records.forward import ForwardZone
from kdns.records.listing import all_records
from kdns.records.multicluster import MulticlusterZone
from kdns.records.options import ZoneOptions
from kdns.records.store import Store
from kdns.records.zone import Zone
from tests.wire.cluster import Manifest, external, service, slice_of

APICES = ("cluster.local.", "clusterset.local.", "example.com.", "in-addr.arpa.", "ip6.arpa.")

_COREFILE = """\
. {{
    bind 127.0.0.1 ::1
    ready {{$READY}}
    transfer {{
        to *
    }}
    k8s_external example.com in-addr.arpa ip6.arpa {{
        {external}
    }}
    kubernetes cluster.local clusterset.local {{
        {{$SOURCE}}
        zonal
        multicluster clusterset.local
    }}
}}
"""

COREFILES = {
    "plain": _COREFILE.format(external=""),
    "headless": _COREFILE.format(external="headless\n        ttl 60"),
}
"""All views at once, without and with endpoints seen from outside."""

TTL = {"headless": 60}
"""Of `k8s_external`, where it is not 5 seconds."""

HTTP = ["http:80"]


def objects() -> list[Manifest]:
    """All manifests."""
    return [
        *(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            for name in ("default", "prod")
        ),
        *_zonal(),
        *_imported(),
        *_outside(),
    ]


def decoded() -> list[Object]:
    """The manifests as a feed yields them."""
    kinds: dict[str, type[Object]] = {
        "Namespace": Namespace,
        "Service": Service,
        "EndpointSlice": EndpointSlice,
        "ServiceImport": ServiceImport,
    }
    return [msgspec.convert(each, kinds[each["kind"]]) for each in objects()]


def zones(store: Store, variant: str) -> list[Zone]:
    """The zones of a variant's Corefile, as on a server that is bound to 127.0.0.1 alone."""
    own = [bytes((127, 0, 0, 1))]
    options, outside = ZoneOptions(zonal=True), ExternalOptions(headless=variant == "headless")
    seen = ZoneOptions(ttl=TTL.get(variant, 5))
    local, cluster_set, example, v4, v6 = map(names.from_text, APICES)
    return [
        ForwardZone(store, local, options, own),
        MulticlusterZone(store, cluster_set, options, own),
        ExternalZone(store, example, seen, outside, own),
        ExternalReverseZone(store, v4, example, seen, outside),
        ExternalReverseZone(store, v6, example, seen, outside),
    ]


def listed(variant: str) -> list[str]:
    """Every name that the zones have records at."""
    store = Store(clock=lambda: 0.0, zonal=True, multicluster=True)
    for item in decoded():
        store.apply(Upsert(item))
    store.apply(Synced())
    found = all_records(*zones(store, variant))
    return list(dict.fromkeys(names.to_text(rrset.owner) for rrset in found))


UNLISTED = (
    *(
        f"{zone}.{directive}._zone.{owner}.svc.cluster.local."
        for zone in ("us-2a", "us-2b", "US-2B", "us-2c", "corp.example.com", "x")
        for directive in ("pin", "prefer", "florp")
        for owner in ("db.default", "bare.default", "idle.default", "web.default", "ghost.default")
    ),
    "us-2a.pin._zone.away.default.svc.cluster.local.",
    "us-2a.pin._zone.hdls1.default.svc.clusterset.local.",
    "_http.tcp.svc1.default.svc.clusterset.local.",
    "http.tcp.svc1.default.svc.clusterset.local.",
    "172-16-0-2.hdls1.default.svc.clusterset.local.",
    "172-16-0-2.two.hdls1.default.svc.clusterset.local.",
    "svc1.ghost.svc.clusterset.local.",
    "1-2-3-4.default.pod.clusterset.local.",
    "ep.inside.prod.example.com.",
    "ep-0.both.prod.example.com.",
    "http.tcp.fixed.prod.example.com.",
    "gone.ghost.example.com.",
    "ns2.dns.example.com.",
    "10.2.0.192.in-addr.arpa.",
)
"""Names that nothing lists, of which some exist."""


def _zonal() -> Iterator[Manifest]:
    yield service("db", "None", ports=["pg:5432"])
    first = slice_of("db", "10.244.1.1", "10.244.1.2=two", "10.244.1.3", ports=["pg:5432"])
    yield _in_zones(first, "us-2a", "us-2b", None)
    second = slice_of("db", "10.244.1.4", "!10.244.1.5", ports=["pg:5432"], name="db-2")
    yield _in_zones(second, "us-2b", "us-2c")
    third = slice_of("db", "10.244.1.6", ports=["pg:5432"], name="db-3")
    yield _in_zones(third, "corp.example.com")
    yield _in_zones(slice_of("db", "fd00:10:244::1", ports=["pg:5432"], name="db-4"), "us-2a")
    yield service("bare", "None")
    yield slice_of("bare", "10.244.1.7")
    yield service("idle", "None", ports=HTTP)
    yield service("web", "10.96.0.20", ports=HTTP)
    yield _in_zones(slice_of("web", "10.244.1.8", ports=HTTP), "us-2a")
    yield external("away", "www.example.net")


def _in_zones(manifest: Manifest, *zones: str | None) -> Manifest:
    for endpoint, zone in zip(manifest["endpoints"], zones, strict=True):
        if zone is not None:
            endpoint["zone"] = zone
    return manifest


def _imported() -> Iterator[Manifest]:
    yield _import("svc1", "10.0.0.1", ports=HTTP)
    yield _import("dual", "10.0.0.3", "fd00::3", ports=[*HTTP, "udp:81/UDP"])
    yield _import("portless", "10.0.0.4")
    yield _import("pending", ports=HTTP)
    yield _import("hdls1", ports=HTTP, headless=True)
    yield _import("empty", ports=HTTP, headless=True)
    yield _import("quiet", headless=True)
    yield _import("loose", ports=HTTP, headless=True)
    yield _import("hidden", "10.0.0.9", ports=HTTP, namespace="ghost")
    yield _of_import("hdls1", "one", "172.16.0.2", "172.16.0.3=dup", "172.16.0.4=dup", ports=HTTP)
    yield _of_import("hdls1", "two", "172.16.1.2", "!172.16.1.3", "172.16.1.4=dup", ports=HTTP)
    yield _of_import("hdls1", "three", "fd00:172::1", "fd00:172::", ports=HTTP)
    yield _of_import("svc1", "one", "172.16.2.1", ports=["http:8080"])
    yield _of_import("quiet", "one", "172.16.3.1")
    yield _of_import("loose", "", "172.16.4.1", "172.16.4.2=named", ports=HTTP)


def _import(
    name: str,
    *addresses: str,
    ports: list[str] | None = None,
    headless: bool = False,
    namespace: str = "default",
) -> Manifest:
    made = service(name, "", ports=ports or [], namespace=namespace)
    spec: dict[str, Any] = {"type": "Headless" if headless else "ClusterSetIP"}
    if addresses:
        spec["ips"] = list(addresses)
    spec["ports"] = [
        {key: port[key] for key in ("name", "protocol", "port")} for port in made["spec"]["ports"]
    ]
    return {
        "apiVersion": "multicluster.x-k8s.io/v1alpha1",
        "kind": "ServiceImport",
        "metadata": made["metadata"],
        "spec": spec,
    }


def _of_import(
    owner: str, cluster: str, *endpoints: str, ports: list[str] | None = None
) -> Manifest:
    made = slice_of(owner, *endpoints, ports=ports or [], name=f"imported-{owner}-{cluster or 'x'}")
    labels = made["metadata"]["labels"]
    del labels[SERVICE_NAME_LABEL]
    labels[IMPORT_NAME_LABEL] = owner
    if cluster:
        labels[SOURCE_CLUSTER_LABEL] = cluster
    return made


def _outside() -> Iterator[Manifest]:
    def reached(
        name: str, *addresses: str, ports: Any = (), ingress: Any = (), **spec: Any
    ) -> Manifest:
        made = service(name, *addresses, ports=ports, namespace="prod", **spec)
        made["status"] = {"loadBalancer": {"ingress": list(ingress)} if ingress else {}}
        return made

    yield reached("fixed", "10.96.1.1", ports=HTTP, externalIPs=["192.0.2.1"])
    yield reached("six", "10.96.1.2", ports=HTTP, externalIPs=["2001:db8::5"])
    yield reached(
        "balanced", "10.96.1.3", ports=HTTP, type="LoadBalancer", ingress=[{"ip": "192.0.2.3"}]
    )
    yield reached(
        "many",
        "10.96.1.4",
        ports=["a:1", "b:2/UDP"],
        externalIPs=["192.0.2.4", "192.0.2.5"],
        ingress=[{"ip": "192.0.2.6"}, {"ip": "2001:db8::6"}],
    )
    named = [{"hostname": "lb.example.net"}]
    yield reached("named", "10.96.1.5", ports=HTTP, type="LoadBalancer", ingress=named)
    yield reached("portless", "10.96.1.6", externalIPs=["192.0.2.7"])
    yield reached("unnamed", "10.96.1.7", ports=[":80"], externalIPs=["192.0.2.8"])
    yield reached("shared", "10.96.1.8", ports=HTTP, externalIPs=["192.0.2.1"])
    yield reached("inside", "10.96.1.9", ports=HTTP)
    yield slice_of("inside", "10.244.2.1=ep", ports=HTTP, namespace="prod")
    yield reached("headless", "None", ports=HTTP)
    yield slice_of(
        "headless", "10.244.2.2=ep-0", "10.244.2.3", "!10.244.2.4", ports=HTTP, namespace="prod"
    )
    yield reached("empty", "None", ports=HTTP)
    yield reached("both", "None", ports=HTTP, externalIPs=["192.0.2.9"])
    yield slice_of("both", "10.244.2.5=ep-0", ports=HTTP, namespace="prod")
    gone = reached("gone", "10.96.1.10", ports=HTTP, externalIPs=["192.0.2.10"])
    gone["metadata"]["namespace"] = "ghost"
    yield gone
