"""What an API server keeps: objects by resource, versions, and the events that watchers replay."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Manifest = dict[str, Any]
"""A Kubernetes object as plain JSON data, `apiVersion` and `kind` included."""

EventType = Literal["ADDED", "MODIFIED", "DELETED"]
Selected = Callable[[Manifest], bool]
"""Whether the label and field selectors of a request take an object."""

HISTORY = 1000  # events a resource can replay before a watch from there is told "410 Expired"


class Resource(NamedTuple):
    """One kind of object and where the API serves it."""

    group_version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def root(self) -> str:
        """The path below which this group and version is served, without a slash at its end."""
        return f"/apis/{self.group_version}" if "/" in self.group_version else "/api/v1"

    def path(self, namespace: str, name: str) -> str:
        """The path of one object."""
        within = f"/namespaces/{namespace}" if self.namespaced else ""
        return f"{self.root}{within}/{self.plural}/{name}"


RESOURCES = (
    Resource("v1", "namespaces", "Namespace", namespaced=False),
    Resource("v1", "services", "Service", namespaced=True),
    Resource("v1", "pods", "Pod", namespaced=True),
    Resource("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", namespaced=True),
    Resource("multicluster.x-k8s.io/v1alpha1", "serviceimports", "ServiceImport", namespaced=True),
)
BY_KIND = {resource.kind: resource for resource in RESOURCES}


class Event(NamedTuple):
    """`before` is None for an object that is new; `version` is the one that the change made."""

    version: int
    type: EventType
    object: Manifest
    before: Manifest | None

    def seen_through(self, selected: Selected) -> EventType | None:
        """The event's type for a watch with selectors; None where the watch sees nothing of it."""
        was = self.before is not None and selected(self.before)
        if self.type == "DELETED":
            return "DELETED" if was else None
        if selected(self.object):
            return "MODIFIED" if was else "ADDED"
        return "DELETED" if was else None


@dataclass
class Shelf:
    """All objects of one resource, by (namespace, name), and their latest events."""

    objects: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    history: deque[Event] = field(default_factory=lambda: deque(maxlen=HISTORY))
    forgotten: int = 0
    """Version of the newest event that the history has dropped."""
    watchers: set[asyncio.Queue[Event]] = field(default_factory=set)


class Expired(LookupError):
    """The version asked for is older than the history; the reader has to list again."""


class Storage:
    """Objects of the resources that DNS is made from, under one rising resourceVersion."""

    def __init__(self, objects: Iterable[Manifest] = ()) -> None:
        self.version = 1
        self._shelves = {resource.plural: Shelf() for resource in RESOURCES}
        for manifest in objects:
            self.put(manifest)

    def objects(self, plural: str) -> Iterator[Manifest]:
        yield from self._shelves[plural].objects.values()

    def get(self, plural: str, namespace: str, name: str) -> Manifest | None:
        return self._shelves[plural].objects.get((namespace, name))

    def put(self, manifest: Manifest) -> Manifest:
        """Creates or replaces an object; returns it as kept, with its new resourceVersion.

        Raises KeyError for a kind that is not served or an object without a name.
        """
        resource = BY_KIND[manifest["kind"]]
        shelf = self._shelves[resource.plural]
        metadata = manifest["metadata"]
        key = (metadata["namespace"] if resource.namespaced else "", metadata["name"])
        before = shelf.objects.get(key)
        self.version += 1
        uid = before["metadata"]["uid"] if before else f"{resource.kind}-{self.version}".lower()
        kept = {
            **manifest,
            "metadata": {"uid": uid, **metadata, "resourceVersion": str(self.version)},
        }
        shelf.objects[key] = kept
        self._publish(shelf, Event(self.version, "MODIFIED" if before else "ADDED", kept, before))
        return kept

    def delete(self, plural: str, namespace: str, name: str) -> Manifest | None:
        """Removes an object and returns its last state, or None where there was none."""
        shelf = self._shelves[plural]
        before = shelf.objects.pop((namespace, name), None)
        if before is None:
            return None
        self.version += 1
        last = {
            **before,
            "metadata": {**before["metadata"], "resourceVersion": str(self.version)},
        }
        self._publish(shelf, Event(self.version, "DELETED", last, before))
        return last

    def since(self, plural: str, version: int) -> list[Event]:
        """Events after `version`, oldest first. Raises Expired where some are no longer known."""
        shelf = self._shelves[plural]
        if version < shelf.forgotten:
            raise Expired(f"too old resource version: {version} ({shelf.forgotten})")
        return [event for event in shelf.history if event.version > version]

    def subscribe(self, plural: str) -> asyncio.Queue[Event]:
        """A queue that gets every event from now on, until it is given to `unsubscribe`."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._shelves[plural].watchers.add(queue)
        return queue

    def unsubscribe(self, plural: str, queue: asyncio.Queue[Event]) -> None:
        self._shelves[plural].watchers.discard(queue)

    def _publish(self, shelf: Shelf, event: Event) -> None:
        if len(shelf.history) == HISTORY:
            shelf.forgotten = shelf.history[0].version
        shelf.history.append(event)
        for queue in shelf.watchers:
            queue.put_nowait(event)
