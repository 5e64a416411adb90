"""Files like /etc/hosts, each line an address and its names, as tables that are read again."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from kdns.dns.names import MAX_LABEL, MAX_NAME, ROOT, BadName, from_text, suffixes
from kdns.records.address import IPV4, parse, reverse_name

_log: Final = logging.getLogger("plugin/hosts")

MOST: Final = 4096
"""Addresses of one name, and names of one address, that are kept: more than a message holds."""

_MAX_BYTES: Final = 256 << 20
_SLICE: Final = 100
"""Lines read in one go: less than a millisecond's work."""

_LENGTHS: Final = tuple(bytes((length,)) for length in range(MAX_LABEL + 1))
_WILDCARD: Final = b"\x01*"
_MAPPED: Final = bytes(10) + b"\xff\xff"
_MAX_TEXT: Final = 4 * MAX_NAME  # bytes of a name, all of them escaped

Signature = tuple[int, int, int]
"""What a changed file differs in: its time, size and number."""


class Scope(NamedTuple):
    """What a `hosts` has: a file and lines of its own, and of these the names in its zones.

    `zones` are lower-case absolute wire names; with `reverse` addresses have PTR records.
    """

    path: Path
    zones: frozenset[bytes]
    reverse: bool = True
    inline: tuple[bytes, ...] = ()

    def holds(self, name: bytes) -> bool:
        """Whether a lower-case absolute wire name is in the zones."""
        zones = self.zones
        return ROOT in zones or any(suffix in zones for _, suffix in suffixes(name))


class HostTable:
    """Addresses, packed, by name, and names by reverse name; all names in lower-case wire form.

    `entries` counts both, as CoreDNS does. `left_out` are the lines that could not be understood,
    `first_left_out` is the number of the first of them.
    """

    def __init__(self, scope: Scope) -> None:
        self.names: dict[bytes, tuple[bytes, ...]] = {}
        self.wildcards: dict[bytes, tuple[bytes, ...]] = {}
        self.pointers: dict[bytes, list[bytes]] = {}
        self.entries = 0
        self.left_out = 0
        self.first_left_out = 0
        self._scope = scope
        self._everything = ROOT in scope.zones
        self._addresses: dict[bytes, _Address | None] = {}

    def addresses(self, name: bytes) -> tuple[bytes, ...]:
        """Those of a name: its own, or else those of a wildcard in place of its first label."""
        found = self.names.get(name)
        if found is not None:
            return found
        parent = name[1 + name[0] :]
        return self.wildcards.get(parent, ()) if len(parent) > 1 else ()

    def take(self, lines: Sequence[bytes], number: int = 1) -> None:
        """Take in lines, the first of which has this number. Never raises."""
        for at, line in enumerate(lines, number):
            fields = line.partition(b"#")[0].split()
            if fields and not self._entry(fields):
                self.left_out += 1
                self.first_left_out = self.first_left_out or at

    def whole(self) -> None:
        """All lines are there: let go of what only reading needs."""
        self._addresses.clear()

    def _entry(self, fields: list[bytes]) -> bool:
        """Take in an address and its names; False where it is none, or one of them is no name."""
        text = fields[0]
        if text not in self._addresses:
            self._addresses[text] = _address(text)
        address = self._addresses[text]
        if address is None or len(fields) < 2:
            return False
        good = True
        for text in fields[1:]:
            name = _wire(text)
            if name is None:
                good = False
            elif self._everything or self._scope.holds(name):
                self._add(name, address)
        return good

    def _add(self, name: bytes, address: _Address) -> None:
        wildcard = name.startswith(_WILDCARD)
        table, key = (self.wildcards, name[2:]) if wildcard else (self.names, name)
        self.entries += 1
        held = table.get(key)
        if held is None:
            table[key] = address.alone
        elif len(held) < MOST and address.alone[0] not in held:
            table[key] = held + address.alone
        if self._scope.reverse and not wildcard:
            self.entries += 1
            names = self.pointers.setdefault(address.reverse, [])
            if len(names) < MOST:
                names.append(name)


class _Address(NamedTuple):
    """One address: packed and alone in a tuple that its names share, and its reverse name."""

    alone: tuple[bytes]
    reverse: bytes


def _address(text: bytes) -> _Address | None:
    """An address less its zone; one of IPv4 in IPv6 is of IPv4 (CoreDNS)."""
    try:
        packed = parse(text.partition(b"%")[0].decode("ascii"))
    except UnicodeDecodeError:
        return None
    if packed is None:
        return None
    if packed.startswith(_MAPPED):
        packed = packed[-IPV4:]
    return _Address((packed,), reverse_name(packed))


def _wire(text: bytes) -> bytes | None:
    """A name in lower-case wire form; letters beyond ASCII as DNS has them (RFC 5891 §4.4)."""
    if len(text) > _MAX_TEXT:
        return None
    if not text.isascii() or b"\\" in text:
        return _unusual(text)
    parts = text.lower().removesuffix(b".").split(b".")
    try:
        wire = b"".join([_LENGTHS[len(part)] + part for part in parts]) + ROOT
    except IndexError:
        return None
    return wire if len(wire) <= MAX_NAME and b"" not in parts else None


def _unusual(text: bytes) -> bytes | None:
    try:
        labels = unicodedata.normalize("NFC", text.decode().lower()).split(".")
        ascii_text = ".".join(
            part if part.isascii() else f"xn--{part.encode('punycode').decode()}" for part in labels
        )
        name = from_text(ascii_text).lower()
    except (BadName, UnicodeError):
        return None
    return name if name != ROOT else None


class HostsFile:
    """The table of a scope, as its file was when it was last read.

    A file that is gone or no longer what it was leaves the table as it is. What is wrong is said
    in the log, once. `modified` is the time of the file, in seconds since 1970; 0 where it was
    never read.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.table = HostTable(scope)
        self.table.take(scope.inline)
        self.modified = 0.0
        self._signature: Signature | None = None
        self._complaint = ""
        self._said = ""

    def load(self) -> None:
        """Read the file now."""
        try:
            data, signature = _read(self.scope.path)
        except (OSError, ValueError) as error:
            self._missing(error)
            return
        for _ in self._take(data, signature):
            pass

    async def refresh(self) -> bool:
        """Read the file again if it has changed, without keeping others waiting; whether so."""
        try:
            signature = await asyncio.to_thread(_look, self.scope.path)
            if signature == self._signature:
                return False
            data, signature = await asyncio.to_thread(_read, self.scope.path)
        except (OSError, ValueError) as error:
            self._missing(error)
            self.say()
            return False
        before = self.table
        for _ in self._take(data, signature):
            await asyncio.sleep(0)
        self.say()
        return self.table is not before

    def say(self) -> None:
        """Say in the log what is wrong, unless it was said."""
        if self._complaint and self._complaint != self._said:
            _log.warning("%s", self._complaint)
        self._said = self._complaint

    def _missing(self, error: Exception) -> None:
        why = getattr(error, "strerror", None) or error
        self._signature = None
        self._complaint = (
            f"{self.scope.path}: {why}: hosts goes on with what it has, and takes the file when it"
            " can be read"
        )

    def _take(self, data: bytes, signature: Signature) -> Iterator[None]:
        """Make a table of a file's content, slice by slice, and put it to use."""
        table = _known.get((self.scope, signature))
        if table is None:
            table = HostTable(self.scope)
            lines = data.split(b"\n")
            for begin in range(0, len(lines), _SLICE):
                table.take(lines[begin : begin + _SLICE], begin + 1)
                yield
            strange = table.left_out and not table.entries
            table.take(self.scope.inline)
            table.whole()
        else:
            strange = False
        self._signature = signature
        self._complaint = self._about(table) if table.left_out else ""
        if strange:
            self._complaint += "; there is no other line, and hosts goes on with what it had"
            return
        self.table = table
        self.modified = signature[0] / 1e9
        _known[self.scope, signature] = table

    def _about(self, table: HostTable) -> str:
        count = "1 line is" if table.left_out == 1 else f"{table.left_out} lines are"
        return (
            f"{self.scope.path}:{table.first_left_out}: {count} left out, this being the first:"
            " write an address and its names, as in 10.0.0.1 db.example.org db"
        )


_known: Final[WeakValueDictionary[tuple[Scope, Signature], HostTable]] = WeakValueDictionary()
"""Tables in use: a Corefile that is read again need not read an unchanged file again."""


def _look(path: Path) -> Signature:
    """The signature of a file. Raises OSError, or ValueError where it is no file."""
    return _signature(os.stat(path))  # noqa: PTH116 - one call


def _signature(status: os.stat_result) -> Signature:
    if stat.S_ISDIR(status.st_mode):
        raise ValueError("this is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("this is no ordinary file")
    if status.st_size > _MAX_BYTES:
        raise ValueError(f"the file is larger than {_MAX_BYTES >> 20} MiB")
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: Path) -> tuple[bytes, Signature]:
    """A file, as it was when its signature was. Raises as `_look`."""
    _look(path)
    with path.open("rb") as file:
        signature = _signature(os.fstat(file.fileno()))
        return file.read(_MAX_BYTES), signature
