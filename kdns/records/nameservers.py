"""The names and addresses of this server itself, for NS records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kdns.dns.names import MAX_NAME
from kdns.records.address import dashed
from kdns.records.entries import Node, ServiceEntry, SliceEntry, namespace_of
from kdns.records.services import address_token
from kdns.records.zone import NS_DNS, Zone


def name_servers(
    zone: Zone, own_addresses: Sequence[bytes]
) -> tuple[dict[bytes, list[bytes]], Iterable[bytes]]:
    """Absolute names of this server in a forward zone with their packed addresses, and the store
    names that were read.

    They are those of the services that have one of `own_addresses` among their endpoints: the
    service with its cluster IPs, or all endpoints of the slice of a headless one. Else `ns.dns`
    (CoreDNS).
    """
    servers: dict[bytes, list[bytes]] = {}
    reads: dict[bytes, None] = {}
    for entry, node, service in _served_by(zone, own_addresses, reads):
        if not zone.exposes(namespace_of(node.key)):
            continue
        for name, addresses in _served_as(zone, entry, node, service):
            if len(name) > MAX_NAME:
                continue
            known = servers.setdefault(name, [])
            known += [packed for packed in addresses if packed not in known]
    if not servers:
        servers[NS_DNS + zone.origin] = list(dict.fromkeys(own_addresses))
    return servers, reads


def external_addresses(
    zone: Zone, own_addresses: Sequence[bytes], *, headless: bool
) -> tuple[list[bytes], Iterable[bytes]]:
    """Packed addresses of this server outside of the cluster, and the store names that were read.

    They are the external ones of the services that have one of `own_addresses` among their
    endpoints, with `headless` all endpoints of the slice of a headless one; `own_addresses` where
    there is no such service (CoreDNS).
    """
    found: dict[bytes, None] = {}
    reads: dict[bytes, None] = {}
    served = False
    for entry, node, service in _served_by(zone, own_addresses, reads):
        served = True
        if headless and service.kind == "Headless":
            for group in node.groups(entry):
                found.update(dict.fromkeys(group.addresses))
        elif service.external is not None:
            found.update(dict.fromkeys(service.external.addresses))
    return list(found if served else dict.fromkeys(own_addresses)), reads


def _served_by(
    zone: Zone, own_addresses: Sequence[bytes], reads: dict[bytes, None]
) -> Iterator[tuple[SliceEntry, Node, ServiceEntry]]:
    """The slices that publish one of the addresses, each with its service; adds to `reads`."""
    services = zone.store.services
    for own in own_addresses:
        reads[address_token(own)] = None
        for entry in services.endpoints.get(own):
            reads[namespace_of(entry.key)] = None
            reads[services.token(entry.key)] = None
            node = services.nodes[entry.key]
            service = node.service
            if service is None or zone.options.noendpoints:
                continue
            if any(own in group.addresses for group in node.groups(entry)):
                yield entry, node, service


def _served_as(
    zone: Zone, entry: SliceEntry, node: Node, service: ServiceEntry
) -> Iterable[tuple[bytes, Sequence[bytes]]]:
    name = node.key + b"\x03svc" + zone.origin
    if service.kind == "Headless":
        # All replicas, so that every one of them gives the same answer.
        return [
            ((dashed(packed) if label is None else label) + name, (packed,))
            for group in node.groups(entry)
            for packed, label in group.each()
        ]
    return [(name, service.addresses)] if service.addresses else []
