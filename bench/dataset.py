"""A cluster of any size as plain Kubernetes objects, the same ones for the same seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.peers.storage import Manifest

ZONE = "cluster.local"
HTTP = 8080
"""The one endpoint port, named `http`, of every service."""

_SERVICE_RANGE = int(IPv4Address("10.96.0.10"))
_SERVICE_RANGE_6 = int(IPv6Address("fd00:10:96::a"))
_POD_RANGE = int(IPv4Address("10.128.0.10"))
_WORDS = ["cart", "catalog", "checkout", "invoice", "payment", "search", "session", "user", "wish"]


class Size(NamedTuple):
    """How large a cluster is made; `endpoints` counts those of all services together."""

    namespaces: int = 50
    services: int = 10_000
    headless: int = 100
    headless_endpoints: int = 100
    srv: int = 20
    srv_endpoints: int = 20
    endpoints: int = 125_000


FULL = Size()
DUAL_STACK_EVERY = 5  # one ClusterIP service in so many has an IPv6 address too


@dataclass(frozen=True, slots=True)
class Service:
    """A Service and its endpoints, from which objects and other servers' records are written.

    `addresses` are its cluster IPs, none for a headless one. `endpoints` are pod addresses.
    """

    namespace: str
    name: str
    addresses: tuple[str, ...]
    endpoints: list[str] = field(repr=False)

    @property
    def dns_name(self) -> str:
        """Without a dot at its end."""
        return f"{self.name}.{self.namespace}.svc.{ZONE}"

    def endpoint_name(self, address: str) -> str:
        """The DNS name of one endpoint."""
        return f"{address.replace('.', '-')}.{self.dns_name}"

    def manifest(self) -> Manifest:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": {"app": self.name, "app.kubernetes.io/managed-by": "bench"},
            },
            "spec": {
                "type": "ClusterIP",
                "clusterIP": self.addresses[0] if self.addresses else "None",
                "clusterIPs": list(self.addresses) or ["None"],
                "ipFamilies": ["IPv4", "IPv6"][: len(self.addresses) or 1],
                "ipFamilyPolicy": "RequireDualStack" if len(self.addresses) > 1 else "SingleStack",
                "selector": {"app": self.name},
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": HTTP}],
            },
        }

    def slice_manifest(self) -> Manifest:
        """The one EndpointSlice that holds all its endpoints."""
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{self.name}-slice",
                "namespace": self.namespace,
                "labels": {
                    "app": self.name,
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                    "kubernetes.io/service-name": self.name,
                },
            },
            "addressType": "IPv4",
            "endpoints": [self._endpoint(address) for address in self.endpoints],
            "ports": [{"name": "http", "port": HTTP, "protocol": "TCP"}],
        }

    def _endpoint(self, address: str) -> dict[str, Any]:
        pod = int(IPv4Address(address)) - _POD_RANGE
        return {
            "addresses": [address],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": f"node-{pod % 1000:03}",
            "targetRef": {
                "kind": "Pod",
                "name": f"{self.name}-{pod:x}",
                "namespace": self.namespace,
                "uid": f"00000000-0000-4000-8000-{pod:012x}",
            },
            "zone": "abc"[pod % 3],
        }


@dataclass(frozen=True)
class Dataset:
    """`services` are the ClusterIP ones, `headless` the wide ones, `srv` those asked for by SRV."""

    namespaces: list[str]
    services: list[Service]
    headless: list[Service]
    srv: list[Service]

    def all_services(self) -> Iterator[Service]:
        yield from self.services
        yield from self.headless
        yield from self.srv

    def objects(self) -> Iterator[Manifest]:
        """Every object once: Namespaces, then each Service followed by its EndpointSlice."""
        for name in self.namespaces:
            yield namespace_manifest(name)
        for service in self.all_services():
            yield service.manifest()
            yield service.slice_manifest()


def namespace_manifest(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def generate(size: Size = FULL, seed: int = 1) -> Dataset:
    """A cluster of exactly `size`. Raises ValueError where its numbers contradict each other."""
    cluster_ip = size.services - size.headless - size.srv
    left = size.endpoints - size.headless * size.headless_endpoints - size.srv * size.srv_endpoints
    if cluster_ip < 1 or left < 0:
        raise ValueError(f"{size}: no room left for ClusterIP services and their endpoints")
    chance = random.Random(seed)  # noqa: S311 - has to be the same every time
    namespaces = [f"team-{number:02}" for number in range(size.namespaces)]
    pods = iter(chance.sample(range(size.endpoints * 2), size.endpoints))

    def service(number: int, prefix: str, addresses: tuple[str, ...], endpoints: int) -> Service:
        taken = [str(IPv4Address(_POD_RANGE + next(pods))) for _ in range(endpoints)]
        return Service(chance.choice(namespaces), f"{prefix}-{number:04}", addresses, taken)

    each, more = divmod(left, cluster_ip)
    return Dataset(
        namespaces,
        [
            service(n, chance.choice(_WORDS), _cluster_ips(n), each + (n < more))
            for n in range(cluster_ip)
        ],
        [service(n, "ring", (), size.headless_endpoints) for n in range(size.headless)],
        [service(n, "quorum", (), size.srv_endpoints) for n in range(size.srv)],
    )


def _cluster_ips(number: int) -> tuple[str, ...]:
    ipv4 = str(IPv4Address(_SERVICE_RANGE + number))
    if number % DUAL_STACK_EVERY:
        return (ipv4,)
    return (ipv4, str(IPv6Address(_SERVICE_RANGE_6 + number)))
