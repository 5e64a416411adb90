"""`kubernetes [ZONE...] { … }`: the names of a cluster."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import ClassVar, Final, Literal, cast

from kdns.cluster.source import Source
from kdns.corefile.arguments import Properties, arguments, choice, duration, integer
from kdns.corefile.parser import Directive
from kdns.corefile.tokens import CorefileError, Token
from kdns.corefile.zones import origins
from kdns.dns.names import MAX_LABEL, from_text
from kdns.dns.query import Query
from kdns.plugins.authority import Authority
from kdns.plugins.fallthrough import Fallthrough
from kdns.plugins.fallthrough import read as read_fallthrough
from kdns.plugins.plugin import Answer, Handler
from kdns.plugins.site import Cluster, Readiness, Site, only
from kdns.plugins.source import read_source
from kdns.records.forward import ForwardZone
from kdns.records.listing import ZoneTransfer
from kdns.records.multicluster import MulticlusterZone
from kdns.records.options import ZoneOptions
from kdns.records.reverse import ReverseZone, is_reverse
from kdns.records.store import Store
from kdns.records.zone import Zone, within

_MAX_TTL: Final = 3600


class Kubernetes:
    """Answers for the zones of one cluster."""

    name: ClassVar[str] = "kubernetes"
    uniform: ClassVar[bool] = True

    def __init__(
        self, store: Store, zones: Sequence[Zone], fallthrough: Fallthrough, lookup: Handler
    ) -> None:
        self._authority = Authority(store, zones, fallthrough, lookup)

    def handle(self, query: Query, next_: Handler) -> Answer:
        return self._authority.handle(query, next_)

    def transfer(self, origin: bytes) -> ZoneTransfer | None:
        """As `Authority.transfer`."""
        return self._authority.transfer(origin)


def setup(directives: Sequence[Directive], site: Site) -> Kubernetes:
    """Read the directive and find its records."""
    directive = only(directives)
    zones = site.zones(arguments(directive, "[ZONE...]"))
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
    forward = [zone for zone in zones if not is_reverse(zone)]
    if not forward:
        raise CorefileError(
            "kubernetes has reverse zones alone, and PTR records need a zone to point into: add"
            " one, such as cluster.local",
            directive.position,
        )
    store = site.facilities.store(source)
    _request_readiness(site, source, store, stale_after)
    own = _own_addresses(site)
    local = [zone for zone in forward if not any(within(zone, each) for each in multicluster)]
    served: list[Zone] = [
        (ForwardZone if zone in local else MulticlusterZone)(store, zone, options, own)
        for zone in forward
    ]
    # Addresses are those of the cluster's own services, whose names are in no other zone.
    target = (local or forward)[0]
    reverse = [zone for zone in zones if is_reverse(zone)]
    served += [ReverseZone(store, zone, target, options) for zone in reverse]
    plugin = Kubernetes(store, served, fallthrough, site.lookup)
    site.clusters.append(Cluster(store, options, own))
    site.transferers.append(plugin.transfer)
    return plugin


def _options(properties: Properties) -> ZoneOptions:
    pods = properties.value("pods", choice("disabled", "insecure", "verified"), "disabled")
    namespaces = frozenset(properties.values("namespaces", _namespace))
    return ZoneOptions(
        ttl=properties.value("ttl", integer(0, _MAX_TTL), 5),
        pods=cast("Literal['disabled', 'insecure', 'verified']", pods),
        namespaces=namespaces or None,
        ignore_empty_service=_ignore(properties),
        noendpoints=properties.flag("noendpoints"),
        zonal=properties.flag("zonal"),
    )


def _ignore(properties: Properties) -> bool:
    """Whether to ignore empty services; CoreDNS looks at the first word alone, if there is any."""
    found = [words[0] for words in properties.each("ignore", "[WORD...]") if words]
    return any(choice("empty_service")(word) for word in found)


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
    parts.append(Readiness("kubernetes", lambda: store.synced or store.restored))
    if stale_after is not None:
        age = site.facilities.age
        parts.append(Readiness("kubernetes", lambda: age(source) < stale_after, sticky=False))


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


def _namespace(token: Token) -> str:
    if 0 < len(token.text.encode()) <= MAX_LABEL and "." not in token.text:
        return token.text
    raise CorefileError(
        f"{token.shown} is no namespace: write a DNS label, such as default", token.position
    )
