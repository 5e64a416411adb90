"""Records as text: a table for people, a zone file, JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from dnslib import RDMAP, DNSBuffer

from kdns.dns.codes import class_name, type_name
from kdns.dns.names import to_text
from kdns.dns.rdata import RRset


class Record(NamedTuple):
    """One record, every part but its TTL in presentation text."""

    owner: str
    ttl: int
    rclass: str
    type: str
    rdata: str


def records(rrsets: Iterable[RRset]) -> Iterator[Record]:
    """Each record of the sets, in their order."""
    for rrset in rrsets:
        mnemonic = type_name(rrset.type)
        for rdata in rrset.rdatas:
            yield Record(
                to_text(rrset.owner),
                rrset.ttl,
                class_name(rrset.rclass),
                mnemonic,
                rdata_text(mnemonic, rdata),
            )


def rdata_text(mnemonic: str, rdata: bytes) -> str:
    """Presentation text of wire rdata without compression; RFC 3597 §5 for types not known."""
    known = RDMAP.get(mnemonic)
    if known is None:
        return f"\\# {len(rdata)} {rdata.hex()}"
    return str(known.parse(DNSBuffer(rdata), len(rdata)))


def table(found: Iterable[Record]) -> str:
    """Aligned columns, a name once for all of its records."""
    rows = [("NAME", "TYPE", "TTL", "DATA")]
    last = ""
    for record in found:
        rows.append(
            (
                record.owner if record.owner != last else "",
                record.type,
                str(record.ttl),
                record.rdata,
            )
        )
        last = record.owner
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        + "\n"
        for row in rows
    )


def zone_file(found: Iterable[Record]) -> str:
    """One record a line: owner, TTL, class, type, rdata (RFC 1035 §5.1)."""
    return "".join(
        f"{record.owner}\t{record.ttl}\t{record.rclass}\t{record.type}\t{record.rdata}\n"
        for record in found
    )


def json_text(found: Iterable[Record]) -> str:
    """A JSON array of objects with the members of `Record`."""
    return json.dumps([record._asdict() for record in found], indent=2) + "\n"


FORMS: Final[dict[str, Callable[[Iterable[Record]], str]]] = {
    "table": table,
    "zone": zone_file,
    "json": json_text,
}
