"""`k8s_external [ZONE...] { … }`: names for what a cluster offers to the outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import ClassVar, Final

from kdns.corefile.arguments import Properties, arguments, integer
from kdns.corefile.parser import Directive
from kdns.corefile.tokens import CorefileError, Token
from kdns.dns.names import BadName, label
from kdns.dns.query import Query
from kdns.plugins.authority import Authority
from kdns.plugins.fallthrough import Fallthrough
from kdns.plugins.fallthrough import read as read_fallthrough
from kdns.plugins.plugin import Answer, Handler
from kdns.plugins.site import Site, only
from kdns.records.external import ExternalOptions, ExternalReverseZone, ExternalZone
from kdns.records.listing import ZoneTransfer
from kdns.records.reverse import is_reverse
from kdns.records.zone import Zone

_MAX_TTL: Final = 3600
_TTL: Final = 5
_APEX: Final = label("dns")


class K8sExternal:
    """Answers for zones of external addresses, from the cluster of the block's `kubernetes`."""

    name: ClassVar[str] = "k8s_external"
    uniform: ClassVar[bool] = True

    def __init__(
        self,
        site: Site,
        zones: Sequence[bytes],
        options: ExternalOptions,
        ttl: int,
        fallthrough: Fallthrough,
    ) -> None:
        self._site = site
        self._zones = zones
        self._options = options
        self._ttl = ttl
        self._fallthrough = fallthrough

    def handle(self, query: Query, next_: Handler) -> Answer:
        return self._authority.handle(query, next_)

    def transfer(self, origin: bytes) -> ZoneTransfer | None:
        """As `Authority.transfer`."""
        return self._authority.transfer(origin)

    @cached_property
    def _authority(self) -> Authority:
        # `kubernetes` comes after this plugin, and is set up after it.
        cluster = self._site.clusters[0]
        options = replace(cluster.options, ttl=self._ttl)
        first = next(zone for zone in self._zones if not is_reverse(zone))
        zones: list[Zone] = [
            ExternalReverseZone(cluster.store, zone, first, options, self._options)
            if is_reverse(zone)
            else ExternalZone(cluster.store, zone, options, self._options, cluster.own_addresses)
            for zone in self._zones
        ]
        return Authority(cluster.store, zones, self._fallthrough, self._site.lookup)


def setup(directives: Sequence[Directive], site: Site) -> K8sExternal:
    """Read the directive. The block must have `kubernetes` as well."""
    directive = only(directives)
    zones = site.zones(arguments(directive, "[ZONE...]"))
    with Properties(directive) as properties:
        options = ExternalOptions(
            apex=properties.value("apex", _apex, _APEX), headless=properties.flag("headless")
        )
        ttl = properties.value("ttl", integer(0, _MAX_TTL), _TTL)
        fallthrough = read_fallthrough(properties)
    if "kubernetes" not in site.directives:
        raise CorefileError(
            "k8s_external gets its services from the kubernetes of the same server block, which"
            " has none: write one",
            directive.position,
        )
    if all(map(is_reverse, zones)):
        raise CorefileError(
            "k8s_external has reverse zones alone, and PTR records need a zone to point into: add"
            " one, such as example.org",
            directive.position,
        )
    plugin = K8sExternal(site, zones, options, ttl, fallthrough)
    site.transferers.append(plugin.transfer)
    return plugin


def _apex(token: Token) -> bytes:
    try:
        if "." in token.text:
            raise BadName
        return label(token.text.lower())
    except BadName:
        raise CorefileError(
            f"{token.shown} is no label: write one without dots, such as dns", token.position
        ) from None
