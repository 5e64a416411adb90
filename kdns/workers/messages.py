"""What the parent and a worker say to each other, and its bytes.

A store is known by a number, which `Configure` gives to the source it is of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

import msgspec
from msgspec import Struct

from kdns.cluster.feed import Delete, Event, Synced, Upsert
from kdns.cluster.objects import (
    EndpointSlice,
    Kind,
    Namespace,
    Object,
    Pod,
    Service,
    ServiceImport,
)
from kdns.corefile.parser import Corefile
from kdns.records.store import Saved
from kdns.telemetry.counts import Counts


class Configure(Struct, tag=0, array_like=True):
    """Plan this Corefile; `folder` is what its relative paths begin at. A step.

    `secret` is as in Facilities; `sources` are the numbers of its stores, by their source's text.
    """

    corefile: Corefile
    folder: str
    secret: bytes
    sources: dict[str, int]


class State(Struct, tag=1, array_like=True):
    """Some of what a store holds, for a copy of it that is not complete."""

    store: int
    items: list[Saved]


class Complete(Struct, tag=2, array_like=True):
    """The copy of a store is complete, and these are its flags and serials."""

    store: int
    synced: bool
    restored: bool
    serials: tuple[int, int, int]


class Upserted(Struct, tag=3, array_like=True):
    """An object is what it is now; `at` is the Unix time that counts for the zone's serial."""

    store: int
    at: float
    kind: Kind
    object: msgspec.Raw


class Deleted(Struct, tag=4, array_like=True):
    """An object is gone."""

    store: int
    at: float
    kind: Kind
    namespace: str
    name: str


class FirstSync(Struct, tag=5, array_like=True):
    """All there is was heard once; what is `unconfirmed` is gone, by name or by wire name."""

    store: int
    at: float
    names: list[tuple[str, str]]
    wire_names: list[tuple[str, bytes]]

    @property
    def unconfirmed(self) -> set[tuple[str, str | bytes]]:
        return {*self.names, *self.wire_names}


class Bind(Struct, tag=6, array_like=True):
    """Open what the plan listens on, and do not serve it yet. A step."""


class Serve(Struct, tag=7, array_like=True):
    """Serve what was planned and bound. A step."""


class Abandon(Struct, tag=8, array_like=True):
    """Go on with what is served: nothing comes of what was planned."""


class Ping(Struct, tag=9, array_like=True):
    """Say that you are there."""


class Count(Struct, tag=10, array_like=True):
    """Say what you have counted."""


class Stop(Struct, tag=11, array_like=True):
    """Answer what has arrived, say what you have counted, and end."""


Order = (
    Configure
    | State
    | Complete
    | Upserted
    | Deleted
    | FirstSync
    | Bind
    | Serve
    | Abandon
    | Ping
    | Count
    | Stop
)
"""From the parent to a worker."""


class Done(Struct, tag=0, array_like=True):
    """The last step is done."""


class Refused(Struct, tag=1, array_like=True):
    """The last step cannot be done, and why, for whoever wrote the Corefile."""

    why: str


class Pong(Struct, tag=2, array_like=True):
    """The answer to `Ping`."""


class Counted(Struct, tag=3, array_like=True):
    """All that was counted since the worker began."""

    counts: Counts


Report = Done | Refused | Pong | Counted
"""From a worker to the parent."""

encode: Final = msgspec.msgpack.Encoder().encode
order: Final = msgspec.msgpack.Decoder(Order).decode
report: Final = msgspec.msgpack.Decoder(Report).decode

_objects: Final[dict[str, Callable[[msgspec.Raw], Any]]] = {
    kind.__name__: msgspec.msgpack.Decoder(kind).decode
    for kind in (Namespace, Service, EndpointSlice, Pod, ServiceImport)
}


def told(
    store: int, at: float, event: Event, unconfirmed: Collection[tuple[str, str | bytes]]
) -> bytes:
    """An event as the parent passes it on; what is `unconfirmed` matters to `Synced` alone."""
    match event:
        case Upsert(item):
            raw = msgspec.Raw(encode(item))
            # The type's name is its kind.
            return encode(Upserted(store, at, type(item).__name__, raw))  # type: ignore[arg-type]
        case Delete(kind, namespace, name):
            return encode(Deleted(store, at, kind, namespace, name))
        case _:
            names = [(kind, name) for kind, name in unconfirmed if isinstance(name, str)]
            wire = [(kind, name) for kind, name in unconfirmed if isinstance(name, bytes)]
            return encode(FirstSync(store, at, names, wire))


def heard(message: Upserted | Deleted | FirstSync) -> Event:
    """The event that a message tells of."""
    match message:
        case Upserted():
            item: Object = _objects[message.kind](message.object)
            return Upsert(item)
        case Deleted():
            return Delete(message.kind, message.namespace, message.name)
        case _:
            return Synced()
