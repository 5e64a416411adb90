"""`kdns records`: the names of manifests before anybody applies them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from kdns.cluster.feed import Synced, Upsert
from kdns.cluster.manifests import ManifestError, Settings, load
from kdns.cluster.objects import EndpointSlice, Object
from kdns.dns import codes
from kdns.dns.names import from_text
from kdns.dns.rdata import RRset
from kdns.records.forward import ForwardZone
from kdns.records.listing import all_records
from kdns.records.options import ZoneOptions
from kdns.records.reverse import ReverseZone
from kdns.records.store import Store

ZONE_TTL: Final = 5
"""Default TTL in seconds, as that of the directive `kubernetes`."""

_REVERSE: Final = ("in-addr.arpa", "ip6.arpa")


def manifest_records(
    path: Path, zone: str, ttl: int, settings: Settings
) -> tuple[Iterator[RRset], Sequence[ManifestError]]:
    """All record sets that a folder's manifests get in a zone, and what is wrong with them.

    The zones' server is the cluster's kube-system/kube-dns. Without one there are no NS records:
    their name would have no address, which keeps name servers from loading the zone.
    """
    loaded = load(path, settings)
    return object_records(loaded.objects, zone, ttl), loaded.errors


def object_records(objects: Sequence[Object], zone: str, ttl: int) -> Iterator[RRset]:
    """All record sets that objects get in a zone and in the reverse zones."""
    # One serial for all: what two runs print differs by what the manifests say alone.
    store = Store(clock=lambda: 1)
    for item in objects:
        store.apply(Upsert(item))
    store.apply(Synced())
    options = ZoneOptions(ttl=ttl, pods="verified")
    origin = from_text(zone).lower()
    reverse = [ReverseZone(store, from_text(name), origin, options) for name in _REVERSE]
    own = list(_dns_endpoints(objects))
    found = all_records(ForwardZone(store, origin, options, own), *reverse)
    return (each for each in found if own or each.type != codes.NS)


def _dns_endpoints(objects: Iterable[Object]) -> Iterator[bytes]:
    """Packed addresses of the cluster's own DNS servers."""
    for item in objects:
        if not isinstance(item, EndpointSlice) or item.address_type == "FQDN":
            continue
        if (item.metadata.namespace, item.service) == ("kube-system", "kube-dns"):
            for endpoint in item.endpoints or ():
                yield from (ip_address(address).packed for address in endpoint.addresses)
