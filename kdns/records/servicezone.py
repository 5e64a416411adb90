"""Names of services and what is below them, in whatever zone they are.

Where CoreDNS answers against an RFC, the RFC is followed, with one exception that search paths
rely on: a headless service without ready endpoints does not exist.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from kdns.dns import codes
from kdns.dns.names import MAX_LABEL, label
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply
from kdns.records.address import IPV4, IPV6, dashed, from_dashed
from kdns.records.entries import Endpoints, Node, Port, ServiceEntry, SliceEntry, namespace_of
from kdns.records.options import ZoneOptions
from kdns.records.services import Services
from kdns.records.srv import ANY_PORT, Targets, matching, service_records
from kdns.records.store import Store
from kdns.records.zone import Zone, within

FAMILIES: Final = {codes.A: IPV4, codes.AAAA: IPV6}
_PROTOCOLS: Final = frozenset((b"tcp", b"udp", b"sctp"))
_MAX_ALIASES: Final = 11

Named = Sequence[tuple[SliceEntry, Endpoints]]
"""Endpoints, in groups, with the slice that each group is from."""

_Answers = tuple[list[RRset], list[RRset]]


class Found(NamedTuple):
    """A service as the zone shows it, and the name at or below its own that was asked."""

    name: bytes
    node: Node
    service: ServiceEntry
    reads: tuple[bytes, ...] = ()


class ServiceZone(Zone):
    """A zone with services at `<service>.<namespace>` + `base`, an absolute wire name."""

    def __init__(self, store: Store, origin: bytes, options: ZoneOptions, base: bytes) -> None:
        super().__init__(store, origin, options)
        self._base = base

    @property
    def services(self) -> Services:
        """The services that the zone is made of."""
        return self.store.services

    def _look_up(self, name: bytes, qtype: int) -> Reply:
        reply = self._answer(name, qtype)
        if not _is_alias(reply, qtype):
            return reply
        return self._chase(name, reply, qtype)

    @abstractmethod
    def _answer(self, name: bytes, qtype: int) -> Reply:
        """As `lookup`, without a look at where an alias leads to."""

    def _shown(self, node: Node) -> ServiceEntry | None:
        """The service at a key as this zone shows it; None where it does not."""
        service = node.service
        if service is None or self._is_empty(node, service):
            return None
        return service

    def _between(self, found: Found, content: bytes) -> Reply:
        """`<label>.<service>` where it is no endpoint's name: `_<protocol>` has names below it."""
        return self._protocol(found, content.removeprefix(b"_"))

    def _chase(self, name: bytes, reply: Reply, qtype: int) -> Reply:
        """Follow an alias within the zone; the rcode is that of the last name (RFC 6604 §3)."""
        seen = {name}
        while len(seen) <= _MAX_ALIASES:
            target = reply.answer[-1].rdatas[0]
            if target in seen or not within(target, self.origin):
                break
            seen.add(target)
            step = self._answer(target, qtype)
            reply = step.changed(
                answer=reply.answer + step.answer,
                reads=tuple(dict.fromkeys(reply.reads + step.reads)),
                denial=None,
            )
            if not _is_alias(step, qtype):
                break
        return reply

    def _below_base(self, name: bytes, parts: list[bytes], qtype: int) -> Reply:
        """The answer about a name by the labels that it has to the left of the base."""
        if not parts:
            return self._nodata()
        namespace = label(parts.pop())
        if not self.exposes(namespace):
            return self._nxdomain((namespace,))
        if not parts:
            return self._nodata((namespace,))
        key = label(parts.pop()) + namespace
        reads = (namespace, self.services.token(key))
        node = self.services.nodes.get(key)
        service = self._shown(node) if node is not None else None
        if node is None or service is None:
            return self._nxdomain(reads)
        return self._at_service(Found(name, node, service, reads), parts, qtype)

    def _at_service(self, found: Found, parts: list[bytes], qtype: int) -> Reply:
        """The answer about a name by the labels that it has to the left of its service's."""
        if found.service.kind == "ExternalName":
            target = found.service.external_name
            if parts or target is None:
                return self._nxdomain(found.reads)
            return self._alias(found, target)
        match parts:
            case []:
                return self._service(found, qtype)
            case [content]:
                named = self._endpoints_named(found, label(content))
                if named:
                    return self._endpoint(found, named, qtype)
                return self._between(found, content)
            case [port, protocol]:
                wanted = (port.removeprefix(b"_"), protocol.removeprefix(b"_"))
                return self._port(found, wanted, qtype)
        return self._nxdomain(found.reads)

    def _alias(self, found: Found, target: bytes) -> Reply:
        alias = RRset(found.name, codes.CNAME, self.options.ttl, (target,))
        return self._reply(answer=[alias], reads=found.reads)

    def _service(self, found: Found, qtype: int) -> Reply:
        service, node = found.service, found.node
        if service.kind == "Headless" and not any(self._endpoints(node)):
            return self._nxdomain(found.reads)

        def addresses(family: int) -> list[bytes]:
            if service.kind == "Headless":
                return _gather(self._endpoints(node), family, self.room)
            return of_family(service.addresses, family)

        def services() -> _Answers:
            return self._srv(found.name, self._targets(found, ANY_PORT))

        return self._addressed(found.name, qtype, found.reads, addresses, services)

    def _endpoint(self, found: Found, named: Named, qtype: int) -> Reply:
        """The answer about a name that some of a service's endpoints have."""

        def addresses(family: int) -> list[bytes]:
            return _gather(named, family, self.room)

        def services() -> _Answers:
            return self._srv(found.name, self._targets_of(found, named, ANY_PORT))

        return self._addressed(found.name, qtype, found.reads, addresses, services)

    def _protocol(self, found: Found, protocol: bytes) -> Reply:
        if protocol in _PROTOCOLS and any(
            port.name and port.protocol == protocol
            for ports in self._published_ports(found)
            for port in ports
        ):
            return self._nodata(found.reads)
        return self._nxdomain(found.reads)

    def _port(self, found: Found, wanted: tuple[bytes, bytes], qtype: int) -> Reply:
        """`_<port>._<protocol>.<service>`: SRV alone."""
        if not wanted[0] or wanted[1] not in _PROTOCOLS:
            return self._nxdomain(found.reads)
        if not any(matching(ports, wanted) for ports in self._published_ports(found)):
            return self._nxdomain(found.reads)
        if qtype not in (codes.SRV, codes.ANY):
            return self._nodata(found.reads)
        return self._with_glue(self._srv(found.name, self._targets(found, wanted)), found.reads)

    def _addressed(
        self,
        name: bytes,
        qtype: int,
        reads: Iterable[bytes],
        addresses: Callable[[int], list[bytes]],
        services: Callable[[], _Answers] | None = None,
    ) -> Reply:
        """The answer of a name that has addresses by family, and perhaps SRV records.

        ANY gets one record set (RFC 8482 §4.1).
        """
        if qtype == codes.SRV and services is not None:
            return self._with_glue(services(), reads)
        for own_type, family in FAMILIES.items():
            if qtype in (own_type, codes.ANY) and (found := addresses(family)):
                answer = [RRset(name, own_type, self.options.ttl, found)]
                return self._reply(answer=answer, reads=reads)
        return self._nodata(reads)

    def _with_glue(self, services: _Answers, reads: Iterable[bytes]) -> Reply:
        answer, glue = services
        if not answer:
            return self._nodata(reads)
        return self._reply(answer=answer, additional=glue, reads=reads)

    def _is_empty(self, node: Node, service: ServiceEntry) -> bool:
        """Whether `ignore empty_service` hides the service."""
        if not self.options.ignore_empty_service or service.kind != "ClusterIP":
            return False
        return not any(self._endpoints(node))

    def _endpoints(self, node: Node) -> Iterator[tuple[SliceEntry, Endpoints]]:
        return iter(()) if self.options.noendpoints else node.endpoints()

    def _endpoints_named(self, found: Found, wire: bytes) -> Named:
        """The endpoints of one name: by their own label, or by the address that it spells."""
        if self.options.noendpoints:
            return []
        node = found.node
        entries = {id(entry): entry for entry in node.slices_named(wire)}
        packed = from_dashed(wire[1:]) if len(wire) == 1 + wire[0] else None
        if packed is not None:
            for entry in self.services.endpoints.get(packed):
                if entry.key == node.key:
                    entries[id(entry)] = entry
        named = []
        for entry in entries.values():
            for group in node.groups(entry):
                addresses = group.named(wire)
                if packed is not None and wire in group.labels_of(packed):
                    addresses.append(packed)
                if addresses:
                    addresses = list(dict.fromkeys(addresses))
                    labelled = Endpoints(tuple(addresses), (wire,) * len(addresses))
                    named.append((entry, labelled))
        return named

    def _published_ports(self, found: Found) -> Iterable[Sequence[Port]]:
        if found.service.kind == "ClusterIP":
            return (found.service.ports,)
        # The same object for equal ports, so that a large service has few to look through.
        return {id(entry.ports): entry.ports for entry, _ in self._endpoints(found.node)}.values()

    def _targets(self, found: Found, wanted: tuple[bytes, bytes] | None) -> list[Targets]:
        """What the wanted ports of a service are at: its own name, or each of its endpoints."""
        service = found.service
        if service.kind == "ClusterIP":
            itself = Endpoints(service.addresses, (b"",) * len(service.addresses))
            return [Targets(matching(service.ports, wanted), itself, found.node.key + self._base)]
        return self._targets_of(found, self._endpoints(found.node), wanted)

    def _targets_of(
        self,
        found: Found,
        named: Iterable[tuple[SliceEntry, Endpoints]],
        wanted: tuple[bytes, bytes] | None,
    ) -> list[Targets]:
        base = found.node.key + self._base
        return [Targets(matching(entry.ports, wanted), group, base) for entry, group in named]

    def _srv(self, name: bytes, targets: Sequence[Targets]) -> _Answers:
        return service_records(name, self.options.ttl, targets, self.room)

    def _all_services(self) -> Iterator[RRset]:
        """The records of all services, and of what is below them."""
        for key, node in self.services.nodes.items():
            service = self._shown(node) if self.exposes(namespace_of(key)) else None
            if service is not None:
                yield from self._all_at(Found(key + self._base, node, service))

    def _all_at(self, found: Found) -> Iterator[RRset]:
        alias = self._at_service(found, [], codes.CNAME).answer
        yield from alias
        if found.service.kind == "ExternalName":
            return
        if not alias:
            for qtype in (*FAMILIES, codes.SRV):
                yield from self._service(found, qtype).answer
        for name, protocol in dict.fromkeys(
            port[:2] for ports in self._published_ports(found) for port in ports
        ):
            if name and len(name) < MAX_LABEL:
                above = label(b"_" + name) + label(b"_" + protocol)
                below = found._replace(name=above + found.name)
                yield from self._port(below, (name, protocol), codes.SRV).answer
        for wire, members in self._endpoints_by_name(found).items():
            below = found._replace(name=wire + found.name)
            named = [(entry, Endpoints((packed,), (wire,))) for entry, packed in members]
            for qtype in (*FAMILIES, codes.SRV):
                yield from self._endpoint(below, named, qtype).answer

    def _endpoints_by_name(self, found: Found) -> dict[bytes, list[tuple[SliceEntry, bytes]]]:
        """Slices and addresses of all that `_endpoints_named` finds at a service."""
        members: dict[bytes, list[tuple[SliceEntry, bytes]]] = {}
        for entry, group in self._endpoints(found.node):
            for packed, own in group.each():
                wire = dashed(packed) if own is None else own
                members.setdefault(wire, []).append((entry, packed))
        return members


def of_family(addresses: Iterable[bytes], family: int) -> list[bytes]:
    return [packed for packed in addresses if len(packed) == family]


def _is_alias(reply: Reply, qtype: int) -> bool:
    """Whether the answer ends in a CNAME that stands in for what was asked."""
    if qtype in (codes.CNAME, codes.ANY) or not reply.answer:
        return False
    return reply.answer[-1].type == codes.CNAME


def _gather(
    endpoints: Iterable[tuple[SliceEntry, Endpoints]], family: int, room: int
) -> list[bytes]:
    """Distinct addresses of a family in the order of the slices, up to `room` bytes of records."""
    most = room // (12 + family)
    found: dict[bytes, None] = {}
    for entry, group in endpoints:
        if entry.family == family:
            found.update(dict.fromkeys(group.addresses))
            if len(found) >= most:
                break
    return list(found)[:most]
