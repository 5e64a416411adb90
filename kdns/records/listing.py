"""Every record of zones: for people who review manifests, and for zone transfers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from kdns.dns import codes
from kdns.dns.names import MAX_NAME, label, labels
from kdns.dns.rdata import RRset
from kdns.records.address import dashed, reverse_name
from kdns.records.entries import Node, namespace_of
from kdns.records.forward import ForwardZone
from kdns.records.reverse import ReverseZone
from kdns.records.store import Store
from kdns.records.zone import Zone, within

_ADDRESSES = (codes.A, codes.AAAA)


def all_records(store: Store, *zones: ForwardZone | ReverseZone) -> Iterator[RRset]:
    """Every record set that the zones answer, zone by zone, in canonical order (RFC 4034 §6.1).

    An apex begins with its SOA. Names that are made up by the asker (insecure pods, ports without
    underscores) are left out, and a name in several of the zones belongs to the nearest.
    """
    for zone in zones:
        inner = [other.origin for other in zones if len(other.origin) > len(zone.origin)]
        yield from _zone_records(store, zone, inner)


def _zone_records(
    store: Store, zone: ForwardZone | ReverseZone, inner: Sequence[bytes]
) -> Iterator[RRset]:
    found = _forward_names(store, zone) if isinstance(zone, ForwardZone) else _reverse_names(store)
    owners: dict[bytes, Sequence[int]] = {zone.origin: (codes.SOA, codes.NS)}
    for name, types in found:
        if len(name) <= MAX_NAME and within(name, zone.origin):
            owners.setdefault(name, types)
    for name in sorted(owners, key=lambda owner: labels(owner)[::-1]):
        if not any(within(name, origin) for origin in inner):
            yield from _record_sets(zone, name, owners[name])


def _record_sets(zone: Zone, name: bytes, types: Iterable[int]) -> Iterator[RRset]:
    for qtype in types:
        for record_set in zone.lookup(name, qtype).answer:
            if record_set.owner == name and record_set.type == qtype:
                yield record_set


def _forward_names(store: Store, zone: ForwardZone) -> Iterator[tuple[bytes, Sequence[int]]]:
    yield label("dns-version") + zone.origin, (codes.TXT,)
    yield label("ns") + label("dns") + zone.origin, _ADDRESSES
    for key, node in store.nodes.items():
        if node.service is None or not zone.exposes(namespace_of(key)):
            continue
        name = key + label("svc") + zone.origin
        if node.service.kind == "ExternalName":
            yield name, (codes.CNAME,)
            continue
        yield name, (*_ADDRESSES, codes.SRV)
        for first in _labels_below(node):
            yield first + name, (*_ADDRESSES, codes.SRV)
    if zone.options.pods == "verified":
        for namespace, packed in store.verified_pods():
            yield dashed(packed) + namespace + label("pod") + zone.origin, _ADDRESSES


def _labels_below(node: Node) -> Iterator[bytes]:
    """What stands to the left of a service's name: `_port._proto`, and its endpoints' labels."""
    ports = dict.fromkeys(chain.from_iterable(entry.ports for entry in node.slices.values()))
    if node.service is not None and node.service.kind == "ClusterIP":
        ports = dict.fromkeys(node.service.ports)
    for port in ports:
        if port.name and len(port.name) < 63:
            yield label(b"_" + port.name) + label(b"_" + port.protocol)
    for _, group in node.endpoints():
        for packed, own in group.each():
            yield dashed(packed) if own is None else own


def _reverse_names(store: Store) -> Iterator[tuple[bytes, Sequence[int]]]:
    for packed in chain(store.cluster_ips, store.endpoints):
        yield reverse_name(packed), (codes.PTR,)
