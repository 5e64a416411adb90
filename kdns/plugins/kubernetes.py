"""`kubernetes [ZONE...] { … }`: the names of a cluster."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal, cast

from kdns.cluster.source import Source
from kdns.corefile.arguments import Properties, arguments, choice, duration, integer
from kdns.corefile.parser import Directive
from kdns.corefile.tokens import CorefileError, Token
from kdns.corefile.zones import origins
from kdns.dns import codes
from kdns.dns.names import MAX_LABEL, ROOT, from_text, suffixes
from kdns.dns.query import Query
from kdns.dns.reply import Reply
from kdns.plugins.fallthrough import Fallthrough
from kdns.plugins.fallthrough import read as read_fallthrough
from kdns.plugins.plugin import Answer, Handler, then
from kdns.plugins.site import Readiness, Site, only
from kdns.plugins.source import read_source
from kdns.records.forward import ForwardZone
from kdns.records.multicluster import MulticlusterZone
from kdns.records.options import ZoneOptions
from kdns.records.reverse import ReverseZone
from kdns.records.store import Store
from kdns.records.zone import within

_REVERSE: Final = (from_text("in-addr.arpa"), from_text("ip6.arpa"))
_MAX_TTL: Final = 3600

Zone = ForwardZone | ReverseZone


class Kubernetes:
    """Answers for the zones of one cluster."""

    name: ClassVar[str] = "kubernetes"
    uniform: ClassVar[bool] = True

    def __init__(self, store: Store, zones: Sequence[Zone], fallthrough: Fallthrough) -> None:
        self._store = store
        self._zones: Mapping[bytes, Zone] = {zone.origin: zone for zone in zones}
        self._fallthrough = fallthrough

    def handle(self, query: Query, next_: Handler) -> Answer:
        zone = self._zone(query.name)
        if zone is None:
            return next_(query)
        if not self._store.synced:
            return self._unsynced(query, next_)
        reply = zone.lookup(query.name, query.qtype)
        if reply.rcode != codes.NXDOMAIN or reply.answer:
            return reply
        if self._fallthrough.takes(query.name):
            return then(next_(query), lambda found: _also_made_from(found, reply))
        if reply.denial is not None and not self._uncut(zone.origin):
            return reply.changed(denial=None)
        return reply

    def _zone(self, name: bytes) -> Zone | None:
        found = (self._zones.get(suffix) for _, suffix in suffixes(name))
        return next((zone for zone in found if zone), self._zones.get(ROOT))

    def _uncut(self, origin: bytes) -> bool:
        """Whether all names below a zone are its own, and none of them falls through."""
        below = (*self._zones, *self._fallthrough.zones)
        return not any(other != origin and other.endswith(origin) for other in below)

    def _unsynced(self, query: Query, next_: Handler) -> Answer:
        """Part of the cluster is worse than none of it (RFC 8914 §4.15)."""
        if self._fallthrough.takes(query.name):
            return then(next_(query), lambda reply: reply.changed(lifetime=0))
        return Reply(
            rcode=codes.SERVFAIL,
            extended_error=(codes.EDE_NOT_READY, "the cluster's records are not loaded yet"),
            lifetime=0,
            plugin=self.name,
        )


def setup(directives: Sequence[Directive], site: Site) -> Kubernetes:
    """Read the directive and find its records."""
    directive = only(directives)
    zones = _zones(arguments(directive, "[ZONE...]"), site)
    with Properties(directive) as properties:
        source = read_source(directive, properties, site.folder)
        options = _options(properties)
        fallthrough = read_fallthrough(properties)
        multicluster = _multicluster(properties, zones)
        stale_after = properties.value("stale_after", duration(low=1), None)
    if options.namespaces is not None and source.selection.namespace_labels:
        raise CorefileError(
            "namespaces and namespace_labels both say which namespaces are shown: take one out",
            directive.position,
        )
    forward = [zone for zone in zones if not _is_reverse(zone)]
    if not forward:
        raise CorefileError(
            "kubernetes has reverse zones alone, and PTR records need a zone to point into: add"
            " one, such as cluster.local",
            directive.position,
        )
    store = site.facilities.store(source)
    _request_readiness(site, source, store, stale_after)
    own = _own_addresses(site)
    served: list[Zone] = [
        (MulticlusterZone if zone in multicluster else ForwardZone)(store, zone, options, own)
        for zone in forward
    ]
    reverse = [zone for zone in zones if _is_reverse(zone)]
    served += [ReverseZone(store, zone, forward[0], options) for zone in reverse]
    return Kubernetes(store, served, fallthrough)


def _options(properties: Properties) -> ZoneOptions:
    pods = properties.value("pods", choice("disabled", "insecure", "verified"), "disabled")
    namespaces = frozenset(properties.values("namespaces", _namespace))
    return ZoneOptions(
        ttl=properties.value("ttl", integer(0, _MAX_TTL), 5),
        pods=cast("Literal['disabled', 'insecure', 'verified']", pods),
        namespaces=namespaces or None,
        ignore_empty_service="empty_service"
        in properties.values("ignore", choice("empty_service")),
        noendpoints=properties.flag("noendpoints"),
        zonal=properties.flag("zonal"),
    )


def _multicluster(properties: Properties, zones: Sequence[bytes]) -> set[bytes]:
    """The zones of the cluster set, which have to be among all zones (CoreDNS)."""
    found = set()
    for tokens in properties.each("multicluster", "[ZONE...]"):
        for token in tokens:
            for zone in map(from_text, origins(token)):
                if zone not in zones:
                    raise CorefileError(
                        f"{token.text} is none of the zones of this kubernetes: add it to them",
                        token.position,
                    )
                found.add(zone)
    return found


def _request_readiness(site: Site, source: Source, store: Store, stale_after: float | None) -> None:
    parts = site.requests.readiness
    parts.append(Readiness("kubernetes", lambda: store.synced))
    if stale_after is not None:
        age = site.facilities.age
        parts.append(Readiness("kubernetes", lambda: age(source) < stale_after, sticky=False))


def _also_made_from(found: Reply, missing: Reply) -> Reply:
    """What another plugin answers for a name for as long as it is missing here."""
    lifetimes = [each for each in (found.lifetime, missing.lifetime) if each is not None]
    return found.changed(
        reads=found.reads + missing.reads, lifetime=min(lifetimes, default=None), denial=None
    )


def _zones(tokens: Sequence[Token], site: Site) -> list[bytes]:
    """Wire names of the zones written, or else of the server block's."""
    named = [zone for token in tokens for zone in origins(token)]
    texts = named or [key.zone for key in site.keys]
    return [from_text(zone) for zone in dict.fromkeys(texts)]


def _own_addresses(site: Site) -> list[bytes]:
    """The addresses that this server is asked on, as far as others can reach them."""
    hosts = site.hosts or [interface.address for interface in site.facilities.interfaces()]
    addresses = [ipaddress.ip_address(host) for host in hosts]
    reachable = [
        address
        for address in addresses
        if site.hosts or not (address.is_loopback or address.is_link_local)
    ]
    return [address.packed for address in reachable]


def _is_reverse(zone: bytes) -> bool:
    return any(within(zone, reverse) for reverse in _REVERSE)


def _namespace(token: Token) -> str:
    if 0 < len(token.text.encode()) <= MAX_LABEL and "." not in token.text:
        return token.text
    raise CorefileError(
        f"{token.shown} is no namespace: write a DNS label, such as default", token.position
    )
