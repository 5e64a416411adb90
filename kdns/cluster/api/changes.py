"""What a watch says, line by line, and the little of an object that says which one it is."""

from __future__ import annotations

from typing import Generic, TypeVar

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from kdns.cluster.api.known import Fingerprint, fingerprint

INITIAL_EVENTS_END = "k8s.io/initial-events-end"

T = TypeVar("T")


class Change(Struct, Generic[T], gc=False):
    """A line of a watch whose object is one of the resource."""

    type: str
    object: T


class Envelope(Struct):
    """A line of a watch, whatever its object is."""

    type: str
    object: Raw


class Identity(Struct, gc=False, rename="camel"):
    """`metadata` of an object, or of a bookmark, which is about none."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    annotations: dict[str, str] | None = None

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def fingerprint(self) -> Fingerprint:
        return fingerprint(self.uid, self.resource_version)

    @property
    def ends_initial_events(self) -> bool:
        return (self.annotations or {}).get(INITIAL_EVENTS_END) == "true"


class Partial(Struct, gc=False):
    """An object of which only the metadata matters."""

    metadata: Identity = field(default_factory=Identity)


envelope = Decoder(Envelope).decode
partial = Decoder(Partial).decode
