"""Services as the API server leaves them: address families settled, ClusterIPs given."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import TypeAlias, cast

from msgspec import Struct

from kdns.cluster.manifests.addresses import AddressPool, Settings, digest, packed, static_band
from kdns.cluster.manifests.documents import ManifestError
from kdns.cluster.manifests.kinds import Declared, DeclaredService, by_name
from kdns.cluster.manifests.turns import Turns
from kdns.cluster.objects import Service, ServicePort, ServiceSpec


class Served(Struct, frozen=True, gc=False):
    """A Service that was accepted: as declared, and as it comes out. `families` is in its order."""

    declared: DeclaredService
    families: tuple[str, ...]
    object: Service


ByName: TypeAlias = dict[tuple[str, str], Served]


def serve(
    services: Sequence[Declared],
    settings: Settings,
    before: ByName,
    turns: Turns,
) -> tuple[ByName, list[ManifestError]]:
    """Give every Service its addresses: those given by hand first, the rest by name.

    `services` come in the order that kubectl would apply them: of two that ask for one address the
    first has it, and the other is refused, as by an API server. The result is by (namespace, name).
    Of `before`, the result of the last time, those that would be made the same are kept.
    """
    pools = {
        f"IPv{network.version}": AddressPool(network, static=static_band(network))
        for network in settings.service_ranges
    }
    errors: list[ManifestError] = []
    holders: dict[bytes, Declared] = {}
    accepted: dict[tuple[str, str], tuple[str, ...]] = {}
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}  # there are few, of 10,000 Services
    for service in turns.each(services):
        found, problem = _families(_spec(service), list(pools))
        problem = problem or _reserve(service, pools, holders)
        if problem:
            errors.append(service.refused(problem))
        else:
            families = tuple(found)
            accepted[service.namespace, service.name] = shared.setdefault(families, families)
    served: ByName = {}
    for service in turns.each(by_name(services, turns)):
        key = service.namespace, service.name
        if key not in accepted:
            continue
        families = accepted[key]
        addresses = _addresses(service, families, pools)
        if None in addresses:
            full = " and ".join(str(network) for network in settings.service_ranges)
            problem = f"no address is left in {full}: give a wider Service range"
            errors.append(service.refused(problem))
            continue
        declared = _spec(service)
        kept = before.get(key)
        if kept and kept.declared is declared and kept.object.spec.cluster_ips == addresses:
            served[key] = kept
        else:
            made = _object(declared, [address for address in addresses if address])
            served[key] = Served(declared, families, made)
    return served, errors


def _spec(service: Declared) -> DeclaredService:
    return cast("DeclaredService", service.object)


def _families(service: DeclaredService, configured: list[str]) -> tuple[list[str], str]:
    """The families of a Service in order, and what is wrong with them or ""."""
    spec = service.spec
    if spec.type == "ExternalName":
        return [], ""
    addresses = [] if service.headless else spec.cluster_ips or [spec.cluster_ip]
    families = list(spec.ip_families)
    given = [_family(address) for address in addresses if address]
    families += given[len(families) :]
    dual = spec.ip_family_policy in ("PreferDualStack", "RequireDualStack")
    if service.headless and not spec.selector:
        return families, ""  # its slices are given, and are of any family
    for wanted in families:
        if wanted not in configured:
            problem = f"{wanted} is asked for, and the Service range is {configured[0]} alone"
            return families, f"{problem}: give a range of both, or change ipFamilies and clusterIP"
    if spec.ip_family_policy == "RequireDualStack" and len(configured) < 2:
        problem = f"RequireDualStack is asked for, and the Service range is {configured[0]} alone"
        return families, f"{problem}: give a range of both, or ask for PreferDualStack"
    families = families or configured[:1]
    if dual:
        families += [other for other in configured if other not in families]
    return families, ""


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _reserve(
    service: Declared, pools: dict[str, AddressPool], holders: dict[bytes, Declared]
) -> str:
    """Take the addresses a Service was given by hand, or none of them; what is wrong, or ""."""
    spec = _spec(service).spec
    given = spec.cluster_ips or [spec.cluster_ip]
    wanted = [(text, packed(text)) for text in given if text not in ("", "None")]
    for text, address in wanted:
        if holder := holders.get(address):
            by = f"{holder.subject} ({holder.place})"
            return f"clusterIP {ip_address(text)} is taken by {by}: choose another, or leave it out"
    for text, address in wanted:
        holders[address] = service
        pools[_family(text)].reserve(int.from_bytes(address))
    return ""


def _addresses(
    service: Declared, families: Sequence[str], pools: dict[str, AddressPool]
) -> list[str | None]:
    spec = _spec(service).spec
    if spec.type == "ExternalName":
        return []
    if spec.cluster_ip == "None":
        return ["None"]
    given: list[str | None] = [ip for ip in spec.cluster_ips or [spec.cluster_ip] if ip]
    pointer = digest(f"{service.namespace}/{service.name}")
    for wanted in families[len(given) :]:
        number = pools[wanted].allocate(pointer)
        given.append(None if number is None else pools[wanted].text(number))
    return given


def _object(service: DeclaredService, addresses: list[str]) -> Service:
    spec = service.spec
    return Service(
        metadata=service.metadata,
        spec=ServiceSpec(
            type=spec.type,
            cluster_ip=addresses[0] if addresses else "",
            cluster_ips=addresses,
            external_name=spec.external_name,
            ports=[ServicePort(port.port, port.name, port.protocol) for port in spec.ports],
            publish_not_ready_addresses=spec.publish_not_ready_addresses,
        ),
    )
