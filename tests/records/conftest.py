"""A small cluster to tell a store about, and answers as text, decoded by dnspython."""

from __future__ import annotations

import dns.rdata
import dns.rdatatype
import pytest

from kdns.cluster.feed import Delete, Upsert
from kdns.cluster.objects import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Metadata,
    Namespace,
    Pod,
    PodIP,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
    TargetRef,
)
from kdns.dns import names
from kdns.dns.codes import rcode_name
from kdns.records.forward import ForwardZone
from kdns.records.options import ZoneOptions
from kdns.records.reverse import ReverseZone
from kdns.records.store import Store

ZONE = "cluster.local."


class Cluster:
    """A store with a clock that stands still, and the objects of a cluster in few words.

    Ports are `name:number/PROTOCOL` (`:80/TCP` unnamed); endpoints are `address`,
    `address=hostname`, with `!` in front where they are not ready, several addresses with `+`.
    """

    def __init__(self, **options):
        self.now = 1_000.0
        self.store = Store(clock=lambda: self.now, **options)

    def apply(self, item):
        return set(self.store.apply(Upsert(item)))

    def namespace(self, name):
        return self.apply(Namespace(Metadata(name)))

    def service(self, name, *ips, ports=(), external="", publish=False, namespace="default"):
        made = [
            ServicePort(int(number), label, protocol)
            for label, number, protocol in map(_port, ports)
        ]
        spec = ServiceSpec(
            type="ExternalName" if external else "ClusterIP",
            cluster_ip=ips[0] if ips else "",
            cluster_ips=list(ips),
            external_name=external,
            ports=made,
            publish_not_ready_addresses=publish,
        )
        return self.apply(Service(Metadata(name, namespace), spec))

    def slice(
        self, name, service, *endpoints, ports=(), family=None, namespace="default", pod="pod"
    ):
        if family is None:
            family = "IPv6" if endpoints and ":" in endpoints[0] else "IPv4"
        labels = {SERVICE_NAME_LABEL: service} if service else {}
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


def _port(text):
    name, _, rest = text.partition(":")
    number, _, protocol = rest.partition("/")
    return name, number, protocol or "TCP"


def _endpoint(text, pod):
    addresses, _, hostname = text.removeprefix("!").partition("=")
    return Endpoint(
        addresses.split("+"),
        EndpointConditions(False if text.startswith("!") else None),
        hostname or None,
        TargetRef("Pod", pod),
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
        assert reply.plugin == "kubernetes"
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
