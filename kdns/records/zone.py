"""What forward and reverse zones have in common: the apex, exposure, and how answers are made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Final

from kdns.dns import codes, rdata
from kdns.dns.names import ROOT, label, suffixes
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply
from kdns.records.options import ZoneOptions
from kdns.records.store import SERIAL, Store

ANSWER_BYTES: Final = 66_000
"""Room for one record set: more than the largest message has (65535).

What is left out here would not be sent, and what is left in is cut again when it is rendered, so
that TC tells of it (RFC 2181 §9).
"""

_TRANSFERS: Final = (codes.AXFR, codes.IXFR)
_SOA_TTL: Final = 300
_REFRESH: Final = 7200
_RETRY: Final = 1800
_EXPIRE: Final = 86400


def within(name: bytes, origin: bytes) -> bool:
    """Whether an absolute name is at or below another."""
    return origin == ROOT or any(suffix == origin for _, suffix in suffixes(name))


class Zone(ABC):
    """A zone made of the store's records. All its answers are authoritative.

    `origin` is an absolute wire name in lower case. Raises BadName over `options.namespaces`.
    """

    def __init__(self, store: Store, origin: bytes, options: ZoneOptions) -> None:
        self.store: Final = store
        self.origin = origin
        self.options: Final = options
        self._exposed = (
            None
            if options.namespaces is None
            else frozenset(label(name.lower()) for name in options.namespaces)
        )
        self._serial = -1
        self._soa: RRset | None = None

    def lookup(self, name: bytes, qtype: int) -> Reply:
        """The answer about an absolute lower-case wire name at or below the origin.

        Zone transfers are REFUSED: they are not a matter of one name.
        """
        if qtype in _TRANSFERS:
            return Reply(rcode=codes.REFUSED, plugin="kubernetes")
        return self._look_up(name, qtype)

    @abstractmethod
    def _look_up(self, name: bytes, qtype: int) -> Reply:
        """As `lookup`, for types that a name can be asked for."""

    def exposes(self, namespace: bytes) -> bool:
        """Whether a namespace, given as its wire label, exists and is shown by this zone."""
        if namespace not in self.store.namespaces:
            return False
        return self._exposed is None or namespace in self._exposed

    def soa(self) -> RRset:
        """The zone's SOA as of now."""
        serial = self.store.serial
        if self._soa is None or serial != self._serial:
            ttl = self.options.ttl
            mname = label("ns") + label("dns") + self.origin
            rname = label("hostmaster") + self.origin
            data = rdata.soa(mname, rname, serial, _REFRESH, _RETRY, _EXPIRE, ttl)
            self._soa = RRset(self.origin, codes.SOA, min(ttl, _SOA_TTL), (data,))
            self._serial = serial
        return self._soa

    def _reply(
        self,
        *,
        rcode: int = codes.NOERROR,
        answer: Iterable[RRset] = (),
        additional: Iterable[RRset] = (),
        negative: bool = False,
        reads: Iterable[bytes] = (),
    ) -> Reply:
        return Reply(
            rcode=rcode,
            answer=list(answer),
            authority=[self.soa()] if negative else [],
            additional=list(additional),
            authoritative=True,
            reads=(*reads, SERIAL) if negative else tuple(reads),
            plugin="kubernetes",
        )

    def _nodata(self, reads: Iterable[bytes] = ()) -> Reply:
        """The name exists, a record of this type does not (RFC 2308 §2.2)."""
        return self._reply(negative=True, reads=reads)

    def _nxdomain(self, reads: Iterable[bytes] = ()) -> Reply:
        """Neither the name nor one below it exists (RFC 2308 §2.1, RFC 8020)."""
        return self._reply(rcode=codes.NXDOMAIN, negative=True, reads=reads)

    def _apex_soa(self) -> Reply:
        return self._reply(answer=[self.soa()], reads=(SERIAL,))
