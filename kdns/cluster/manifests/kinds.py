"""The kinds read from manifests, with the fields that the embedded control plane needs.

Namespaces and EndpointSlices need nothing filled in and decode straight to `kdns.cluster.objects`.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct, field

from kdns.cluster.manifests.documents import ManifestError
from kdns.cluster.manifests.turns import Turns
from kdns.cluster.objects import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointPort,
    EndpointSlice,
    Metadata,
    Namespace,
    PodStatus,
    ServicePort,
    Stripped,
    TargetRef,
)


class OwnerReference(Stripped, frozen=True, gc=False, rename="camel"):
    kind: str = ""
    name: str = ""
    controller: bool = False


class OwnedMetadata(Metadata, frozen=True, gc=False, rename="camel"):
    """Metadata with what a dump of a live cluster tells: who made the object, and its end."""

    owner_references: list[OwnerReference] = field(default_factory=list)
    deletion_timestamp: str = ""

    @property
    def controller(self) -> OwnerReference | None:
        return next((owner for owner in self.owner_references if owner.controller), None)


class DeclaredServicePort(ServicePort, frozen=True, gc=False, rename="camel"):
    target_port: int | str = 0


class DeclaredServiceSpec(Stripped, frozen=True, gc=False, rename="camel"):
    type: str = "ClusterIP"
    cluster_ip: str = field(default="", name="clusterIP")
    cluster_ips: list[str] = field(default_factory=list, name="clusterIPs")
    ip_family_policy: str = ""
    ip_families: list[str] = field(default_factory=list)
    selector: dict[str, str] = field(default_factory=dict)
    external_name: str = ""
    ports: list[DeclaredServicePort] = field(default_factory=list)
    publish_not_ready_addresses: bool = False


class DeclaredService(Stripped, frozen=True, gc=False, rename="camel"):
    metadata: Metadata
    spec: DeclaredServiceSpec = field(default_factory=DeclaredServiceSpec)

    @property
    def headless(self) -> bool:
        return self.spec.cluster_ip == "None"


class ContainerPort(Stripped, frozen=True, gc=False, rename="camel"):
    container_port: int
    name: str = ""
    protocol: str = "TCP"


class Container(Stripped, frozen=True, gc=False, rename="camel"):
    ports: list[ContainerPort] = field(default_factory=list)
    restart_policy: str = ""


class PodSpec(Stripped, frozen=True, gc=False, rename="camel"):
    hostname: str = ""
    subdomain: str = ""
    containers: list[Container] = field(default_factory=list)
    init_containers: list[Container] = field(default_factory=list)


class PodCondition(Stripped, frozen=True, gc=False, rename="camel"):
    type: str = ""
    status: str = ""


class DeclaredPodStatus(PodStatus, frozen=True, gc=False, rename="camel"):
    conditions: list[PodCondition] = field(default_factory=list)


class DeclaredPod(Stripped, frozen=True, gc=False, rename="camel"):
    metadata: OwnedMetadata
    spec: PodSpec = field(default_factory=PodSpec)
    status: DeclaredPodStatus = field(default_factory=DeclaredPodStatus)


class TemplateMetadata(Stripped, frozen=True, gc=False, rename="camel"):
    labels: dict[str, str] = field(default_factory=dict)


class PodTemplate(Stripped, frozen=True, gc=False, rename="camel"):
    metadata: TemplateMetadata = field(default_factory=TemplateMetadata)
    spec: PodSpec = field(default_factory=PodSpec)


class LabelSelector(Stripped, frozen=True, gc=False, rename="camel"):
    match_labels: dict[str, str] = field(default_factory=dict)


class Ordinals(Stripped, frozen=True, gc=False, rename="camel"):
    start: int = 0


class WorkloadSpec(Stripped, frozen=True, gc=False, rename="camel"):
    """`service_name` and `ordinals` are a StatefulSet's; a DaemonSet has no `replicas`."""

    replicas: int = 1
    selector: LabelSelector = field(default_factory=LabelSelector)
    template: PodTemplate = field(default_factory=PodTemplate)
    service_name: str = ""
    ordinals: Ordinals = field(default_factory=Ordinals)


class Workload(Stripped, frozen=True, gc=False, rename="camel"):
    """Whatever keeps pods running: which kind it is stands in its `Declared`."""

    metadata: OwnedMetadata
    spec: WorkloadSpec = field(default_factory=WorkloadSpec)


class EndpointAddress(Stripped, frozen=True, gc=False, rename="camel"):
    ip: str
    hostname: str = ""
    target_ref: TargetRef | None = None


class EndpointSubset(Stripped, frozen=True, gc=False, rename="camel"):
    addresses: list[EndpointAddress] = field(default_factory=list)
    not_ready_addresses: list[EndpointAddress] = field(default_factory=list)
    ports: list[ServicePort] = field(default_factory=list)


class Endpoints(Stripped, frozen=True, gc=False, rename="camel"):
    metadata: Metadata
    subsets: list[EndpointSubset] = field(default_factory=list)


_Content = tuple[str, list[Endpoint] | None, list[EndpointPort] | None]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Content)


class GivenSlice(Struct, frozen=True, gc=False):
    """An EndpointSlice of a manifest. Nothing is filled in, and there are many: all of it that
    nobody asks about here is kept as bytes, at a tenth of the memory."""

    metadata: Metadata
    content: bytes

    @classmethod
    def of(cls, item: EndpointSlice) -> GivenSlice:
        content = _encoder.encode((item.address_type, item.endpoints, item.ports))
        return cls(item.metadata, zlib.compress(content, zlib.Z_BEST_SPEED))

    @property
    def service(self) -> str:
        """As `EndpointSlice.service`."""
        return self.metadata.labels.get(SERVICE_NAME_LABEL, "")

    def whole(self) -> EndpointSlice:
        """The slice that this was made of."""
        return EndpointSlice(self.metadata, *_decoder.decode(zlib.decompress(self.content)))


Declaration = Namespace | DeclaredService | GivenSlice | DeclaredPod | Workload | Endpoints

WORKLOADS = {
    ("", "ReplicationController"),
    ("apps", "DaemonSet"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
}

# by API group, for a Knative `Service` or somebody's `Pod` is none of ours
TYPES: dict[tuple[str, str], type[Struct]] = {
    ("", "Namespace"): Namespace,
    ("", "Service"): DeclaredService,
    ("", "Pod"): DeclaredPod,
    ("", "Endpoints"): Endpoints,
    ("discovery.k8s.io", "EndpointSlice"): EndpointSlice,
    **dict.fromkeys(WORKLOADS, Workload),
}


class Declared(Struct, frozen=True, gc=False):
    """One object as its manifest says it, its namespace filled in.

    `path` and `line`, from 1, are where it is written, and sort as kubectl applies it.
    """

    path: str
    line: int
    kind: str
    object: Declaration

    @property
    def namespace(self) -> str:
        return self.object.metadata.namespace

    @property
    def name(self) -> str:
        return self.object.metadata.name

    @property
    def subject(self) -> str:
        return subject(self.kind, self.namespace, self.name)

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"

    def refused(self, problem: str) -> ManifestError:
        """The error that says so."""
        return ManifestError(self.path, self.line, self.subject, problem)


def by_name(items: Iterable[Declared], turns: Turns) -> Iterator[Declared]:
    """Sorted by namespace, kind and name."""
    # One sort of all would keep every other thread waiting: what compares here is all in C.
    parts: defaultdict[tuple[str, str], list[Declared]] = defaultdict(list)
    for item in turns.each(items):
        parts[item.namespace, item.kind].append(item)
    for part in turns.each(sorted(parts)):
        yield from sorted(parts[part], key=lambda item: item.name)


def subject(kind: str, namespace: str, name: str) -> str:
    """An object as errors name it."""
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
