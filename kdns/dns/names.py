"""Domain names in wire form: a `bytes` of length-prefixed labels.

An absolute name ends in the root label (a zero byte); a relative one does not, so that relative +
origin is a plain concatenation. Length bytes are at most 63 and hence below "A": `bytes.lower()`
of a whole name is its canonical case (RFC 4343).
"""

from __future__ import annotations

from typing import Final

ROOT: Final = b"\0"
MAX_NAME: Final = 255
MAX_LABEL: Final = 63

_PLAIN: Final = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_*/+!#%&'=?^`{|}~[]:<>,"
)


class BadName(ValueError):
    """Text that is no domain name (RFC 1035 §2.3.4, §5.1)."""


def from_text(text: str) -> bytes:
    """The absolute wire name of presentation text, case kept; a missing final dot is understood.

    Escapes are those of RFC 1035 §5.1. Raises BadName.
    """
    if text in ("", "."):
        return ROOT
    wire = b"".join(label(part) for part in _split(text)) + ROOT
    if len(wire) > MAX_NAME:
        raise BadName(f"{text!r} is longer than {MAX_NAME} bytes")
    return wire


def label(content: str | bytes) -> bytes:
    """One wire label of its content; text is taken as UTF-8. Raises BadName."""
    raw = content.encode() if isinstance(content, str) else content
    if not raw:
        raise BadName("a label is empty")
    if len(raw) > MAX_LABEL:
        raise BadName(f"label {raw!r} is longer than {MAX_LABEL} bytes")
    return bytes((len(raw),)) + raw


def to_text(wire: bytes) -> str:
    """Presentation text of an absolute or relative wire name, in printable ASCII (RFC 1035 §5.1).

    An absolute name's text ends in a dot.
    """
    parts = ["".join(_escape(byte) for byte in content) for content in labels(wire)]
    absolute = wire.endswith(ROOT) and _is_absolute(wire)
    return ".".join(parts) + ("." if absolute else "")


def labels(wire: bytes) -> list[bytes]:
    """Contents of a well-formed wire name's labels, leftmost first, without the root."""
    found = []
    at, end = 0, len(wire)
    while at < end:
        length = wire[at]
        if length == 0:
            break
        found.append(wire[at + 1 : at + 1 + length])
        at += 1 + length
    return found


def suffixes(wire: bytes) -> list[tuple[int, bytes]]:
    """Every name at or above an absolute name but the root, nearest first, with its offset."""
    found = []
    at = 0
    while wire[at]:
        found.append((at, wire[at:]))
        at += 1 + wire[at]
    return found


def _is_absolute(wire: bytes) -> bool:
    at, end = 0, len(wire)
    while at < end:
        if wire[at] == 0:
            return True
        at += 1 + wire[at]
    return False


def _escape(byte: int) -> str:
    if byte in _PLAIN:
        return chr(byte)
    if 0x21 <= byte <= 0x7E:
        return "\\" + chr(byte)
    return f"\\{byte:03d}"


def _split(text: str) -> list[bytes]:
    """Label contents of presentation text, escapes undone."""
    raw = text.encode()
    parts: list[bytes] = []
    current = bytearray()
    at = 0
    while at < len(raw):
        char = raw[at]
        at += 1
        if char == ord("."):
            parts.append(bytes(current))
            current.clear()
        elif char == ord("\\"):
            value, at = _unescape(raw, at, text)
            current.append(value)
        else:
            current.append(char)
    if current or not raw.endswith(b"."):
        parts.append(bytes(current))
    if not all(parts):
        raise BadName(f"{text!r} has an empty label")
    return parts


def _unescape(raw: bytes, at: int, text: str) -> tuple[int, int]:
    """The byte that the escape at `at` stands for, and where the text goes on."""
    if raw[at : at + 3].isdigit() and len(raw[at : at + 3]) == 3:
        value = int(raw[at : at + 3])
        if value > 255:
            raise BadName(f"{text!r} has the escape \\{value}, above \\255")
        return value, at + 3
    if at >= len(raw) or raw[at : at + 1].isdigit():
        raise BadName(f"{text!r} has an unfinished escape")
    return raw[at], at + 1
