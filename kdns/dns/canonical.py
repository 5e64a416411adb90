"""The canonical form of an ordinary query: the packets that get one answer brought to one key.

Two packets with one canonical form differ in nothing but ID, the case of the name, and the content
of a client cookie, and none of these changes more of the reply than its own echo.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from kdns.dns.query import HEADER

_HEADERS: Final = frozenset(
    bytes((rd, ad_cd, 0, 1, 0, 0, 0, 0, 0, additionals))
    for rd in (0, 1)
    for ad_cd in (0, 0x10, 0x20, 0x30)
    for additionals in (0, 1)
)
"""The header behind the ID: a standard query of one question, RD, AD and CD free, OPT or none."""

_COOKIE: Final = b"\0\x0a"
_OPT_FIXED: Final = 11
_OPTION_HEAD: Final = 15


class Canonical(NamedTuple):
    """An ordinary query in parts: `key` is `header + name + rest`.

    `header` is the packet's without ID; `name` the question's in lower case, if the packet is well
    formed: that is for the reader to check; `rest` all behind it. `end` is the offset in the packet
    behind the question.
    """

    key: bytes
    header: bytes
    name: bytes
    rest: bytes
    end: int


def canonical(packet: bytes) -> Canonical | None:
    """The canonical form of a packet, or None where it is not ordinary.

    The name is taken to end at the first zero byte. A name for which that is wrong, one with a zero
    byte inside a label, yields a key that no well-formed query has.
    """
    header = packet[2:HEADER]
    if header not in _HEADERS:
        return None
    end = packet.find(0, HEADER) + 5
    size = len(packet)
    name = packet[HEADER : end - 4].lower()
    if not header[9]:
        if size != end:
            return None
        rest = packet[end - 4 :]
    elif size == end + _OPT_FIXED:
        rest = packet[end - 4 :]
    else:
        length = size - end - _OPTION_HEAD
        if (
            length not in (8, 24, 40)
            or packet[end + 11 : end + 13] != _COOKIE
            or packet[end + 9 : end + 11] != bytes((0, length + 4))
            or packet[end + 13 : end + 15] != bytes((0, length))
        ):
            return None
        rest = packet[end - 4 : end + _OPTION_HEAD] + bytes(length)
    return Canonical(header + name + rest, header, name, rest, end)
