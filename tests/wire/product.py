"""Names worth asking for: those of the manifests, those that kdns lists, and what is near them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from kdns.cluster.feed import Synced, Upsert
from kdns.cluster.objects import SERVICE_NAME_LABEL
from kdns.dns import names
from kdns.records.forward import ForwardZone
from kdns.records.listing import all_records
from kdns.records.options import ZoneOptions
from kdns.records.reverse import ReverseZone
from kdns.records.store import Store
from tests.wire.cluster import Manifest, decoded, objects

TYPES = ("A", "AAAA", "SRV", "CNAME", "TXT", "PTR", "NS", "SOA", "MX", "ANY", "HTTPS", "TYPE65280")

ZONE = "cluster.local."

_WIDE = (
    ".big.prod.svc.cluster.local.",
    ".huge.prod.svc.cluster.local.",
    ".64.244.10.in-addr.arpa.",
    ".245.10.in-addr.arpa.",
)
"""What hundreds of names end in, of which `_FEW` are asked for."""

_FEW = 3

_VARIATIONS = (
    "ns.dns",
    "http.tcp.web.default.svc",
    "_http.tcp.web.default.svc",
    "http._tcp.web.default.svc",
    "_http._udp.web.default.svc",
    "_udp.web.default.svc",
    "tcp.web.default.svc",
    "_http.web.default.svc",
    "_8080._tcp.plain.default.svc",
    "_tcp.plain.default.svc",
    "x._http._tcp.web.default.svc",
    "_http._tcp.db-0.db.prod.svc",
    "_postgres._tcp.inside-headless.default.svc",
    "10-244-4-10.db.prod.svc",
    "fd00--.six.prod.svc",
    "1-2-3-4.default.pod",
    "x.1-2-3-4.default.pod",
    "a.b.1-2-3-4.default.pod",
    "1-2-3-4.ghost.pod",
    "1-2-3-256.default.pod",
    "01-2-3-4.default.pod",
    "1-2-3.default.pod",
    "1--2.default.pod",
    "fd00--.default.pod",
    "fd00-0-0-0-0-0-0-0.default.pod",
    "x-y.default.pod",
    "*.default.svc",
    "any.any.svc",
    "ns",
    "x.dns",
    "x.dns-version",
    "x.ns.dns",
    "svc.default.svc",
    "_http._tcp.svc",
)


class Known:
    """Absolute names that exist, or could, and what is below each name."""

    def __init__(self) -> None:
        every = (*_of_manifests(), *_listed(), *(f"{name}.{ZONE}" for name in _VARIATIONS))
        self.names = list(dict.fromkeys(every))
        self._below: dict[str, list[str]] = {}
        for name in self.names:
            for above in _above(name):
                self._below.setdefault(above, []).append(name)

    def below(self, name: str) -> list[str]:
        return self._below.get(name, [])

    def sample(self, part: int, chance: random.Random) -> list[str]:
        """One name in `part`, and few of very wide services."""
        narrow = [name for name in self.names if not name.endswith(_WIDE)]
        chosen = chance.sample(narrow, len(narrow) // part)
        for wide in _WIDE:
            chosen += chance.sample([name for name in self.names if name.endswith(wide)], _FEW)
        return chosen


def names_around(some: Iterable[str], chance: random.Random) -> list[str]:
    """The names given, some above them, and some beside and below them that are not there."""
    found = dict.fromkeys(some)
    for name in list(found):
        above = list(_above(name))
        found.update(dict.fromkeys(above if len(above) < 8 else chance.sample(above, 4)))
    for name in list(found):
        if name not in ("cluster.local.", "in-addr.arpa.", "ip6.arpa."):
            label, _, parent = name.partition(".")
            found[f"{_missing(label, chance)}.{parent}"] = None
            if chance.random() < 0.5:
                found[f"{_missing(label, chance)}.{name}"] = None
    return [name for name in found if len(name) < names.MAX_NAME]


def _missing(label: str, chance: random.Random) -> str:
    """A label of the same kind that is most likely not there."""
    if label.isdecimal() and len(label) > 1:
        return str(chance.randrange(300))
    if len(label) == 1:
        return chance.choice("0123456789abcdefx")
    return f"{label[:20]}{chance.randrange(1000)}"


def _above(name: str) -> Iterator[str]:
    """The names above one, as far as the cluster's zones reach."""
    while name not in ("cluster.local.", "in-addr.arpa.", "ip6.arpa."):
        name = name.partition(".")[2]
        yield name


def _of_manifests() -> Iterator[str]:
    for manifest in objects():
        if manifest["kind"] == "Service":
            yield from _of_service(manifest)
        elif manifest["kind"] == "EndpointSlice":
            yield from _of_slice(manifest)
        elif manifest["kind"] == "Pod":
            for pod_ip in manifest["status"].get("podIPs", ()):
                label = _dashed(pod_ip["ip"])
                yield f"{label}.{manifest['metadata']['namespace']}.pod.{ZONE}"


def _of_service(manifest: Manifest) -> Iterator[str]:
    metadata, spec = manifest["metadata"], manifest["spec"]
    name = f"{metadata['name']}.{metadata['namespace']}.svc.{ZONE}"
    yield name
    yield from _of_ports(spec["ports"], name)
    for address in spec.get("clusterIPs", ()):
        if address != "None":
            yield ip_address(address).reverse_pointer + "."


def _of_slice(manifest: Manifest) -> Iterator[str]:
    metadata = manifest["metadata"]
    name = f"{metadata['labels'][SERVICE_NAME_LABEL]}.{metadata['namespace']}.svc.{ZONE}"
    yield from _of_ports(manifest["ports"] or (), name)
    for endpoint in manifest["endpoints"]:
        for label in (endpoint.get("hostname"), endpoint.get("targetRef", {}).get("name")):
            if label and len(label) <= names.MAX_LABEL:
                yield f"{label}.{name}"
        for address in endpoint["addresses"]:
            if manifest["addressType"] != "FQDN":
                yield f"{_dashed(address)}.{name}"
                yield ip_address(address).reverse_pointer + "."


def _of_ports(ports: Iterable[Manifest], service: str) -> Iterator[str]:
    for port in ports:
        if port["name"]:
            yield f"_{port['name']}._{port['protocol'].lower()}.{service}"


def _dashed(address: str) -> str:
    label = address.replace(".", "-").replace(":", "-")
    return label + "0" if label.endswith("-") else label


def _listed() -> Iterator[str]:
    for pod_names in (False, True):
        store = Store(clock=lambda: 0.0, endpoint_pod_names=pod_names)
        for item in decoded():
            store.apply(Upsert(item))
        store.apply(Synced())
        zone = names.from_text(ZONE)
        options = ZoneOptions(pods="verified")
        zones = (
            ForwardZone(store, zone, options),
            ReverseZone(store, names.from_text("in-addr.arpa"), zone, options),
            ReverseZone(store, names.from_text("ip6.arpa"), zone, options),
        )
        for rrset in all_records(*zones):
            yield names.to_text(rrset.owner)
