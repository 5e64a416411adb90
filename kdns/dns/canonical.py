"""The canonical form of an ordinary query: the packets that get one answer brought to one key.

Two packets with one canonical form differ in nothing but ID, the case of the name, the content of a
client cookie, and a payload size or flags that come to the same. None of these changes more of the
reply than its own echo.
"""

from __future__ import annotations

from typing import Final

from kdns.dns.edns import Edns
from kdns.dns.query import HEADER

_WITHOUT_OPT: Final = frozenset(
    bytes((rd, ad_cd, 0, 1, 0, 0, 0, 0, 0, 0)) for rd in (0, 1) for ad_cd in (0, 0x10, 0x20, 0x30)
)
"""The header behind the ID: a standard query of one question, RD, AD and CD free."""

_WITH_OPT: Final = frozenset(header[:9] + b"\1" for header in _WITHOUT_OPT)

_OPT_FIXED: Final = 9
_OPTION_HEAD: Final = 15
_PAYLOADS: Final = (512, 768, 1024, 1200, 1220, 1232, 1280, 1400, 1410, 1452, 1472, 2048, 4096)
_OPTIONS: Final = {
    b"\0\0": b"\0\0",
    **{
        head: head + bytes(length)
        for length in (8, 16, 24, 32, 40)
        for head in (bytes((0, length + 4, 0, 10, 0, length)),)
    },
}
"""No options, and a cookie of zeros by the lengths and code in front of it, where it is alone."""

_ORDINARY: Final = {
    fixed + head: fixed + options
    for payload in (*_PAYLOADS, 8192, 65535)
    for flags in (0, 0x80)
    for fixed in (bytes((0, 0, 41)) + payload.to_bytes(2, "big") + bytes((0, 0, flags, 0)),)
    for head, options in _OPTIONS.items()
}
"""OPT records as resolvers send them, by what is in front of a cookie; they stay as they are, but
for that."""

Canonical = tuple[bytes, bytes, bytes, bytes, int]
"""An ordinary query in parts: key, header, name, rest, end; the key is header + name + rest.

`header` is the packet's without ID; `name` the question's in lower case, if the packet is well
formed: that is for the reader to check; `rest` all behind it. `end` is the offset in the packet
behind the question. A plain tuple: one is made for every query that was not asked before.
"""


def canonical(packet: bytes) -> Canonical | None:
    """The canonical form of a packet, or None where it is not ordinary.

    The name is taken to end at the first zero byte. Whoever keeps an answer under the key has to
    know that `end` is right: it is not where a label has a zero byte in it.
    """
    header = packet[2:HEADER]
    end = packet.find(0, HEADER) + 5
    if header in _WITHOUT_OPT:
        if len(packet) != end:
            return None
        rest = packet[-4:]
    elif header in _WITH_OPT:
        opt = _ORDINARY.get(packet[end : end + _OPTION_HEAD]) or _ordinary(packet, end)
        if opt is None or len(packet) != end + len(opt):
            return None
        rest = packet[end - 4 : end] + opt
    else:
        return None
    name = packet[HEADER : end - 4].lower()
    return b"".join((header, name, rest)), header, name, rest, end


def _ordinary(packet: bytes, at: int) -> bytes | None:
    """An OPT record that has the same answers as the one there, with a payload of 512 to 1232."""
    fixed = packet[at : at + _OPT_FIXED]
    options = _OPTIONS.get(packet[at + _OPT_FIXED : at + _OPTION_HEAD])
    if options is None or len(fixed) != _OPT_FIXED or fixed[:3] != b"\0\0\x29" or fixed[6]:
        return None
    edns = Edns(fixed[3] << 8 | fixed[4], 0, bool(fixed[7] & 0x80))
    flags = b"\x80\0" if edns.dnssec_ok else b"\0\0"
    return b"\0\0\x29" + edns.udp_limit().to_bytes(2, "big") + b"\0\0" + flags + options
