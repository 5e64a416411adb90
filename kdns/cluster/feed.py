"""The shape every source of objects has: the API server, a folder of manifests, a snapshot."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple, Protocol

from kdns.cluster.objects import Kind, Object


class Upsert(NamedTuple):
    """The object as it is now, whether it was known before or not."""

    object: Object


class Delete(NamedTuple):
    """The object is gone. `namespace` is "" for a Namespace."""

    kind: Kind
    namespace: str
    name: str


class Synced(NamedTuple):
    """All that existed when the feed began has been yielded. Comes once."""


Event = Upsert | Delete | Synced


class FeedError(Exception):
    """A source that cannot be followed: which, why, and what to do, in one line."""


class Feed(Protocol):
    """A source of objects.

    `events()` yields every object that exists, then `Synced`, then changes, for as long as it is
    iterated. Events of one object are in order; nothing is promised across objects. Trouble with
    the source is logged and counted by the feed, and never raised out of the iterator.
    """

    def events(self) -> AsyncGenerator[Event, None]: ...
