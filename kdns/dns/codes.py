"""Numbers of the DNS parameters registry and their mnemonics."""

from __future__ import annotations

from typing import Final

A: Final = 1
NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
PTR: Final = 12
HINFO: Final = 13
MX: Final = 15
TXT: Final = 16
AAAA: Final = 28
SRV: Final = 33
DNAME: Final = 39
OPT: Final = 41
DS: Final = 43
RRSIG: Final = 46
NSEC: Final = 47
NSEC3: Final = 50
TKEY: Final = 249
TSIG: Final = 250
IXFR: Final = 251
AXFR: Final = 252
MAILB: Final = 253
MAILA: Final = 254
ANY: Final = 255

CLASS_IN: Final = 1

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
NOTAUTH: Final = 9
BADVERS: Final = 16

EDE_OTHER: Final = 0
"""RFC 8914 §4.1: the text says what it is."""

EDE_STALE: Final = 3
"""RFC 8914 §4.4: an answer that could not be brought up to date."""

EDE_STALE_NXDOMAIN: Final = 19
"""RFC 8914 §4.20: the same of a name that did not exist."""

EDE_NOT_READY: Final = 14
"""RFC 8914 §4.15: the server is not up yet, or has not all of its data."""

EDE_LOOP: Final = 23
"""RFC 8914 §4.24, network error: here, a way that leads back to this server."""

EDE_UNREACHABLE: Final = 22
"""RFC 8914 §4.23: no upstream was to be reached, or none answered."""

EDE_CACHED_ERROR: Final = 13
"""RFC 8914 §4.14: a failure that is remembered for a while (RFC 9520)."""

TYPE_NAMES: Final = {
    A: "A",
    NS: "NS",
    CNAME: "CNAME",
    SOA: "SOA",
    PTR: "PTR",
    HINFO: "HINFO",
    MX: "MX",
    TXT: "TXT",
    AAAA: "AAAA",
    SRV: "SRV",
    35: "NAPTR",
    DNAME: "DNAME",
    OPT: "OPT",
    DS: "DS",
    44: "SSHFP",
    RRSIG: "RRSIG",
    NSEC: "NSEC",
    48: "DNSKEY",
    NSEC3: "NSEC3",
    52: "TLSA",
    64: "SVCB",
    65: "HTTPS",
    TKEY: "TKEY",
    TSIG: "TSIG",
    IXFR: "IXFR",
    AXFR: "AXFR",
    MAILB: "MAILB",
    MAILA: "MAILA",
    ANY: "ANY",
    257: "CAA",
}

RCODE_NAMES: Final = {
    NOERROR: "NOERROR",
    FORMERR: "FORMERR",
    SERVFAIL: "SERVFAIL",
    NXDOMAIN: "NXDOMAIN",
    NOTIMP: "NOTIMP",
    REFUSED: "REFUSED",
    6: "YXDOMAIN",
    7: "YXRRSET",
    8: "NXRRSET",
    NOTAUTH: "NOTAUTH",
    10: "NOTZONE",
    BADVERS: "BADVERS",
}

CLASS_NAMES: Final = {CLASS_IN: "IN", 3: "CH", 4: "HS", 254: "NONE", 255: "ANY"}


def type_name(number: int) -> str:
    """Mnemonic of an RR type, or `TYPEn` (RFC 3597 §5)."""
    return TYPE_NAMES.get(number) or f"TYPE{number}"


def class_name(number: int) -> str:
    """Mnemonic of a class, or `CLASSn` (RFC 3597 §5)."""
    return CLASS_NAMES.get(number) or f"CLASS{number}"


def rcode_name(number: int) -> str:
    """Mnemonic of a response code, or `RCODEn`."""
    return RCODE_NAMES.get(number) or f"RCODE{number}"


def rcode_label(number: int) -> str:
    """A response code in metrics; "other" where it has no mnemonic, as upstreams choose it."""
    return RCODE_NAMES.get(number, "other")
