"""Marks of live instances: who else on this node serves on the interface.

A mark is a Unix socket with an abstract name. Such names live in the network namespace, as
interfaces and rules do, whatever file systems and process numbers the instances' containers have,
and the kernel takes them away with the process that holds them, however that ends.
"""

from __future__ import annotations

import os
import socket
from typing import Final

_TABLE: Final = "/proc/self/net/unix"

SHARES: Final = ("interface", "rules")
"""What instances share: the interface with its addresses, and rules that no process owns."""


class Marks:
    """This instance's marks on an interface, and a look at those of others."""

    def __init__(self, interface: str, table: str = _TABLE) -> None:
        self._interface = interface
        self._table = table
        self._identity = os.urandom(8).hex()
        self._held: dict[str, socket.socket] = {}

    def hold(self, share: str) -> None:
        """Say that this instance uses the share."""
        if share not in self._held:
            mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            mark.bind(f"\0{self._name(share)}{self._identity}")
            self._held[share] = mark

    def release(self, share: str) -> bool:
        """Use it no longer; whether this instance was the last.

        The mark goes before the look: of two that end together, one at least sees nobody.
        """
        if mark := self._held.pop(share, None):
            mark.close()
        return not self._others(share)

    def _others(self, share: str) -> bool:
        wanted = f"@{self._name(share)}"
        try:
            with open(self._table, errors="replace") as lines:  # noqa: PTH123 - pathlib is 1 MB
                return any(f" {wanted}" in line and self._identity not in line for line in lines)
        except OSError:
            return False

    def _name(self, share: str) -> str:
        return f"kdns-node-cache/{self._interface}/{share}/"
