"""The zone of a cluster set, such as clusterset.local: imported services (KEP-1645)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from kdns.dns.names import label
from kdns.dns.reply import Reply
from kdns.records.forward import ForwardZone
from kdns.records.serial import Serial
from kdns.records.services import Services
from kdns.records.servicezone import Found
from kdns.records.zone import NS_DNS

_BESIDE_SVC: Final = frozenset((b"\x03dns", b"\x0bdns-version"))


class MulticlusterZone(ForwardZone):
    """A zone of ServiceImports. Its endpoints' names are `<endpoint>.<cluster>.<service>`.

    It has no pods. Ports need an underscore in front of one of their labels (CoreDNS).
    """

    _beside_svc = _BESIDE_SVC

    @property
    def services(self) -> Services:
        """The imports."""
        return self.store.imports

    def serials(self) -> Sequence[Serial]:
        """As `Zone.serials`."""
        return (self.store.imports.serial,)

    def _name_servers(self) -> tuple[dict[bytes, list[bytes]], Iterable[bytes]]:
        """The services that this server is an endpoint of have their names in another zone."""
        servers, reads = super()._name_servers()
        addresses = dict.fromkeys(packed for each in servers.values() for packed in each)
        return {NS_DNS + self.origin: list(addresses)}, reads

    def _in_pod(self, name: bytes, parts: list[bytes], qtype: int) -> Reply:
        del name, parts, qtype
        return self._nxdomain()

    def _at_service(self, found: Found, parts: list[bytes], qtype: int) -> Reply:
        if len(parts) == 2 and not any(part.startswith(b"_") for part in parts):
            named = self._endpoints_named(found, label(parts[0]) + label(parts[1]))
            if named:
                return self._endpoint(found, named, qtype)
            return self._nxdomain(found.reads)
        return super()._at_service(found, parts, qtype)

    def _zonal(self, found: Found, parts: list[bytes], qtype: int) -> Reply:
        del parts, qtype
        return self._nxdomain(found.reads)

    def _between(self, found: Found, content: bytes) -> Reply:
        if content.startswith(b"_"):
            return super()._between(found, content)
        if self._is_cluster(found, label(content)):
            return self._nodata(found.reads)
        return self._nxdomain(found.reads)

    def _is_cluster(self, found: Found, wire: bytes) -> bool:
        """Whether endpoints of the service are in a cluster. All of a slice are in the same."""
        for _, group in self._endpoints(found.node):
            own = group.labels[0] if group.labels else None
            if own is not None and own[1 + own[0] :] == wire:
                return True
        return False
