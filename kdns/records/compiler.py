"""From decoded Kubernetes objects to the store's entries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from kdns.cluster.objects import EndpointSlice, Pod, Service
from kdns.dns import names
from kdns.records import address
from kdns.records.entries import NO_ENDPOINTS, Endpoints, Port, ServiceEntry, SliceEntry

_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_FAMILIES: Final = {"IPv4": address.IPV4, "IPv6": address.IPV6}
_PROTOCOLS: Final = {"TCP": b"tcp", "UDP": b"udp", "SCTP": b"sctp"}
_ENDED: Final = frozenset({"Succeeded", "Failed", "Unknown"})
_SHARED_PORTS: Final = 4096


def dns_label(text: str) -> bytes | None:
    """The wire label of a Kubernetes name, or None where it is no RFC 1123 label."""
    return names.label(text) if _LABEL.fullmatch(text) else None


class Compiler:
    """Makes entries, and says through `reject(what)` what it has to leave out of them."""

    def __init__(self, *, endpoint_pod_names: bool, reject: Callable[[str], None]) -> None:
        self._endpoint_pod_names = endpoint_pod_names
        self._reject = reject
        self._ports: dict[tuple[Port, ...], tuple[Port, ...]] = {}

    def service(self, service: Service) -> ServiceEntry:
        spec = service.spec
        ports = self._share(self._port(port.name, port.protocol, port.port) for port in spec.ports)
        if spec.type == "ExternalName":
            return ServiceEntry("ExternalName", external_name=self._external(spec.external_name))
        given = spec.cluster_ips or [spec.cluster_ip]
        if "None" in given:
            publish = spec.publish_not_ready_addresses
            return ServiceEntry("Headless", ports=ports, publish_not_ready=publish)
        found = dict.fromkeys(
            packed for text in given if text and (packed := self._address(text)) is not None
        )
        publish = spec.publish_not_ready_addresses
        return ServiceEntry("ClusterIP", tuple(found), ports, publish_not_ready=publish)

    def slice(
        self, item: EndpointSlice, key: bytes, shared: dict[bytes, bytes]
    ) -> SliceEntry | None:
        """The slice as an entry of the service `key`, None where no endpoint is left.

        `shared` holds addresses whose objects are to be used again; new ones are added to it.
        """
        family = _FAMILIES.get(item.address_type)
        if family is None:
            self._reject(f"addressType {item.address_type!r} is not served, IPv4 and IPv6 are")
            return None
        ready: dict[tuple[bytes, bytes | None], None] = {}
        unready: dict[tuple[bytes, bytes | None], None] = {}
        for endpoint in item.endpoints or ():
            pod = endpoint.target_ref.name if endpoint.target_ref else ""
            label = self._label(endpoint.hostname or "", pod)
            group = unready if endpoint.conditions.ready is False else ready
            for text in endpoint.addresses:
                packed = self._address(text, family)
                if packed is not None:
                    packed = shared.setdefault(packed, packed)
                    implied = label is None or label == address.dashed(packed)
                    group[packed, None if implied else label] = None
        if not ready and not unready:
            return None
        ports = self._share(
            self._port(port.name or "", port.protocol or "TCP", port.port)
            for port in item.ports or ()
        )
        return SliceEntry(key, family, _endpoints(ready), _endpoints(unready), ports)

    def pod(self, pod: Pod) -> tuple[bytes, ...]:
        """Addresses by which a verified pod is known; none once it has ended."""
        if pod.status.phase in _ENDED:
            return ()
        given = [item.ip for item in pod.status.pod_ips] or [pod.status.pod_ip]
        found = (self._address(text) for text in given if text)
        return tuple(dict.fromkeys(packed for packed in found if packed is not None))

    def _external(self, text: str) -> bytes | None:
        if address.parse(text) is not None:
            self._reject(f"externalName {text!r} is an address, a CNAME needs a name")
            return None
        try:
            wire = names.from_text(text).lower()
        except names.BadName as error:
            self._reject(f"externalName: {error}")
            return None
        if wire == names.ROOT:
            self._reject("externalName is empty")
            return None
        return wire

    def _address(self, text: str, family: int | None = None) -> bytes | None:
        packed = address.parse(text)
        if packed is None or (family is not None and len(packed) != family):
            self._reject(f"{text!r} is no address of its kind; it is left out")
            return None
        return packed

    def _label(self, hostname: str, pod: str) -> bytes | None:
        """An endpoint's own label: its hostname, else its pod's name where that is asked for."""
        if hostname:
            wire = dns_label(hostname.lower())
            if wire is None:
                self._reject(f"hostname {hostname!r} is no DNS label; the address is its name")
            return wire
        # A pod's name may have dots and up to 253 bytes; then the address is the name as well.
        return dns_label(pod) if self._endpoint_pod_names else None

    def _port(self, name: str, protocol: str, number: int | None) -> Port:
        if name and dns_label(name.lower()) is None:
            self._reject(f"port name {name!r} is no DNS label; the port is unnamed")
            name = ""
        known = _PROTOCOLS.get(protocol.upper())
        if known is None:
            self._reject(f"protocol {protocol!r} of port {number} is not TCP, UDP or SCTP")
            return Port(b"", b"", None)
        if number is not None and not 0 < number < 65536:
            self._reject(f"port {number} is not in 1..65535")
            number = None
        return Port(name.lower().encode(), known, number)

    def _share(self, ports: Iterable[Port]) -> tuple[Port, ...]:
        """One object for equal tuples of ports: most slices have the same as another."""
        made = tuple(ports)
        if len(self._ports) >= _SHARED_PORTS:
            self._ports.clear()
        return self._ports.setdefault(made, made)


def _endpoints(pairs: dict[tuple[bytes, bytes | None], None]) -> Endpoints:
    if not pairs:
        return NO_ENDPOINTS
    addresses, labels = zip(*pairs, strict=True)
    return Endpoints(addresses, labels if any(labels) else None)
