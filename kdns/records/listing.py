"""Every record of zones: for people who review manifests, and for zone transfers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from kdns.dns.names import MAX_NAME, labels
from kdns.dns.rdata import RRset
from kdns.records.zone import Zone, within


def all_records(*zones: Zone) -> Iterator[RRset]:
    """Every record set that the zones answer, zone by zone, in canonical order (RFC 4034 §6.1).

    An apex begins with its SOA. A name in several of the zones belongs to the nearest.
    """
    for zone in zones:
        yield zone.soa()
        found = _own_records(zone.frozen(), inner_origins(zone.origin, zones))
        yield from sorted(found, key=lambda each: labels(each.owner)[::-1])


def inner_origins(origin: bytes, zones: Sequence[Zone]) -> Sequence[bytes]:
    """Origins of the zones that are below another one and answer in its place."""
    found = (zone.origin for zone in zones)
    return [inner for inner in found if inner != origin and within(inner, origin)]


class ZoneTransfer:
    """A zone for secondaries. What is at or below one of the origins `inner` is not its own."""

    def __init__(self, zone: Zone, inner: Sequence[bytes]) -> None:
        self._zone: Final = zone
        self._inner = inner

    @property
    def synced(self) -> bool:
        """Whether the zone is whole."""
        return self._zone.store.synced

    def soa(self) -> RRset:
        """The zone's SOA as of now."""
        return self._zone.soa()

    def records(self) -> Iterator[RRset]:
        """All record sets as they are now, SOA first and last (RFC 5936 §2.2).

        They are made as they are asked for, of the zone as it was when this was called.
        """
        for serial in self._zone.serials():
            serial.hand_out()
        return _between_soas(self._zone.frozen(), self._inner)


def _between_soas(zone: Zone, inner: Sequence[bytes]) -> Iterator[RRset]:
    yield zone.soa()
    yield from _own_records(zone, inner)
    yield zone.soa()


def _own_records(zone: Zone, inner: Sequence[bytes]) -> Iterator[RRset]:
    for rrset in zone.records():
        if len(rrset.owner) <= MAX_NAME and not any(within(rrset.owner, each) for each in inner):
            yield rrset
