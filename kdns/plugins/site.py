"""A server block while its directives are set up, and what they ask of the process.

Setting up opens no socket and starts nothing, so that a Corefile can be checked without being run;
the composition root does what was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from kdns.cluster.source import Source
from kdns.corefile.arguments import Address
from kdns.corefile.parser import Directive
from kdns.corefile.tokens import CorefileError, Token
from kdns.corefile.zones import ZoneKey, origins
from kdns.dns.names import from_text
from kdns.dns.query import Query
from kdns.dns.reply import Reply
from kdns.forwarding.cache import Settings
from kdns.forwarding.exchange import Heard, Pending, Question
from kdns.forwarding.options import Options
from kdns.plugins.plugin import Answer, Handler, Plugin
from kdns.records.listing import ZoneTransfer
from kdns.records.options import ZoneOptions
from kdns.records.store import Store
from kdns.telemetry.series import SeriesRegistry


class Interface(NamedTuple):
    """One address, in text, of a network interface of this machine.

    A link-local IPv6 address has its interface behind it, as in `fe80::1%eth0`.
    """

    name: str
    address: str


class Forwarder(Protocol):
    """Upstreams, as a `forward` names them; as `kdns.forwarding.forwarder.Forwarder`."""

    def ask(self, query: Query) -> Answer:
        """What the upstreams say. Never raises; SERVFAIL with an extended error in time where
        they say nothing."""

    def aside(self, target: str, reason: str) -> None:
        """Ask an upstream no more, as one that asks back, until it is called `back`.

        It may not be there, or be there again only after its file was read.
        """

    def back(self, target: str) -> None:
        """Ask an upstream again that was put aside. Harmless where it was not."""

    def targets(self) -> list[str]:
        """The upstreams there are now, those put aside too, as in metrics: `10.0.0.2:53`."""

    def probe(self, target: str, question: Question, heard: Heard) -> Pending | None:
        """Ask one upstream, put aside or not, and think neither better nor worse of it for what
        it says; None where it is not there."""


class Forwarding(NamedTuple):
    """One `forward` of a server block, for those who look where it leads to.

    `origin` is the lower-case wire name at or below which names go to the forwarder; `written` is
    the directive without its braces, as in the Corefile.
    """

    forwarder: Forwarder
    origin: bytes
    written: str


class Facilities(Protocol):
    """What the process lends to plugins."""

    series: SeriesRegistry
    """Where plugins count."""

    secret: bytes
    """16 bytes that nobody else knows, the same in all processes of this server."""

    cache: Settings
    """What a `cache` does where its directive says nothing else."""

    def spawn(self, answer: Awaitable[Reply]) -> bool:
        """Wait for an answer that no client waits for; False, and the answer is not waited for,
        where too many are under way."""

    def forget_answers(self) -> None:
        """Nothing that was answered holds any longer, as after a file was read again."""

    def store(self, source: Source) -> Store:
        """The records of a source; equal sources have one store."""

    def forwarder(self, options: Options) -> Forwarder:
        """The forwarder with these options; equal options have one."""

    def age(self, source: Source) -> float:
        """Seconds since a source that is out of touch was last heard of; 0 for any other."""

    def interfaces(self) -> Sequence[Interface]:
        """The addresses of this machine."""

    def clock(self) -> float:
        """Seconds on a clock that never goes back."""


@dataclass(frozen=True, slots=True)
class Health:
    """Serve `/health`; once told to stop, go on serving for `lameduck` seconds."""

    address: Address
    lameduck: float = 0.0


@dataclass(frozen=True, slots=True)
class Ready:
    """Serve `/ready`; with `sticky` a part that was ready once counts as ready for good."""

    address: Address
    sticky: bool = True


@dataclass(frozen=True, slots=True)
class Reload:
    """Look for a changed Corefile every `interval` seconds, give or take `jitter` of them."""

    interval: float
    jitter: float


class Readiness(NamedTuple):
    """A part that is ready or not, under the name of its plugin.

    One that is not `sticky` is asked anew each time, whatever `/ready` makes of the others.
    """

    name: str
    ready: Callable[[], bool]
    sticky: bool = True


Chore = Callable[[], Coroutine[Any, Any, None]]
"""Work that goes on for as long as a Corefile is served: cancelled when it is replaced."""


async def at_the_end(work: Callable[[], None]) -> None:
    """A chore: work for when its Corefile is no longer served, as gauges are to be forgotten."""
    try:
        await asyncio.Event().wait()
    finally:
        work()


Check = Callable[[], Awaitable[None]]
"""What only a running process can tell of a Corefile, before it is served: raises CorefileError."""


@dataclass
class Requests:
    """What all server blocks of a Corefile ask of the process besides answering."""

    health: list[Health] = field(default_factory=list)
    ready: list[Ready] = field(default_factory=list)
    metrics: list[Address] = field(default_factory=list)
    reload: Reload | None = None
    readiness: list[Readiness] = field(default_factory=list)
    chores: list[Chore] = field(default_factory=list)
    gauges: list[Callable[[], None]] = field(default_factory=list)
    """Called before a scrape, to set gauges to what is so now."""

    checks: list[Check] = field(default_factory=list)


class Cluster(NamedTuple):
    """What a `kubernetes` knows that other plugins of its block may want to know.

    `own_addresses` are the packed addresses that this server is asked on.
    """

    store: Store
    options: ZoneOptions
    own_addresses: Sequence[bytes]


Transferer = Callable[[bytes], ZoneTransfer | None]
"""The zone of an origin, a lower-case wire name, for secondaries; None where there is none."""


@dataclass
class Site:
    """One server block, which has these `directives`; relative paths in it begin at `folder`.

    Setups add to `requests`; `hosts` are the addresses the block listens on, none for all of them,
    with as many `sockets` at each, and `metrics` says that its queries are counted. `lookup` is the
    way of a query into this server, as from a client of the block's first address; it may be called
    once all is set up.
    `clusters`, `transferers` and `forwardings` are complete when all is set up.
    """

    keys: tuple[ZoneKey, ...]
    folder: Path
    facilities: Facilities
    requests: Requests
    lookup: Handler
    hosts: list[str] = field(default_factory=list)
    sockets: int = 1
    metrics: bool = False
    directives: frozenset[str] = frozenset()
    clusters: list[Cluster] = field(default_factory=list)
    transferers: list[Transferer] = field(default_factory=list)
    forwardings: list[Forwarding] = field(default_factory=list)

    @property
    def server(self) -> str:
        """The label `server` of the block's first address; right once `bind` is set up."""
        host = self.hosts[0] if self.hosts else ""
        return server_label(host, self.keys[0].port)

    def zones(self, tokens: Sequence[Token]) -> list[bytes]:
        """Lower-case wire names of the zones that arguments name, or else of the block's own."""
        named = [zone for token in tokens for zone in origins(token)]
        texts = named or [key.zone for key in self.keys]
        return [from_text(zone) for zone in dict.fromkeys(texts)]


def server_label(host: str, port: int) -> str:
    """`dns://:53`, or `dns://[::1]:53` with an address, as in CoreDNS's metrics."""
    return f"dns://[{host}]:{port}" if ":" in host else f"dns://{host}:{port}"


Setup = Callable[[Sequence[Directive], Site], Plugin | None]
"""Reads all directives of one name in a block; None where nothing is to be done for a query.

Raises CorefileError.
"""


def only(directives: Sequence[Directive]) -> Directive:
    """The one directive of a name that a block may have."""
    first, *more = directives
    if more:
        raise CorefileError(
            f"{first.name.text} is written twice in a server block, first at {first.position}:"
            " make one of the two",
            more[0].position,
        )
    return first
