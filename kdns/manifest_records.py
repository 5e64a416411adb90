"""`kdns records`: the names of manifests before anybody applies them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from kdns.cluster.feed import Synced, Upsert
from kdns.cluster.manifests import ManifestError, Settings, load
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
    path: Path, zone: str, ttl: int
) -> tuple[Iterator[RRset], Sequence[ManifestError]]:
    """All record sets that a folder's manifests get in a zone, and what is wrong with them."""
    loaded = load(path, Settings())
    # One serial for all: what two runs print differs by what the manifests say alone.
    store = Store(clock=lambda: 1)
    for item in loaded.objects:
        store.apply(Upsert(item))
    store.apply(Synced())
    options = ZoneOptions(ttl=ttl, pods="verified")
    origin = from_text(zone).lower()
    reverse = [ReverseZone(store, from_text(name), origin, options) for name in _REVERSE]
    return all_records(ForwardZone(store, origin, options), *reverse), loaded.errors
