"""Which address prefixes have an address below them: the empty non-terminals of reverse zones."""

from __future__ import annotations


class Prefixes:
    """Prefixes of whole bytes of the addresses of one family, each with its number of children.

    Children are counted, not addresses, so an address that comes among neighbours costs one entry.
    """

    __slots__ = ("_children",)

    def __init__(self) -> None:
        self._children: dict[bytes, int] = {}

    def add(self, address: bytes) -> None:
        for depth in range(len(address) - 1, 0, -1):
            prefix = address[:depth]
            before = self._children.get(prefix, 0)
            self._children[prefix] = before + 1
            if before:
                return

    def remove(self, address: bytes) -> None:
        """Take back one `add` of the same address."""
        for depth in range(len(address) - 1, 0, -1):
            prefix = address[:depth]
            left = self._children[prefix] - 1
            if left:
                self._children[prefix] = left
                return
            del self._children[prefix]

    def __contains__(self, prefix: bytes) -> bool:
        return prefix in self._children
