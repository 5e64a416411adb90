"""The forward zone: names of the Kubernetes DNS specification 1.1.0, and CoreDNS's beyond it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from kdns.dns import codes, rdata
from kdns.dns.names import MAX_NAME, label, labels
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply
from kdns.records.address import dashed, from_dashed
from kdns.records.nameservers import name_servers
from kdns.records.options import ZoneOptions
from kdns.records.serial import Serial
from kdns.records.servicezone import FAMILIES, Found, ServiceZone, of_family
from kdns.records.store import Store, pod_token
from kdns.records.zone import NS_DNS

SPECIFICATION: Final = b"1.1.0"

_SVC: Final = b"\x03svc"
_POD: Final = b"\x03pod"
_DNS: Final = b"\x03dns"
_DNS_VERSION: Final = b"\x0bdns-version"
_DNS_VERSION_TTL: Final = 28800

_ZONE: Final = b"_zone"
_PIN: Final = b"pin"
_PREFER: Final = b"prefer"


class ForwardZone(ServiceZone):
    """A zone of services and pods, such as cluster.local; a Denial of what it does not have.

    `own_addresses` are the packed addresses that this server answers on, for NS and `ns.dns`.
    """

    _beside_svc = frozenset((_POD, _DNS, _DNS_VERSION))

    def __init__(
        self,
        store: Store,
        origin: bytes,
        options: ZoneOptions,
        own_addresses: Sequence[bytes] = (),
    ) -> None:
        super().__init__(store, origin, options, _SVC + origin)
        self._own_addresses = tuple(own_addresses)

    def serials(self) -> Sequence[Serial]:
        """As `Zone.serials`."""
        return (self.services.serial,)

    def records(self) -> Iterator[RRset]:
        """As `Zone.records`."""
        version, own = label("dns-version") + self.origin, NS_DNS + self.origin
        yield from self._apex(self.origin, codes.NS).answer
        yield from self._version(version, codes.TXT).answer
        for qtype in FAMILIES:
            yield from self._own_name(own, qtype).answer
        yield from self._all_services()
        if self.options.pods == "verified":
            yield from self._all_pods()

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
            if service >= 0 and name[service:top] not in self.services.nodes:
                return True
            return namespace >= 0 and not self.exposes(name[namespace:top])
        return kind not in self._beside_svc

    def _answer(self, name: bytes, qtype: int) -> Reply:
        relative = name[: len(name) - len(self.origin)]
        parts = labels(relative)
        if not parts:
            return self._apex(name, qtype)
        match parts.pop():
            case b"svc":
                return self._below_base(name, parts, qtype)
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

    def _name_servers(self) -> tuple[dict[bytes, list[bytes]], Iterable[bytes]]:
        """Absolute names of this server with their packed addresses, and the store names read."""
        return name_servers(self, self._own_addresses)

    def _apex(self, name: bytes, qtype: int) -> Reply:
        if qtype in (codes.SOA, codes.ANY):
            return self._apex_soa()
        if qtype != codes.NS:
            return self._nodata()
        servers, reads = self._name_servers()
        glue = [
            RRset(server, glue_type, self.options.ttl, found)
            for server, addresses in servers.items()
            for glue_type, family in FAMILIES.items()
            if (found := of_family(addresses, family))
        ]
        answer = RRset(name, codes.NS, self.options.ttl, list(servers))
        return self._reply(answer=[answer], additional=glue, reads=reads)

    def _version(self, name: bytes, qtype: int) -> Reply:
        if qtype not in (codes.TXT, codes.ANY):
            return self._nodata()
        text = (rdata.txt(SPECIFICATION),)
        return self._reply(answer=[RRset(name, codes.TXT, _DNS_VERSION_TTL, text)])

    def _own_name(self, name: bytes, qtype: int) -> Reply:
        servers, reads = self._name_servers()
        known = dict.fromkeys(packed for addresses in servers.values() for packed in addresses)
        return self._addressed(name, qtype, reads, lambda family: of_family(known, family))

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
        return self._pod(name, packed, qtype, reads)

    def _pod(self, name: bytes, packed: bytes, qtype: int, reads: Iterable[bytes] = ()) -> Reply:
        return self._addressed(name, qtype, reads, lambda family: of_family((packed,), family))

    def _all_pods(self) -> Iterator[RRset]:
        for namespace, packed in self.store.verified_pods():
            if self.exposes(namespace):
                name = dashed(packed) + namespace + _POD + self.origin
                yield from self._pod(name, packed, codes.ANY).answer

    def _at_service(self, found: Found, parts: list[bytes], qtype: int) -> Reply:
        zonal = self.options.zonal and parts[-1:] == [_ZONE]
        if zonal and found.service.kind == "Headless":
            return self._zonal(found, parts[:-1], qtype)
        return super()._at_service(found, parts, qtype)

    def _zonal(self, found: Found, parts: list[bytes], qtype: int) -> Reply:
        """`<zone>.<pin|prefer>._zone.<service>`: the endpoints in a topology zone (CoreDNS).

        A zone may be several labels. Every zone is a name, whether anything is in it or not.
        """
        if not parts:
            return self._nodata(found.reads)
        *zone, directive = parts
        if directive not in (_PIN, _PREFER):
            return self._nxdomain(found.reads)
        if not zone:
            return self._nodata(found.reads)
        wanted = b"".join(map(label, zone))
        everywhere = list(self._endpoints(found.node))
        there = [
            (entry, chosen)
            for entry, group in everywhere
            if (chosen := group.in_zone(wanted)).addresses
        ]
        if directive == _PREFER and not there:
            there = everywhere
        return self._endpoint(found, there, qtype)
