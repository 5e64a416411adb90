"""Files like /etc/resolv.conf, whose nameservers are upstreams."""

from __future__ import annotations

import ipaddress
import logging
import os
from pathlib import Path
from typing import Final

from kdns.forwarding.options import Target

_log: Final = logging.getLogger("plugin/forward")

DNS_PORT: Final = 53
NAMESERVERS: Final = 32
"""Nameservers of one file that are used; libc uses three."""

_SIZE: Final = 1 << 20  # bytes


def read(path: Path) -> tuple[Target, ...]:
    """The nameservers of a file, in their order; what is none is left out. Raises OSError.

    As in CoreDNS's reader a line begins with its keyword, after white space perhaps, and with `#`
    or `;` it is a comment. The scope of an IPv6 address, `%eth0`, is kept where it has a meaning:
    at link-local addresses.
    """
    # A pipe that nobody writes to must not hold up everything else.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        content = os.read(handle, _SIZE)
    finally:
        os.close(handle)
    targets: dict[Target, None] = {}
    for line in content.decode(errors="replace").splitlines():
        match line.split():
            case ["nameserver", text, *_]:
                host = address(text)
                if host:
                    targets[Target("dns", host, DNS_PORT)] = None
    return tuple(targets)[:NAMESERVERS]


def address(text: str) -> str:
    """An IP address as it can be connected to; "" for anything else."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address) and found.scope_id and not found.is_link_local:
        return str(found).partition("%")[0]
    return str(found)


class Watched:
    """The nameservers of a file, as last read with success; a bad file is logged once."""

    def __init__(self, path: Path) -> None:
        self.targets: tuple[Target, ...] = ()
        self._path = path
        self._complaint = ""

    def changed(self) -> bool:
        """Read the file, and say whether its nameservers are others than before.

        It is so small that reading it costs no more than looking whether to, and misses nothing,
        whether it is rewritten in place, replaced, or behind a link that is.
        """
        try:
            targets = read(self._path)
            complaint = "" if targets else "it names no nameserver"
        except OSError as error:
            targets = ()
            complaint = f"it cannot be read ({error.strerror})"
        if complaint and complaint != self._complaint:
            former = ", ".join(map(str, self.targets))
            _log.warning(
                "%s: %s, %s",
                *(self._path, complaint, f"{former} is asked on" if former else "none is asked"),
            )
        self._complaint = complaint
        if not targets or targets == self.targets:
            return False
        self.targets = targets
        return True
