"""What forward and reverse zones have in common: the apex, exposure, and how answers are made."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import ClassVar, Final, Self

from kdns.dns import codes, rdata
from kdns.dns.names import ROOT, label, suffixes
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply
from kdns.records.options import ZoneOptions
from kdns.records.serial import Serial
from kdns.records.store import Store

NS_DNS: Final = b"\x02ns\x03dns"
"""`ns.dns`, which every forward zone has: the name of a server that is no service's endpoint."""

ANSWER_BYTES: Final = 66_000
"""Room for one record set: more than the largest message has (65535).

What is left out here would not be sent, and what is left in is cut again when it is rendered, so
that TC tells of it (RFC 2181 §9).
"""

_TRANSFERS: Final = (codes.AXFR, codes.IXFR)
_REFRESH: Final = 7200
_RETRY: Final = 1800
_EXPIRE: Final = 86400


def within(name: bytes, origin: bytes) -> bool:
    """Whether an absolute name is at or below another."""
    return origin == ROOT or any(suffix == origin for _, suffix in suffixes(name))


class Zone(ABC):
    """A zone made of the store's records. All its answers are authoritative.

    `origin` is an absolute wire name in lower case. Raises BadName over `options.namespaces`.
    `plugin` is the one that answers with it; `max_soa_ttl` is in seconds, `room` in bytes of one
    record set.
    """

    plugin: ClassVar[str] = "kubernetes"
    max_soa_ttl: ClassVar[int] = 300

    def __init__(self, store: Store, origin: bytes, options: ZoneOptions) -> None:
        self.store = store
        self.origin = origin
        self.options: Final = options
        self._exposed = (
            None
            if options.namespaces is None
            else frozenset(label(name.lower()) for name in options.namespaces)
        )
        self._soa: tuple[int, RRset] | None = None
        self.room = ANSWER_BYTES
        # Relative wire names: of the name server, and of the mailbox in the SOA.
        self._server = NS_DNS
        self._contact = label("hostmaster")

    def lookup(self, name: bytes, qtype: int) -> Reply:
        """The answer about an absolute lower-case wire name at or below the origin.

        Zone transfers are REFUSED: they are not a matter of one name.
        """
        if qtype in _TRANSFERS:
            return Reply(rcode=codes.REFUSED, plugin=self.plugin)
        return self._look_up(name, qtype)

    def may_yield(self, name: bytes, reply: Reply) -> bool:  # noqa: ARG002 - of use below
        """Whether `reply`, about this name, gives way to another source of records if there is one.

        One that says that the name does not exist does.
        """
        return reply.rcode == codes.NXDOMAIN and not reply.answer

    def frozen(self) -> Self:
        """The zone as it is now, whatever becomes of it, its record sets whole however large.

        To be listed, as `records` does; look-ups of partial reverse names need more than it has.
        """
        twin = copy(self)
        twin.store = self.store.frozen()
        twin.room = sys.maxsize
        return twin

    @abstractmethod
    def records(self) -> Iterator[RRset]:
        """All record sets but the SOA, one at a time and each once; the apex first.

        Names that are made up by the asker (insecure pods, ports without underscores, zonal names)
        are left out.
        """

    @abstractmethod
    def serials(self) -> Sequence[Serial]:
        """The serials of what the zone is made of; its own is the highest."""

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
        serial = max(each.value for each in self.serials())
        if self._soa is None or serial != self._soa[0]:
            ttl = self.options.ttl
            mname, rname = self._server + self.origin, self._contact + self.origin
            data = rdata.soa(mname, rname, serial, _REFRESH, _RETRY, _EXPIRE, ttl)
            own_ttl = min(ttl, self.max_soa_ttl)
            self._soa = (serial, RRset(self.origin, codes.SOA, own_ttl, (data,)))
        return self._soa[1]

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
            reads=(*reads, *self._epochs()) if negative else tuple(reads),
            plugin=self.plugin,
        )

    def _nodata(self, reads: Iterable[bytes] = ()) -> Reply:
        """The name exists, a record of this type does not (RFC 2308 §2.2)."""
        return self._reply(negative=True, reads=reads)

    def _nxdomain(self, reads: Iterable[bytes] = ()) -> Reply:
        """Neither the name nor one below it exists (RFC 2308 §2.1, RFC 8020)."""
        return self._reply(rcode=codes.NXDOMAIN, negative=True, reads=reads)

    def _apex_soa(self) -> Reply:
        return self._reply(answer=[self.soa()], reads=self._epochs())

    def _epochs(self) -> Iterator[bytes]:
        return (serial.token for serial in self.serials())
