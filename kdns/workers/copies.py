"""A worker's stores, which are copies of its parent's."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from kdns.cluster.feed import Synced
from kdns.cluster.source import Source
from kdns.records.serial import Serial
from kdns.records.store import Store
from kdns.stores import new_store
from kdns.workers.messages import Complete, Deleted, FirstSync, State, Upserted, heard

StoreMessage = State | Complete | Upserted | Deleted | FirstSync


class _Copy:
    """A store, and the time that counts for it: the parent's, so that serials are alike."""

    def __init__(self, source: Source) -> None:
        self.now = time.time()
        self.store = new_store(source, lambda: self.now)


class Copies:
    """One store for each source, filled by what the parent says; `forget` hears of names touched.

    `numbers` are how the parent calls the stores, by the text of their source.
    """

    def __init__(self, forget: Callable[[Collection[bytes]], None]) -> None:
        self.numbers: dict[str, int] = {}
        self._forget = forget
        self._copies: dict[int, _Copy] = {}

    def store(self, source: Source) -> Store:
        """The copy of the store of a source. Raises ValueError for one the parent does not have."""
        number = self.numbers.get(repr(source))
        if number is None:
            raise ValueError(f"the parent process does not follow {source}")
        if number not in self._copies:
            self._copies[number] = _Copy(source)
        return self._copies[number].store

    def age(self, source: Source) -> float:  # noqa: ARG002 - the parent knows, and is asked
        return 0.0

    def numbered(self) -> set[int]:
        return set(self._copies)

    def keep(self, numbers: Collection[int]) -> None:
        """Let go of all stores but these."""
        for number in self._copies.keys() - set(numbers):
            del self._copies[number]

    def take(self, message: StoreMessage) -> None:
        """Change a store as the parent's has; what is for a store that is gone is passed over."""
        copy = self._copies.get(message.store)
        if copy is None:
            return
        store = copy.store
        match message:
            case State():
                store.restore(message.items)
            case Complete():
                self._complete(store, message)
            case _:
                copy.now = message.at
                if isinstance(message, FirstSync):
                    store.unconfirmed = message.unconfirmed
                if touched := store.apply(heard(message)):
                    self._forget(touched)

    def _complete(self, store: Store, message: Complete) -> None:
        store.restored = message.restored
        if message.synced:
            store.unconfirmed.clear()
            store.apply(Synced())
        for serial, value in zip(_serials(store), message.serials, strict=True):
            serial.value = value


def serials(store: Store) -> tuple[int, int, int]:
    """As `Complete` has them."""
    first, second, third = (serial.value for serial in _serials(store))
    return first, second, third


def _serials(store: Store) -> tuple[Serial, Serial, Serial]:
    return store.services.serial, store.imports.serial, store.externals.serial
