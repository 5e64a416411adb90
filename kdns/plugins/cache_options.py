"""What a `cache` says, read from its directive."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Final, NamedTuple

from kdns.corefile.arguments import Properties, arguments, duration, integer
from kdns.corefile.parser import Directive
from kdns.corefile.tokens import CorefileError, Token
from kdns.corefile.zones import origins
from kdns.dns.names import ROOT, from_text
from kdns.forwarding.cache import Prefetch, Settings, Stale
from kdns.forwarding.retention import Bounds
from kdns.plugins.site import Site

_MAX_TTL: Final = (1 << 31) - 1  # RFC 2181 §8
_MAX_STALE_TTL: Final = (1 << 32) - 1
_SMALLEST: Final = 1024  # entries: CoreDNS has no smaller cache
_LONGEST_ERROR: Final = 300  # seconds, RFC 2308 §7.1
_STALE_FORM: Final = "[DURATION] [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]"
_PERCENTAGE: Final = re.compile("([+-]?[0-9]{1,9})%")


class _Half(NamedTuple):
    """A line `success` or `denial`; None for what it does not say."""

    capacity: int
    longest: int | None = None
    shortest: int | None = None


def read(directive: Directive, site: Site) -> tuple[list[bytes], Settings]:
    """The zones that are cached, and how. Raises CorefileError.

    CoreDNS: plugin/cache/setup.go. What is written twice counts as it was written last.
    """
    words = arguments(directive, "[TTL] [ZONE...]")
    settings = site.facilities.cache
    if words and re.fullmatch("[+-]?[0-9]{1,18}", words[0].text):
        ttl = min(integer(1)(words[0]), _MAX_TTL)
        settings = replace(settings, success=Bounds(ttl), denial=Bounds(ttl))
        words = words[1:]
    with Properties(directive) as properties:
        for half in _halves(properties, "success"):
            bounds = _bounds(settings.success, half)
            settings = replace(settings, success=bounds, success_capacity=half.capacity)
        for half in _halves(properties, "denial"):
            bounds = _bounds(settings.denial, half)
            settings = replace(settings, denial=bounds, denial_capacity=half.capacity)
        success, denial = _plain(properties)
        error = properties.value("servfail", duration(0, _LONGEST_ERROR), float(settings.error))
        settings = replace(
            settings,
            error=ceil(error),
            prefetch=_prefetch(properties, settings.prefetch),
            stale=_stale(properties, settings.stale),
            plain_success=success,
            plain_denial=denial,
            keep_ttl=properties.flag("keepttl"),
        )
    return site.zones(words), settings


def _halves(properties: Properties, name: str) -> list[_Half]:
    """CoreDNS pays no heed to a fourth word."""
    ttl = integer(1)
    return [
        _Half(
            max(_SMALLEST, integer()(words[0])),
            *[min(ttl(word), _MAX_TTL) for word in words[1:2]],
            *[min(integer(0)(word), _MAX_TTL) for word in words[2:3]],
        )
        for words in properties.each(name, "CAPACITY [TTL] [MINTTL] [...]")
    ]


def _bounds(bounds: Bounds, half: _Half) -> Bounds:
    return Bounds(
        bounds.longest if half.longest is None else half.longest,
        bounds.shortest if half.shortest is None else half.shortest,
    )


def _plain(properties: Properties) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """`disable`: zones without a cache of their answers, and of their denials."""
    plain: dict[str, frozenset[bytes]] = {}
    for kind, *words in properties.each("disable", "KIND [ZONE...]"):
        if kind.text not in ("success", "denial"):
            raise _unlike(kind, "success or denial")
        zones = [from_text(zone) for word in words for zone in origins(word)]
        plain[kind.text] = frozenset(zones or [ROOT])
    return plain.get("success", frozenset()), plain.get("denial", frozenset())


def _prefetch(properties: Properties, default: Prefetch | None) -> Prefetch | None:
    written = properties.each("prefetch", "AMOUNT [DURATION] [PERCENTAGE%]")
    if not written:
        return default
    prefetch = Prefetch(0)
    for words in written:
        prefetch = replace(prefetch, amount=integer(0)(words[0]))
        for word in words[1:2]:
            prefetch = replace(prefetch, gap=duration()(word))
        for word in words[2:]:
            prefetch = replace(prefetch, percentage=_percentage(word))
    return prefetch if prefetch.amount else None


def _percentage(word: Token) -> int:
    written = _PERCENTAGE.fullmatch(word.text)
    if written is None or not 10 <= int(written[1]) <= 90:
        raise _unlike(word, "a percentage from 10% to 90%")
    return int(written[1])


def _stale(properties: Properties, default: Stale | None) -> Stale | None:
    """None where nothing is served stale: `serve_stale 0` is that too."""
    stale = default
    for written in properties.each("serve_stale", "[...]"):
        stale = _read_stale(written)
    policies = properties.each("serve_stale_policy", "POLICY")
    for (policy,) in policies:
        if policy.text.lower() != "prefer_positive":
            raise _unlike(policy, "prefer_positive")
        if stale is None:
            raise CorefileError(
                "serve_stale_policy has no meaning without serve_stale: add that, or take this out",
                policy.position,
            )
    if len(policies) > 1:
        raise CorefileError(
            "serve_stale_policy is written twice: take one of them out", policies[1][0].position
        )
    if stale is None or not stale.window:
        return None
    return replace(stale, prefer_positive=bool(policies))


def _read_stale(written: Sequence[Token]) -> Stale:
    stale = Stale()
    for window in written[:1]:
        stale = replace(stale, window=int(duration()(window)))
    for mode in written[1:2]:
        if mode.text.lower() not in ("immediate", "verify"):
            raise _unlike(mode, "immediate or verify")
        stale = replace(stale, verify=mode.text.lower() == "verify")
    rest = written[2:]
    if stale.verify:
        for timeout in rest[:1]:
            stale = replace(stale, timeout=duration()(timeout))
        rest = rest[1:]
    for ttl in rest[:1]:
        stale = replace(stale, ttl=_whole_seconds(ttl))
    for recheck in rest[1:2]:
        stale = replace(stale, recheck=duration(0, _LONGEST_ERROR)(recheck))
    for surplus in rest[2:]:
        raise CorefileError(
            f"{surplus.shown} is one argument too many: write serve_stale {_STALE_FORM}",
            surplus.position,
        )
    return stale


def _whole_seconds(word: Token) -> int:
    seconds = duration(0, _MAX_STALE_TTL)(word)
    if seconds != int(seconds):
        raise _unlike(word, "whole seconds, such as 30s")
    return int(seconds)


def _unlike(word: Token, wanted: str) -> CorefileError:
    return CorefileError(f"{word.shown} cannot be read: write {wanted}", word.position)
