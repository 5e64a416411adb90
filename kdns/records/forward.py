"""The forward zone: the names of the Kubernetes DNS specification 1.1.0, and CoreDNS's beyond it.

Where CoreDNS answers against an RFC, the RFC is followed, with one exception that search paths
rely on: a headless service without ready endpoints does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from kdns.dns import codes, rdata
from kdns.dns.names import MAX_NAME, label, labels
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply
from kdns.records.address import IPV4, IPV6, from_dashed
from kdns.records.entries import Endpoints, Node, Port, ServiceEntry, SliceEntry
from kdns.records.nameservers import name_servers
from kdns.records.options import ZoneOptions
from kdns.records.srv import ANY_PORT, matching, service_records
from kdns.records.store import Store, pod_token
from kdns.records.zone import ANSWER_BYTES, Zone, within

SPECIFICATION: Final = b"1.1.0"

_SVC: Final = b"\x03svc"
_POD: Final = b"\x03pod"
_DNS: Final = b"\x03dns"
_DNS_VERSION: Final = b"\x0bdns-version"
_DNS_VERSION_TTL: Final = 28800

_PROTOCOLS: Final = frozenset((b"tcp", b"udp", b"sctp"))
_FAMILIES: Final = {codes.A: IPV4, codes.AAAA: IPV6}
_MAX_ALIASES: Final = 11


_Services = tuple[list[RRset], list[RRset]]


class _Found(NamedTuple):
    """A service, and the name at or below its own that was asked."""

    name: bytes
    node: Node
    service: ServiceEntry
    reads: tuple[bytes, ...]


class ForwardZone(Zone):
    """A zone of services and pods, such as cluster.local; a Denial of what it does not have.

    `own_addresses` are the packed addresses that this server answers on, for NS and `ns.dns`.
    """

    def __init__(
        self,
        store: Store,
        origin: bytes,
        options: ZoneOptions,
        own_addresses: Sequence[bytes] = (),
    ) -> None:
        super().__init__(store, origin, options)
        self._own_addresses = tuple(own_addresses)
        self._base = _SVC + origin

    def denies(self, name: bytes) -> bool:
        """Whether a name that ends in the origin's bytes surely does not exist.

        The name may be malformed otherwise; then the answer is False.
        """
        end = len(name) - len(self.origin)
        if end <= 0 or len(name) > MAX_NAME:
            return False
        at = 0
        top = namespace = service = -1
        while at < end:
            length = name[at]
            if not 0 < length < 64:
                return False
            service = namespace
            namespace = top
            top = at
            at += length + 1
        if at != end:
            return False
        kind = name[top:end]
        if kind == _SVC:
            if service >= 0 and name[service:top] not in self.store.nodes:
                return True
            return namespace >= 0 and not self.exposes(name[namespace:top])
        return kind not in (_POD, _DNS, _DNS_VERSION)

    def _look_up(self, name: bytes, qtype: int) -> Reply:
        reply = self._answer(name, qtype)
        if not _is_alias(reply, qtype):
            return reply
        return self._chase(name, reply, qtype)

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

    def _answer(self, name: bytes, qtype: int) -> Reply:
        relative = name[: len(name) - len(self.origin)]
        parts = labels(relative)
        if not parts:
            return self._apex(name, qtype)
        match parts.pop():
            case b"svc":
                return self._in_svc(name, parts, qtype)
            case b"pod":
                return self._in_pod(name, parts, qtype)
            case b"dns" if not parts:
                return self._nodata()
            case b"dns" if parts == [b"ns"]:
                return self._own_name(name, qtype)
            case b"dns-version" if not parts:
                return self._version(name, qtype)
        return self._nxdomain()

    def _nxdomain(self, reads: Iterable[bytes] = ()) -> Reply:
        reply = super()._nxdomain(reads)
        reply.denial = self
        return reply

    def _apex(self, name: bytes, qtype: int) -> Reply:
        if qtype in (codes.SOA, codes.ANY):
            return self._apex_soa()
        if qtype != codes.NS:
            return self._nodata()
        servers, reads = name_servers(self, self._own_addresses)
        glue = [
            RRset(server, glue_type, self.options.ttl, found)
            for server, addresses in servers.items()
            for glue_type, family in _FAMILIES.items()
            if (found := [packed for packed in addresses if len(packed) == family])
        ]
        answer = RRset(name, codes.NS, self.options.ttl, list(servers))
        return self._reply(answer=[answer], additional=glue, reads=reads)

    def _version(self, name: bytes, qtype: int) -> Reply:
        if qtype not in (codes.TXT, codes.ANY):
            return self._nodata()
        text = (rdata.txt(SPECIFICATION),)
        return self._reply(answer=[RRset(name, codes.TXT, _DNS_VERSION_TTL, text)])

    def _own_name(self, name: bytes, qtype: int) -> Reply:
        servers, reads = name_servers(self, self._own_addresses)
        known = dict.fromkeys(packed for addresses in servers.values() for packed in addresses)
        return self._addressed(name, qtype, reads, lambda family: _of_family(known, family))

    def _in_pod(self, name: bytes, parts: list[bytes], qtype: int) -> Reply:
        if not parts:
            return self._nodata()
        if self.options.pods == "disabled":
            return self._nxdomain()
        namespace = label(parts.pop())
        if not self.exposes(namespace):
            return self._nxdomain((namespace,))
        if not parts:
            return self._nodata((namespace,))
        packed = from_dashed(parts[0]) if len(parts) == 1 else None
        if packed is None:
            return self._nxdomain((namespace,))
        reads: tuple[bytes, ...] = (namespace,)
        if self.options.pods == "verified":
            token = pod_token(namespace, packed)
            reads = (namespace, token)
            if token not in self.store.pods:
                return self._nxdomain(reads)
        return self._addressed(name, qtype, reads, lambda family: _of_family((packed,), family))

    def _in_svc(self, name: bytes, parts: list[bytes], qtype: int) -> Reply:
        if not parts:
            return self._nodata()
        namespace = label(parts.pop())
        if not self.exposes(namespace):
            return self._nxdomain((namespace,))
        if not parts:
            return self._nodata((namespace,))
        key = label(parts.pop()) + namespace
        reads = (namespace, key)
        node = self.store.nodes.get(key)
        service = node.service if node is not None else None
        if node is None or service is None or len(parts) > 2 or self._is_empty(node, service):
            return self._nxdomain(reads)
        if service.kind == "ExternalName":
            if parts or service.external_name is None:
                return self._nxdomain(reads)
            alias = RRset(name, codes.CNAME, self.options.ttl, (service.external_name,))
            return self._reply(answer=[alias], reads=reads)
        found = _Found(name, node, service, reads)
        if not parts:
            return self._service(found, qtype)
        if len(parts) == 1:
            return self._endpoint(found, parts[0], qtype)
        wanted = (parts[0].removeprefix(b"_"), parts[1].removeprefix(b"_"))
        return self._port(found, wanted, qtype)

    def _service(self, found: _Found, qtype: int) -> Reply:
        service, node = found.service, found.node
        if service.kind == "Headless" and not any(self._endpoints(node)):
            return self._nxdomain(found.reads)

        def addresses(family: int) -> list[bytes]:
            if service.kind == "Headless":
                return _gather(self._endpoints(node), family)
            return _of_family(service.addresses, family)

        def services() -> _Services:
            return self._srv(found, self._groups(found, ANY_PORT))

        return self._addressed(found.name, qtype, found.reads, addresses, services)

    def _endpoint(self, found: _Found, content: bytes, qtype: int) -> Reply:
        """`<endpoint>.<service>`, or else `_<protocol>.<service>`: only names below it."""
        named = self._endpoints_named(found.node, content)
        if not named:
            return self._protocol(found, content.removeprefix(b"_"))

        def addresses(family: int) -> list[bytes]:
            return _gather(named, family)

        def services() -> _Services:
            groups = [(matching(entry.ports, ANY_PORT), group) for entry, group in named]
            return self._srv(found, groups)

        return self._addressed(found.name, qtype, found.reads, addresses, services)

    def _protocol(self, found: _Found, protocol: bytes) -> Reply:
        if protocol in _PROTOCOLS and any(
            port.name and port.protocol == protocol
            for ports in self._published_ports(found)
            for port in ports
        ):
            return self._nodata(found.reads)
        return self._nxdomain(found.reads)

    def _port(self, found: _Found, wanted: tuple[bytes, bytes], qtype: int) -> Reply:
        """`_<port>._<protocol>.<service>`: SRV alone."""
        if not wanted[0] or wanted[1] not in _PROTOCOLS:
            return self._nxdomain(found.reads)
        if not any(matching(ports, wanted) for ports in self._published_ports(found)):
            return self._nxdomain(found.reads)
        if qtype not in (codes.SRV, codes.ANY):
            return self._nodata(found.reads)
        return self._with_glue(self._srv(found, self._groups(found, wanted)), found.reads)

    def _addressed(
        self,
        name: bytes,
        qtype: int,
        reads: Iterable[bytes],
        addresses: Callable[[int], list[bytes]],
        services: Callable[[], _Services] | None = None,
    ) -> Reply:
        """The answer of a name that has addresses by family, and perhaps SRV records.

        ANY gets one record set (RFC 8482 §4.1).
        """
        if qtype == codes.SRV and services is not None:
            return self._with_glue(services(), reads)
        for own_type, family in _FAMILIES.items():
            if qtype in (own_type, codes.ANY) and (found := addresses(family)):
                answer = [RRset(name, own_type, self.options.ttl, found)]
                return self._reply(answer=answer, reads=reads)
        return self._nodata(reads)

    def _with_glue(self, services: _Services, reads: Iterable[bytes]) -> Reply:
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

    def _endpoints_named(self, node: Node, content: bytes) -> list[tuple[SliceEntry, Endpoints]]:
        """The endpoints of one name: by its own label, or by the address that its label spells."""
        if self.options.noendpoints:
            return []
        wire = label(content)
        entries = {id(entry): entry for entry in node.slices_named(wire)}
        packed = from_dashed(content)
        if packed is not None:
            for entry in self.store.endpoints.get(packed):
                if entry.key == node.key:
                    entries[id(entry)] = entry
        found = []
        for entry in entries.values():
            for group in node.groups(entry):
                addresses = group.named(wire)
                if packed is not None and wire in group.labels_of(packed):
                    addresses.append(packed)
                if addresses:
                    addresses = list(dict.fromkeys(addresses))
                    named = Endpoints(tuple(addresses), (wire,) * len(addresses))
                    found.append((entry, named))
        return found

    def _published_ports(self, found: _Found) -> Iterable[Sequence[Port]]:
        if found.service.kind == "ClusterIP":
            return (found.service.ports,)
        # The same object for equal ports, so that a large service has few to look through.
        return {id(entry.ports): entry.ports for entry, _ in self._endpoints(found.node)}.values()

    def _groups(
        self, found: _Found, wanted: tuple[bytes, bytes] | None
    ) -> list[tuple[Sequence[Port], Endpoints]]:
        """(wanted ports, targets) of a service: its own name, or each of its endpoints."""
        service = found.service
        if service.kind == "ClusterIP":
            itself = Endpoints(service.addresses, (b"",) * len(service.addresses))
            return [(matching(service.ports, wanted), itself)]
        return [
            (matching(entry.ports, wanted), group) for entry, group in self._endpoints(found.node)
        ]

    def _srv(self, found: _Found, groups: list[tuple[Sequence[Port], Endpoints]]) -> _Services:
        base = found.node.key + self._base
        return service_records(found.name, self.options.ttl, base, groups, ANSWER_BYTES)


def _is_alias(reply: Reply, qtype: int) -> bool:
    """Whether the answer ends in a CNAME that stands in for what was asked."""
    if qtype in (codes.CNAME, codes.ANY) or not reply.answer:
        return False
    return reply.answer[-1].type == codes.CNAME


def _of_family(addresses: Iterable[bytes], family: int) -> list[bytes]:
    return [packed for packed in addresses if len(packed) == family]


def _gather(endpoints: Iterable[tuple[SliceEntry, Endpoints]], family: int) -> list[bytes]:
    """Distinct addresses of a family in the order of the slices, up to ANSWER_BYTES of records."""
    most = ANSWER_BYTES // (12 + family)
    found: dict[bytes, None] = {}
    for entry, group in endpoints:
        if entry.family == family:
            found.update(dict.fromkeys(group.addresses))
            if len(found) >= most:
                break
    return list(found)[:most]
