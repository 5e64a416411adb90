"""What the store keeps of Services and EndpointSlices: bytes in tuples, ready to be rdata.

The structs are not tracked by the garbage collector and hold no references back, so a large
cluster adds next to nothing to a collection.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from kdns.records.address import dashed
from kdns.records.holders import Holders


class Port(NamedTuple):
    """A port of a Service or EndpointSlice.

    `name` is the content of its label, b"" for an unnamed port; `protocol` is `tcp`, `udp` or
    `sctp`; `number` is None where a slice means all ports.
    """

    name: bytes
    protocol: bytes
    number: int | None


def namespace_of(key: bytes) -> bytes:
    """The namespace's wire label in a service key."""
    return key[1 + key[0] :]


class External(NamedTuple):
    """Where a Service is reached from outside: packed addresses and absolute wire names."""

    addresses: tuple[bytes, ...]
    hostnames: tuple[bytes, ...]


class ServiceEntry(Struct, frozen=True, gc=False):
    """A Service. `external_name` is an absolute wire name, None where it cannot be one.

    `external` is None where there is nothing in it.
    """

    kind: Literal["ClusterIP", "Headless", "ExternalName"]
    addresses: tuple[bytes, ...] = ()
    ports: tuple[Port, ...] = ()
    external_name: bytes | None = None
    publish_not_ready: bool = False
    external: External | None = None


class Endpoints(Struct, frozen=True, gc=False):
    """Endpoints of a slice: packed addresses, and the wire label of each beside it.

    A label is None for the dashed address, and `labels` as a whole where all are. In a cluster set
    it is two labels, the endpoint's own and its cluster's. `zones` are topology zones, wire labels
    in lower case, None where unknown, and as a whole where all are.
    """

    addresses: tuple[bytes, ...] = ()
    labels: tuple[bytes | None, ...] | None = None
    zones: tuple[bytes | None, ...] | None = None

    def each(self) -> Iterator[tuple[bytes, bytes | None]]:
        """(address, label or None) of every endpoint."""
        return zip(self.addresses, self.labels or repeat(None), strict=False)

    def named(self, label: bytes) -> list[bytes]:
        """Addresses of the endpoints that carry this label as their own."""
        if self.labels is None or label not in self.labels:
            return []
        return [address for address, own in self.each() if own == label]

    def labels_of(self, address: bytes) -> list[bytes]:
        """Labels by which an address goes here, the dashed form included; empty if it is absent."""
        if address not in self.addresses:
            return []
        return [
            dashed(address) if own is None else own
            for other, own in self.each()
            if other == address
        ]

    def in_zone(self, zone: bytes) -> Endpoints:
        """The endpoints in a topology zone, given as `zones` has it."""
        pairs = zip(self.each(), self.zones or (), strict=False)
        found = [pair for pair, own in pairs if own == zone]
        if not found:
            return NO_ENDPOINTS
        addresses, labels = zip(*found, strict=True)
        return Endpoints(addresses, labels)


NO_ENDPOINTS: Final = Endpoints()

_SCANNED_SLICES: Final = 4


class SliceEntry(Struct, frozen=True, gc=False, eq=False):
    """An EndpointSlice with at least one endpoint; compared by identity.

    `key` is that of its Service. All addresses are of one family, `family` bytes long. Endpoints
    that are not ready are kept for Services that publish them nevertheless.
    """

    key: bytes
    family: int
    ready: Endpoints
    unready: Endpoints
    ports: tuple[Port, ...]

    def addresses(self) -> set[bytes]:
        """All addresses, ready or not."""
        return {*self.ready.addresses, *self.unready.addresses}

    def labels(self) -> set[bytes]:
        """All labels other than dashed addresses."""
        both = (*(self.ready.labels or ()), *(self.unready.labels or ()))
        return {label for label in both if label is not None}


class Node:
    """All that is known at one service key; `service` is None while only slices are.

    `index` finds the slices that have a label, and exists once there are too many to scan.
    """

    __slots__ = ("index", "key", "service", "slices")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.service: ServiceEntry | None = None
        self.slices: dict[str, SliceEntry] = {}
        self.index: Holders[SliceEntry] | None = None

    def copy(self) -> Node:
        """One that stays as this one is now; without `index`."""
        made = Node(self.key)
        made.service = self.service
        made.slices = self.slices.copy()
        return made

    def put(self, name: str, entry: SliceEntry) -> None:
        """Add a slice, or replace it where it stands."""
        old = self.slices.get(name)
        self.slices[name] = entry
        if self.index is not None:
            self._unindex(old)
            for label in entry.labels():
                self.index.add(label, entry)
        elif len(self.slices) > _SCANNED_SLICES:
            self.index = Holders()
            for each in self.slices.values():
                for label in each.labels():
                    self.index.add(label, each)

    def drop(self, name: str) -> None:
        old = self.slices.pop(name)
        if len(self.slices) > _SCANNED_SLICES:
            self._unindex(old)
        else:
            self.index = None

    def _unindex(self, entry: SliceEntry | None) -> None:
        if self.index is not None and entry is not None:
            for label in entry.labels():
                self.index.remove(label, entry)

    def groups(self, entry: SliceEntry) -> tuple[Endpoints, ...]:
        """The endpoints of one slice that the Service publishes."""
        if self.service is not None and self.service.publish_not_ready:
            return (entry.ready, entry.unready)
        return (entry.ready,)

    def endpoints(self) -> Iterator[tuple[SliceEntry, Endpoints]]:
        """The endpoints that the Service publishes, in groups that are not empty."""
        for entry in self.slices.values():
            for group in self.groups(entry):
                if group.addresses:
                    yield entry, group

    def slices_named(self, label: bytes) -> list[SliceEntry]:
        """The slices that have a label other than a dashed address."""
        if self.index is not None:
            return list(self.index.get(label))
        return [
            entry
            for entry in self.slices.values()
            if label in (entry.ready.labels or ()) or label in (entry.unready.labels or ())
        ]
