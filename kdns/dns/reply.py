"""A decision about a query, before it is bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Final, Literal, NamedTuple, Protocol

from kdns.dns import codes
from kdns.dns.rdata import RRset

EPOCH: Final = b"\xff"

STEADY: Final = 1 << 16
"""`steady` of a reply none of whose TTLs count down."""


class CacheUse(NamedTuple):
    """How a cache took part in an answer; labels of `coredns_cache_…_total`.

    `zones` are the cache's own in text, as the Corefile has them.
    """

    outcome: Literal["success", "denial", "miss"]
    zones: str
    stale: bool = False


class Denial(Protocol):
    """What a zone can say of all its non-existent names at once.

    Many names that do not exist get one and the same answer but for the question; this lets the
    frontend give it without asking the chain again.
    """

    origin: bytes
    """The zone's absolute lower-case wire name."""

    def denies(self, name: bytes) -> bool:
        """Whether a lower-case name that ends in `origin` surely does not exist, for any type.

        False says nothing: the chain decides, as it does for bytes that are no well-formed name.
        Looks at the records as they are now.
        """


@dataclass(slots=True)
class Reply:
    """What to answer, and what the answer was made from.

    Section lists hold record sets in the order they are sent. `rotate` says that the order of the
    last address set in the answer carries no meaning, and may move from one asker to the next.

    What it was made from: `reads` are the store names that were looked at, whether they existed or
    not; one that begins with EPOCH is read by very many replies, which are all forgotten together
    when it changes. `lifetime` is how long the answer holds in seconds (None: until one of `reads`
    changes, 0: for this asker alone). Where the TTLs count down, `counted` is the whole second of
    the server's clock at which they are as they stand here; those of the answer's first `steady`
    records, which are this server's own, do not. `denial` is set on an NXDOMAIN that stands for
    many names.
    """

    rcode: int = codes.NOERROR
    answer: list[RRset] = field(default_factory=list)
    authority: list[RRset] = field(default_factory=list)
    additional: list[RRset] = field(default_factory=list)
    authoritative: bool = False
    recursion_available: bool = False
    authentic: bool = False
    extended_error: tuple[int, str] | None = None
    rotate: bool = False
    reads: tuple[bytes, ...] = ()
    lifetime: float | None = None
    counted: int | None = None
    steady: int = 0
    denial: Denial | None = None
    transfer: Iterable[RRset] | None = None
    """The records of a whole zone, SOA first and last, to be sent instead of the sections."""

    failure: str = ""
    """Why the server could not answer, for its log; "" where it could."""

    plugin: str = ""
    """The plugin that decided; a label of `coredns_dns_responses_total`."""

    cache: CacheUse | None = None
    """What part a cache had in it; None where no cache was asked."""

    def changed(self, **changes: object) -> Reply:
        """A copy with some fields replaced; it has its sections in common with this."""
        # Four times as fast as dataclasses.replace: there are several on each way of a reply.
        copy = Reply(*_fields(self))
        for name, value in changes.items():
            setattr(copy, name, value)
        return copy


_fields: Final = attrgetter(*(each.name for each in fields(Reply)))


def refusal() -> Reply:
    """REFUSED: no zone of this server, or nobody to ask."""
    return Reply(rcode=codes.REFUSED)
