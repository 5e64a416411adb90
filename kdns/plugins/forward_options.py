"""What a `forward` says, read: CoreDNS 1.14.7's options and kdns' own, with its rules for them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from kdns.corefile.arguments import (
    Properties,
    address,
    arguments,
    choice,
    duration,
    integer,
    text,
)
from kdns.corefile.parser import Directive
from kdns.corefile.tokens import CorefileError, Token
from kdns.corefile.zones import origins
from kdns.dns import codes
from kdns.dns.names import BadName, from_text
from kdns.forwarding import resolv
from kdns.forwarding.options import Health, Options, Policy, ResolvFile, Target, Tls, Way
from kdns.forwarding.tls import BadTlsFile, client_context

MAX_TARGETS: Final = 15

_FORMS: Final = (
    "write an address such as 10.0.0.2, 10.0.0.2:5353, [fd00::2]:53, tls://9.9.9.9%dns.quad9.net"
    " or https://9.9.9.9, a host name, or a file such as /etc/resolv.conf"
)
_PORTS: Final[dict[str, int]] = {"dns": 53, "tls": 853, "https": 443}
_SCHEME: Final = re.compile("([a-z0-9]+)://")
_HOST: Final = re.compile("[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_PATH: Final = re.compile("/[!-~]*")
_COUNT: Final = integer(0, 2**32 - 1)
_POLICY: Final = choice("random", "round_robin", "sequential")
_METHOD: Final = choice("POST", "GET")
_RCODES: Final = {name: number for number, name in codes.RCODE_NAMES.items()} | {
    "NOTIMPL": codes.NOTIMP,
    "DSOTYPENI": 11,
    "BADSIG": 16,
    "BADKEY": 17,
    "BADTIME": 18,
    "BADMODE": 19,
    "BADNAME": 20,
    "BADALG": 21,
    "BADTRUNC": 22,
    "BADCOOKIE": 23,
}


@dataclass(frozen=True, slots=True)
class Written:
    """One `forward` as read: names at or below `origins` and not below `excepted`, lower-case wire
    names, go to the upstreams of `options`; replies with an rcode of `next` to the next one."""

    origins: tuple[bytes, ...]
    excepted: tuple[bytes, ...]
    options: Options
    next: frozenset[int]
    next_on_nodata: bool
    hosts: dict[str, Token]
    """The targets that are names, and where each is written."""


def read(directive: Directive, folder: Path) -> Written:
    """Read a directive whose relative paths begin at `folder`. Raises CorefileError."""
    from_, *to = arguments(directive, "FROM TO...")
    zones = tuple(from_text(zone) for zone in origins(from_))
    if not zones:
        raise CorefileError(
            'FROM is empty: write the zone whose names are forwarded, "." for all', from_.position
        )
    with Properties(directive) as properties:
        tls = _tls(properties, folder)
        expire = properties.value("expire", duration(), 10.0)
        max_age = _max_age(properties, expire)
        targets, hosts = _targets(to, tls, folder)
        options = Options(
            targets=targets,
            policy=cast("Policy", properties.value("policy", _POLICY, "random")),
            force_tcp=properties.flag("force_tcp"),
            prefer_udp=properties.flag("prefer_udp"),
            expire=expire,
            max_age=max_age,
            max_idle_conns=properties.value("max_idle_conns", integer(low=0), 0),
            read_timeout=properties.value("read_timeout", _positive, 2.0),
            max_connect_attempts=properties.value("max_connect_attempts", _COUNT, None),
            max_fails=properties.value("max_fails", _COUNT, 2),
            health=_health(properties),
            max_concurrent=properties.value("max_concurrent", integer(low=0), 0),
            failover=frozenset(properties.values("failover", _failure_rcode)),
            failfast_all_unhealthy=properties.flag("failfast_all_unhealthy_upstreams"),
            source_address=properties.value("source_address", _ip, ""),
            resolver=_resolvers(properties),
            tls=tls,
            doh_method=cast(
                "Literal['POST', 'GET']", properties.value("doh_method", _METHOD, "POST")
            ),
            mixed_case=properties.flag("mixed_case"),
        )
        except_ = properties.each("except", "IGNORED_NAMES...")
        excepted = [from_text(z) for tokens in except_ for token in tokens for z in origins(token)]
        return Written(
            zones,
            tuple(dict.fromkeys(excepted)),
            options,
            frozenset(properties.values("next", _rcode)),
            properties.flag("next_on_nodata"),
            hosts,
        )


def _targets(
    to: Sequence[Token], tls: Tls, folder: Path
) -> tuple[tuple[Target | ResolvFile, ...], dict[str, Token]]:
    """The targets, and of those that are names where they are written."""
    if len(to) > MAX_TARGETS:
        raise CorefileError(
            f"forward takes at most {MAX_TARGETS} upstreams, and these are {len(to)}: take some"
            " out, or name a file with their nameserver lines",
            to[MAX_TARGETS].position,
        )
    targets: list[Target | ResolvFile] = []
    hosts: dict[str, Token] = {}
    known = 0
    for token in to:
        target = _target(token, tls, folder)
        targets.append(target)
        known += len(_nameservers(target, token)) if isinstance(target, ResolvFile) else 1
        if isinstance(target, Target) and not resolv.address(target.host):
            hosts[target.host] = token
    if not known:
        raise CorefileError(
            f"{to[0].shown} names no nameserver, and there is no other upstream: add a line such as"
            " nameserver 10.0.0.2 to it, or name an address here",
            to[0].position,
        )
    return tuple(targets), hosts


def _target(token: Token, tls: Tls, folder: Path) -> Target | ResolvFile:
    scheme = _SCHEME.match(token.text)
    way = scheme[1] if scheme else "dns"
    if way not in _PORTS:
        raise CorefileError(
            f"{token.shown}: kdns does not forward over {way}://, {_FORMS}", token.position
        )
    written = token.text[scheme.end() :] if scheme else token.text
    place, slash, path = written.partition("/") if way == "https" else (written, "", "")
    host, name, port = _split(place)
    ip = resolv.address(f"{host}%{name}" if name and way == "dns" and ":" in host else host)
    if not ip and way == "dns" and _is_file(folder, written):
        return ResolvFile(folder / written)
    if (
        not (ip or _is_name(host))
        or not (way == "dns" or not name or _is_name(name) or resolv.address(name))
        or not (not slash or _PATH.fullmatch(slash + path))
        or not _is_port(port)
    ):
        raise CorefileError(f"{token.shown} is no upstream: {_FORMS}", token.position)
    if name and way == "tls" and tls.server_name:
        raise CorefileError(
            f"{token.shown} has a server name of its own, and tls_servername is"
            f" {tls.server_name!r} for all: take one of the two out",
            token.position,
        )
    # As in CoreDNS a name behind an address has no meaning in plain DNS, nor beside tls_servername.
    server_name = name if way != "dns" and not tls.server_name else ""
    return Target(
        cast("Way", way),
        ip or host.lower().rstrip("."),
        int(port or _PORTS[way]),
        server_name.rstrip("."),
        slash + path,
    )


def _split(place: str) -> tuple[str, str, str]:
    """Host, what is behind its `%`, and port, "" for what is missing; of `1.1.1.1%name:853`,
    `[::1%name]:853`, and plain forms of both. Port `-` for what has no such form."""
    if place.startswith("["):
        inside, bracket, behind = place[1:].partition("]")
        host, _, name = inside.partition("%")
        if not bracket or (behind and not behind.startswith(":")):
            return host, name, "-"
        return host, name, behind[1:] or ("-" if behind else "")
    host, percent, name = place.partition("%")
    if percent:
        name, colon, port = name.partition(":")
        return host, name, "-" if not name or (colon and not port) else port
    if host.count(":") == 1:
        host, _, port = host.partition(":")
        return host, "", port or "-"
    return host, "", ""


def _is_port(text: str) -> bool:
    return not text or (
        text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535
    )


def _is_name(host: str) -> bool:
    """Whether it can be a host's name; digits and dots alone are an address with a fault."""
    try:
        from_text(host)
    except BadName:
        return False
    return _HOST.fullmatch(host) is not None and re.fullmatch("[0-9.]+", host) is None


def _is_file(folder: Path, written: str) -> bool:
    if written.startswith("/"):
        return True
    try:
        return bool(written) and (folder / written).is_file()
    except (OSError, ValueError):
        return False


def _nameservers(file: ResolvFile, token: Token) -> tuple[Target, ...]:
    try:
        return resolv.read(file.path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CorefileError(
            f"{token.shown} cannot be read ({reason}): correct its path or permissions, or name an"
            " address",
            token.position,
        ) from None


def _tls(properties: Properties, folder: Path) -> Tls:
    """Files are read, to see whether they are good: they are read again when they are needed."""
    server_name = properties.value("tls_servername", text, "")
    tls = Tls(server_name=server_name)
    for tokens in properties.each("tls", "[CERT [KEY [CA]]]"):
        paths = [folder / token.text for token in tokens]
        if len(paths) == 1:
            tls = Tls(ca=paths[0], server_name=server_name)
        else:
            certificate, key, ca = (*paths, None, None, None)[:3]
            tls = Tls(certificate, key, ca, server_name)
        if tokens:
            try:
                client_context(tls)
            except BadTlsFile as error:
                raise CorefileError(
                    f"{error}: write tls, tls CA, tls CERT KEY or tls CERT KEY CA",
                    tokens[0].position,
                ) from None
    return tls


def _max_age(properties: Properties, expire: float) -> float:
    max_age = 0.0
    for (token,) in properties.each("max_age", "DURATION"):
        max_age = duration()(token)
        if 0 < max_age < expire:
            raise CorefileError(
                f"max_age {token.text} is less than expire, {expire:g}s: make it longer, or expire"
                " shorter",
                token.position,
            )
    return max_age


def _health(properties: Properties) -> Health:
    health = Health()
    for interval, *words in properties.each("health_check", "DURATION [no_rec] [domain FQDN]"):
        health = Health(duration()(interval))
        rest = iter(words)
        for word in rest:
            if word.text == "no_rec":
                health = health._replace(recursion_desired=False)
            elif word.text == "domain":
                health = health._replace(domain=_domain(next(rest, None), word))
            else:
                raise CorefileError(
                    f"{word.shown} is no option of health_check: write no_rec or domain FQDN",
                    word.position,
                )
    return health


def _domain(token: Token | None, behind: Token) -> bytes:
    try:
        if token is None or not token.text:
            raise BadName("it is missing")
        return from_text(token.text).lower()
    except BadName as error:
        raise CorefileError(
            f"the domain of health_check cannot be read, {error}: write a name such as example.org",
            (token or behind).position,
        ) from None


def _resolvers(properties: Properties) -> tuple[str, ...]:
    """The last line of them, as in CoreDNS."""
    resolvers: tuple[str, ...] = ()
    for tokens in properties.each("resolver", "IP..."):
        resolvers = tuple(map(_resolver, tokens))
    return resolvers


def _resolver(token: Token) -> str:
    host, port = address(resolv.DNS_PORT)(token)
    ip = resolv.address(host)
    if not ip or not port:
        raise CorefileError(
            f"{token.shown} is no address of a resolver: write one such as 10.96.0.10, fd00::10 or"
            " 10.96.0.10:5353",
            token.position,
        )
    return str(Target("dns", ip, port))


def _ip(token: Token) -> str:
    try:
        found = ipaddress.ip_address(token.text)
    except ValueError:
        raise CorefileError(
            f"{token.shown} is no IP address: write one of this machine's", token.position
        ) from None
    return str(getattr(found, "ipv4_mapped", None) or found)


def _positive(token: Token) -> float:
    seconds = duration()(token)
    if not seconds:
        raise CorefileError(
            f"{token.shown} leaves no time: write a duration above 0, such as 2s", token.position
        )
    return seconds


def _rcode(token: Token) -> int:
    rcode = _RCODES.get(token.text.upper())
    if rcode is None:
        raise CorefileError(
            f"{token.shown} is no response code: write one such as NXDOMAIN, SERVFAIL or REFUSED",
            token.position,
        )
    return rcode


def _failure_rcode(token: Token) -> int:
    rcode = _rcode(token)
    if rcode == codes.NOERROR:
        raise CorefileError(
            f"{token.shown} is no failure to ask the next upstream for: take it out", token.position
        )
    return rcode
