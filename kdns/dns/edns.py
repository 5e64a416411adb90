"""EDNS(0): the OPT record of a query, and of a reply (RFC 6891)."""

from __future__ import annotations

from struct import pack
from typing import Final, NamedTuple

UDP_PAYLOAD: Final = 1232
"""Largest UDP reply sent and the payload size advertised, in bytes: no fragments (RFC 9715)."""

PLAIN_PAYLOAD: Final = 512
"""Largest UDP reply to a query without EDNS, in bytes (RFC 1035 §4.2.1)."""

_COOKIE: Final = 10
_EXTENDED_ERROR: Final = 15
_ERROR_TEXT: Final = 200  # bytes: they fit into the smallest reply, beside the longest name


class Edns(NamedTuple):
    """What of a query's OPT record matters to its answer.

    `payload` is the asker's UDP size in bytes as sent. `options` are the raw bytes of all options.
    """

    payload: int
    version: int
    dnssec_ok: bool
    options: bytes = b""

    def udp_limit(self) -> int:
        """Largest UDP reply for this asker in bytes (RFC 6891 §6.2.3)."""
        return max(PLAIN_PAYLOAD, min(self.payload, UDP_PAYLOAD))


def parse_opt(fixed: bytes, options: bytes) -> Edns | None:
    """The OPT record whose bytes between type and options are `fixed` (class, TTL).

    None where the options are malformed: one overruns the record (RFC 6891 §6.1.2), or a COOKIE has
    a length it cannot have (RFC 7873 §5.2.2).
    """
    at, end = 0, len(options)
    while at < end:
        if at + 4 > end:
            return None
        code = options[at] << 8 | options[at + 1]
        length = options[at + 2] << 8 | options[at + 3]
        at += 4 + length
        if at > end or (code == _COOKIE and length != 8 and not 16 <= length <= 40):
            return None
    return Edns(fixed[0] << 8 | fixed[1], fixed[3], bool(fixed[4] & 0x80), options)


def opt_record(rcode: int, dnssec_ok: bool, extended_error: tuple[int, str] | None = None) -> bytes:
    """The OPT record of a reply in wire form.

    Holds the upper bits of `rcode` (RFC 6891 §6.1.3), the echo of DO (RFC 3225 §3), and an extended
    error where there is one, its text cut to 200 bytes (RFC 8914 §2).
    """
    options = b""
    if extended_error is not None:
        code, text = extended_error
        whole_characters = text.encode()[:_ERROR_TEXT].decode(errors="ignore")
        content = pack("!H", code) + whole_characters.encode()
        options = pack("!HH", _EXTENDED_ERROR, len(content)) + content
    flags = 0x8000 if dnssec_ok else 0
    return pack("!BHHBBHH", 0, 41, UDP_PAYLOAD, rcode >> 4, 0, flags, len(options)) + options
