"""Zones as a Corefile writes them, `tls://example.org:853` or `10.0.0.0/23`, to names of zones.

CoreDNS: plugin/normalize.go, core/dnsserver/register.go and address.go.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from kdns.corefile.tokens import CorefileError, Position, Token
from kdns.dns.names import BadName, from_text, to_text

DNS_PORT: Final = 53
_PORTS: Final = {"tls": 853, "quic": 853, "grpc": 443, "https": 443, "https3": 443}
_TRANSPORT: Final = re.compile("(dns|tls|quic|grpc|https3|https|unix)://")
_MAX_NAME_TEXT: Final = 4 * 255  # characters, all of them escaped
_NUMBER: Final = re.compile("[+-]?[0-9]+")
_PREFERRED: Final = re.compile(r"([A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+")


@dataclass(frozen=True, slots=True)
class ZoneKey:
    """One zone that a server block is for.

    `zone` is lower-case presentation text with its final dot; `transport` is `dns`, `tls`, `quic`,
    `grpc`, `https` or `https3`; `port` is from 0 to 65535, 0 being any free one.
    """

    zone: str
    transport: str
    port: int
    position: Position

    def __str__(self) -> str:
        return f"{self.transport}://{self.zone}:{self.port}"


class Listener(NamedTuple):
    """A zone on an address, "" being every address; `filtered` where a view decides who gets it."""

    key: ZoneKey
    address: str = ""
    filtered: bool = False


def zone_keys(token: Token, default_port: int = DNS_PORT) -> tuple[ZoneKey, ...]:
    """The zones that one key of a server block stands for; several for a CIDR between labels.

    `default_port` is for plain DNS; the other transports have ports of their own. Raises
    CorefileError.
    """
    transport, zones, port = _read(token)
    if transport == "unix":
        raise CorefileError(
            f"{token.shown}: no server listens on unix://, write dns://, tls://, quic://, grpc://,"
            " https:// or https3://",
            token.position,
        )
    if port is None:
        port = _PORTS.get(transport, default_port)
    return tuple(ZoneKey(zone, transport, port, token.position) for zone in zones)


def origins(token: Token) -> tuple[str, ...]:
    """The zones that a plugin's argument, a name or CIDR, stands for: as in `ZoneKey.zone`.

    A transport or port is accepted and has no meaning. An empty argument, as an unset variable
    leaves it, stands for none. Raises CorefileError, where CoreDNS leaves the argument out.
    """
    return _read(token)[1] if token.text else ()


def is_preferred(zone: str) -> bool:
    """Whether a zone looks like one: CoreDNS warns at start of those that do not (RFC 1035 §2.3.1).

    The root and the reverse zones do.
    """
    reverse = zone.endswith((".in-addr.arpa.", ".ip6.arpa."))
    return zone == "." or reverse or _PREFERRED.fullmatch(zone) is not None


def refuse_overlap(listeners: Iterable[Listener]) -> None:
    """Raise CorefileError where two server blocks would answer for the same zone on one address.

    An unfiltered zone on every address excludes the same on any one.
    """
    exact: dict[tuple[str, str, int, str], ZoneKey] = {}
    anywhere: dict[tuple[str, str, int], ZoneKey] = {}
    for key, address, filtered in listeners:
        place = (key.transport, key.zone, key.port)
        earlier = exact.get((*place, address)) or exact.get((*place, ""))
        if earlier is None and not address:
            earlier = anywhere.get(place)
        if earlier is not None:
            where = f" on {address}" if address else ""
            raise CorefileError(
                f"{key}{where} is served by {earlier.position} already: take one of them out, or"
                " bind each to other addresses",
                key.position,
            )
        if not filtered:
            exact[(*place, address)] = anywhere[place] = key


def _read(token: Token) -> tuple[str, tuple[str, ...], int | None]:
    """Transport, zones and port; a port that is not written is None."""
    text, transport = token.text, "dns"
    if prefix := _TRANSPORT.match(text):
        transport = prefix[1]
        text = text[prefix.end() :]
    host, port = _split_port(text, token)
    if not host:
        raise CorefileError(
            f'{token.shown} has no zone: write "." for the root, as in ".:53"', token.position
        )
    return transport, _reverse_zones(host, token) or (_name(host, token),), port


def _split_port(text: str, token: Token) -> tuple[str, int | None]:
    """A number after the last colon is a port; `example.org:` lacks it."""
    host, colon, number = text.rpartition(":")
    if not colon:
        return text, None
    if not number:
        raise CorefileError(
            f"{token.shown} lacks its port: write one after the colon or take the colon out",
            token.position,
        )
    if not _NUMBER.fullmatch(number):
        return text, None
    digits = number.lstrip("+-").lstrip("0") or "0"
    if len(digits) > 5 or int(digits) > 65535 or (number[0] == "-" and digits != "0"):
        raise CorefileError(
            f"{token.shown} has no such port: ports are from 0 to 65535", token.position
        )
    return host, int(digits)


def _name(host: str, token: Token) -> str:
    if len(host) > _MAX_NAME_TEXT:
        raise CorefileError(
            f"{token.shown} is longer than 255 bytes: write a domain name or a CIDR", token.position
        )
    try:
        return to_text(from_text(host).lower())
    except BadName as error:
        raise CorefileError(
            f"{token.shown} is not a zone, {error}: write a domain name or a CIDR", token.position
        ) from None


def _reverse_zones(host: str, token: Token) -> tuple[str, ...]:
    """The zones of a CIDR, cut where labels are (8 or 4 bits); none for what is not a CIDR.

    Host bits are ignored. A zone of RFC 2317, such as `0/25.2.0.192.in-addr.arpa`, is a name.
    """
    address, slash, length = host.partition("/")
    if not slash or not (length.isascii() and length.isdigit()) or "%" in address:
        return ()
    try:
        network = ipaddress.ip_network(host, strict=False)
    except ValueError:
        return ()
    if network.version == 6 and host.startswith((":", "0")):
        raise CorefileError(
            f"{token.shown} is a CIDR that starts with a zero field: write the name of its"
            " ip6.arpa zone",
            token.position,
        )
    bits = 8 if network.version == 4 else 4
    prefix = -(-network.prefixlen // bits) * bits
    above = (network.max_prefixlen - prefix) // bits
    return tuple(
        ".".join((*subnet.network_address.reverse_pointer.split(".")[above:], ""))
        for subnet in network.subnets(new_prefix=prefix)
    )
