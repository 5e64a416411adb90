"""What a plugin does that answers out of zones of one store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdns.dns import codes
from kdns.dns.names import ROOT, suffixes
from kdns.dns.query import Query
from kdns.dns.reply import Reply
from kdns.plugins.aliases import completed, is_alias
from kdns.plugins.fallthrough import Fallthrough
from kdns.plugins.plugin import Answer, Handler, then
from kdns.records.listing import ZoneTransfer, inner_origins
from kdns.records.serial import SERIAL
from kdns.records.store import Store
from kdns.records.zone import Zone, within


class Authority:
    """Zones over one store; names that they do not have may fall through.

    Aliases that lead out of a zone are completed by `lookup`, the way of a query into this server.
    """

    def __init__(
        self, store: Store, zones: Sequence[Zone], fallthrough: Fallthrough, lookup: Handler
    ) -> None:
        self._store = store
        self._zones: Mapping[bytes, Zone] = {zone.origin: zone for zone in zones}
        self._fallthrough = fallthrough
        self._lookup = lookup

    def handle(self, query: Query, next_: Handler) -> Answer:
        """As `Plugin.handle`."""
        zone = self._zone(query.name)
        if zone is None:
            return then(next_(query), self._without_denial_of_own)
        if not (self._store.synced or self._store.restored):
            return self._unsynced(zone, query, next_)
        reply = self._dated(zone.lookup(query.name, query.qtype))
        if reply.answer and is_alias(reply, query.qtype):
            # Within the zone it was followed as far as it leads.
            leaves = not within(reply.answer[-1].rdatas[0], zone.origin)
            return completed(query, reply, self._lookup) if leaves else reply
        if not zone.may_yield(query.name, reply):
            return reply
        if self._fallthrough.takes(query.name):
            return then(next_(query), lambda found: _also_made_from(found, reply))
        if reply.denial is not None and not self._uncut(zone.origin):
            return reply.changed(denial=None)
        return reply

    def transfer(self, origin: bytes) -> ZoneTransfer | None:
        """The zone of this origin, for secondaries; None where there is none."""
        zone = self._zones.get(origin)
        if zone is None:
            return None
        return ZoneTransfer(zone, inner_origins(origin, list(self._zones.values())))

    def _zone(self, name: bytes) -> Zone | None:
        found = (self._zones.get(suffix) for _, suffix in suffixes(name))
        return next((zone for zone in found if zone), self._zones.get(ROOT))

    def _uncut(self, origin: bytes) -> bool:
        """Whether all names below a zone are its own, and none of them falls through."""
        below = (*self._zones, *self._fallthrough.zones)
        return not any(other != origin and other.endswith(origin) for other in below)

    def _dated(self, reply: Reply) -> Reply:
        """Marked as stale where it is made of what an earlier process knew (RFC 8914 §4.4)."""
        if self._store.synced:
            return reply
        return reply.changed(
            extended_error=(codes.EDE_STALE, "the API server has not answered since the start"),
            reads=(*reply.reads, SERIAL),
            denial=None,
        )

    def _without_denial_of_own(self, reply: Reply) -> Reply:
        """Another zone's word about missing names is not for those of a zone below it."""
        denial = reply.denial
        if denial is None or not any(within(own, denial.origin) for own in self._zones):
            return reply
        return reply.changed(denial=None)

    def _unsynced(self, zone: Zone, query: Query, next_: Handler) -> Answer:
        """Part of the cluster is worse than none of it (RFC 8914 §4.15)."""
        if self._fallthrough.takes(query.name):
            reads = (SERIAL,)  # changes when all is there
            return then(
                next_(query), lambda found: found.changed(lifetime=0, reads=found.reads + reads)
            )
        return unsynced(zone.plugin)


def unsynced(plugin: str) -> Reply:
    """What to say for as long as a cluster's records are not all there."""
    return Reply(
        rcode=codes.SERVFAIL,
        extended_error=(codes.EDE_NOT_READY, "the cluster's records are not loaded yet"),
        lifetime=0,
        plugin=plugin,
    )


def _also_made_from(found: Reply, missing: Reply) -> Reply:
    """What another plugin answers for a name for as long as it is missing here."""
    lifetimes = [each for each in (found.lifetime, missing.lifetime) if each is not None]
    return found.changed(
        reads=found.reads + missing.reads, lifetime=min(lifetimes, default=None), denial=None
    )
