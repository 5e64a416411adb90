"""SRV records with the addresses of their targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from kdns.dns import codes, rdata
from kdns.dns.names import MAX_NAME
from kdns.dns.rdata import RRset
from kdns.records.address import IPV4, dashed
from kdns.records.entries import Endpoints, Port

ANY_PORT: Final = None
_NO_PORT: Final = (Port(b"", b"", None),)
_RECORD_OVERHEAD: Final = 12


class Targets(NamedTuple):
    """Endpoints that all listen on the same ports; a target is an endpoint's label + `base`.

    An address may be b"" where it is not known here.
    """

    ports: Sequence[Port]
    endpoints: Endpoints
    base: bytes


def matching(ports: Sequence[Port], wanted: tuple[bytes, bytes] | None) -> Sequence[Port]:
    """The ports with the wanted (name, protocol).

    ANY_PORT wants all, named or not, and counts the lack of ports as one (CoreDNS).
    """
    if wanted is ANY_PORT:
        return ports or _NO_PORT
    return [port for port in ports if port[:2] == wanted]


def service_records(
    owner: bytes, ttl: int, groups: Sequence[Targets], room: int
) -> tuple[list[RRset], list[RRset]]:
    """The SRV record set of all targets, and the address sets of these.

    No more are made once the SRV records take more than `room` bytes. The weight is CoreDNS's: 100
    shared by all (endpoint, port) pairs, before equal records are merged.
    """
    pairs = sum(len(ports) * len(endpoints.addresses) for ports, endpoints, _ in groups)
    weight = max(1, 100 // pairs) if pairs else 0
    records: dict[bytes, None] = {}
    glue: dict[tuple[bytes, int], dict[bytes, None]] = {}
    for ports, endpoints, base in groups:
        numbers = [port.number for port in ports if port.number is not None]
        if not numbers:
            continue
        for packed, own in endpoints.each():
            target = (dashed(packed) if own is None else own) + base
            if len(target) > MAX_NAME:
                continue
            for number in numbers:
                data = rdata.srv(0, weight, number, target)
                if data not in records:
                    records[data] = None
                    room -= _RECORD_OVERHEAD + len(data)
            if room < 0:
                return _record_sets(owner, ttl, records, glue)
            if packed:
                qtype = codes.A if len(packed) == IPV4 else codes.AAAA
                glue.setdefault((target, qtype), {})[packed] = None
    return _record_sets(owner, ttl, records, glue)


def _record_sets(
    owner: bytes,
    ttl: int,
    records: dict[bytes, None],
    glue: dict[tuple[bytes, int], dict[bytes, None]],
) -> tuple[list[RRset], list[RRset]]:
    answer = [RRset(owner, codes.SRV, ttl, list(records))] if records else []
    return answer, [
        RRset(target, qtype, ttl, list(addresses)) for (target, qtype), addresses in glue.items()
    ]
