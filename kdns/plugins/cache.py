"""`cache [TTL] [ZONE...] { … }`: what upstreams said is given again for as long as it holds.

Two parts of the chain. `Cached` stands in front of the plugins that ask upstreams, behind those
that have records: what a cluster or a file of hosts has is always fresh, and so is a name that they
have not. `Counted` stands where CoreDNS has its cache, and counts as its metrics do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Final

from kdns.corefile.parser import Directive
from kdns.dns import codes
from kdns.dns.names import ROOT, suffixes, to_text
from kdns.dns.query import AD, Query
from kdns.dns.reply import CacheUse, Reply
from kdns.forwarding.cache import Cache, Found, Half, Settings, Stale, Taken, key_of
from kdns.plugins.cache_options import read
from kdns.plugins.plugin import Answer, Handler, then
from kdns.plugins.site import Facilities, Site, at_the_end, only
from kdns.telemetry.series import Family

_LABELS: Final = ("server", "zones", "view")
_HALVES: Final[tuple[Half, ...]] = ("success", "denial")
_ENTRIES: Final = Family(
    "coredns_cache_entries",
    "The number of elements in the cache.",
    ("server", "type", "zones", "view"),
    "gauge",
)
_EVICTIONS: Final = Family(
    "coredns_cache_evictions", "The count of cache evictions.", _ENTRIES.labels
)
_PREFETCHES: Final = Family(
    "coredns_cache_prefetch",
    "The number of times the cache has asked for an item again in the background.",
    _LABELS,
)
_DROPS: Final = Family(
    "coredns_cache_drops",
    "The number of responses to other questions; upstreams' transports ignore them, so it is 0.",
    _LABELS,
)


class Zones:
    """The zones that a cache is for, and their names in its metrics."""

    def __init__(self, origins: Sequence[bytes]) -> None:
        self.label = ",".join(map(to_text, origins))
        self._origins = frozenset(origins)
        self._all = ROOT in self._origins

    def hold(self, name: bytes) -> bool:
        """Whether a lower-case wire name is in any of them."""
        return self._all or any(suffix in self._origins for _, suffix in suffixes(name))


class Counted:
    """Counts replies that no cache had a part in as misses, as CoreDNS does."""

    name: ClassVar[str] = "cache"
    uniform: ClassVar[bool] = True

    def __init__(self, zones: Zones) -> None:
        self._zones = zones
        self._miss = CacheUse("miss", zones.label)

    def handle(self, query: Query, next_: Handler) -> Answer:
        return then(next_(query), self._counted) if self._zones.hold(query.name) else next_(query)

    def _counted(self, reply: Reply) -> Reply:
        return reply if reply.cache is not None else reply.changed(cache=self._miss)


class CountedInPart(Counted):
    """The same for a part of a server block's names."""

    uniform: ClassVar[bool] = False


class Cached:
    """Gives and keeps the answers of the plugins behind it."""

    name: ClassVar[str] = "cache"
    uniform: ClassVar[bool] = True

    def __init__(
        self, cache: Cache, settings: Settings, zones: Zones, server: str, facilities: Facilities
    ) -> None:
        self.settings = settings
        self.cache = cache
        self._zones = zones
        self._facilities = facilities
        self._miss = CacheUse("miss", zones.label)
        self._hit = {
            (half, stale): CacheUse(half, zones.label, stale)
            for half in _HALVES
            for stale in (False, True)
        }
        self._refreshing: dict[bytes, asyncio.Future[Reply | None]] = {}
        self._prefetches = facilities.series.count(_PREFETCHES, server, zones.label, "")

    def handle(self, query: Query, next_: Handler) -> Answer:
        if not self._zones.hold(query.name):
            return next_(query)
        key = key_of(query)
        found = self.cache.find(key, query.name, self._now())
        if found is None:
            # Upstream says what it has verified to those alone who want to know (RFC 6840 §5.7).
            answer = next_(query.flagged(AD, query.client))
            at_once = isinstance(answer, Reply)
            return then(
                answer, lambda reply: _for(query, self._taken(key, query, reply, at_once).reply)
            )
        if not found.due:
            return self._given(query, found)
        stale = self.settings.stale
        if found.stale and stale is not None and stale.verify:
            return self._verified(key, query, found, next_, stale)
        if key not in self._refreshing and self._refresh(key, query, next_) is not None:
            self._prefetches.value += 1
        return self._given(query, found)

    def _now(self) -> int:
        return int(self._facilities.clock())

    def _given(self, query: Query, found: Found) -> Reply:
        found.reply.cache = self._hit[found.half, found.stale]
        return _for(query, found.reply)

    def _taken(self, key: bytes, query: Query, reply: Reply, at_once: bool) -> Taken:
        """A reply that is kept, if it may be.

        What was made from records is not an upstream's, and is nobody's to keep. Nor is a failure
        that was there at once: nobody was asked, as over `max_concurrent`.
        """
        if reply.lifetime is None or reply.authoritative:
            return Taken(reply, stands=True)
        if at_once and reply.rcode not in (codes.NOERROR, codes.NXDOMAIN):
            return Taken(reply, stands=False)
        taken = self.cache.take(key, query, reply, self._now())
        taken.reply.cache = self._miss  # without a copy: it is for this asker alone
        return taken

    async def _verified(
        self, key: bytes, query: Query, found: Found, next_: Handler, stale: Stale
    ) -> Reply:
        """What upstream says now, or else, or when it takes too long, the stale answer."""
        patient = not stale.recheck or key not in self._refreshing
        fresh = self._refresh(key, query, next_) if patient else None
        if fresh is not None:
            await asyncio.wait((fresh,), timeout=stale.timeout or None)
            if fresh.done() and (reply := fresh.result()) is not None:
                return _for(query, reply)
        return self._given(query, found)

    def _refresh(
        self, key: bytes, query: Query, next_: Handler
    ) -> asyncio.Future[Reply | None] | None:
        """What upstream says now, asked once at a time: None in the end where it says nothing of
        use. None where too much is asked already."""
        under_way = self._refreshing.get(key)
        if under_way is not None:
            return under_way
        said: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self._refreshing[key] = said
        if self._facilities.spawn(self._refreshed(key, query.flagged(AD, None), next_, said)):
            return said
        del self._refreshing[key]
        return None

    async def _refreshed(
        self, key: bytes, query: Query, next_: Handler, said: asyncio.Future[Reply | None]
    ) -> Reply:
        fresh: Reply | None = None
        try:
            answer = next_(query)
            at_once = isinstance(answer, Reply)
            reply = answer if isinstance(answer, Reply) else await answer
            taken = self._taken(key, query, reply, at_once)
            fresh = taken.reply if taken.stands else None
        finally:
            if fresh is None:
                self.cache.put_off(key, self._now())
            del self._refreshing[key]
            if not said.done():
                said.set_result(fresh)
        return reply


def setup_counted(directives: Sequence[Directive], site: Site) -> Counted:
    """The part that counts."""
    directive = only(directives)
    origins, _ = read(directive, site)
    zones = Zones(origins)
    whole = all(map(zones.hold, site.zones(())))
    return (Counted if whole else CountedInPart)(zones)


def setup(directives: Sequence[Directive], site: Site) -> Cached:
    """The part that keeps."""
    origins, settings = read(only(directives), site)
    zones, series = Zones(origins), site.facilities.series
    labels = {half: (site.server, half, zones.label, "") for half in _HALVES}
    cache = Cache(settings, {half: series.count(_EVICTIONS, *labels[half]) for half in _HALVES})
    series.count(_DROPS, site.server, zones.label, "")

    def tell() -> None:
        series.count(_ENTRIES, *labels["success"]).value = len(cache.success)
        series.count(_ENTRIES, *labels["denial"]).value = len(cache.denial)

    def forget() -> None:
        for half in _HALVES:
            series.drop(_ENTRIES, *labels[half])

    site.requests.gauges.append(tell)
    site.requests.chores.append(partial(at_the_end, forget))
    return Cached(cache, settings, zones, site.server, site.facilities)


def _for(query: Query, reply: Reply) -> Reply:
    """A reply for its asker: AD is for those that set AD or DO (RFC 6840 §5.8)."""
    if not reply.authentic or query.flags & AD or (query.edns and query.edns.dnssec_ok):
        return reply
    return reply.changed(authentic=False)
