"""`transfer [ZONE...] { to ADDRESS...|*; source ADDRESS }`: whole zones, for secondaries."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final
from weakref import WeakSet

from kdns.corefile.arguments import Properties, address, arguments
from kdns.corefile.parser import Directive
from kdns.corefile.tokens import CorefileError, Token
from kdns.corefile.zones import DNS_PORT
from kdns.dns import codes
from kdns.dns.names import ROOT, suffixes
from kdns.dns.query import Client, Query
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply
from kdns.dns.transfer import is_current, requested_serial
from kdns.plugins.authority import unsynced
from kdns.plugins.plugin import Answer, Handler
from kdns.plugins.site import Site, Transferer
from kdns.records.listing import ZoneTransfer

_TRANSFERS: Final = (codes.AXFR, codes.IXFR)
_ANYBODY: Final = "*"

MOST: Final = 10
"""Transfers at once of one server block: each keeps a copy of its zone for as long as it takes."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may have the zones, which are lower-case wire names; None for everybody."""

    zones: frozenset[bytes]
    clients: frozenset[str] | None

    def allows(self, client: Client | None) -> bool:
        return self.clients is None or (client is not None and client.host in self.clients)


class Transfer:
    """Sends zones of other plugins of the block over TCP, whole or not at all."""

    name: ClassVar[str] = "transfer"
    uniform: ClassVar[bool] = True

    def __init__(self, rules: Sequence[Rule], transferers: Sequence[Transferer]) -> None:
        self._rules = rules
        self._transferers = transferers
        self._running: WeakSet[Iterable[RRset]] = WeakSet()

    def handle(self, query: Query, next_: Handler) -> Answer:
        if query.qtype not in _TRANSFERS:
            return next_(query)
        if query.transport != "tcp":
            return self._say(codes.REFUSED)
        rule = self._rule(query.name)
        if rule is None:
            return next_(query)
        if not rule.allows(query.client):
            return self._say(codes.REFUSED)
        found = (transferer(query.name) for transferer in self._transferers)
        zone = next((each for each in found if each is not None), None)
        return next_(query) if zone is None else self._transfer(query, zone)

    def _rule(self, name: bytes) -> Rule | None:
        """The rule of the longest zone that holds the name."""
        for zone in (*(suffix for _, suffix in suffixes(name)), ROOT):
            for rule in self._rules:
                if zone in rule.zones:
                    return rule
        return None

    def _transfer(self, query: Query, zone: ZoneTransfer) -> Reply:
        if not zone.synced:
            return unsynced(self.name)
        soa = zone.soa()
        # Alone, it says that there is nothing newer (RFC 1995 §2).
        reply = self._say(codes.NOERROR).changed(answer=[soa], authoritative=True)
        if query.qtype == codes.IXFR:
            serial = requested_serial(query)
            if serial is None:
                return self._say(codes.FORMERR)
            if is_current(serial, soa):
                return reply
        if len(self._running) >= MOST:
            return self._say(codes.SERVFAIL).changed(
                failure=f"{MOST} zone transfers are under way: try again later"
            )
        records = zone.records()
        self._running.add(records)
        return reply.changed(transfer=records)

    def _say(self, rcode: int) -> Reply:
        # Who asks and what they have matters, so no answer is kept.
        return Reply(rcode=rcode, lifetime=0, plugin=self.name)


def setup(directives: Sequence[Directive], site: Site) -> Transfer:
    """Each directive is one rule."""
    return Transfer([_rule(directive, site) for directive in directives], site.transferers)


def _rule(directive: Directive, site: Site) -> Rule:
    zones = site.zones(arguments(directive, "[ZONE...]"))
    with Properties(directive) as properties:
        clients = properties.values("to", _client)
        sources = properties.each("source", "ADDRESS")
    if not clients:
        raise CorefileError(
            "transfer does not say to whom: write to * in its braces, or to and addresses",
            directive.position,
        )
    # Where NOTIFY messages come from; no plugin sends any.
    for (token,) in sources:
        _ip(token, token.text)
    for (token,) in sources[1:]:
        raise CorefileError("source is written twice: take one out", token.position)
    allowed = None if _ANYBODY in clients else frozenset(clients)
    return Rule(frozenset(zones), allowed)


def _client(token: Token) -> str:
    """An address without its port and scope, or `*`."""
    if token.text == _ANYBODY:
        return _ANYBODY
    return _ip(token, address(DNS_PORT)(token).host)


def _ip(token: Token, host: str) -> str:
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        raise CorefileError(
            f"{token.shown} is no address: write one such as 192.0.2.53 or 2001:db8::53",
            token.position,
        ) from None
