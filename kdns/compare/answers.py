"""A reply's bytes as what can be compared: rcode, flags, records as text."""

from __future__ import annotations

from typing import Final, NamedTuple

from dnslib import RR, DNSRecord, EDNSOption

from kdns.dns import codes
from kdns.dns.codes import type_name

_EDE: Final = 15  # RFC 8914 §4
_FLAGS: Final = ("aa", "ra", "ad")
# Their rdata is compared without case, as names are (RFC 4343); that of TXT is not.
_OF_NAMES: Final = frozenset(
    (codes.NS, codes.CNAME, codes.SOA, codes.PTR, codes.MX, codes.SRV, codes.DNAME)
)


class Unreadable(ValueError):
    """A reply that is no DNS message, and why."""


class Record(NamedTuple):
    """One record; `owner` and names in `data` are text in lower case.

    `serial` is an SOA's, which is not in its data; None for other types.
    """

    owner: str
    type: int
    data: str
    ttl: int
    serial: int | None = None

    def __str__(self) -> str:
        return f"{self.owner} {type_name(self.type)} {self.data}"


class Answer(NamedTuple):
    """A reply. `error` is the text of its extended error (RFC 8914), "" without one."""

    rcode: int
    flags: frozenset[str]
    answer: tuple[Record, ...]
    authority: tuple[Record, ...]
    additional: tuple[Record, ...]
    error: str = ""


class Silence(NamedTuple):
    """No reply that could be read, and why."""

    reason: str


def read(packet: bytes) -> Answer:
    """The answer that a reply's bytes are. Raises Unreadable."""
    try:
        message = DNSRecord.parse(packet)
        options = [record for record in message.ar if record.rtype == codes.OPT]
        rcode = message.header.rcode
        if options:
            rcode |= options[0].ttl >> 24 << 4
        return Answer(
            rcode,
            frozenset(flag for flag in _FLAGS if getattr(message.header, flag)),
            tuple(map(_record, message.rr)),
            tuple(map(_record, message.auth)),
            tuple(_record(each) for each in message.ar if each.rtype != codes.OPT),
            _extended_error(options),
        )
    except Exception as error:  # dnslib raises a dozen kinds at junk
        raise Unreadable(f"not a DNS message: {error or type(error).__name__}") from error


def _record(record: RR) -> Record:
    owner = str(record.rname).lower()
    if record.rtype == codes.SOA:
        serial, *times = record.rdata.times
        data = f"{record.rdata.mname} {record.rdata.rname} {' '.join(map(str, times))}"
        return Record(owner, record.rtype, data.lower(), record.ttl, serial)
    data = str(record.rdata)
    if record.rtype in _OF_NAMES:
        data = data.lower()
    return Record(owner, record.rtype, data, record.ttl)


def _extended_error(options: list[RR]) -> str:
    for option in (each for record in options for each in record.rdata):
        if isinstance(option, EDNSOption) and option.code == _EDE and len(option.data) >= 2:
            number = int.from_bytes(option.data[:2], "big")
            text = bytes(option.data[2:]).decode(errors="replace").rstrip("\0")
            return f"extended error {number}" + (f": {text}" if text else "")
    return ""
