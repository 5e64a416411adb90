"""Zones of what is reached from outside: `<service>.<namespace>` with external addresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from kdns.dns import codes
from kdns.dns.names import MAX_NAME, label, labels
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply
from kdns.records.entries import Endpoints, Node, ServiceEntry, SliceEntry, namespace_of
from kdns.records.nameservers import external_addresses
from kdns.records.options import ZoneOptions
from kdns.records.reverse import ReverseZone
from kdns.records.serial import Serial
from kdns.records.services import address_token
from kdns.records.servicezone import FAMILIES, Found, Named, ServiceZone, of_family
from kdns.records.srv import Targets, matching
from kdns.records.store import Store

_NS1: Final = b"\x03ns1"
_HOSTMASTER: Final = b"\x0ahostmaster"
_MAX_TTL: Final = 3600
_NAMED_BY_NAME: Final = (b"",)


@dataclass(frozen=True, slots=True)
class ExternalOptions:
    """What CoreDNS's `k8s_external` adds to the options of a zone.

    `apex` is the wire label below which the zone's name server is. With `headless`, endpoints of
    headless services without external addresses have names too.
    """

    apex: bytes = b"\x03dns"
    headless: bool = False


class ExternalZone(ServiceZone):
    """A zone of services with addresses or names outside; a Denial of what it does not have.

    `own_addresses` are the packed addresses that this server answers on, for `ns1.<apex>`.
    """

    plugin: ClassVar[str] = "k8s_external"
    max_soa_ttl: ClassVar[int] = _MAX_TTL

    def __init__(
        self,
        store: Store,
        origin: bytes,
        options: ZoneOptions,
        external: ExternalOptions,
        own_addresses: Sequence[bytes] = (),
    ) -> None:
        super().__init__(store, origin, options, origin)
        self._external = external
        self._own_addresses = tuple(own_addresses)
        self._server = _NS1 + external.apex
        self._contact = _HOSTMASTER + external.apex

    def serials(self) -> Sequence[Serial]:
        """As `Zone.serials`."""
        if self._external.headless:
            return (self.store.externals.serial, self.store.services.serial)
        return (self.store.externals.serial,)

    def records(self) -> Iterator[RRset]:
        """As `Zone.records`."""
        yield self._name_server()
        for qtype in FAMILIES:
            yield from self._own_name(self._server + self.origin, qtype).answer
        yield from self._all_services()

    def denies(self, name: bytes) -> bool:
        """As `ForwardZone.denies`."""
        end = len(name) - len(self.origin)
        if end <= 0 or len(name) > MAX_NAME:
            return False
        at = 0
        namespace = service = -1
        while at < end:
            length = name[at]
            if not 0 < length < 64:
                return False
            service = namespace
            namespace = at
            at += length + 1
        if at != end or name[namespace:end] == self._external.apex:
            return False
        if service >= 0 and name[service:end] not in self.services.nodes:
            return True
        return not self.exposes(name[namespace:end])

    def _nxdomain(self, reads: Iterable[bytes] = ()) -> Reply:
        reply = super()._nxdomain(reads)
        reply.denial = self
        return reply

    def _answer(self, name: bytes, qtype: int) -> Reply:
        parts = labels(name[: len(name) - len(self.origin)])
        if not parts:
            return self._apex(qtype)
        if label(parts[-1]) == self._external.apex:
            return self._at_apex_label(name, parts[:-1], qtype)
        return self._below_base(name, parts, qtype)

    def _apex(self, qtype: int) -> Reply:
        if qtype in (codes.SOA, codes.ANY):
            return self._apex_soa()
        if qtype != codes.NS:
            return self._nodata()
        addresses, reads = self._own()
        glue = [
            RRset(self._server + self.origin, glue_type, self.options.ttl, found)
            for glue_type, family in FAMILIES.items()
            if (found := of_family(addresses, family))
        ]
        return self._reply(answer=[self._name_server()], additional=glue, reads=reads)

    def _at_apex_label(self, name: bytes, parts: list[bytes], qtype: int) -> Reply:
        if not parts:
            return self._nodata()
        if name == self._server + self.origin:
            return self._own_name(name, qtype)
        return self._nxdomain()

    def _name_server(self) -> RRset:
        return RRset(self.origin, codes.NS, self.options.ttl, (self._server + self.origin,))

    def _own_name(self, name: bytes, qtype: int) -> Reply:
        addresses, reads = self._own()
        return self._addressed(name, qtype, reads, lambda family: of_family(addresses, family))

    def _own(self) -> tuple[list[bytes], Iterable[bytes]]:
        return external_addresses(self, self._own_addresses, headless=self._external.headless)

    def _shown(self, node: Node) -> ServiceEntry | None:
        service = node.service
        if service is None:
            return None
        if service.external is not None:
            addresses = service.external.addresses
            return ServiceEntry("ClusterIP", addresses, service.ports, external=service.external)
        return service if self._external.headless and service.kind == "Headless" else None

    def _at_service(self, found: Found, parts: list[bytes], qtype: int) -> Reply:
        external = found.service.external
        if parts or external is None or external.addresses or qtype == codes.SRV:
            return super()._at_service(found, parts, qtype)
        # One alias at most, and beside no address (RFC 1034 §3.6.2).
        return self._alias(found, external.hostnames[0])

    def _endpoints_named(self, found: Found, wire: bytes) -> Named:
        return [] if found.service.external is not None else super()._endpoints_named(found, wire)

    def _endpoints_by_name(self, found: Found) -> dict[bytes, list[tuple[SliceEntry, bytes]]]:
        return {} if found.service.external is not None else super()._endpoints_by_name(found)

    def _targets(self, found: Found, wanted: tuple[bytes, bytes] | None) -> list[Targets]:
        external = found.service.external
        if external is None:
            return super()._targets(found, wanted)
        ports = matching(found.service.ports, wanted)
        itself = Endpoints(_NAMED_BY_NAME, _NAMED_BY_NAME)
        elsewhere = [Targets(ports, itself, hostname) for hostname in external.hostnames]
        return super()._targets(found, wanted) + elsewhere


class ExternalReverseZone(ReverseZone):
    """A reverse zone of external addresses; targets are in the zone `target_origin`."""

    plugin: ClassVar[str] = "k8s_external"
    max_soa_ttl: ClassVar[int] = _MAX_TTL

    def __init__(
        self,
        store: Store,
        origin: bytes,
        target_origin: bytes,
        options: ZoneOptions,
        external: ExternalOptions,
    ) -> None:
        super().__init__(store, origin, target_origin, options)
        self._base = target_origin
        self._server = _NS1 + external.apex
        self._contact = _HOSTMASTER + external.apex

    def serials(self) -> Sequence[Serial]:
        """As `Zone.serials`."""
        return (self.store.externals.serial,)

    def _targets(self, packed: bytes) -> tuple[list[bytes], Iterable[bytes]]:
        """One name for each service that has the address (CoreDNS)."""
        reads = {address_token(packed): None}
        found = []
        for key in self.store.externals.holders.get(packed):
            namespace = namespace_of(key)
            reads[namespace] = None
            if self.exposes(namespace) and len(key + self._base) <= MAX_NAME:
                found.append(key + self._base)
        return found, reads

    def _is_known(self, prefix: bytes) -> bool:
        externals = self.store.externals
        if len(prefix) < self._family:
            return prefix in externals.prefixes[self._family]
        return prefix in externals.holders

    def _addresses(self) -> Iterable[bytes]:
        return self.store.externals.holders
