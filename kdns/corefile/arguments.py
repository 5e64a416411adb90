"""Reading a directive's arguments and properties, for the setup functions of plugins.

A setup reads as the table of what its directive takes::

    zone, *upstreams = arguments(directive, "FROM TO...")
    with Properties(directive) as properties:
        max_fails = properties.value("max_fails", integer(low=0), 2)
        expire = properties.value("expire", duration(), 10.0)
        force_tcp = properties.flag("force_tcp")

Whatever is not so is a CorefileError at the word that is wrong.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import cache
from math import inf
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeVar

from kdns.corefile.parser import Directive
from kdns.corefile.tokens import CorefileError, Token

T = TypeVar("T")
D = TypeVar("D")
Reader = Callable[[Token], T]

_INTEGER: Final = re.compile("[+-]?[0-9]{1,19}")
_HOST: Final = re.compile("[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_UNIT: Final = "(ns|us|\u00b5s|\u03bcs|ms|s|m|h)"
_DURATION: Final = re.compile(rf"[+-]?(0|(([0-9]+\.?[0-9]*|\.[0-9]+){_UNIT})+)")
_STEP: Final = re.compile(rf"([0-9]*)\.?([0-9]*){_UNIT}")
_SECOND: Final = 1_000_000_000  # nanoseconds, which Go counts in
_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}
_MIN_INT: Final = -(2**63)
_MAX_INT: Final = 2**63 - 1
_MAX_DURATION_TEXT: Final = 64  # characters; longer is no duration that anybody writes


class Address(NamedTuple):
    """Where to listen or connect: `host` is an IP address, a name, or "" for every address."""

    host: str
    port: int


def arguments(directive: Directive, form: str) -> tuple[Token, ...]:
    """The arguments, as many as `form` says, such as `FROM TO...` or `[TTL [ZONE...]]`.

    Each word of the form is an argument; those in brackets may be missing, `...` repeats.
    """
    low, high = _counts(form)
    args = directive.args
    if low <= len(args) <= high:
        return args
    usage = f"write {directive.name.text} {form}" if form else "take it out"
    if len(args) < low:
        last = args[-1] if args else directive.name
        raise CorefileError(f"an argument is missing after {last.shown}: {usage}", last.position)
    surplus = args[int(high)]
    raise CorefileError(f"{surplus.shown} is one argument too many: {usage}", surplus.position)


def no_block(directive: Directive) -> None:
    """Refuse braces, empty ones too, where a directive or property takes none."""
    if directive.block is not None:
        raise CorefileError(
            f"{directive.name.shown} takes no braces: take them out", directive.position
        )


class Properties:
    """The properties in a directive's braces, asked for by name.

    In a `with`, a property that nobody asked for is refused at its end. Where the rest has a
    meaning of its own, as in `hosts`, do without and read `others`.
    """

    def __init__(self, directive: Directive) -> None:
        self._directive = directive
        self._known: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        others = self.others()
        if kind is None and others:
            name = others[0].name
            known = ", ".join(sorted(self._known))
            raise CorefileError(
                f"{self._directive.name.text} has no property {name.shown}: "
                + (f"write one of {known}" if known else "take it out"),
                name.position,
            )

    def each(self, name: str, form: str) -> tuple[tuple[Token, ...], ...]:
        """The arguments of every time that the property is written; see `arguments`."""
        self._known.add(name)
        found = [entry for entry in self._directive.block or () if entry.name.text == name]
        for entry in found:
            no_block(entry)
        return tuple(arguments(entry, form) for entry in found)

    def flag(self, name: str) -> bool:
        """Whether the property, which takes no arguments, is written."""
        return bool(self.each(name, ""))

    def value(self, name: str, reader: Reader[T], default: D) -> T | D:
        """The property's one argument; where it is written again, the last, as in CoreDNS."""
        value: T | D = default
        for (token,) in self.each(name, "VALUE"):
            value = reader(token)
        return value

    def values(self, name: str, reader: Reader[T]) -> tuple[T, ...]:
        """The property's arguments, at least one each time that it is written."""
        each = self.each(name, "VALUE...")
        return tuple(reader(token) for tokens in each for token in tokens)

    def others(self) -> tuple[Directive, ...]:
        """What is in the braces and not asked for up to now, such as the entries of `hosts`."""
        block = self._directive.block or ()
        return tuple(entry for entry in block if entry.name.text not in self._known)


def text(token: Token) -> str:
    """The word as it stands."""
    return token.text


def integer(low: int = _MIN_INT, high: int = _MAX_INT) -> Reader[int]:
    """Reads a whole number from `low` to `high`."""
    wanted = "a whole number"
    if low > _MIN_INT:
        wanted += f" from {low}" if high < _MAX_INT else f" of at least {low}"
    if high < _MAX_INT:
        wanted += f" to {high}" if low > _MIN_INT else f" of at most {high}"

    def read(token: Token) -> int:
        if _INTEGER.fullmatch(token.text) and low <= int(token.text) <= high:
            return int(token.text)
        raise _unlike(token, wanted)

    return read


def duration(low: float = 0, high: float = inf, *, bare: bool = False) -> Reader[float]:
    """Reads a duration in Go's syntax, `1m30s` or `250ms`, from `low` to `high`; all in seconds.

    With `bare` a whole number without a unit is seconds too (CoreDNS: plugin/pkg/durations).
    """
    wanted = f"a duration of at least {low:g}s" if low else "a duration"
    if high < inf:
        wanted += f" up to {high:g}s" if low else f" of at most {high:g}s"
    wanted += ", such as 5s, 250ms or 1m30s"

    def read(token: Token) -> float:
        written = token.text
        if bare and _INTEGER.fullmatch(written):
            written += "s"
        seconds = _seconds(written)
        if seconds is not None and low <= seconds <= high:
            return seconds
        raise _unlike(token, wanted)

    return read


def choice(*words: str) -> Reader[str]:
    """Reads one of `words`."""

    def read(token: Token) -> str:
        if token.text in words:
            return token.text
        raise _unlike(token, " or ".join(words))

    return read


def switch(token: Token) -> bool:
    """Reads `on` or `off`."""
    return choice("on", "off")(token) == "on"


def address(default_port: int | None = None) -> Reader[Address]:
    """Reads `HOST:PORT`, `[IPV6]:PORT` or `:PORT`; with `default_port` a host may do without."""
    wanted = "an address and port, such as 10.0.0.10:53, [fd00::10]:53 or :53"
    if default_port is not None:
        wanted = "an address, such as 10.0.0.10, fd00::10 or 10.0.0.10:53"

    def read(token: Token) -> Address:
        host, port = _host_and_port(token.text)
        if not port and host and default_port is not None:
            port = str(default_port)
        if (
            port.isascii()
            and port.isdigit()
            and len(port) <= 5
            and int(port) <= 65535
            and _is_host(host)
        ):
            return Address(host, int(port))
        raise _unlike(token, wanted)

    return read


def _unlike(token: Token, wanted: str) -> CorefileError:
    return CorefileError(f"{token.shown} cannot be read: write {wanted}", token.position)


@cache
def _counts(form: str) -> tuple[int, float]:
    """How many arguments a form asks for, and how many it allows."""
    low, high, depth = 0, 0.0, 0
    for word in form.split():
        depth += word.count("[")
        low += depth == 0
        high += inf if "..." in word else 1
        depth -= word.count("]")
    return low, high


def _seconds(written: str) -> float | None:
    """A duration as Go's time.ParseDuration takes it; None for anything else."""
    if len(written) > _MAX_DURATION_TEXT or not _DURATION.fullmatch(written):
        return None
    total = 0
    for whole, fraction, unit in _STEP.findall(written):
        total += int(whole or 0) * _UNITS[unit]
        total += int(fraction or 0) * _UNITS[unit] // 10 ** len(fraction)
    if total > _MAX_INT:
        return None
    return (-total if written.startswith("-") else total) / _SECOND


def _host_and_port(written: str) -> tuple[str, str]:
    """Both as written, "" for what is missing; a host that is no host where the form is wrong."""
    if written.startswith("["):
        host, _, port = written[1:].partition("]")
        wrong = ":" not in host or (port and not port.startswith(":"))
        return ("[" if wrong else host), port[1:]
    if written.count(":") > 1:
        return written, ""
    host, _, port = written.partition(":")
    return host, port


def _is_host(host: str) -> bool:
    """Whether it is "", an IP address, or could be a name; digits and dots alone are no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        named = _HOST.fullmatch(host) is not None and re.fullmatch("[0-9.]+", host) is None
        return not host or named
    return True
