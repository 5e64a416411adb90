"""The records of a store as bytes that outlive the process.

A file is a line of text that says what it is, msgpack in frames, each behind its length, and a
digest of all that. It says whose records it holds, so that another cluster's are not taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from struct import pack
from typing import Final

import msgspec

from kdns.records.store import Saved, SavedSlice, Store

MAGIC: Final = b"kdns records 1\n"
_FRAME: Final = 1024
"""Endpoints in a frame, about; any other object counts as four."""

_OBJECT: Final = 4
_LENGTH: Final = 4
_DIGEST: Final = 32


class BadSnapshot(ValueError):
    """Bytes that are no snapshot, or not one of these records; says why."""


class Header(msgspec.Struct, frozen=True):
    """`identity` is whose records these are, `saved_at` the Unix time in seconds."""

    identity: str
    saved_at: float


_encoder: Final = msgspec.msgpack.Encoder()
_header: Final = msgspec.msgpack.Decoder(Header)
_items: Final = msgspec.msgpack.Decoder(list[Saved])


def pieces(store: Store, header: Header) -> Iterator[bytes]:
    """A snapshot in pieces that are made one at a time, each in well under a millisecond.

    What changes meanwhile is in it as it was or as it is.
    """
    digest = blake2b(digest_size=_DIGEST)
    for piece in _content(store, header):
        digest.update(piece)
        yield piece
    yield digest.digest()


def opened(content: bytes, identity: str) -> tuple[Header, list[list[Saved]]]:
    """A snapshot of this identity in parts for `Store.restore`, each the work of a millisecond.

    Raises BadSnapshot.
    """
    end = len(content) - _DIGEST
    if not content.startswith(MAGIC) or end < len(MAGIC):
        raise BadSnapshot("it is no snapshot of this version")
    sealed = memoryview(content)[:end]
    if blake2b(sealed, digest_size=_DIGEST).digest() != content[end:]:
        raise BadSnapshot("it is damaged")
    try:
        first, *others = _frames(sealed[len(MAGIC) :])
        header = _header.decode(first)
        if header.identity != identity:
            raise BadSnapshot("it is of another cluster, or of other options")
        return header, [_items.decode(frame) for frame in others]
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadSnapshot(str(error)) from error


def _content(store: Store, header: Header) -> Iterator[bytes]:
    yield MAGIC + _framed(_encoder.encode(header))
    items: list[Saved] = []
    size = 0
    for item in store.saved():
        items.append(item)
        size += _OBJECT
        if isinstance(item, SavedSlice):
            size += len(item.entry.ready.addresses) + len(item.entry.unready.addresses)
        if size >= _FRAME:
            yield _framed(_encoder.encode(items))
            items, size = [], 0
    yield _framed(_encoder.encode(items))


def _framed(content: bytes) -> bytes:
    return pack("!I", len(content)) + content


def _frames(content: memoryview) -> Iterable[memoryview]:
    while content:
        end = _LENGTH + int.from_bytes(content[:_LENGTH])
        if len(content) < end:
            raise ValueError("it ends within a frame")
        yield content[_LENGTH:end]
        content = content[end:]
