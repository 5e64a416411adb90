"""`hosts [FILE [ZONE...]] { … }`: names out of a file like /etc/hosts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from kdns.corefile.arguments import Properties, arguments, duration, integer, no_block
from kdns.corefile.parser import Directive
from kdns.corefile.tokens import CorefileError
from kdns.dns import codes
from kdns.dns.names import ROOT
from kdns.dns.query import Query
from kdns.dns.rdata import RRset
from kdns.dns.reply import Denial, Reply
from kdns.plugins.fallthrough import Fallthrough
from kdns.plugins.fallthrough import read as read_fallthrough
from kdns.plugins.hostsfile import HostsFile, HostTable, Scope
from kdns.plugins.plugin import Answer, Handler, then
from kdns.plugins.site import Facilities, Site, at_the_end, only
from kdns.records.address import IPV4, IPV6
from kdns.telemetry.series import Family

_log: Final = logging.getLogger("plugin/hosts")

_FILE: Final = "/etc/hosts"
_TTL: Final = 3600
_MAX_TTL: Final = 65535
_RELOAD: Final = 5.0
_SHORTEST_RELOAD: Final = 0.1
_TYPES: Final = {codes.A: (IPV4,), codes.AAAA: (IPV6,), codes.ANY: (IPV4, IPV6)}
_OF_FAMILY: Final = {IPV4: codes.A, IPV6: codes.AAAA}
_UNKNOWN: Final = (codes.EDE_OTHER, "hosts has no such name, and does not let it fall through")

ENTRIES: Final = Family(
    "coredns_hosts_entries",
    "The combined number of entries in hosts and Corefile.",
    ("hostsfile",),
    "gauge",
    "largest",
)
RELOADED: Final = Family(
    "coredns_hosts_reload_timestamp_seconds",
    "The timestamp of the last reload of hosts file.",
    (),
    "gauge",
    "largest",
)


class Hosts:
    """Answers for the names of a hosts file, with A, AAAA and PTR records."""

    name: ClassVar[str] = "hosts"
    uniform: ClassVar[bool] = True

    def __init__(
        self,
        file: HostsFile,
        ttl: int = _TTL,
        fallthrough: Fallthrough | None = None,
        *,
        fallthrough_unsupported: bool = False,
    ) -> None:
        self.file = file
        self._ttl = ttl
        self._fallthrough = fallthrough or Fallthrough()
        self._fallthrough_unsupported = fallthrough_unsupported
        self._takes_all = ROOT in self._fallthrough.zones
        self._ends = tuple(file.scope.zones)

    def handle(self, query: Query, next_: Handler) -> Answer:
        name, qtype, table = query.name, query.qtype, self.file.table
        if qtype == codes.PTR and name in table.pointers:
            return self._reply([RRset(name, codes.PTR, self._ttl, table.pointers[name])])
        if qtype == codes.PTR or not self.file.scope.holds(name):
            return then(next_(query), self._guarded)
        addresses = table.addresses(name)
        if not addresses:
            if self._fallthrough.takes(name):
                return then(next_(query), self._guarded)
            # Without an SOA there is no saying that it does not exist (CoreDNS). Not kept, as
            # there is no end to such names.
            return Reply(
                rcode=codes.SERVFAIL, extended_error=_UNKNOWN, lifetime=0, plugin=self.name
            )
        if qtype in _TYPES:
            return self._addressed(name, qtype, addresses)
        if self._fallthrough_unsupported and self._fallthrough.takes(name):
            return then(next_(query), self._guarded)
        return self._reply([])

    def passes(self, name: bytes) -> bool:
        """Whether queries about a name, of whatever type, are left to the plugins behind."""
        table = self.file.table
        if name in table.names or name in table.pointers:
            return False
        if table.wildcards and table.addresses(name):
            return False
        # The first of these decides for nearly all names, and costs the least.
        return (
            self._takes_all
            or not name.endswith(self._ends)
            or not self.file.scope.holds(name)
            or self._fallthrough.takes(name)
        )

    def _addressed(self, name: bytes, qtype: int, addresses: Sequence[bytes]) -> Reply:
        """One record set; for ANY as well (RFC 8482 §4.1)."""
        for family in _TYPES[qtype]:
            found = [packed for packed in addresses if len(packed) == family]
            if found:
                return self._reply([RRset(name, _OF_FAMILY[family], self._ttl, found)])
        return self._reply([])

    def _reply(self, answer: list[RRset]) -> Reply:
        return Reply(answer=answer, authoritative=True, plugin=self.name)

    def _guarded(self, reply: Reply) -> Reply:
        if reply.denial is None:
            return reply
        return reply.changed(denial=_Guarded(reply.denial, self))


class _Guarded:
    """What another plugin denies, but for the names that `hosts` answers for."""

    def __init__(self, denial: Denial, hosts: Hosts) -> None:
        self.origin = denial.origin
        self._denial = denial
        self._hosts = hosts

    def denies(self, name: bytes) -> bool:
        """As `Denial.denies`."""
        return self._denial.denies(name) and self._hosts.passes(name)


def setup(directives: Sequence[Directive], site: Site) -> Hosts:
    """Read the directive and its file; one that is not there may come later."""
    directive = only(directives)
    given = arguments(directive, "[FILE [ZONE...]]")
    properties = Properties(directive)
    ttl = properties.value("ttl", integer(1, _MAX_TTL), _TTL)
    reverse = not properties.flag("no_reverse")
    reload = properties.value("reload", duration(), _RELOAD)
    fallthrough = read_fallthrough(properties)
    unsupported = properties.flag("fallthrough_unsupported")
    if unsupported and not fallthrough.zones:
        raise CorefileError(
            "fallthrough_unsupported adds types to fallthrough, which is not there: write it too",
            directive.position,
        )
    written = given[0].text if given else _FILE
    inline, notices = _inline(directive, properties)
    zones = frozenset(site.zones(given[1:]))
    file = HostsFile(Scope(site.folder / written, zones, reverse, inline))
    file.load()
    hosts = Hosts(file, ttl, fallthrough, fallthrough_unsupported=unsupported)
    interval = max(_SHORTEST_RELOAD, reload) if reload else 0.0
    site.requests.chores.append(lambda: _watch(file, interval, site.facilities, notices))
    site.requests.gauges.append(lambda: _measure(file, written, site.facilities))
    site.requests.chores.append(partial(at_the_end, partial(_forget, written, site.facilities)))
    return hosts


def _inline(
    directive: Directive, properties: Properties
) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
    """The lines of the braces that are no properties, and what to say of those that are odd.

    They stand above `fallthrough`, as in CoreDNS, which refuses what it does not know below it and
    leaves out what it does not know above.
    """
    lines: list[bytes] = []
    notices: list[str] = []
    others = frozenset(map(id, properties.others()))
    known = HostTable(Scope(Path(), frozenset((ROOT,))))
    below = False
    for entry in directive.block or ():
        below = below or entry.name.text == "fallthrough"
        if id(entry) not in others:
            continue
        no_block(entry)
        if below:
            raise CorefileError(
                f"{entry.name.shown} stands below fallthrough and is no property of hosts: write"
                " entries above it",
                entry.position,
            )
        line = " ".join(token.text for token in (entry.name, *entry.args)).encode()
        known.take([line])
        if known.left_out == len(notices):
            lines.append(line)
        else:
            notices.append(
                f"{entry.position}: this is neither a property of hosts nor an entry, and is left"
                " out: write an address and its names, as in 10.0.0.1 db.example.org"
            )
    return tuple(lines), tuple(notices)


async def _watch(
    file: HostsFile, interval: float, facilities: Facilities, notices: Sequence[str]
) -> None:
    """Look at the file every `interval` seconds, 0 for never."""
    for notice in notices:
        _log.warning("%s", notice)
    file.say()
    while interval:
        await asyncio.sleep(interval)
        if await file.refresh():
            facilities.forget_answers()


def _forget(path: str, facilities: Facilities) -> None:
    facilities.series.drop(ENTRIES, path)
    facilities.series.drop(RELOADED)


def _measure(file: HostsFile, path: str, facilities: Facilities) -> None:
    facilities.series.count(ENTRIES, path).value = file.table.entries
    if file.modified:
        facilities.series.count(RELOADED).value = file.modified
