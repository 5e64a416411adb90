"""`searchpath [ZONE...] { … }`: a stub resolver's search list, walked here instead of there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, Final, get_args

from kdns.corefile.arguments import Properties, arguments, integer
from kdns.corefile.parser import Directive
from kdns.corefile.tokens import CorefileError, Token
from kdns.corefile.zones import origins
from kdns.dns import codes
from kdns.dns.names import ROOT, from_text
from kdns.dns.query import CD, RD, Query
from kdns.dns.reply import Denial, Reply
from kdns.plugins.basis import alias, denial
from kdns.plugins.plugin import Answer, Handler, then
from kdns.plugins.searchnames import REVERSE, Kind, SearchList, within
from kdns.plugins.searchwalk import Decision, End, Walks
from kdns.plugins.site import Facilities, Site, only
from kdns.telemetry.series import Family

PATIENCE: Final = 2.0
"""Seconds that a client waits for a walk: less than stub resolvers wait for a server."""

_NDOTS: Final = 5
_MAX_NDOTS: Final = 15  # resolv.conf(5)
_MAX_DOMAINS: Final = 29  # a pod may have 32 search domains, and three are the cluster's

_ENDS: Final[tuple[End, ...]] = (*get_args(Kind), "none", "declined", "failed")
_WALKS: Final = Family(
    "kdns_searchpath_walks", "Walks along the search list by where they ended.", ("server", "end")
)
_SPARED: Final = Family(
    "kdns_searchpath_spared_queries",
    "Queries that clients were spared, those by answers given again not among them.",
    ("server",),
)


class Searchpath:
    """Answers the first step of a search with what its further steps would find.

    Where nothing is there, or where something is in doubt, a client has the denial that it would
    have had, and takes the further steps by itself.
    """

    name: ClassVar[str] = "searchpath"
    # What it does depends on the name; a zone's denial is let through for all other names.
    uniform: ClassVar[bool] = True

    def __init__(
        self, search: SearchList, lookup: Handler, server: str, facilities: Facilities
    ) -> None:
        self._search = search
        self._lookup = lookup
        self._clock: Callable[[], float] = facilities.clock
        counts = {end: facilities.series.count(_WALKS, server, end) for end in _ENDS}
        self._spared = facilities.series.count(_SPARED, server)

        def ended(end: End) -> None:
            counts[end].value += 1

        self._walks = Walks(lookup, facilities.clock, ended)

    def handle(self, query: Query, next_: Handler) -> Answer:
        own = next_(query)
        if not _is_stub_s(query) or not self._search.takes(query.name):
            return then(own, self._limited)
        return self._completed(query, own) if isinstance(own, Reply) else self._awaited(query, own)

    async def _awaited(self, query: Query, own: Awaitable[Reply]) -> Reply:
        answer = self._completed(query, await own)
        return answer if isinstance(answer, Reply) else await answer

    def _completed(self, query: Query, own: Reply) -> Answer:
        searched = self._search.read(query.name)
        if searched is None or own.rcode != codes.NXDOMAIN or own.answer:
            return self._limited(own)
        decision = self._walks.decide(query, searched)
        if isinstance(decision, Decision):
            return self._as_decided(query, own, decision)
        return self._patient(query, own, decision)

    async def _patient(self, query: Query, own: Reply, walk: asyncio.Future[Decision]) -> Reply:
        await asyncio.wait((walk,), timeout=PATIENCE)
        if not walk.done():
            return own.changed(lifetime=0, denial=None)
        answer = self._as_decided(query, own, walk.result())
        return answer if isinstance(answer, Reply) else await answer

    def _as_decided(self, query: Query, own: Reply, decision: Decision) -> Answer:
        now = int(self._clock())
        target, basis = decision.target, decision.basis.denied_by(own, now)
        if target is None:
            return denial(own, basis, now)
        self._spared.value += decision.steps

        def stood_for(found: Reply) -> Reply:
            # The name is there for the other type at least.
            rcode = codes.NOERROR if found.rcode == codes.NXDOMAIN else found.rcode
            joined = alias(query.name, target, found, basis, int(self._clock()))
            return joined.changed(rcode=rcode, failure="", plugin=self.name)

        if decision.found is not None:
            return stood_for(decision.found[query.qtype == codes.AAAA])
        return then(
            self._lookup(query.renamed(target, query.qtype, (query.name,))),
            stood_for,
        )

    def _limited(self, reply: Reply) -> Reply:
        """What a zone says of all of its missing names is said of those alone that have no more
        steps."""
        if reply.denial is None:
            return reply
        return reply.changed(denial=_Limited(reply.denial, self._search))


class _Limited:
    """As `kdns.dns.reply.Denial`, for the names that are no first step of a search."""

    __slots__ = ("_inner", "_search", "origin")

    def __init__(self, inner: Denial, search: SearchList) -> None:
        self.origin = inner.origin
        self._inner = inner
        self._search = search

    def denies(self, name: bytes) -> bool:
        return self._inner.denies(name) and not self._search.takes(name)


def setup(directives: Sequence[Directive], site: Site) -> Searchpath:
    """Read the directive."""
    directive = only(directives)
    written = site.zones(arguments(directive, "[ZONE...]"))
    zones = [zone for zone in written if not within(zone, REVERSE)]
    if not zones or ROOT in zones:
        raise CorefileError(
            "searchpath is for the names of a cluster's zone: write it, as in"
            " searchpath cluster.local",
            directive.position,
        )
    with Properties(directive) as properties:
        named = properties.values("search", _domains)
        dots = properties.value("dots", integer(2, _MAX_NDOTS), _NDOTS)
    domains = list(dict.fromkeys(domain for each in named for domain in each))
    if len(domains) > _MAX_DOMAINS:
        raise CorefileError(
            f"{len(domains)} domains to search are too many: a pod has {_MAX_DOMAINS} at most"
            " besides those of the cluster",
            directive.position,
        )
    search = SearchList(zones, domains, dots)
    return Searchpath(search, site.lookup, site.server, site.facilities)


def _domains(token: Token) -> list[bytes]:
    domains = [from_text(zone) for zone in origins(token)]
    if ROOT in domains:
        raise CorefileError(
            f"{token.shown} is no domain to search: bare names are tried anyway, take it out",
            token.position,
        )
    return domains


def _is_stub_s(query: Query) -> bool:
    """Whether a stub resolver that looks for addresses may ask so.

    Who checks signatures by itself wants what is there; and an alias that leads here was not
    written by a search list.
    """
    edns = query.edns
    return (
        query.qtype in (codes.A, codes.AAAA)
        and query.flags & (RD | CD) == RD
        and not (edns is not None and edns.dnssec_ok)
        and not query.hops
    )
