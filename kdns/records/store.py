"""The incremental store: the cluster's objects as entries under relative wire names.

One store serves every zone. A service key is label(service) + label(namespace) in lower case; at
each key the Service and the slices that name it are kept apart and joined when they are read, so
the order in which objects arrive does not matter. A change costs in proportion to the object that
changed: a slice adds and takes away its own contributions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from typing import Final, TypeVar

from kdns.cluster.feed import Delete, Event, Upsert
from kdns.cluster.objects import EndpointSlice, Namespace, Object, Service
from kdns.dns.reply import EPOCH
from kdns.records.address import IPV4, IPV6
from kdns.records.compiler import Compiler, dns_label
from kdns.records.entries import Node, ServiceEntry, SliceEntry
from kdns.records.holders import Holders
from kdns.records.prefixes import Prefixes

SERIAL: Final = EPOCH + b"serial"
"""The store name that every Reply with an SOA reads; touched when the serial moves."""

_REMEMBERED_COMPLAINTS: Final = 1000

T = TypeVar("T")

_log: Final = logging.getLogger("plugin/kubernetes")


def address_token(address: bytes) -> bytes:
    """The store name of who has an address."""
    return b"@" + address


def pod_token(namespace: bytes, address: bytes) -> bytes:
    """The store name of the pods of a namespace (a wire label) with an address."""
    return b"P" + namespace + address


class Store:
    """The cluster as it was last told; lookups read its public tables and change none.

    `namespaces` are wire labels; `cluster_ips` says which service keys have an address, `endpoints`
    which slices; `prefixes`, by family, what lies above all these addresses; `pods` counts the pods
    of a `pod_token`. The tables stay the same objects for the life of the store.

    `serial` is the Unix time in seconds of the last visible change, 0 before any. `rejected` counts
    objects, and parts of objects, that could not be served.
    """

    def __init__(self, *, clock: Callable[[], float], endpoint_pod_names: bool = False) -> None:
        self.synced = False
        self.serial = 0
        self.rejected = 0
        self.namespaces: set[bytes] = set()
        self.nodes: dict[bytes, Node] = {}
        self.cluster_ips: Holders[bytes] = Holders()
        self.endpoints: Holders[SliceEntry] = Holders()
        self.prefixes: Final = {IPV4: Prefixes(), IPV6: Prefixes()}
        self.pods: dict[bytes, int] = {}
        self._slices: dict[str, SliceEntry] = {}
        self._pod_tokens: dict[str, tuple[bytes, ...]] = {}
        self._clock = clock
        self._compiler = Compiler(endpoint_pod_names=endpoint_pod_names, reject=self._reject)
        self._current = ""
        self._complaints: set[str] = set()

    def apply(self, event: Event) -> Collection[bytes]:
        """Take in one event; the names touched, whose readers are no longer valid.

        An address is touched also by an endpoint that is not ready, when it comes or goes. Never
        raises over what an object says: what cannot be served is left out, counted and logged.
        """
        touched: set[bytes] = set()
        if isinstance(event, Upsert):
            self._upsert(event.object, touched)
        elif isinstance(event, Delete):
            self._delete(event, touched)
        elif not self.synced:
            self.synced = True
            # What was denied until now may have been answered with a failure.
            touched.add(SERIAL)
        return touched

    def verified_pods(self) -> Iterator[tuple[bytes, bytes]]:
        """(namespace as a wire label, packed address) of every pod known."""
        for token in self.pods:
            end = 2 + token[1]
            yield token[1:end], token[end:]

    def _upsert(self, item: Object, touched: set[bytes]) -> None:
        name, namespace = item.metadata.name, item.metadata.namespace
        self._current = f"{type(item).__name__} {namespace}/{name}"
        if isinstance(item, Namespace):
            self._set_namespace(self._checked(name), touched, exists=True)
        elif isinstance(item, Service):
            if key := self._key(name, namespace):
                self._set_service(key, self._compiler.service(item), touched)
        elif isinstance(item, EndpointSlice):
            key = self._key(item.service, namespace) if item.service else None
            self._set_slice(f"{namespace}/{name}", key, item, touched)
        elif label := self._checked(namespace):
            tokens = tuple(pod_token(label, packed) for packed in self._compiler.pod(item))
            self._set_pod(f"{namespace}/{name}", tokens, touched)

    def _delete(self, event: Delete, touched: set[bytes]) -> None:
        name = f"{event.namespace}/{event.name}"
        if event.kind == "Namespace":
            self._set_namespace(dns_label(event.name), touched, exists=False)
        elif event.kind == "Service":
            service, namespace = dns_label(event.name), dns_label(event.namespace)
            if service and namespace:
                self._set_service(service + namespace, None, touched)
        elif event.kind == "EndpointSlice":
            self._set_slice(name, None, None, touched)
        else:
            self._set_pod(name, (), touched)

    def _set_namespace(self, label: bytes | None, touched: set[bytes], *, exists: bool) -> None:
        if label is None or (label in self.namespaces) == exists:
            return
        if exists:
            self.namespaces.add(label)
        else:
            self.namespaces.remove(label)
        self._stamp(touched, label)

    def _set_service(self, key: bytes, new: ServiceEntry | None, touched: set[bytes]) -> None:
        node = self.nodes.get(key)
        old = node.service if node is not None else None
        if new == old:
            return
        node = node or self._node(key)
        node.service = new
        before = frozenset(old.addresses) if old is not None else frozenset()
        after = frozenset(new.addresses) if new is not None else frozenset()
        for packed in before - after:
            self._give_back(self.cluster_ips, packed, node.key)
        for packed in after - before:
            self._take_up(self.cluster_ips, packed, node.key)
        self._prune(node)
        touched.update(map(address_token, before ^ after))
        self._stamp(touched, key)

    def _set_slice(
        self, name: str, key: bytes | None, item: EndpointSlice | None, touched: set[bytes]
    ) -> None:
        """Make a slice what `item` says, or take it away where `key` or `item` is missing."""
        old = self._slices.get(name)
        new = None
        if key is not None and item is not None:
            node = self.nodes.get(key)
            # Addresses that stay keep their objects, which the tables by address share.
            shared = {packed: packed for packed in old.addresses()} if old is not None else {}
            new = self._compiler.slice(item, node.key if node is not None else key, shared)
        if _same(old, new):
            return
        touched.update(map(address_token, _moved_addresses(old, new)))
        for node in {self._node(entry.key) for entry in (old, new) if entry is not None}:
            if _visible(node, old) != _visible(node, new):
                self._stamp(touched, node.key)
        self._move_slice(name, old, new)
        self._move_addresses(old, new)

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

    def _move_addresses(self, old: SliceEntry | None, new: SliceEntry | None) -> None:
        before = old.addresses() if old is not None else set()
        after = new.addresses() if new is not None else set()
        if old is not None:
            for packed in before - after:
                self._give_back(self.endpoints, packed, old)
        if new is not None:
            for packed in after - before:
                self._take_up(self.endpoints, packed, new)
        if old is not None and new is not None:
            for packed in before & after:
                self.endpoints.replace(packed, old, new)

    def _set_pod(self, name: str, new: tuple[bytes, ...], touched: set[bytes]) -> None:
        old = self._pod_tokens.pop(name, ())
        if new:
            self._pod_tokens[name] = new
        for token in set(new) - set(old):
            self.pods[token] = self.pods.get(token, 0) + 1
            if self.pods[token] == 1:
                self._stamp(touched, token)
        for token in set(old) - set(new):
            self.pods[token] -= 1
            if not self.pods[token]:
                del self.pods[token]
                self._stamp(touched, token)

    def _take_up(self, holders: Holders[T], packed: bytes, holder: T) -> None:
        if holders.add(packed, holder):
            self.prefixes[len(packed)].add(packed)

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

    def _stamp(self, touched: set[bytes], token: bytes) -> None:
        """A visible change: the serial is the present second, and never goes back."""
        touched.add(token)
        now = int(self._clock())
        if now > self.serial:
            self.serial = now
            touched.add(SERIAL)

    def _key(self, name: str, namespace: str) -> bytes | None:
        service, below = self._checked(name), self._checked(namespace)
        return service + below if service and below else None

    def _checked(self, name: str) -> bytes | None:
        label = dns_label(name)
        if label is None:
            self._reject(f"{name!r} is no DNS label; the object is left out")
        return label

    def _reject(self, what: str) -> None:
        self.rejected += 1
        complaint = f"{self._current}: {what}"
        if complaint not in self._complaints and len(self._complaints) < _REMEMBERED_COMPLAINTS:
            self._complaints.add(complaint)
            _log.warning("%s", complaint)


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


def _moved_addresses(old: SliceEntry | None, new: SliceEntry | None) -> set[bytes]:
    """Addresses whose holders change; who reads of them otherwise reads the service as well."""
    before = old.addresses() if old is not None else set()
    after = new.addresses() if new is not None else set()
    if old is not None and new is not None and old.key == new.key:
        return before ^ after
    return before | after
