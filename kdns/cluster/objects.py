"""Kubernetes objects, stripped to what DNS needs.

Each struct decodes straight from the API's JSON (`msgspec.json.decode(line, type=Service)`) or from
parsed YAML (`msgspec.convert`); fields not named here are never allocated. A new field is a memory
cost in every cluster: 10,000 services and 125,000 endpoints pass through these types.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

Kind = Literal["Namespace", "Service", "EndpointSlice", "Pod", "ServiceImport"]

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
IMPORT_NAME_LABEL = "multicluster.kubernetes.io/service-name"
SOURCE_CLUSTER_LABEL = "multicluster.kubernetes.io/source-cluster"


class Stripped(Struct, frozen=True, gc=False, rename="camel"):
    """Base of the stripped types: immutable, untracked by the collector, camelCase in JSON."""


class Metadata(Stripped, frozen=True, gc=False, rename="camel"):
    """`metadata` of any object. `resource_version` is opaque: compare for equality alone."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class Namespace(Stripped, frozen=True, gc=False, rename="camel"):
    metadata: Metadata


class ServicePort(Stripped, frozen=True, gc=False, rename="camel"):
    port: int
    name: str = ""
    protocol: str = "TCP"


class ServiceSpec(Stripped, frozen=True, gc=False, rename="camel"):
    type: str = "ClusterIP"
    cluster_ip: str = field(default="", name="clusterIP")
    cluster_ips: list[str] = field(default_factory=list, name="clusterIPs")
    external_name: str = ""
    ports: list[ServicePort] = field(default_factory=list)
    publish_not_ready_addresses: bool = False
    external_ips: list[str] | None = field(default=None, name="externalIPs")


class Ingress(Stripped, frozen=True, gc=False, rename="camel"):
    """Where a load balancer takes traffic: an address, or else a name."""

    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(Stripped, frozen=True, gc=False, rename="camel"):
    ingress: list[Ingress] | None = None


class ServiceStatus(Stripped, frozen=True, gc=False, rename="camel"):
    load_balancer: LoadBalancerStatus | None = None


class Service(Stripped, frozen=True, gc=False, rename="camel"):
    metadata: Metadata
    spec: ServiceSpec = field(default_factory=ServiceSpec)
    status: ServiceStatus | None = None

    @property
    def ingress(self) -> list[Ingress]:
        """Where its load balancer takes traffic."""
        balancer = self.status.load_balancer if self.status is not None else None
        return (balancer.ingress if balancer is not None else None) or []


class EndpointConditions(Stripped, frozen=True, gc=False, rename="camel"):
    """`ready` is None where the API says nothing, which means ready."""

    ready: bool | None = None


class TargetRef(Stripped, frozen=True, gc=False, rename="camel"):
    kind: str = ""
    name: str = ""


class Endpoint(Stripped, frozen=True, gc=False, rename="camel"):
    addresses: list[str] = field(default_factory=list)
    conditions: EndpointConditions = field(default_factory=EndpointConditions)
    hostname: str | None = None
    target_ref: TargetRef | None = None
    zone: str | None = None


class EndpointPort(Stripped, frozen=True, gc=False, rename="camel"):
    """`port` None means all ports (an EndpointSlice may say so); it gets no SRV record."""

    port: int | None = None
    name: str | None = None
    protocol: str | None = None


class EndpointSlice(Stripped, frozen=True, gc=False, rename="camel"):
    """The Service it belongs to is named by the label `kubernetes.io/service-name` alone.

    Imported slices name a ServiceImport by a label of their own, and may name a Service besides.
    """

    metadata: Metadata
    address_type: str = ""
    endpoints: list[Endpoint] | None = None
    ports: list[EndpointPort] | None = None

    @property
    def service(self) -> str:
        """Name of the Service in the same namespace, or "" where the label is missing."""
        return self.metadata.labels.get(SERVICE_NAME_LABEL, "")

    @property
    def service_import(self) -> str:
        """Name of the ServiceImport in the same namespace, or "" where the label is missing."""
        return self.metadata.labels.get(IMPORT_NAME_LABEL, "")

    @property
    def source_cluster(self) -> str:
        """The cluster that an imported slice comes from, or "" where the label is missing."""
        return self.metadata.labels.get(SOURCE_CLUSTER_LABEL, "")


class PodIP(Stripped, frozen=True, gc=False, rename="camel"):
    ip: str = ""


class PodStatus(Stripped, frozen=True, gc=False, rename="camel"):
    phase: str = ""
    pod_ip: str = field(default="", name="podIP")
    pod_ips: list[PodIP] = field(default_factory=list, name="podIPs")


class Pod(Stripped, frozen=True, gc=False, rename="camel"):
    metadata: Metadata
    status: PodStatus = field(default_factory=PodStatus)


class ServiceImportSpec(Stripped, frozen=True, gc=False, rename="camel"):
    """`type` is ClusterSetIP or Headless; `ips` are addresses of the former."""

    type: str = ""
    ips: list[str] | None = None
    ports: list[ServicePort] | None = None


class ServiceImport(Stripped, frozen=True, gc=False, rename="camel"):
    """A Service of the cluster set (KEP-1645), multicluster.x-k8s.io/v1alpha1."""

    metadata: Metadata
    spec: ServiceImportSpec = field(default_factory=ServiceImportSpec)


Object = Namespace | Service | EndpointSlice | Pod | ServiceImport
