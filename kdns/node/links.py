"""Links and addresses of this network namespace, by rtnetlink (linux/if_link.h, if_addr.h)."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final, NamedTuple

from kdns.node import netlink
from kdns.node.netlink import Netlink, Refused

_NEWLINK: Final = 16
_DELLINK: Final = 17
_GETLINK: Final = 18
_NEWADDR: Final = 20
_DELADDR: Final = 21
_GETADDR: Final = 22

_IFNAME: Final = 3
_LINKINFO: Final = 18
_INFO_KIND: Final = 1
_AF_SPEC: Final = 26
_ADDR_GEN_MODE: Final = 8
_NO_ADDRESSES: Final = b"\x01"

_ADDRESS: Final = 1
_LOCAL: Final = 2
_FLAGS: Final = 8
_PROTOCOL: Final = 11
_NO_DAD: Final = 0x02

_UP: Final = 0x1
_LINK: Final = struct.Struct("=BxHiII")
_ADDR: Final = struct.Struct("=BBBBi")

OURS: Final = 107
"""The protocol that our addresses bear (IFA_PROTO, Linux 5.18), so that no other is taken down."""


class Link(NamedTuple):
    """A network device; `kind` is empty for one of hardware, and for lo."""

    number: int
    name: str
    kind: str
    up: bool


class Address(NamedTuple):
    """An address that a device has."""

    text: str
    device: int
    ours: bool


class Links:
    """What there is, and changes to it; each raises Refused with the kernel's reason."""

    def __init__(self) -> None:
        self._netlink = Netlink(netlink.ROUTE)

    def close(self) -> None:
        self._netlink.close()

    def find(self, name: str) -> Link | None:
        """The device of that name."""
        body = _link() + netlink.text(_IFNAME, name)
        try:
            found = self._netlink.ask(_GETLINK, 0, body)
        except Refused as refused:
            if refused.errno == errno.ENODEV:
                return None
            raise
        _, _, number, flags, _ = _LINK.unpack_from(found[0].body)
        info = netlink.attributes(found[0].body[_LINK.size :]).get(_LINKINFO, b"")
        kind = netlink.attributes(info).get(_INFO_KIND, b"").rstrip(b"\0").decode()
        return Link(number, name, kind, bool(flags & _UP))

    def name_of(self, number: int) -> str:
        """The name of a device, or its number when it is gone."""
        try:
            return socket.if_indextoname(number)
        except OSError:
            return f"device {number}"

    def add_dummy(self, name: str) -> None:
        info = netlink.nested(_LINKINFO, netlink.text(_INFO_KIND, "dummy"))
        flags = netlink.CREATE | netlink.EXCLUSIVE
        self._netlink.ask(_NEWLINK, flags, _link() + netlink.text(_IFNAME, name) + info)

    def delete(self, number: int) -> None:
        self._netlink.ask(_DELLINK, 0, _link(number))

    def set_up(self, number: int) -> None:
        self._netlink.ask(_NEWLINK, 0, _link(number, _UP, _UP))

    def keep_plain(self, number: int) -> None:
        """No IPv6 address but those that are given: no link-local one of the kernel's own."""
        mode = netlink.attribute(_ADDR_GEN_MODE, _NO_ADDRESSES)
        spec = netlink.nested(_AF_SPEC, netlink.nested(socket.AF_INET6, mode))
        self._netlink.ask(_NEWLINK, 0, _link(number) + spec)

    def addresses(self) -> list[Address]:
        """All addresses of all devices."""
        found = []
        for message in self._netlink.ask(_GETADDR, netlink.DUMP, _ADDR.pack(0, 0, 0, 0, 0)):
            family, _, _, _, device = _ADDR.unpack_from(message.body)
            said = netlink.attributes(message.body[_ADDR.size :])
            packed = said.get(_LOCAL) or said.get(_ADDRESS)
            if packed and family in (socket.AF_INET, socket.AF_INET6):
                ours = said.get(_PROTOCOL) == bytes((OURS,))
                found.append(Address(socket.inet_ntop(family, packed), device, ours))
        return found

    def add_address(self, text: str, number: int) -> None:
        """Give the device a host address (/32, /128), at once and without asking the neighbours."""
        flags = netlink.CREATE | netlink.EXCLUSIVE
        mark = netlink.attribute(_PROTOCOL, bytes((OURS,)))
        self._netlink.ask(_NEWADDR, flags, _address(text, number) + mark)

    def delete_address(self, text: str, number: int) -> None:
        self._netlink.ask(_DELADDR, 0, _address(text, number))


def _link(number: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return _LINK.pack(socket.AF_UNSPEC, 0, number, flags, change)


def _address(text: str, number: int) -> bytes:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    packed = socket.inet_pton(family, text)
    flags = _NO_DAD if family == socket.AF_INET6 else 0
    body = _ADDR.pack(family, len(packed) * 8, flags, 0, number)
    body += netlink.attribute(_LOCAL, packed) + netlink.attribute(_ADDRESS, packed)
    return body + netlink.attribute(_FLAGS, struct.pack("=I", flags))
