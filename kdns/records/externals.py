"""Which Services have which addresses outside of the cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kdns.records.address import IPV4, IPV6
from kdns.records.entries import ServiceEntry
from kdns.records.holders import Holders
from kdns.records.prefixes import Prefixes
from kdns.records.serial import Serial
from kdns.records.services import address_token


class Externals:
    """Service keys by external address; `prefixes`, by family, are what lies above the addresses.

    The addresses of a service are in its entry.
    """

    def __init__(self, serial: Serial) -> None:
        self.serial: Final = serial
        self.holders: Holders[bytes] = Holders()
        self.prefixes: Final = {IPV4: Prefixes(), IPV6: Prefixes()}

    def change(
        self,
        key: bytes,
        old: ServiceEntry | None,
        new: ServiceEntry | None,
        clock: Callable[[], float],
        touched: set[bytes],
    ) -> None:
        """A service was `old` and is `new`."""
        if _visible(old) == _visible(new):
            return
        before, after = set(_addresses(old)), set(_addresses(new))
        for packed in before - after:
            if self.holders.remove(packed, key):
                self.prefixes[len(packed)].remove(packed)
        for packed in after - before:
            if self.holders.add(packed, key):
                self.prefixes[len(packed)].add((packed,))
        touched.update(map(address_token, before ^ after))
        self.serial.move(clock(), touched)

    def frozen(self) -> Externals:
        """A copy that stays as this is now, to be read only; without `prefixes`."""
        copy = Externals(self.serial.copy())
        copy.holders = self.holders.copy()
        return copy


def _visible(entry: ServiceEntry | None) -> object:
    """What zones of external addresses can show of a service; None where that is nothing."""
    if entry is None or entry.external is None:
        return None
    return entry.external, entry.ports


def _addresses(entry: ServiceEntry | None) -> tuple[bytes, ...]:
    return () if entry is None or entry.external is None else entry.external.addresses
