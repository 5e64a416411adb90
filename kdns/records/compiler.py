"""From decoded Kubernetes objects to the store's entries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Final

from kdns.cluster.objects import Endpoint, EndpointSlice, Pod, Service, ServiceImport, ServicePort
from kdns.dns import names
from kdns.records import address
from kdns.records.entries import (
    NO_ENDPOINTS,
    Endpoints,
    External,
    Port,
    ServiceEntry,
    SliceEntry,
)

_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_LENGTHS: Final = [bytes((length,)) for length in range(names.MAX_LABEL + 1)]
_FAMILIES: Final = {"IPv4": address.IPV4, "IPv6": address.IPV6}
_PROTOCOLS: Final = {"TCP": b"tcp", "UDP": b"udp", "SCTP": b"sctp"}
_ENDED: Final = frozenset({"Succeeded", "Failed", "Unknown"})
_SHARED: Final = 4096

_GivenPort = tuple[str, str, int | None]
"""Name, protocol and number of a port, as an object has them."""

_Group = dict[bytes | tuple[bytes, bytes], bytes | None]
"""The topology zone of each endpoint, which is an address, with its label if it has one; see
`Endpoints`."""


def dns_label(text: str) -> bytes | None:
    """The wire label of a Kubernetes name, or None where it is no RFC 1123 label."""
    return _LENGTHS[len(text)] + text.encode() if _LABEL.fullmatch(text) else None


class Compiler:
    """Makes entries, and says through `reject(what)` what it has to leave out of them.

    `zonal`: endpoints keep their topology zones.
    """

    def __init__(
        self, *, endpoint_pod_names: bool, zonal: bool, reject: Callable[[str], None]
    ) -> None:
        self._endpoint_pod_names = endpoint_pod_names
        self._zonal = zonal
        self._reject = reject
        self._zones: dict[str, bytes | None] = {}

    def service(self, service: Service) -> ServiceEntry:
        spec = service.spec
        external = self._outside(service)
        if spec.type == "ExternalName":
            name = self._name("externalName", spec.external_name)
            return ServiceEntry("ExternalName", external_name=name, external=external)
        ports = self._ports(_service_ports(spec.ports))
        publish = spec.publish_not_ready_addresses
        given = spec.cluster_ips or [spec.cluster_ip]
        if "None" in given:
            return ServiceEntry(
                "Headless", ports=ports, publish_not_ready=publish, external=external
            )
        return ServiceEntry(
            "ClusterIP",
            self._addresses(given),
            ports,
            publish_not_ready=publish,
            external=external,
        )

    def service_import(self, item: ServiceImport) -> ServiceEntry:
        """A Service of the cluster set, as a Service of its kind."""
        ports = self._ports(_service_ports(item.spec.ports or ()))
        if item.spec.type == "Headless":
            return ServiceEntry("Headless", ports=ports)
        return ServiceEntry("ClusterIP", self._addresses(item.spec.ips or ()), ports)

    def slice(
        self, item: EndpointSlice, key: bytes, shared: dict[bytes, bytes], cluster: bytes = b""
    ) -> SliceEntry | None:
        """The slice as an entry of the service `key`, None where no endpoint is left.

        `shared` holds addresses whose objects are to be used again.
        `cluster` is the wire label of the cluster that the endpoints are in, in a cluster set.
        """
        family = _FAMILIES.get(item.address_type)
        if family is None:
            self._reject(f"addressType {item.address_type!r} is not served, IPv4 and IPv6 are")
            return None
        ready: _Group = {}
        unready: _Group = {}
        for endpoint in item.endpoints or ():
            # Most endpoints have neither label nor zone, and there are 100,000 of them.
            own = self._endpoint_pod_names or endpoint.hostname
            label = self._label(endpoint) if own else None
            zone = self._zone(endpoint.zone) if self._zonal and endpoint.zone else None
            group = unready if endpoint.conditions.ready is False else ready
            for text in endpoint.addresses:
                packed = address.parse(text)
                if packed is None or len(packed) != family:
                    self._reject(_no_address(text))
                    continue
                packed = shared.get(packed, packed)
                if cluster:
                    group[packed, (label or address.dashed(packed)) + cluster] = zone
                elif label is None or label == address.dashed(packed):
                    group[packed] = zone
                else:
                    group[packed, label] = zone
        if not ready and not unready:
            return None
        ports = self._ports(
            (port.name or "", port.protocol or "TCP", port.port) for port in item.ports or ()
        )
        return SliceEntry(key, family, _endpoints(ready), _endpoints(unready), ports)

    def cluster(self, text: str) -> bytes:
        """The wire label of a cluster's name; b"" where there is none."""
        wire = dns_label(text) if text else b""
        if wire is None:
            self._reject(f"cluster {text!r} is no DNS label; its endpoints' names are without it")
        return wire or b""

    def pod(self, pod: Pod) -> tuple[bytes, ...]:
        """Addresses by which a verified pod is known; none once it has ended."""
        if pod.status.phase in _ENDED:
            return ()
        return self._addresses([item.ip for item in pod.status.pod_ips] or [pod.status.pod_ip])

    def _outside(self, service: Service) -> External | None:
        """Addresses first those of the Service, then of its load balancer (CoreDNS)."""
        ingress = service.ingress
        if not ingress and not service.spec.external_ips:
            return None
        given = (*(service.spec.external_ips or ()), *(each.ip for each in ingress))
        addresses = self._addresses(given)
        hostnames = dict.fromkeys(
            wire
            for each in ingress
            if not each.ip
            and each.hostname
            and (wire := self._name("hostname of the load balancer", each.hostname)) is not None
        )
        return External(addresses, tuple(hostnames)) if addresses or hostnames else None

    def _name(self, what: str, text: str) -> bytes | None:
        """An absolute wire name that an alias may point to."""
        if address.parse(text) is not None:
            self._reject(f"{what} {text!r} is an address, a CNAME needs a name")
            return None
        try:
            wire = names.from_text(text).lower()
        except names.BadName as error:
            self._reject(f"{what}: {error}")
            return None
        if wire == names.ROOT:
            self._reject(f"{what} is empty")
            return None
        return wire

    def _addresses(self, given: Iterable[str]) -> tuple[bytes, ...]:
        found = (self._address(text) for text in given if text)
        return tuple(dict.fromkeys(packed for packed in found if packed is not None))

    def _address(self, text: str) -> bytes | None:
        packed = address.parse(text)
        if packed is None:
            self._reject(_no_address(text))
        return packed

    def _label(self, endpoint: Endpoint) -> bytes | None:
        """An endpoint's own label: its hostname, else its pod's name where that is asked for."""
        if endpoint.hostname:
            wire = dns_label(endpoint.hostname.lower())
            if wire is None:
                what = f"hostname {endpoint.hostname!r} is no DNS label"
                self._reject(f"{what}; the address is its name")
            return wire
        # A pod's name may have dots and up to 253 bytes; then the address is the name as well.
        pod = endpoint.target_ref.name if endpoint.target_ref else ""
        return dns_label(pod) if self._endpoint_pod_names else None

    def _zone(self, text: str) -> bytes | None:
        """A topology zone as wire labels: its dots divide a name as they do in any other."""
        if text not in self._zones:
            if len(self._zones) >= _SHARED:
                self._zones.clear()
            try:
                wire = b"".join(map(names.label, text.split("."))).lower()
            except names.BadName as error:
                self._reject(f"zone {text!r} has no name: {error}")
                wire = None
            self._zones[text] = wire
        return self._zones[text]

    def _ports(self, given: Iterable[_GivenPort]) -> tuple[Port, ...]:
        ports, wrong = _shared_ports(tuple(given))
        for what in wrong:
            self._reject(what)
        return ports


def _service_ports(ports: Iterable[ServicePort]) -> Iterator[_GivenPort]:
    return ((port.name, port.protocol, port.port) for port in ports)


@lru_cache(_SHARED)
def _shared_ports(given: tuple[_GivenPort, ...]) -> tuple[tuple[Port, ...], tuple[str, ...]]:
    """One object for equal ports, as most slices have those of another; and what is wrong."""
    wrong: list[str] = []
    return tuple(_port(*each, wrong) for each in given), tuple(wrong)


def _port(name: str, protocol: str, number: int | None, wrong: list[str]) -> Port:
    if name and dns_label(name.lower()) is None:
        wrong.append(f"port name {name!r} is no DNS label; the port is unnamed")
        name = ""
    known = _PROTOCOLS.get(protocol.upper())
    if known is None:
        wrong.append(f"protocol {protocol!r} of port {number} is not TCP, UDP or SCTP")
        return Port(b"", b"", None)
    if number is not None and not 0 < number < 65536:
        wrong.append(f"port {number} is not in 1..65535")
        number = None
    return Port(name.lower().encode(), known, number)


def _no_address(text: str) -> str:
    return f"{text!r} is no address of its kind; it is left out"


def _endpoints(group: _Group) -> Endpoints:
    if not group:
        return NO_ENDPOINTS
    zones = tuple(group.values()) if any(group.values()) else None
    plain = [key for key in group if isinstance(key, bytes)]
    if len(plain) == len(group):
        return Endpoints(tuple(plain), None, zones)
    addresses, own = zip(
        *(key if isinstance(key, tuple) else (key, None) for key in group), strict=True
    )
    return Endpoints(addresses, own, zones)
