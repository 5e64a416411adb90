"""What an API server refuses in one object, as far as it matters to DNS.

A problem is the field's path and a sentence with the cure. Rules that need a second object, or the
address ranges, are the embedded control plane's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeAlias

from kdns.cluster.manifests.kinds import (
    DeclaredPod,
    DeclaredService,
    DeclaredServicePort,
    Endpoints,
    PodSpec,
    Workload,
)
from kdns.cluster.objects import EndpointSlice, Namespace, ServicePort

if TYPE_CHECKING:
    from kdns.cluster.manifests.documents import Path
    from kdns.cluster.manifests.kinds import Declaration

Problem: TypeAlias = "tuple[Path, str]"

_is_label = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?").fullmatch
_is_subdomain = re.compile(
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
).fullmatch

_LABEL = "use 1 to 63 of a-z, 0-9 and `-`, a letter or digit first and last"
_SUBDOMAIN = "use a-z, 0-9, `-` and `.`, a letter or digit first and last in each part"
_MOST_PODS = 150_000  # what Kubernetes supports in a cluster
_POLICIES = ("SingleStack", "PreferDualStack", "RequireDualStack")
_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")


def problems(kind: str, declaration: Declaration) -> Iterator[Problem]:
    """Every problem of one object whose fields have their types."""
    name, namespace = declaration.metadata.name, declaration.metadata.namespace
    check = _label if kind in ("Namespace", "Service") else _subdomain
    yield from check(name, ("metadata", "name"))
    if namespace:
        yield from _label(namespace, ("metadata", "namespace"))
    match declaration:
        case DeclaredService():
            yield from _service(declaration)
        case EndpointSlice():
            yield from _slice(declaration)
        case Endpoints():
            yield from _endpoints(declaration)
        case DeclaredPod():
            yield from _pod_spec(declaration.spec, ("spec",))
            addresses = [declaration.status.pod_ip, *(ip.ip for ip in declaration.status.pod_ips)]
            for address in addresses:
                if address:
                    yield from _address(address, ("status", "podIP"))
        case Workload():
            yield from _workload(kind, declaration)
        case Namespace():
            pass


def family(address: str) -> str:
    """ "IPv4", "IPv6", or "" for text that is no address, such as one with a zone: fe80::1%eth0."""
    if "%" in address:
        return ""
    try:
        return f"IPv{ip_address(address).version}"
    except ValueError:
        return ""


def _label(value: str, path: Path) -> Iterator[Problem]:
    if not _is_label(value):
        yield path, f"{value!r} is not a DNS label: {_LABEL}"


def _subdomain(value: str, path: Path) -> Iterator[Problem]:
    if len(value) > 253 or not _is_subdomain(value):
        yield path, f"{value!r} is not a DNS name: {_SUBDOMAIN}"


def _address(value: str, path: Path, only: str = "") -> Iterator[Problem]:
    found = family(value)
    if not found or (only and only != found):
        yield path, f"{value!r} is not an {only or 'IP'} address: write an address, or leave it out"


def _one_of(value: str, choice: Sequence[str], path: Path) -> Iterator[Problem]:
    if value not in choice:
        yield path, f"{value!r} is not one of {', '.join(choice)}"


def _port_number(value: int, path: Path) -> Iterator[Problem]:
    if not 1 <= value <= 65535:
        yield path, f"{value} is not a port: use a number from 1 to 65535"


def _port(name: str, number: int | None, protocol: str, path: Path) -> Iterator[Problem]:
    if number is not None:
        yield from _port_number(number, (*path, "port"))
    if name:
        yield from _label(name, (*path, "name"))
    yield from _one_of(protocol, ("TCP", "UDP", "SCTP"), (*path, "protocol"))


def _ports_named(ports: Sequence[ServicePort], path: Path) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        if not port.name and len(ports) > 1:
            yield (*path, index), "a port among several needs a name: add `name:`"
        elif port.name in seen:
            yield (*path, index, "name"), f"{port.name!r} names two ports: rename one"
        seen.add(port.name)


def _target_port(port: DeclaredServicePort, path: Path) -> Iterator[Problem]:
    if isinstance(port.target_port, int):
        if port.target_port:
            yield from _port_number(port.target_port, path)
    elif port.target_port and not re.search("[a-z]", port.target_port):
        yield (
            path,
            f"{port.target_port!r} is text, which names a port: write a number without quotes",
        )


def _service(service: DeclaredService) -> Iterator[Problem]:
    spec = service.spec
    yield from _one_of(spec.type, _TYPES, ("spec", "type"))
    for index, port in enumerate(spec.ports):
        path = ("spec", "ports", index)
        yield from _port(port.name, port.port, port.protocol, path)
        yield from _target_port(port, (*path, "targetPort"))
    yield from _ports_named(spec.ports, ("spec", "ports"))
    if spec.type == "ExternalName":
        if not spec.external_name:
            problem = "an ExternalName service needs `externalName:`, the name it stands for"
            yield ("spec", "externalName"), problem
        else:
            name = spec.external_name.removesuffix(".")
            yield from _subdomain(name, ("spec", "externalName"))
        if spec.cluster_ip or spec.cluster_ips:
            yield ("spec", "clusterIP"), "an ExternalName service has no clusterIP: leave it out"
        return
    if not spec.ports and not service.headless:
        problem = "a Service needs a port: add `ports:`, or `clusterIP: None` for a headless one"
        yield ("spec", "ports"), problem
    yield from _cluster_ips(service)


def _cluster_ips(service: DeclaredService) -> Iterator[Problem]:
    spec = service.spec
    path: Path = ("spec", "clusterIP")
    if spec.cluster_ip and not service.headless:
        yield from _address(spec.cluster_ip, path)
    if spec.cluster_ips:
        path = ("spec", "clusterIPs")
        if spec.cluster_ips[0] != spec.cluster_ip:
            yield path, "the first of clusterIPs must be clusterIP: write both, and the same"
        for index, address in enumerate(spec.cluster_ips):
            if not (index == 0 and service.headless):
                yield from _address(address, (*path, index))
        if len(set(map(family, spec.cluster_ips))) < len(spec.cluster_ips):
            yield path, "two addresses of one family: give one IPv4 and one IPv6 address at most"
        if service.headless and len(spec.cluster_ips) > 1:
            yield path, "a headless Service has no addresses: leave `None` alone"
    yield from _families(service, [] if service.headless else spec.cluster_ips or [spec.cluster_ip])


def _families(service: DeclaredService, addresses: Sequence[str]) -> Iterator[Problem]:
    spec = service.spec
    path: Path = ("spec", "ipFamilies")
    for index, name in enumerate(spec.ip_families):
        yield from _one_of(name, ("IPv4", "IPv6"), (*path, index))
    if len(set(spec.ip_families)) < len(spec.ip_families):
        yield path, "a family is given twice: name each once"
    for name, address in zip(spec.ip_families, addresses, strict=False):
        if family(address) not in ("", name):
            yield path, f"{address} is not {name}: put clusterIPs and ipFamilies in the same order"
    path = ("spec", "ipFamilyPolicy")
    if spec.ip_family_policy:
        yield from _one_of(spec.ip_family_policy, _POLICIES, path)
    free = service.headless and not spec.selector and not spec.ip_family_policy
    single = spec.ip_family_policy in ("", "SingleStack") and not free
    if single and max(len(spec.ip_families), len(addresses)) > 1:
        yield path, "two families need `ipFamilyPolicy: PreferDualStack` or RequireDualStack"


def _slice(endpoint_slice: EndpointSlice) -> Iterator[Problem]:
    kind = endpoint_slice.address_type
    if kind not in ("IPv4", "IPv6", "FQDN"):
        yield ("addressType",), f"{kind!r} is not one of IPv4, IPv6, FQDN"
        return
    for index, endpoint in enumerate(endpoint_slice.endpoints or ()):
        path = ("endpoints", index)
        for inner, address in enumerate(endpoint.addresses):
            if kind == "FQDN":
                yield from _subdomain(address, (*path, "addresses", inner))
            else:
                yield from _address(address, (*path, "addresses", inner), kind)
        if endpoint.hostname:
            yield from _label(endpoint.hostname, (*path, "hostname"))
    for index, port in enumerate(endpoint_slice.ports or ()):
        yield from _port(port.name or "", port.port, port.protocol or "TCP", ("ports", index))


def _endpoints(endpoints: Endpoints) -> Iterator[Problem]:
    for index, subset in enumerate(endpoints.subsets):
        path = ("subsets", index)
        for key, addresses in (
            ("addresses", subset.addresses),
            ("notReadyAddresses", subset.not_ready_addresses),
        ):
            for inner, address in enumerate(addresses):
                yield from _address(address.ip, (*path, key, inner, "ip"))
                if address.hostname:
                    yield from _label(address.hostname, (*path, key, inner, "hostname"))
        for inner, port in enumerate(subset.ports):
            yield from _port(port.name, port.port, port.protocol, (*path, "ports", inner))
        yield from _ports_named(subset.ports, (*path, "ports"))


def _pod_spec(spec: PodSpec, path: Path) -> Iterator[Problem]:
    for key, value in (("hostname", spec.hostname), ("subdomain", spec.subdomain)):
        if value:
            yield from _label(value, (*path, key))
    for index, container in enumerate(spec.containers):
        for inner, port in enumerate(container.ports):
            port_path = (*path, "containers", index, "ports", inner)
            yield from _port_number(port.container_port, (*port_path, "containerPort"))
            yield from _one_of(port.protocol, ("TCP", "UDP", "SCTP"), (*port_path, "protocol"))


def _workload(kind: str, workload: Workload) -> Iterator[Problem]:
    spec = workload.spec
    if not 0 <= spec.replicas <= _MOST_PODS:
        problem = f"{spec.replicas} replicas cannot be: use 0 to {_MOST_PODS}"
        yield ("spec", "replicas"), problem
    labels = spec.template.metadata.labels
    if not spec.selector.match_labels.items() <= labels.items():
        problem = "the template's labels do not match the selector: repeat matchLabels in them"
        yield ("spec", "template", "metadata", "labels"), problem
    yield from _pod_spec(spec.template.spec, ("spec", "template", "spec"))
    if kind != "StatefulSet":
        return
    if spec.ordinals.start < 0:
        yield ("spec", "ordinals", "start"), f"{spec.ordinals.start} is below 0: use 0 or more"
    if spec.service_name:
        yield from _label(spec.service_name, ("spec", "serviceName"))
    last = f"{workload.metadata.name}-{spec.ordinals.start + max(spec.replicas - 1, 0)}"
    if not _is_label(last):
        yield ("metadata", "name"), f"its pod {last!r} would not be a DNS label: {_LABEL}"
