"""Services with the slices of their endpoints, changed one object at a time.

At each key the Service and the slices that name it are kept apart and joined when they are read,
so the order in which objects arrive does not matter. A change costs in proportion to the object
that changed: a slice adds and takes away its own contributions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from msgspec.structs import replace

from kdns.records.address import IPV4, IPV6
from kdns.records.entries import Node, ServiceEntry, SliceEntry
from kdns.records.holders import Holders
from kdns.records.prefixes import Prefixes
from kdns.records.serial import Serial

T = TypeVar("T")

Make = Callable[[bytes, dict[bytes, bytes]], SliceEntry | None]
"""A slice of the service with this key, None where no endpoint is left of it.

The dict holds addresses whose objects are to be used again; new ones are added to it.
"""


def address_token(address: bytes) -> bytes:
    """The store name of who has an address."""
    return b"@" + address


class Services:
    """The Services of a cluster, or the imported ones of a cluster set (KEP-1645).

    A key is label(service) + label(namespace) in lower case. `cluster_ips` says which keys have an
    address, `endpoints` which slices; `prefixes`, by family, what lies above all these addresses.
    The tables stay the same objects for life. `prefix` tells the store names of two of these apart.
    """

    def __init__(self, serial: Serial, clock: Callable[[], float], prefix: bytes = b"") -> None:
        self.serial: Final = serial
        self.nodes: dict[bytes, Node] = {}
        self.cluster_ips: Holders[bytes] = Holders()
        self.endpoints: Holders[SliceEntry] = Holders()
        self.prefixes: Final = {IPV4: Prefixes(), IPV6: Prefixes()}
        self._slices: dict[str, SliceEntry] = {}
        self._clock = clock
        self._prefix = prefix

    def token(self, key: bytes) -> bytes:
        """The store name of a service."""
        return self._prefix + key

    def set_service(
        self, key: bytes, new: ServiceEntry | None, touched: set[bytes]
    ) -> ServiceEntry | None:
        """Make the service `new`, or take it away; what it was before."""
        node = self.nodes.get(key)
        old = node.service if node is not None else None
        if new == old:
            return old
        node = node or self._node(key)
        node.service = new
        before = frozenset(old.addresses) if old is not None else frozenset()
        after = frozenset(new.addresses) if new is not None else frozenset()
        for packed in before - after:
            self._give_back(self.cluster_ips, packed, node.key)
        for packed in after - before:
            if self.cluster_ips.add(packed, node.key):
                self.prefixes[len(packed)].add((packed,))
        self._prune(node)
        touched.update(map(address_token, before ^ after))
        self._stamp(touched, key)
        return old

    def set_slice(
        self, name: str, key: bytes | None, make: Make | None, touched: set[bytes]
    ) -> None:
        """Make a slice what `make` says, or take it away where `key` or `make` is missing."""
        old = self._slices.get(name)
        before = old.addresses() if old is not None else set()
        new = None
        if key is not None and make is not None:
            node = self.nodes.get(key)
            # Addresses that stay keep their objects, which the tables by address share.
            shared = {packed: packed for packed in before}
            new = make(node.key if node is not None else key, shared)
        if _same(old, new):
            return
        after = new.addresses() if new is not None else set()
        # Who reads of an address that stays in its service reads the service as well.
        stays = old is not None and new is not None and old.key == new.key
        touched.update(map(address_token, before ^ after if stays else before | after))
        for node in {self._node(entry.key) for entry in (old, new) if entry is not None}:
            if _visible(node, old) != _visible(node, new):
                self._stamp(touched, node.key)
        self._move_slice(name, old, new)
        self._move_addresses(old, new, before, after)

    def slices(self) -> list[tuple[str, SliceEntry]]:
        """All slices by namespace/name, as they are now."""
        return list(self._slices.items())

    def restore_slice(self, name: str, entry: SliceEntry) -> None:
        """Put in a slice that is not there yet."""
        entry = replace(entry, key=self._node(entry.key).key)
        self._move_slice(name, None, entry)
        self._move_addresses(None, entry, set(), entry.addresses())

    def frozen(self) -> Services:
        """A copy that stays as this is now, to be read only; without `prefixes`."""
        copy = Services(self.serial.copy(), self._clock, self._prefix)
        copy.nodes = {key: node.copy() for key, node in self.nodes.items()}
        copy.cluster_ips = self.cluster_ips.copy()
        copy.endpoints = self.endpoints.copy()
        return copy

    def _move_slice(self, name: str, old: SliceEntry | None, new: SliceEntry | None) -> None:
        if new is not None:
            self._slices[name] = new
            self.nodes[new.key].put(name, new)
        else:
            del self._slices[name]
        if old is not None and (new is None or new.key != old.key):
            node = self.nodes[old.key]
            node.drop(name)
            self._prune(node)

    def _move_addresses(
        self,
        old: SliceEntry | None,
        new: SliceEntry | None,
        before: set[bytes],
        after: set[bytes],
    ) -> None:
        if old is not None:
            for packed in before - after:
                self._give_back(self.endpoints, packed, old)
        if new is not None:
            fresh = self.endpoints.add_all(after - before, new)
            self.prefixes[new.family].add(fresh)
        if old is not None and new is not None:
            self.endpoints.replace(before & after, old, new)

    def _give_back(self, holders: Holders[T], packed: bytes, holder: T) -> None:
        if holders.remove(packed, holder):
            self.prefixes[len(packed)].remove(packed)

    def _node(self, key: bytes) -> Node:
        node = self.nodes.get(key)
        if node is None:
            node = self.nodes[key] = Node(key)
        return node

    def _prune(self, node: Node) -> None:
        if node.service is None and not node.slices:
            del self.nodes[node.key]

    def _stamp(self, touched: set[bytes], key: bytes) -> None:
        touched.add(self.token(key))
        self.serial.move(self._clock(), touched)


def _same(old: SliceEntry | None, new: SliceEntry | None) -> bool:
    if old is None or new is None:
        return old is new
    return (old.key, old.ready, old.unready, old.ports) == (
        new.key,
        new.ready,
        new.unready,
        new.ports,
    )


def _visible(node: Node, entry: SliceEntry | None) -> object:
    """What answers about a node's service can show of a slice; None where that is nothing."""
    if entry is None or entry.key != node.key:
        return None
    groups = node.groups(entry)
    return (groups, entry.ports) if any(group.addresses for group in groups) else None
