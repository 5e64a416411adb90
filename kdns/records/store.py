"""The incremental store: the cluster's objects as entries under relative wire names.

One store serves every zone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, cast

from msgspec import Struct

from kdns.cluster.feed import Delete, Event, Upsert
from kdns.cluster.objects import EndpointSlice, Kind, Namespace, Object, Service, ServiceImport
from kdns.dns.names import labels
from kdns.records.compiler import Compiler, dns_label
from kdns.records.entries import ServiceEntry, SliceEntry
from kdns.records.externals import Externals
from kdns.records.serial import EXTERNAL_SERIAL, IMPORTS_SERIAL, SERIAL, Serial
from kdns.records.services import Services

_REMEMBERED_COMPLAINTS: Final = 1000
_IMPORTED: Final = b"M"

_log: Final = logging.getLogger("plugin/kubernetes")


def pod_token(namespace: bytes, address: bytes) -> bytes:
    """The store name of the pods of a namespace (a wire label) with an address."""
    return b"P" + namespace + address


class Complaints:
    """What could not be served of objects: counted, and logged once. `subject` is the object."""

    def __init__(self) -> None:
        self.subject = ""
        self.count = 0
        self._made: set[str] = set()

    def add(self, what: str) -> None:
        """Something of the subject, said in words, is left out."""
        self.count += 1
        complaint = f"{self.subject}: {what}"
        if complaint not in self._made and len(self._made) < _REMEMBERED_COMPLAINTS:
            self._made.add(complaint)
            _log.warning("%s", complaint)


class SavedNamespace(Struct, frozen=True, tag="n"):
    """A namespace as a snapshot has it: its wire label."""

    label: bytes


class SavedService(Struct, frozen=True, tag="s"):
    """A Service, or an imported one, and its key."""

    key: bytes
    entry: ServiceEntry
    imported: bool = False


class SavedSlice(Struct, frozen=True, tag="e"):
    """An EndpointSlice by namespace/name, of a Service or of an imported one."""

    name: str
    entry: SliceEntry
    imported: bool = False


class SavedPod(Struct, frozen=True, tag="p"):
    """A pod by namespace/name, and its tokens."""

    name: str
    tokens: tuple[bytes, ...]


Saved = SavedNamespace | SavedService | SavedSlice | SavedPod


class Store:
    """The cluster as it was last told; lookups read its public tables and change none.

    `namespaces` are wire labels; `services` the cluster's own, `imports` those of the cluster set,
    kept with `multicluster` alone; `externals` says which services have addresses outside; `pods`
    counts the pods of a `pod_token`. With `zonal` endpoints keep their topology zones.

    `restored` says that what is here until `synced` is what an earlier process knew; what is
    `unconfirmed` of it, by kind and name, goes with the first sync.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        endpoint_pod_names: bool = False,
        zonal: bool = False,
        multicluster: bool = False,
    ) -> None:
        self.synced = False
        self.restored = False
        self.namespaces: set[bytes] = set()
        self.services = Services(Serial(SERIAL), clock)
        self.imports = Services(Serial(IMPORTS_SERIAL), clock, _IMPORTED)
        self.externals = Externals(Serial(EXTERNAL_SERIAL))
        self.pods: dict[bytes, int] = {}
        self._pod_tokens: dict[str, tuple[bytes, ...]] = {}
        self.unconfirmed: set[tuple[str, str | bytes]] = set()
        self._multicluster = multicluster
        self._clock = clock
        self._complaints = Complaints()
        self._compiler = Compiler(
            endpoint_pod_names=endpoint_pod_names, zonal=zonal, reject=self._complaints.add
        )

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
            self._drop_unconfirmed(touched)
            self.synced = True
            # What was denied until now may have been answered with a failure.
            touched.add(SERIAL)
        return touched

    @property
    def rejected(self) -> int:
        """Objects, and parts of objects, that could not be served."""
        return self._complaints.count

    def saved(self) -> Iterator[Saved]:
        """All that `restore` needs; what changes meanwhile comes as it was or as it is."""
        yield from map(SavedNamespace, list(self.namespaces))
        for imported, services in ((False, self.services), (True, self.imports)):
            for key, node in list(services.nodes.items()):
                if node.service is not None:
                    yield SavedService(key, node.service, imported)
            for name, entry in services.slices():
                yield SavedSlice(name, entry, imported)
        for name, tokens in list(self._pod_tokens.items()):
            yield SavedPod(name, tokens)

    def restore(self, items: Iterable[Saved]) -> None:
        """Put into a store that is not synced what another had; once for each item.

        What no event confirms until `Synced` is dropped then.
        """
        touched: set[bytes] = set()
        self.restored = True
        for item in items:
            self.unconfirmed.add(_named(item))
            match item:
                case SavedNamespace(label):
                    self._set_namespace(label, touched, exists=True)
                case SavedService(key, entry, True):
                    self.imports.set_service(key, entry, touched)
                case SavedService(key, entry):
                    self._set_service(key, entry, touched)
                case SavedSlice(name, entry, imported):
                    (self.imports if imported else self.services).restore_slice(name, entry)
                case SavedPod(name, tokens):
                    self._set_pod(name, tokens, touched)

    def doubt(self) -> None:
        """All will be told again from the start: what is known is `unconfirmed` until it is."""
        self.unconfirmed = set(map(_named, self.saved()))

    def unconfirmed_deletes(self) -> Iterator[Delete]:
        """What the first sync would take away all at once, as events that do it one by one."""
        for kind, known in list(self.unconfirmed):
            if isinstance(known, bytes):
                name, *within = (label.decode() for label in labels(known))
                yield Delete(cast("Kind", kind), "".join(within), name)
            else:
                namespace, _, name = known.partition("/")
                yield Delete(cast("Kind", kind), namespace, name)

    def verified_pods(self) -> Iterator[tuple[bytes, bytes]]:
        """(namespace as a wire label, packed address) of every pod known."""
        for token in self.pods:
            end = 2 + token[1]
            yield token[1:end], token[end:]

    def is_headless(self, service: str, namespace: str) -> bool:
        """Whether the Service of this name is known and headless."""
        name, below = dns_label(service), dns_label(namespace)
        node = self.services.nodes.get(name + below) if name and below else None
        return node is not None and node.service is not None and node.service.kind == "Headless"

    def frozen(self) -> Store:
        """A copy that stays as this store is now, to be read only."""
        copy = Store(clock=self._clock)
        copy.synced = self.synced
        copy.namespaces = self.namespaces.copy()
        copy.services = self.services.frozen()
        copy.imports = self.imports.frozen()
        copy.externals = self.externals.frozen()
        copy.pods = self.pods.copy()
        return copy

    def _drop_unconfirmed(self, touched: set[bytes]) -> None:
        for kind, name in self.unconfirmed:
            match kind, name:
                case "Namespace", bytes(label):
                    self._set_namespace(label, touched, exists=False)
                case "Service", bytes(key):
                    self._set_service(key, None, touched)
                case "ServiceImport", bytes(key):
                    self.imports.set_service(key, None, touched)
                case "Pod", str(name):
                    self._set_pod(name, (), touched)
                case _, str(name):
                    for services in (self.services, self.imports):
                        services.set_slice(name, None, None, touched)
        self.unconfirmed.clear()

    def _confirm(self, kind: str, namespace: str, name: str) -> None:
        """What was restored of an object is out of the API server's own mouth now."""
        known: str | bytes | None = f"{namespace}/{name}"
        if kind == "Namespace":
            known = dns_label(name)
        elif kind in {"Service", "ServiceImport"}:
            label, below = dns_label(name), dns_label(namespace)
            known = label + below if label and below else None
        if known is not None:
            self.unconfirmed.discard((kind, known))

    def _upsert(self, item: Object, touched: set[bytes]) -> None:
        name, namespace = item.metadata.name, item.metadata.namespace
        kind = type(item).__name__
        if self.unconfirmed:
            self._confirm(kind, namespace, name)
        self._complaints.subject = f"{kind} {namespace}/{name}"
        if isinstance(item, Namespace):
            self._set_namespace(self._checked(name), touched, exists=True)
        elif isinstance(item, Service):
            if key := self._key(name, namespace):
                self._set_service(key, self._compiler.service(item), touched)
        elif isinstance(item, EndpointSlice):
            self._set_slice(item, touched)
        elif isinstance(item, ServiceImport):
            if self._multicluster and (key := self._key(name, namespace)):
                self.imports.set_service(key, self._compiler.service_import(item), touched)
        elif label := self._checked(namespace):
            tokens = tuple(pod_token(label, packed) for packed in self._compiler.pod(item))
            self._set_pod(f"{namespace}/{name}", tokens, touched)

    def _delete(self, event: Delete, touched: set[bytes]) -> None:
        if self.unconfirmed:
            self._confirm(*event)
        name = f"{event.namespace}/{event.name}"
        if event.kind == "Namespace":
            self._set_namespace(dns_label(event.name), touched, exists=False)
        elif event.kind == "EndpointSlice":
            for services in (self.services, self.imports):
                services.set_slice(name, None, None, touched)
        elif event.kind == "Pod":
            self._set_pod(name, (), touched)
        else:
            service, namespace = dns_label(event.name), dns_label(event.namespace)
            if service and namespace and event.kind == "Service":
                self._set_service(service + namespace, None, touched)
            elif service and namespace:
                self.imports.set_service(service + namespace, None, touched)

    def _set_namespace(self, label: bytes | None, touched: set[bytes], *, exists: bool) -> None:
        if label is None or (label in self.namespaces) == exists:
            return
        if exists:
            self.namespaces.add(label)
        else:
            self.namespaces.remove(label)
        touched.add(label)
        now = self._clock()
        for part in (self.services, self.imports, self.externals):
            part.serial.move(now, touched)

    def _set_service(self, key: bytes, new: ServiceEntry | None, touched: set[bytes]) -> None:
        old = self.services.set_service(key, new, touched)
        self.externals.change(key, old, new, self._clock, touched)

    def _set_slice(self, item: EndpointSlice, touched: set[bytes]) -> None:
        metadata = item.metadata
        name = f"{metadata.namespace}/{metadata.name}"
        key = self._key(item.service, metadata.namespace) if item.service else None
        self.services.set_slice(
            name, key, lambda key, shared: self._compiler.slice(item, key, shared), touched
        )
        if self._multicluster:
            of = item.service_import
            key = self._key(of, metadata.namespace) if of else None
            cluster = self._compiler.cluster(item.source_cluster) if key else b""
            self.imports.set_slice(
                name,
                key,
                lambda key, shared: self._compiler.slice(item, key, shared, cluster),
                touched,
            )

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

    def _stamp(self, touched: set[bytes], token: bytes) -> None:
        touched.add(token)
        self.services.serial.move(self._clock(), touched)

    def _key(self, name: str, namespace: str) -> bytes | None:
        service, below = self._checked(name), self._checked(namespace)
        return service + below if service and below else None

    def _checked(self, name: str) -> bytes | None:
        label = dns_label(name)
        if label is None:
            self._complaints.add(f"{name!r} is no DNS label; the object is left out")
        return label


def _named(item: Saved) -> tuple[str, str | bytes]:
    """As `Store.unconfirmed` has it."""
    match item:
        case SavedNamespace(label):
            return "Namespace", label
        case SavedService(key):
            return "ServiceImport" if item.imported else "Service", key
        case SavedSlice(name):
            return "EndpointSlice", name
        case SavedPod(name):
            return "Pod", name
