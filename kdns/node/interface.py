"""The interface that a node's DNS addresses are on."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import Final

from kdns.node.journal import Journal
from kdns.node.links import Address, Link, Links
from kdns.node.marks import Marks
from kdns.node.netlink import Refused
from kdns.node.settings import Settings

_TUN: Final = "/dev/net/tun"
_TUNSETIFF: Final = 0x400454CA
_REQUEST: Final = struct.Struct("=16sH22x")
_TUN_FLAGS: Final = 0x0001 | 0x1000 | 0x0100  # IFF_TUN, IFF_NO_PI, IFF_MULTI_QUEUE

_NO_SUCH_LINK: Final = (errno.EOPNOTSUPP, errno.EINVAL)
_RIGHTS: Final = (errno.EPERM, errno.EACCES)


class Interface:
    """Makes a device with the addresses, mends it, and takes it back when the last instance ends.

    A dummy device outlives its process; a tun device ends with the last process that has it open;
    of any other device only the addresses are ours. Where something cannot be had, a line says
    why, the error is counted, and the rest is made all the same.
    """

    def __init__(self, settings: Settings, marks: Marks, journal: Journal) -> None:
        self._settings = settings
        self._marks = marks
        self._journal = journal
        self._tun: int | None = None
        self._made = False
        self._elsewhere: set[str] = set()

    def ensure(self) -> None:
        """Make what is missing."""
        if not self._settings.setup_interface:
            return
        self._marks.hold("interface")
        kind = "interface_check" if self._made else "interface_add"
        self._made = True
        try:
            links = Links()
        except OSError as error:
            self._journal.error(kind, f"cannot ask the kernel for interfaces: {error.strerror}")
            return
        try:
            self._ensure(links, kind)
        except OSError as error:
            self._journal.error(kind, self._refusal("use", error))
        finally:
            links.close()

    def release(self) -> None:
        """Take back what this instance made and nobody else uses."""
        if not self._settings.setup_interface:
            return
        last = self._marks.release("interface")
        self._close_tun()
        if not last:
            self._journal.say(f"{self._settings.interface} is left to another kdns on this node")
        elif not self._settings.skip_teardown:
            try:
                self._take_down()
            except OSError as error:
                self._journal.error("interface_check", self._refusal("take down", error))

    def _ensure(self, links: Links, kind: str) -> None:
        link = links.find(self._settings.interface)
        if link is None:
            link = self._make(links)
        elif link.kind == "tun" and self._tun is None and self._settings.link != "existing":
            self._tun = self._join_tun(link)
        if link.kind in ("dummy", "tun"):
            self._set_up(links, link)
        addresses = sorted(links.addresses(), key=lambda each: each.device == link.number)
        there = {each.text: each for each in addresses}
        for address in self._settings.addresses:
            self._give(links, link, address, there.get(address), kind)

    def _make(self, links: Links) -> Link:
        name, wanted = self._settings.interface, self._settings.link
        if wanted == "existing":
            raise Refused(errno.ENODEV, os.strerror(errno.ENODEV))
        if wanted != "tun":
            try:
                links.add_dummy(name)
            except Refused as refused:
                if wanted == "dummy" or refused.errno not in _NO_SUCH_LINK:
                    raise
                self._journal.say(f"the kernel has no dummy links: {name} is made as a tun device")
                wanted = "tun"
        if wanted == "tun":
            self._close_tun()  # of a device that somebody deleted
            self._tun = _open_tun(name)
        link = links.find(name)
        if link is None:
            raise Refused(errno.ENODEV, os.strerror(errno.ENODEV))
        return link

    def _join_tun(self, link: Link) -> int | None:
        """A queue of a device that another instance has, so that it outlives the other."""
        try:
            return _open_tun(link.name)
        except OSError as error:
            self._journal.warn(
                f"cannot share the tun device {link.name}, which goes when its owner does: "
                f"{error.strerror}"
            )
            return None

    def _set_up(self, links: Links, link: Link) -> None:
        # IPv4 is served on a device that is down, as on node-cache's, which keeps programs that
        # look for the node's own address from taking it for one; IPv6 is not.
        if not link.up and any(":" in address for address in self._settings.addresses):
            links.keep_plain(link.number)
            links.set_up(link.number)

    def _give(
        self, links: Links, link: Link, address: str, there: Address | None, kind: str
    ) -> None:
        if there is None:
            try:
                links.add_address(address, link.number)
            except Refused as refused:
                if refused.errno != errno.EEXIST:
                    self._journal.error(kind, self._refusal(f"add {address} to", refused))
        elif there.device != link.number and address not in self._elsewhere:
            self._elsewhere.add(address)
            self._journal.error(
                kind,
                f"{address} is on {links.name_of(there.device)} already and is served there: "
                f"take it from there, or out of -localip, to have it on {link.name}",
            )

    def _take_down(self) -> None:
        links = Links()
        try:
            link = links.find(self._settings.interface)
            if link is None:
                return
            if link.kind == "dummy" and self._settings.link != "existing":
                links.delete(link.number)
                return
            for each in links.addresses():
                ours = each.ours and each.text in self._settings.addresses
                if each.device == link.number and ours:
                    links.delete_address(each.text, link.number)
        finally:
            links.close()

    def _close_tun(self) -> None:
        if self._tun is not None:
            os.close(self._tun)
            self._tun = None

    def _refusal(self, verb: str, error: OSError) -> str:
        name = self._settings.interface
        said = f"cannot {verb} the interface {name}: {error.strerror}"
        if error.filename:
            said += f": {error.filename}"
        if error.errno in _RIGHTS:
            return said + ": give the container NET_ADMIN, or say -setupinterface=false"
        if error.errno == errno.ENODEV:
            return said + ": name a device that the node has"
        if error.filename == _TUN or error.errno in _NO_SUCH_LINK:
            return said + ": give the container what it takes, or choose another kind of interface"
        return said


def _open_tun(name: str) -> int:
    """A descriptor that holds a tun device there; the kernel takes it away with the last one."""
    descriptor = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, _REQUEST.pack(name.encode(), _TUN_FLAGS))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
