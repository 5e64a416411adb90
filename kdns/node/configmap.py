"""The kube-dns ConfigMap as a mounted folder: stub domains and upstream servers."""

from __future__ import annotations

import json
import os
import re
from typing import Final, NamedTuple

from kdns.node.flags import canonical

_LARGEST: Final = 1 << 20  # bytes; what etcd takes of an object is less
_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_TRANSPORTS: Final = ("dns", "tls")
_PATH: Final = re.compile(r"/[A-Za-z0-9_./-]+")


class BadConfigMap(Exception):
    """A value of the ConfigMap that cannot be used: which, why, and what to do."""


class ConfigMap(NamedTuple):
    """What the kube-dns ConfigMap says for a node's cache."""

    stub_domains: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Domains and the servers to ask about each, by domain."""
    upstreams: tuple[str, ...] = ()


def load(folder: str) -> dict[str, bytes]:
    """The keys of the ConfigMap that count, as they are mounted. Raises BadConfigMap."""
    found: dict[str, bytes] = {}
    for key in ("stubDomains", "upstreamNameservers"):
        path = os.path.join(folder, key)  # noqa: PTH118 - without pathlib's megabyte
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - as above
                found[key] = file.read(_LARGEST)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise BadConfigMap(
                f"{path} cannot be read ({error.strerror}): mend its mount"
            ) from None
    return found


def stub_domains(text: bytes) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """`stubDomains`: a JSON object of lists of servers by domain. Raises BadConfigMap."""
    said = _json("stubDomains", text)
    if not isinstance(said, dict):
        raise _unlike("stubDomains", 'an object such as {"acme.local": ["1.2.3.4"]}')
    domains: list[tuple[str, tuple[str, ...]]] = []
    for domain, servers in sorted(said.items()):
        if not _is_domain(domain):
            raise BadConfigMap(f"stubDomains: {domain!r} is no domain: correct it or take it out")
        domains.append((domain, _servers(f"stubDomains: {domain}", servers)))
        if not domains[-1][1]:
            raise BadConfigMap(f"stubDomains: {domain} has no server: add one, or take it out")
    return tuple(domains)


def upstreams(text: bytes) -> tuple[str, ...]:
    """`upstreamNameservers`: a JSON list of servers. Raises BadConfigMap."""
    return _servers("upstreamNameservers", _json("upstreamNameservers", text))


def _servers(what: str, said: object) -> tuple[str, ...]:
    if not isinstance(said, list) or not all(isinstance(each, str) for each in said):
        raise _unlike(what, 'a list of servers such as ["1.2.3.4"]')
    for server in said:
        if not _is_server(server):
            raise BadConfigMap(
                f"{what}: {server!r} is no server: write an address, with a port or without, plain"
                " or after dns:// or tls://"
            )
    return tuple(said)


def _json(what: str, text: bytes) -> object:
    if not text.strip():
        return {} if what == "stubDomains" else []
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadConfigMap(f"{what} is no JSON ({error}): correct it") from None


def _is_domain(text: str) -> bool:
    labels = text.removesuffix(".").split(".")
    return len(text) <= 253 and all(_LABEL.fullmatch(label) for label in labels)


def _is_server(text: str) -> bool:
    """What CoreDNS's forward takes: an address, or a file such as /etc/resolv.conf."""
    transport, scheme, rest = text.partition("://")
    if scheme and transport not in _TRANSPORTS:
        return False
    if not scheme:
        rest = text
        if _PATH.fullmatch(rest):
            return os.path.isfile(rest)  # noqa: PTH113 - without pathlib's megabyte
    host, port = rest, ""
    if rest.startswith("["):
        host, bracket, port = rest[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return False
        port = port[1:] if port else ""
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
        if not port:
            return False
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        return False
    host, zone, interface = host.partition("%")
    return canonical(host) is not None and (not zone or bool(_LABEL.fullmatch(interface)))


def _unlike(what: str, wanted: str) -> BadConfigMap:
    return BadConfigMap(f"{what} is not what it must be: write {wanted}")
