"""Whether a process has its sockets open, by what the kernel tells of both (proc(5))."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from typing import Final

_TABLES: Final = {4: ("tcp", "udp"), 6: ("tcp6", "udp6")}
_LOCAL: Final = 1
_INODE: Final = 9
_WORD: Final = 4
_ORDER: Final = -1 if sys.byteorder == "little" else 1


def listens(process: int, address: str, port: int) -> bool:
    """Whether the process, or one that it started, is bound there, for UDP and for TCP.

    Two instances that share the ports answer each other's probes; this tells which of them is
    there. True where the kernel does not tell.
    """
    version = 6 if ":" in address else 4
    try:
        bound = list(_bound(version, address, port))
    except OSError:
        return True
    own = set(_sockets(process))
    return all(own & each for each in bound)


def _bound(version: int, address: str, port: int) -> Iterator[set[str]]:
    places = {_place(each, port) for each in (address, "::", "0.0.0.0")}  # noqa: S104 - to compare
    for name in _TABLES[version]:
        inodes = set()
        with open(f"/proc/self/net/{name}") as lines:  # noqa: PTH123 - without pathlib's megabyte
            for line in lines:
                fields = line.split()
                if fields[_LOCAL] in places:
                    inodes.add(f"socket:[{fields[_INODE]}]")
        yield inodes


def _place(address: str, port: int) -> str:
    """An address as the tables have it: words of the machine's byte order, in hexadecimal."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    words = (packed[at : at + _WORD][::_ORDER] for at in range(0, len(packed), _WORD))
    return f"{b''.join(words).hex().upper()}:{port:04X}"


def _sockets(process: int) -> Iterator[str]:
    for each in _with_descendants(process):
        folder = f"/proc/{each}/fd"
        try:
            names = os.listdir(folder)  # noqa: PTH208 - as above
        except OSError:
            continue
        for name in names:
            try:
                target = os.readlink(f"{folder}/{name}")  # noqa: PTH115 - as above
            except OSError:
                continue
            if target.startswith("socket:"):
                yield target


def _with_descendants(process: int) -> Iterator[int]:
    yield process
    try:
        with open(f"/proc/{process}/task/{process}/children") as file:  # noqa: PTH123 - as above
            children = file.read().split()
    except OSError:
        return
    for child in children:
        yield from _with_descendants(int(child))
