"""A Corefile as routers for its listening addresses, and what else it asks for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from kdns.corefile.parser import Corefile, Directive, ServerBlock
from kdns.corefile.tokens import CorefileError
from kdns.corefile.zones import Listener, refuse_overlap
from kdns.dns.names import from_text
from kdns.dns.query import Query
from kdns.dns.reply import refusal
from kdns.plugins.chain import Block, Router, chain
from kdns.plugins.order import NAMES, ORDER
from kdns.plugins.plugin import Answer, Plugin
from kdns.plugins.site import Facilities, Requests, Site, server_label

_EVERY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


class Endpoint(NamedTuple):
    """Where to listen: `host` is an address in text, or "" for all of this machine's."""

    host: str
    port: int

    @property
    def server(self) -> str:
        """The label of its metrics: `dns://:53`, or `dns://[::1]:53` with an address."""
        return server_label(self.host, self.port)


class Enabled(NamedTuple):
    """A plugin that a server block has; labels of `coredns_plugin_enabled`."""

    server: str
    zone: str
    plugin: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to serve: a router for each place to listen, and the requests of plugins.

    `workers` is how many processes are to serve it.
    """

    routers: dict[Endpoint, Router]
    requests: Requests
    enabled: tuple[Enabled, ...]
    workers: int = 1


def plan(corefile: Corefile, folder: Path, facilities: Facilities) -> Plan:
    """Set up every directive of a Corefile whose relative paths begin at `folder`.

    Opens nothing and starts nothing. Raises CorefileError, also for directives that are not known.
    """
    requests = Requests()
    blocks: dict[Endpoint, list[Block]] = defaultdict(list)
    enabled: list[Enabled] = []
    listeners: list[Listener] = []
    routers: dict[Endpoint, Router] = {}
    sockets: dict[Endpoint, int] = {}
    for block in corefile.blocks:
        names = frozenset(directive.name.text for directive in block.directives)
        lookup = _Lookup(routers)
        site = Site(block.keys, folder, facilities, requests, lookup, directives=names)
        handler = chain(list(_plugins(block, site)))
        for key in block.keys:
            if key.transport != "dns":
                raise CorefileError(
                    f"kdns does not serve {key.transport}://: write the zone without it, for DNS"
                    " over UDP and TCP",
                    key.position,
                )
            served = Block(key.zone, from_text(key.zone), handler, site.metrics)
            for host in site.hosts or [""]:
                endpoint = Endpoint(host, key.port)
                lookup.endpoint = lookup.endpoint or endpoint
                blocks[endpoint].append(served)
                # The first server block of an address has the say (CoreDNS).
                sockets.setdefault(endpoint, site.sockets)
                listeners.append(Listener(key, host))
                enabled += [
                    Enabled(endpoint.server, key.zone, name) for name in NAMES if name in names
                ]
    refuse_overlap(listeners)
    _refuse_twins(listeners)
    routers.update((endpoint, Router(served)) for endpoint, served in blocks.items())
    return Plan(routers, requests, tuple(enabled), max(sockets.values(), default=1))


class _Lookup:
    """The way of a server block's own questions into the server."""

    def __init__(self, routers: Mapping[Endpoint, Router]) -> None:
        self.endpoint: Endpoint | None = None
        self._routers = routers

    def __call__(self, query: Query) -> Answer:
        router = self._routers[self.endpoint] if self.endpoint is not None else Router()
        block = router.route(query.name, query.qtype)
        if block is None or block.handler is None:
            return refusal()
        return block.handler(query)


def _refuse_twins(listeners: list[Listener]) -> None:
    """Raise CorefileError where every address would be listened on twice, by two routers."""
    everywhere = {key.port: key for key, address, _ in listeners if not address}
    for key, address, _ in listeners:
        if address in _EVERY_ADDRESS and key.port in everywhere:
            other = everywhere[key.port].position
            raise CorefileError(
                f"every address of port {key.port} is listened on already, as of {other}: take out"
                f" bind {address}, or bind that block too",
                key.position,
            )


def _plugins(block: ServerBlock, site: Site) -> Iterator[Plugin]:
    """The block's plugins that take part in answering, in their one order."""
    written: dict[str, list[Directive]] = defaultdict(list)
    for directive in block.directives:
        written[directive.name.text].append(directive)
    for name, directives in written.items():
        if name not in NAMES:
            raise CorefileError(
                f"there is no plugin {name!r}: take it out, or write one of {', '.join(NAMES)}",
                directives[0].position,
            )
    for name, setup in ORDER:
        if name in written:
            plugin = setup(written[name], site)
            if plugin is not None:
                yield plugin
