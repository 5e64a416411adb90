"""Who holds a token: a table for many tokens of which nearly all have one holder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_MANY: Final = 8


class Holders(Generic[T]):
    """Tokens and who holds each of them, in the order they took it.

    A lone holder is stored as itself, a few as a tuple, more as the keys of a dict: so the usual
    token costs one dict entry, and one that thousands hold changes hands in constant time.
    Holders must be hashable and neither tuples nor dicts. `_crowded` are the dicts.
    """

    __slots__ = ("_crowded", "_table")

    def __init__(self) -> None:
        self._table: dict[bytes, T | tuple[T, ...] | dict[T, None]] = {}
        self._crowded: dict[bytes, dict[T, None]] = {}

    def add(self, token: bytes, holder: T) -> bool:
        """Whether the token had no holder before."""
        held = self._table.get(token)
        if held is None:
            self._table[token] = holder
            return True
        if isinstance(held, dict):
            held[holder] = None
        elif not isinstance(held, tuple):
            self._table[token] = (held, holder)
        elif len(held) < _MANY:
            self._table[token] = (*held, holder)
        else:
            self._table[token] = self._crowded[token] = dict.fromkeys((*held, holder))
        return False

    def add_all(self, tokens: Collection[bytes], holder: T) -> Collection[bytes]:
        """As `add` for each of several tokens, a set; those that had no holder before."""
        if self._table.keys().isdisjoint(tokens):
            self._table.update(dict.fromkeys(tokens, holder))
            return tokens
        return [token for token in tokens if self.add(token, holder)]

    def remove(self, token: bytes, holder: T) -> bool:
        """Whether the token has no holder any more."""
        held = self._table[token]
        if isinstance(held, dict):
            del held[holder]
            if len(held) > _MANY:
                return False
            held = tuple(held)
            del self._crowded[token]
        elif isinstance(held, tuple):
            held = tuple(other for other in held if other != holder)
        else:
            del self._table[token]
            return True
        self._table[token] = held if len(held) > 1 else held[0]
        return False

    def replace(self, tokens: Iterable[bytes], old: T, new: T) -> None:
        """Hand tokens from one holder to another."""
        table = self._table
        for token in tokens:
            if table[token] is old:
                table[token] = new
            else:
                self.remove(token, old)
                self.add(token, new)

    def get(self, token: bytes) -> Collection[T]:
        """All who hold the token; not a copy, so not to be kept over a change."""
        held = self._table.get(token)
        if held is None:
            return ()
        return held if isinstance(held, (tuple, dict)) else (held,)

    def copy(self) -> Holders[T]:
        """One that stays as this one is now."""
        made: Holders[T] = Holders()
        made._table = self._table.copy()
        # All but these are never changed, but replaced.
        made._crowded = {token: held.copy() for token, held in self._crowded.items()}
        made._table.update(made._crowded)
        return made

    def __contains__(self, token: bytes) -> bool:
        return token in self._table

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)
