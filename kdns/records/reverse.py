"""The reverse zone: PTR records of cluster IPs and of endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from kdns.dns import codes
from kdns.dns.names import MAX_NAME, labels
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply
from kdns.records.address import IN_ADDR_ARPA, IP6_ARPA, IPV4, IPV6, from_reverse, reverse_name
from kdns.records.entries import namespace_of
from kdns.records.options import ZoneOptions
from kdns.records.serial import Serial
from kdns.records.services import address_token
from kdns.records.store import Store
from kdns.records.zone import Zone, within

_ARPA_LABELS: Final = 2
_MAX_TARGETS: Final = 256


def is_reverse(origin: bytes) -> bool:
    """Whether an absolute wire name in lower case is at or below in-addr.arpa or ip6.arpa."""
    return within(origin, IN_ADDR_ARPA) or within(origin, IP6_ARPA)


class ReverseZone(Zone):
    """A zone at or below in-addr.arpa or ip6.arpa; targets are in the zone `target_origin`.

    Raises ValueError for an origin elsewhere.
    """

    def __init__(
        self, store: Store, origin: bytes, target_origin: bytes, options: ZoneOptions
    ) -> None:
        super().__init__(store, origin, options)
        if within(origin, IN_ADDR_ARPA):
            self._family = IPV4
        elif within(origin, IP6_ARPA):
            self._family = IPV6
        else:
            raise ValueError(f"{origin!r} is neither below in-addr.arpa nor below ip6.arpa")
        self._target_origin = target_origin
        self._base = b"\x03svc" + target_origin

    def serials(self) -> Sequence[Serial]:
        """As `Zone.serials`."""
        return (self.store.services.serial,)

    def records(self) -> Iterator[RRset]:
        """As `Zone.records`."""
        yield self._name_server()
        for packed in self._addresses():
            if len(packed) == self._family and (name := reverse_name(packed)).endswith(self.origin):
                targets, _ = self._targets(packed)
                if targets:
                    yield RRset(name, codes.PTR, self.options.ttl, targets)

    def may_yield(self, name: bytes, reply: Reply) -> bool:
        """As `Zone.may_yield`; a name above addresses of the cluster is above those of others too.

        So delegations and SOA records of a network's own reverse zones are found where they are.
        """
        return super().may_yield(name, reply) or (name != self.origin and reply.lifetime == 0)

    def _look_up(self, name: bytes, qtype: int) -> Reply:
        if name == self.origin and qtype in (codes.SOA, codes.ANY):
            return self._apex_soa()
        if name == self.origin and qtype == codes.NS:
            return self._reply(answer=[self._name_server()])
        digits = from_reverse(labels(name)[:-_ARPA_LABELS], self._family)
        if digits is None:
            return self._nxdomain()
        if len(digits) == 2 * self._family:
            return self._pointer(name, bytes.fromhex(digits), qtype)
        if name == self.origin:
            return self._nodata()
        reply = self._nodata() if self._is_above(digits) else self._nxdomain()
        # Addresses come and go below a partial name without a word to it.
        reply.lifetime = 0
        return reply

    def _name_server(self) -> RRset:
        return RRset(self.origin, codes.NS, self.options.ttl, (self._server + self._target_origin,))

    def _pointer(self, name: bytes, packed: bytes, qtype: int) -> Reply:
        targets, reads = self._targets(packed)
        if not targets:
            return self._nodata(reads) if name == self.origin else self._nxdomain(reads)
        if qtype not in (codes.PTR, codes.ANY):
            return self._nodata(reads)
        return self._reply(
            answer=[RRset(name, codes.PTR, self.options.ttl, targets)],
            reads=reads,
        )

    def _targets(self, packed: bytes) -> tuple[list[bytes], Iterable[bytes]]:
        """Names of an address, and what was read to know them: a cluster IP's service alone, else
        one for each endpoint and service (CoreDNS)."""
        reads = {address_token(packed): None}
        known = self.store.services
        services = []
        for key in known.cluster_ips.get(packed):
            namespace = namespace_of(key)
            reads.update(dict.fromkeys((namespace, known.token(key))))
            if self.exposes(namespace) and len(key + self._base) <= MAX_NAME:
                services.append(key + self._base)
        if services:
            # Two services have one cluster IP for as long as it takes to hear that one is gone.
            return [min(services)], reads
        found: dict[bytes, None] = {}
        for entry in () if self.options.noendpoints else known.endpoints.get(packed):
            namespace = namespace_of(entry.key)
            reads.update(dict.fromkeys((namespace, known.token(entry.key))))
            node = known.nodes[entry.key]
            if (
                not self.exposes(namespace)
                or node.service is None
                or node.service.kind == "ExternalName"
            ):
                continue
            for group in node.groups(entry):
                names = (own + entry.key + self._base for own in group.labels_of(packed))
                found.update(dict.fromkeys(name for name in names if len(name) <= MAX_NAME))
            if len(found) >= _MAX_TARGETS:
                break
        return list(found), reads

    def _is_above(self, digits: str) -> bool:
        """Whether an address of the store begins with these digits."""
        ends = "0123456789abcdef" if len(digits) % 2 else ("",)
        return any(self._is_known(bytes.fromhex(digits + end)) for end in ends)

    def _is_known(self, prefix: bytes) -> bool:
        known = self.store.services
        if len(prefix) < self._family:
            return prefix in known.prefixes[self._family]
        return prefix in known.cluster_ips or prefix in known.endpoints

    def _addresses(self) -> Iterable[bytes]:
        """All addresses that may have targets, each once."""
        known = self.store.services
        yield from known.cluster_ips
        for packed in known.endpoints:
            if packed not in known.cluster_ips:
                yield packed
