"""Which address prefixes have an address below them: the empty non-terminals of reverse zones."""

from __future__ import annotations

from collections.abc import Iterable


class Prefixes:
    """Prefixes of whole bytes of the addresses of one family, each with its number of children.

    Children are counted, not addresses, so an address that comes among neighbours costs one entry.
    """

    __slots__ = ("_children",)

    def __init__(self) -> None:
        self._children: dict[bytes, int] = {}

    def add(self, addresses: Iterable[bytes]) -> None:
        """To be taken back by a `remove` of each."""
        children = self._children
        for address in addresses:
            prefix = address[:-1]
            while prefix:
                before = children.get(prefix, 0)
                children[prefix] = before + 1
                if before:
                    break
                prefix = prefix[:-1]

    def remove(self, address: bytes) -> None:
        """Take back one address that was added."""
        for depth in range(len(address) - 1, 0, -1):
            prefix = address[:depth]
            left = self._children[prefix] - 1
            if left:
                self._children[prefix] = left
                return
            del self._children[prefix]

    def __contains__(self, prefix: bytes) -> bool:
        return prefix in self._children
