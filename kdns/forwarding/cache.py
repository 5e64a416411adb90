"""The response cache: what upstreams said, under the question that they were asked.

Pure: it asks nobody and reads no clock. Times are whole seconds of a clock that never goes back.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final, Literal, NamedTuple

from kdns.dns import codes
from kdns.dns.names import ROOT, suffixes
from kdns.dns.query import CD, RD, Query
from kdns.dns.rdata import RRset
from kdns.dns.reply import STEADY, Reply
from kdns.forwarding.entries import Content, Entries, Entry, content
from kdns.forwarding.retention import Bounds, Retained, retained
from kdns.telemetry.series import Count

MAX_BYTES: Final = 32 << 20
"""Bytes that the answers, and those that the denials of one cache take."""

_SUCCESS: Final = Bounds(3600)
_DENIAL: Final = Bounds(1800)

_PLUGIN: Final = "cache"

_MANY: Final = 1 << 31  # hits, where nobody cares any longer

_ASKED: Final = tuple(bytes((bits,)) for bits in range(8))

Half = Literal["success", "denial"]


@dataclass(frozen=True, slots=True)
class Prefetch:
    """Answers that were asked for `amount` times, never `gap` seconds apart, are asked for again
    once `percentage` of their TTL are left."""

    amount: int
    gap: float = 60.0
    percentage: int = 10


@dataclass(frozen=True, slots=True)
class Stale:
    """Answers are given for `window` seconds beyond their TTL, with `ttl` seconds, where upstream
    has none (RFC 8767).

    With `verify` upstream is asked first, and for `timeout` seconds at most (0: for as long as it
    takes). A refresh that failed is not tried again for `recheck` seconds (0: for as long as an
    error is remembered). With `prefer_positive` a denial does not take the place of an answer.
    """

    window: int = 3600
    verify: bool = False
    timeout: float = 0.0
    ttl: int = 30
    recheck: float = 0.0
    prefer_positive: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is kept and for how long; `error` in seconds, 0 for never.

    `jitter` is the largest share of its time by which an answer is kept shorter, at random, so that
    many caches do not ask together. `plain_success` and `plain_denial` are zones, lower-case wire
    names, without a cache of their answers or denials. With `keep_ttl` TTLs do not count down.
    """

    success: Bounds = _SUCCESS
    denial: Bounds = _DENIAL
    success_capacity: int = 9984
    denial_capacity: int = 9984
    max_bytes: int = MAX_BYTES
    error: int = 5
    prefetch: Prefetch | None = None
    stale: Stale | None = None
    plain_success: frozenset[bytes] = frozenset()
    plain_denial: frozenset[bytes] = frozenset()
    keep_ttl: bool = False
    jitter: float = 0.0


class Found(NamedTuple):
    """An answer from the cache. `due`: upstream should be asked again."""

    reply: Reply
    half: Half
    stale: bool
    due: bool


class Taken(NamedTuple):
    """What became of an upstream's reply.

    `reply` has its TTLs as they are from now on, where it is kept. `stands`: it is the present
    truth, and not a failure to tell it.
    """

    reply: Reply
    stands: bool


def key_of(query: Query) -> bytes:
    """The same for all queries that one answer is for.

    Name, type, class, DO, CD, and RD: what an upstream does not look up is no answer to those who
    want it looked up.
    """
    edns, flags = query.edns, query.flags
    dnssec_ok = edns is not None and edns.dnssec_ok
    bits = (4 if dnssec_ok else 0) | (2 if flags & CD else 0) | (1 if flags & RD else 0)
    return query.name + query.question[-4:] + _ASKED[bits]


class Cache:
    """The answers and the denials of one cache. A key is in one of the two, but for
    `prefer_positive`."""

    def __init__(
        self,
        settings: Settings,
        evicted: dict[Half, Count],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._chance = chance
        self._stale = settings.stale
        most = settings.max_bytes
        self.success = Entries(settings.success_capacity, most, evicted["success"])
        self.denial = Entries(settings.denial_capacity, most, evicted["denial"])
        recheck = ceil(self._stale.recheck) if self._stale else 0
        self._recheck = recheck or max(1, settings.error)

    @property
    def _prefers_positive(self) -> bool:
        return self._stale is not None and self._stale.prefer_positive

    def find(self, key: bytes, name: bytes, now: int) -> Found | None:
        """What is known about a key, whose question is about `name`."""
        half: Half = "denial"
        entry = self._servable(self.denial, key, now)
        if entry is None or self._prefers_positive:
            success = self._servable(self.success, key, now)
            if success is not None:
                half, entry = "success", success
        if entry is None:
            return None
        if now >= entry.ends:
            return self._found_stale(half, entry, name, now)
        return self._found_fresh(half, key, entry, name, now)

    def take(self, key: bytes, query: Query, reply: Reply, now: int) -> Taken:
        """Keep what upstream answered to a query of this key, as far as it may be kept."""
        settings = self._settings
        found = retained(reply, query.qtype, settings.success, settings.denial, settings.error)
        if found.kind == "error":
            self._keep_error(key, query.name, found, now)
            return Taken(reply, stands=False)
        positive = found.kind == "success"
        entries, other = self.success, self.denial
        plain = settings.plain_success
        if not positive:
            entries, other = other, entries
            plain = settings.plain_denial
        kept = False
        if found.seconds and not _within(query.name, plain):
            kept = entries.put(key, self._entry(key, query.name, found, now))
        if not kept:
            entries.drop(key)
        stands = positive or not self._prefers_positive
        if stands:
            other.drop(key)
        else:
            self._put_off(other, key, now)
        return Taken(found.reply if kept else reply, stands)

    def put_off(self, key: bytes, now: int) -> None:
        """A refresh of what is here failed: there is none for a while."""
        for entries in (self.success, self.denial):
            self._put_off(entries, key, now)

    def _put_off(self, entries: Entries, key: bytes, now: int) -> None:
        entry = entries.get(key)
        if entry is not None:
            entries.note(key, entry._replace(retry=now + self._recheck))

    def _half(self, half: Half) -> Entries:
        return self.success if half == "success" else self.denial

    def _servable(self, entries: Entries, key: bytes, now: int) -> Entry | None:
        """An entry that holds, or that may be given though it is stale. Others are forgotten."""
        entry = entries.get(key)
        if entry is None or now < entry.ends:
            return entry
        if self._stale is None or entry.error or now - entry.ends >= self._stale.window:
            entries.drop(key)
            return None
        return entry

    def _found_stale(self, half: Half, entry: Entry, name: bytes, now: int) -> Found | None:
        if self._stale is None:
            return None
        ends = entry.ends + self._stale.window
        lifetime = max(0, min(entry.retry, ends) - now)
        said = entry.read()
        said.extended_error = (
            codes.EDE_STALE_NXDOMAIN if said.rcode == codes.NXDOMAIN else codes.EDE_STALE,
            "",
        )
        ttl = self._stale.ttl
        reply = _reply(said, lambda section: _dated(section, name, ttl), now, lifetime)
        reply.steady = STEADY
        return Found(reply, half, True, not lifetime)

    def _found_fresh(self, half: Half, key: bytes, entry: Entry, name: bytes, now: int) -> Found:
        lifetime, due = entry.ends - now, False
        if self._settings.prefetch is not None and not entry.error:
            lifetime, due = self._count(self._settings.prefetch, self._half(half), key, entry, now)
        passed = 0 if self._settings.keep_ttl else now - entry.stored
        said = entry.read()
        reply = _reply(said, lambda section: _aged(section, name, passed), now, lifetime)
        if self._settings.keep_ttl:
            reply.steady = STEADY
        return Found(reply, half, False, due)

    def _keep_error(self, key: bytes, name: bytes, found: Retained, now: int) -> None:
        known = self._servable(self.success, key, now) or self._servable(self.denial, key, now)
        if known is not None and not known.error:
            self.put_off(key, now)
        elif found.seconds:
            why = found.reply.extended_error
            remembered = found.reply.changed(
                extended_error=(codes.EDE_CACHED_ERROR, why[1] if why else "")
            )
            self.denial.put(key, self._entry(key, name, found._replace(reply=remembered), now))

    def _entry(self, key: bytes, name: bytes, found: Retained, now: int) -> Entry:
        """A new entry, as popular as the one that it takes the place of."""
        seen, hits = 0, 0
        if self._settings.prefetch is not None:
            before = self.success.get(key) or self.denial.get(key)
            if before is not None:
                seen, hits = before.seen, before.hits
        error = found.kind == "error"
        seconds = found.seconds - int(found.seconds * self._settings.jitter * self._chance())
        return Entry(now, seconds, 0, seen, hits, error, content(found.reply, name))

    def _count(
        self, prefetch: Prefetch, entries: Entries, key: bytes, entry: Entry, now: int
    ) -> tuple[int, bool]:
        """One more hit: the answer's lifetime, and whether to ask upstream again."""
        hits = entry.hits + 1 if entry.hits and now - entry.seen <= prefetch.gap else 1
        lifetime, due = 0, False
        if hits >= prefetch.amount:
            lifetime = _unseen(prefetch, entry, now)
            due = not lifetime and now >= entry.retry
        entries.note(key, entry._replace(seen=now + lifetime, hits=min(hits, _MANY)))
        return lifetime, due


def _unseen(prefetch: Prefetch, entry: Entry, now: int) -> int:
    """Seconds for which a popular answer may be given by others, who do not tell of it.

    Until a refresh is due, and for no more than half of the longest gap at a time: so that one is
    noticed, within this half.
    """
    threshold = ceil(prefetch.percentage * entry.seconds / 100)
    return max(0, min(entry.ends - threshold - now, max(1, int(prefetch.gap / 2))))


def _reply(
    said: Content, dated: Callable[[list[RRset]], list[RRset]], now: int, lifetime: int
) -> Reply:
    return Reply(
        said.rcode,
        dated(said.answer),
        dated(said.authority) if said.authority else [],
        dated(said.additional) if said.additional else [],
        recursion_available=said.recursion_available,
        authentic=said.authentic,
        extended_error=said.extended_error,
        lifetime=lifetime,
        counted=now,
        plugin=_PLUGIN,
    )


def _aged(section: list[RRset], name: bytes, passed: int) -> list[RRset]:
    return [
        RRset(owner or name, rtype, ttl - passed, rdatas, rclass)
        for owner, rtype, ttl, rdatas, rclass in section
    ]


def _dated(section: list[RRset], name: bytes, ttl: int) -> list[RRset]:
    return [each._replace(owner=each.owner or name, ttl=ttl) for each in section]


def _within(name: bytes, zones: frozenset[bytes]) -> bool:
    if not zones:
        return False
    return ROOT in zones or any(suffix in zones for _, suffix in suffixes(name))
