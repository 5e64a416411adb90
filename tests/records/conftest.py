"""A small cluster to tell a store about, and answers as text, decoded by dnspython."""

from __future__ import annotations

import dns.rdata
import dns.rdatatype
import pytest

from kdns.cluster.feed import Delete, Upsert
from kdns.cluster.objects import (
    IMPORT_NAME_LABEL,
    SERVICE_NAME_LABEL,
    SOURCE_CLUSTER_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Ingress,
    LoadBalancerStatus,
    Metadata,
    Namespace,
    Pod,
    PodIP,
    PodStatus,
    Service,
    ServiceImport,
    ServiceImportSpec,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
    TargetRef,
)
from kdns.dns import names
from kdns.dns.codes import rcode_name
from kdns.records.external import ExternalOptions, ExternalReverseZone, ExternalZone
from kdns.records.forward import ForwardZone
from kdns.records.multicluster import MulticlusterZone
from kdns.records.options import ZoneOptions
from kdns.records.reverse import ReverseZone
from kdns.records.store import Store

ZONE = "cluster.local."


class Cluster:
    """A store with a clock that stands still, and the objects of a cluster in few words.

    Ports are `name:number/PROTOCOL` (`:80/TCP` unnamed); endpoints are `address`,
    `address=hostname`, with `!` in front where they are not ready, several addresses with `+`, and
    `@zone` last.
    """

    def __init__(self, **options):
        self.now = 1_000.0
        self.store = Store(clock=lambda: self.now, **options)

    def apply(self, item):
        return set(self.store.apply(Upsert(item)))

    def namespace(self, name):
        return self.apply(Namespace(Metadata(name)))

    def service(
        self,
        name,
        *ips,
        ports=(),
        external="",
        publish=False,
        outside=(),
        ingress=(),
        namespace="default",
    ):
        """`outside` are externalIPs; `ingress` addresses and names of its load balancer."""
        spec = ServiceSpec(
            type="ExternalName" if external else "ClusterIP",
            cluster_ip=ips[0] if ips else "",
            cluster_ips=list(ips),
            external_name=external,
            ports=_service_ports(ports),
            publish_not_ready_addresses=publish,
            external_ips=list(outside) or None,
        )
        points = [_ingress(text) for text in ingress]
        status = ServiceStatus(LoadBalancerStatus(points or None))
        return self.apply(Service(Metadata(name, namespace), spec, status))

    def service_import(self, name, *ips, ports=(), headless=False, namespace="default"):
        kind = "Headless" if headless else "ClusterSetIP"
        spec = ServiceImportSpec(kind, list(ips), _service_ports(ports))
        return self.apply(ServiceImport(Metadata(name, namespace), spec))

    def slice(
        self,
        name,
        service,
        *endpoints,
        ports=(),
        family=None,
        namespace="default",
        pod="pod",
        imported="",
        cluster="",
    ):
        if family is None:
            family = "IPv6" if endpoints and ":" in endpoints[0] else "IPv4"
        labels = {
            SERVICE_NAME_LABEL: service,
            IMPORT_NAME_LABEL: imported,
            SOURCE_CLUSTER_LABEL: cluster,
        }
        labels = {label: value for label, value in labels.items() if value}
        made = [
            EndpointPort(int(number) if number else None, label or None, protocol)
            for label, number, protocol in map(_port, ports)
        ]
        return self.apply(
            EndpointSlice(
                Metadata(name, namespace, labels=labels),
                family,
                [_endpoint(text, pod) for text in endpoints],
                made,
            )
        )

    def pod(self, name, *ips, phase="Running", namespace="default"):
        status = PodStatus(phase, ips[0] if ips else "", [PodIP(ip) for ip in ips])
        return self.apply(Pod(Metadata(name, namespace), status))

    def delete(self, kind, name, namespace="default"):
        where = "" if kind == "Namespace" else namespace
        return set(self.store.apply(Delete(kind, where, name)))

    def zone(self, origin=ZONE, own=(), **options):
        return ForwardZone(self.store, names.from_text(origin), ZoneOptions(**options), own)

    def reverse(self, origin, **options):
        target = names.from_text(ZONE)
        return ReverseZone(self.store, names.from_text(origin), target, ZoneOptions(**options))

    def clusterset(self, origin="clusterset.local.", own=(), **options):
        return MulticlusterZone(self.store, names.from_text(origin), ZoneOptions(**options), own)

    def external(self, origin="example.com.", own=(), *, headless=False, **options):
        external = ExternalOptions(headless=headless)
        return ExternalZone(
            self.store, names.from_text(origin), ZoneOptions(**options), external, own
        )

    def external_reverse(self, origin, **options):
        target = names.from_text("example.com.")
        return ExternalReverseZone(
            self.store, names.from_text(origin), target, ZoneOptions(**options), ExternalOptions()
        )


def _ingress(text):
    return Ingress(ip=text) if ":" in text or text[:1].isdecimal() else Ingress(hostname=text)


def _service_ports(ports):
    return [
        ServicePort(int(number), label, protocol) for label, number, protocol in map(_port, ports)
    ]


def _port(text):
    name, _, rest = text.partition(":")
    number, _, protocol = rest.partition("/")
    return name, number, protocol or "TCP"


def _endpoint(text, pod):
    rest, _, zone = text.removeprefix("!").partition("@")
    addresses, _, hostname = rest.partition("=")
    return Endpoint(
        addresses.split("+"),
        EndpointConditions(False if text.startswith("!") else None),
        hostname or None,
        TargetRef("Pod", pod),
        zone or None,
    )


@pytest.fixture
def cluster():
    """A cluster with the namespaces default and other, and nothing in them."""
    made = Cluster()
    made.namespace("default")
    made.namespace("other")
    return made


@pytest.fixture
def ask():
    """ask(zone, "name", "TYPE") -> (rcode, answer, additional) as text; names are under the zone.

    Checks on the way what holds for every answer: authoritative, but for a refusal, and an SOA in
    the authority section exactly where there is nothing that was asked for.
    """

    def asked(zone, name, qtype, *, under=True):
        wire = names.from_text(name)
        if under:
            wire = wire[:-1] + zone.origin
        reply = zone.lookup(wire, dns.rdatatype.from_text(qtype))
        assert reply.authoritative == (rcode_name(reply.rcode) != "REFUSED")
        assert reply.plugin == zone.plugin
        assert not reply.rotate
        assert [each.type for each in reply.authority] in ([], [6])
        if not reply.answer and rcode_name(reply.rcode) != "REFUSED":
            assert reply.authority
        return rcode_name(reply.rcode), lines(reply.answer), lines(reply.additional)

    return asked


@pytest.fixture
def text():
    """text(record sets) -> their records as lines `owner ttl TYPE data`."""
    return lines


def lines(record_sets):
    return [
        f"{names.to_text(each.owner)} {each.ttl} {dns.rdatatype.to_text(each.type)} "
        + dns.rdata.from_wire(each.rclass, each.type, data, 0, len(data)).to_text()
        for each in record_sets
        for data in each.rdatas
    ]
