"""The names of this server itself, for NS records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from kdns.dns.names import MAX_NAME
from kdns.records.address import dashed
from kdns.records.entries import SliceEntry, namespace_of
from kdns.records.store import address_token
from kdns.records.zone import Zone

NS_DNS: Final = b"\x02ns\x03dns"
"""`ns.dns`, which every forward zone has: the name of a server that is no service's endpoint."""


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
    for own in own_addresses:
        reads[address_token(own)] = None
        for entry in zone.store.endpoints.get(own):
            namespace = namespace_of(entry.key)
            reads.update(dict.fromkeys((namespace, entry.key)))
            if zone.options.noendpoints or not zone.exposes(namespace):
                continue
            for name, addresses in _served_as(zone, own, entry):
                if len(name) > MAX_NAME:
                    continue
                known = servers.setdefault(name, [])
                known += [packed for packed in addresses if packed not in known]
    if not servers:
        servers[NS_DNS + zone.origin] = list(dict.fromkeys(own_addresses))
    return servers, reads


def _served_as(
    zone: Zone, own: bytes, entry: SliceEntry
) -> Iterable[tuple[bytes, Sequence[bytes]]]:
    node = zone.store.nodes[entry.key]
    service = node.service
    groups = node.groups(entry)
    if service is None or not any(own in group.addresses for group in groups):
        return []
    name = node.key + b"\x03svc" + zone.origin
    if service.kind == "Headless":
        # All replicas, so that every one of them gives the same answer.
        return [
            ((dashed(packed) if label is None else label) + name, (packed,))
            for group in groups
            for packed, label in group.each()
        ]
    return [(name, service.addresses)] if service.addresses else []
