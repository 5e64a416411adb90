"""`loop`: an upstream that leads back to this server is put aside."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
from collections.abc import Collection, Sequence
from hashlib import blake2b
from itertools import count
from typing import ClassVar, Final, NamedTuple

from kdns.corefile.arguments import arguments, no_block
from kdns.corefile.parser import Directive
from kdns.dns import codes
from kdns.dns.names import MAX_NAME, from_text, label
from kdns.dns.query import RD, Query
from kdns.dns.rdata import RRset, txt
from kdns.dns.reply import Reply
from kdns.forwarding.exchange import Lost, Question
from kdns.plugins.plugin import Answer, Handler
from kdns.plugins.site import Forwarder, Forwarding, Site, only
from kdns.records.zone import within
from kdns.telemetry.series import Family

_log: Final = logging.getLogger("plugin/loop")

_TURN: Final = 5.0
"""Seconds from one look at the upstreams to the next."""

_PROBED_EVERY: Final = 6
"""Turns from one probe of an upstream to the next."""

_PATIENCE: Final = 5.0
"""Seconds that a probe may take on its way round."""

_MARK: Final = 16
_NONCE: Final = 1 << 62
_LOOPBACK: Final = {4: ipaddress.ip_address("127.0.0.1"), 6: ipaddress.ip_address("::1")}
_HINFO: Final = codes.HINFO.to_bytes(2, "big") + codes.CLASS_IN.to_bytes(2, "big")
_REASON: Final = "leads back to this server"

ASIDE: Final = Family(
    "kdns_loop_upstreams",
    "Upstreams put aside as they lead back to this server.",
    ("to",),
    "gauge",
    "largest",
)


class _Way(NamedTuple):
    """One upstream of one `forward`."""

    forwarder: Forwarder
    target: str
    origin: bytes
    written: str


class Loop:
    """Looks where the upstreams of a server block lead, at the start and then on and on.

    One that is an address that the block itself is asked at is known by that. Others are sent a
    query for a name that nobody can guess: if that comes in here, it came round. Where several
    processes share an address it may come to another one than it came from; that one, which knows
    it by the server's secret, answers in a way that is known by it too. Another server block does
    not know it: what leads there need not lead any further.
    """

    name: ClassVar[str] = "loop"
    uniform: ClassVar[bool] = True

    def __init__(self, site: Site) -> None:
        self._site = site
        block = " ".join((*map(str, site.keys), *site.hosts)).encode()
        known = blake2b(block, key=site.facilities.secret, digest_size=2 * _MARK).digest()
        self._mark = label(known[:_MARK].hex())
        self._sign = txt(known[_MARK:])
        self._out: dict[bytes, asyncio.Future[bool | None]] = {}
        self._aside: dict[_Way, None] = {}
        self._due: dict[_Way, int] = {}

    def handle(self, query: Query, next_: Handler) -> Answer:
        if query.qtype != codes.HINFO or not query.name.startswith(self._mark):
            return next_(query)
        probe = self._out.get(query.name)
        if probe is not None:
            if not probe.done():
                probe.set_result(True)
            # An end to it: no upstream is asked once more.
            return Reply(rcode=codes.NXDOMAIN, lifetime=0, plugin=self.name)
        sign = RRset(query.name, codes.HINFO, 0, [self._sign + txt(b"")])
        return Reply(answer=[sign], lifetime=0, plugin=self.name)

    async def watch(self) -> None:
        """Look every few seconds; what was put aside here is not for longer than this lasts."""
        try:
            for turn in count():
                await self.look(turn)
                await asyncio.sleep(_TURN)
        finally:
            for way in list(self._aside):
                self._call_back(way)

    async def look(self, turn: int) -> None:
        """Put aside what leads back, and call back what does no longer."""
        ways = [way for each in self._site.forwardings for way in self._ways(each)]
        for gone in self._aside.keys() - set(ways):
            self._call_back(gone)
        self._due = {way: self._due.get(way, turn) for way in ways}
        due = []
        for way in ways:
            if self._is_here(way.target):
                self._put_aside(way)
            elif self._due[way] <= turn:
                self._due[way] = turn + _PROBED_EVERY
                due.append(way)
        await asyncio.gather(*map(self._try, due))

    def _ways(self, forwarding: Forwarding) -> list[_Way]:
        """The upstreams of a `forward`, and the zone whose names can come to it."""
        forwarder, origin, written = forwarding
        zone = from_text(self._site.keys[0].zone)
        if within(zone, origin):
            origin = zone
        return [_Way(forwarder, target, origin, written) for target in forwarder.targets()]

    async def _try(self, way: _Way) -> None:
        leads_back = await self._probe(way)
        if leads_back:
            self._put_aside(way)
        elif leads_back is False and way in self._aside:
            self._call_back(way)
            _log.info("%s: %s does not lead back here any more", way.written, way.target)

    async def _probe(self, way: _Way) -> bool | None:
        """Whether a query that goes there comes here; None where that cannot be said."""
        name = self._mark + label(str(secrets.randbelow(_NONCE))) + way.origin
        if len(name) > MAX_NAME:
            return None
        found = asyncio.get_running_loop().create_future()

        def heard(message: bytes | Lost) -> bool:
            if not found.done():
                lost = isinstance(message, Lost) and not message.by_tcp
                came_round = isinstance(message, bytes) and self._sign in message
                found.set_result(None if lost else came_round)
            return True

        self._out[name] = found
        pending = way.forwarder.probe(way.target, Question(name + _HINFO, RD, False), heard)
        try:
            async with asyncio.timeout(_PATIENCE):
                return await found if pending is not None else None
        except TimeoutError:
            return None
        finally:
            del self._out[name]
            if pending is not None:
                pending.give_up()

    def _put_aside(self, way: _Way) -> None:
        way.forwarder.aside(way.target, _REASON)
        if way in self._aside:
            return
        self._aside[way] = None
        self._count(way, 1)
        _log.error(
            "%s leads back to this server by %s, which is asked no more: write there the addresses"
            " of other servers, or a file that has them, such as /run/systemd/resolve/resolv.conf"
            " where systemd-resolved runs",
            *(way.written, way.target),
        )

    def _call_back(self, way: _Way) -> None:
        del self._aside[way]
        self._count(way, -1)
        way.forwarder.back(way.target)

    def _count(self, way: _Way, change: int) -> None:
        series = self._site.facilities.series
        aside = series.count(ASIDE, way.target)
        aside.value += change
        if not aside.value:
            series.drop(ASIDE, way.target)

    def _is_here(self, target: str) -> bool:
        """Whether an upstream is a place where this block is asked."""
        host, _, port = target.rpartition(":")
        if not any(port == str(key.port) for key in self._site.keys):
            return False
        address = _address(host.strip("[]"))
        if address is None:
            return False
        hosts = [each for each in map(_address, self._site.hosts) if each is not None]
        if address.is_unspecified:
            # Where packets to it go.
            address = _LOOPBACK[address.version]
        if address in hosts:
            return True
        everywhere = not hosts or any(
            host.is_unspecified and host.version == address.version for host in hosts
        )
        return everywhere and (address.is_loopback or address in self._own())

    def _own(self) -> Collection[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        try:
            interfaces = self._site.facilities.interfaces()
        except OSError:  # as for want of files; the next look is soon
            return ()
        return {each for each in (_address(one.address) for one in interfaces) if each is not None}


def setup(directives: Sequence[Directive], site: Site) -> Loop:
    """`loop` takes nothing."""
    directive = only(directives)
    arguments(directive, "")
    no_block(directive)
    plugin = Loop(site)
    site.requests.chores.append(plugin.watch)
    return plugin


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IP address as this machine's sockets are bound to it; None for a name."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
