"""Splitting what arrives in chunks: a watch into its lines, a list into its items."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Raw, Struct

from kdns.cluster.api.failures import UNDECODABLE, Failure, Reason

T = TypeVar("T")

LONGEST: Final = 64 * 2**20
"""Bytes of one object. The API server refuses to keep anything near it."""

_HEAD: Final = re.compile(rb'"items"\s*:\s*\[\s*')
_FIRST_KEY: Final = re.compile(rb'\{\s*"[^"\\]*"\s*:')
_HEAD_WITHIN: Final = 65536
_FIRST_KEY_WITHIN: Final = 1024


class Lines:
    """Lines of any length out of chunks of any length."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes, without their ends; empty lines are left out.

        Raises Failure where a line grows beyond `LONGEST`.
        """
        lines = chunk.split(b"\n")
        if len(lines) == 1:
            self._keep(chunk)
            return []
        self._parts.append(lines[0])
        lines[0] = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        if rest := lines.pop():
            self._keep(rest)
        return [line for line in lines if line]

    def _keep(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > LONGEST:
            raise Failure(Reason.GARBLED, f"a line of more than {LONGEST} bytes")


class ListMeta(Struct, rename="camel"):
    """`metadata` of a list. `continue_` is the token of the next page, "" on the last one."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Body(Struct):
    metadata: ListMeta
    items: list[Raw] | None = None


class Unread(NamedTuple):
    """An item that cannot be decoded, whole, and why."""

    content: bytes
    error: Exception


class Items(Generic[T]):
    """The items of a list while it arrives, so that a long one is never in memory whole.

    `decode` raises one of UNDECODABLE for what is no JSON, or not whole.

    An item ends where the next one begins: before `},` and the key that the first item began with.
    An object inside an item may look the same; then what is before it is not whole JSON yet. A list
    that is laid out otherwise comes whole, from `end`.
    """

    __slots__ = ("_buffer", "_decode", "_head", "_searched", "_separator")

    def __init__(self, decode: Callable[[bytes | bytearray], T]) -> None:
        self._decode = decode
        self._buffer = bytearray()
        self._head = b""
        self._separator = b""
        self._searched = 0

    def feed(self, chunk: bytes) -> list[T | Unread]:
        """The items that this chunk shows to be complete. Raises Failure beyond `LONGEST`."""
        self._buffer += chunk
        if not self._separator and not self._begin():
            return []
        items: list[T | Unread] = []
        start = 0
        while (end := self._buffer.find(self._separator, self._searched)) != -1:
            self._searched = end + 1
            item = self._buffer[start : end + 1]
            try:
                items.append(self._decode(item))
            except UNDECODABLE as error:
                if not _whole(item):
                    continue
                items.append(Unread(bytes(item), error))
            start = end + 2
        del self._buffer[:start]
        self._searched = max(self._searched - start, len(self._buffer) - len(self._separator), 0)
        self._bound()
        return items

    def end(self) -> tuple[Iterator[T | Unread], ListMeta]:
        """The items not yielded yet, and the list's metadata. Raises Failure: it is no list."""
        try:
            body = msgspec.json.decode(self._head + self._buffer, type=_Body)
        except UNDECODABLE as error:
            raise Failure(Reason.GARBLED, f"no list, or not all of it: {error}") from error
        return map(self._read, body.items or ()), body.metadata

    def _read(self, item: Raw) -> T | Unread:
        try:
            return self._decode(bytes(item))
        except UNDECODABLE as error:
            return Unread(bytes(item), error)

    def _begin(self) -> bool:
        """Find where the items begin and what ends them; whether both are known."""
        if not self._head:
            head = _HEAD.search(self._buffer, 0, _HEAD_WITHIN)
            if head is None:
                self._bound()
                return False
            self._head = bytes(self._buffer[: head.end()])
            del self._buffer[: head.end()]
        first = _FIRST_KEY.match(self._buffer, 0, _FIRST_KEY_WITHIN)
        if first is None:
            self._bound()
            return False
        self._separator = b"}," + first.group()
        return True

    def _bound(self) -> None:
        if len(self._buffer) > LONGEST:
            raise Failure(Reason.GARBLED, f"{LONGEST} bytes of a list and no end of an item")


def _whole(item: bytearray) -> bool:
    try:
        msgspec.json.decode(item, type=Raw)
    except UNDECODABLE:
        return False
    return True
