"""IP addresses as 4 or 16 packed bytes, which is also the rdata of A and AAAA."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

from kdns.dns.names import label

IPV4: Final = 4
IPV6: Final = 16

IN_ADDR_ARPA: Final = b"\x07in-addr\x04arpa\x00"
IP6_ARPA: Final = b"\x03ip6\x04arpa\x00"

_OCTETS: Final = {str(number): number for number in range(256)}
_DASHED: Final = re.compile(rb"[0-9a-f-]{1,63}")


def parse(text: str) -> bytes | None:
    """The packed address, or None where the text is none.

    As strict as Go's parser: no leading zeros in IPv4, no zone index in IPv6.
    """
    try:
        return inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, ValueError):
        return None


def dashed(address: bytes) -> bytes:
    """The wire label of an endpoint without a name of its own: `10-0-0-1`, `5678-abcd--1`.

    No label ends in a dash, so a 0 is added: `fd00--0` (CoreDNS).
    """
    if len(address) == IPV4:
        return label(b"%d-%d-%d-%d" % tuple(address))
    text = str(IPv6Address(address)).replace(":", "-").replace(".", "-")
    return label(text + "0" if text.endswith("-") else text)


def from_dashed(content: bytes) -> bytes | None:
    """The address that a label's content spells with dashes, or None.

    Three dashes apart from each other mean IPv4, anything else IPv6 (CoreDNS's pod names).
    """
    if not _DASHED.fullmatch(content):
        return None
    text = content.decode()
    if text.count("-") == 3 and "--" not in text:
        return parse(text.replace("-", "."))
    return parse(text.replace("-", ":"))


def reverse_name(address: bytes) -> bytes:
    """The absolute wire name of an address's PTR record (RFC 1035 §3.5, RFC 3596 §2.5)."""
    if len(address) == IPV4:
        return b"".join(label(str(octet)) for octet in reversed(address)) + IN_ADDR_ARPA
    return b"".join(label(nibble) for nibble in reversed(address.hex())) + IP6_ARPA


def from_reverse(parts: list[bytes], family: int) -> str | None:
    """The address, or the beginning of one, that the labels left of the `arpa` ones spell.

    `parts` are label contents in the order of the name. The answer is in hexadecimal digits, two a
    byte, most significant first; None where the labels have another shape.
    """
    spelled = _SPELLED[family]
    try:
        digits = "".join([spelled[part] for part in reversed(parts)])
    except KeyError:
        return None
    return digits if len(digits) <= 2 * family else None


_SPELLED: Final = {
    IPV4: {text.encode(): f"{number:02x}" for text, number in _OCTETS.items()},
    IPV6: {digit.encode(): digit for digit in "0123456789abcdef"},
}
