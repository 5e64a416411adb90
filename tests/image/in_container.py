"""A program as a container runtime starts it: `in_container.py ROOT PORTS_FROM GRANT WORD...`.

In namespaces of its own, on a read-only root with a writable /tmp and /run, with no new privileges.
GRANT is "none" for the image's user without any capability, "net-bind" for that user with
CAP_NET_BIND_SERVICE, and "node" for root with what a node's cache is given. Ports from PORTS_FROM
on are for everybody.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

NEW_NAMESPACES = 0x00020000 | 0x40000000  # CLONE_NEWNS, CLONE_NEWNET
PRIVATE = 0x40000 | 0x4000  # MS_PRIVATE, MS_REC
BIND = 0x1000
READ_ONLY = 0x20 | 0x1 | BIND  # MS_REMOUNT, MS_RDONLY
NET_BIND_SERVICE, NET_ADMIN, NET_RAW = 10, 12, 13
GRANTS = {
    "none": (65532, ()),
    "net-bind": (65532, (NET_BIND_SERVICE,)),
    "node": (0, (NET_BIND_SERVICE, NET_ADMIN, NET_RAW)),
}
KEEP_CAPABILITIES, DROP_FROM_BOUNDING, NO_NEW_PRIVILEGES = 8, 24, 38
LAST_CAPABILITY = 40

libc = ctypes.CDLL(None, use_errno=True)


def done(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def mount(source: str, place: str, kind: str, flags: int) -> None:
    done(libc.mount(source.encode(), place.encode(), kind.encode(), flags, None))


root, ports_from, grant, *words = sys.argv[1:]
user, granted = GRANTS[grant]
capabilities = sum(1 << number for number in granted)
done(libc.unshare(NEW_NAMESPACES))
mount("", "/", "", PRIVATE)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text(ports_from)
mount(root, root, "", BIND)
for name in ("tmp", "run"):
    mount("tmpfs", f"{root}/{name}", "tmpfs", 0)
mount("", root, "", READ_ONLY)
os.chroot(root)
os.chdir("/")
for number in range(LAST_CAPABILITY + 1):
    if number not in granted:
        libc.prctl(DROP_FROM_BOUNDING, number, 0, 0, 0)
done(libc.prctl(KEEP_CAPABILITIES, 1, 0, 0, 0))
os.setgroups([])
os.setresgid(user, user, user)
os.setresuid(user, user, user)
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
done(libc.capset(header, (ctypes.c_uint32 * 6)(capabilities, capabilities)))
done(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
os.execve(words[0], words, {"PATH": "/opt/kdns/bin:/usr/sbin:/usr/bin"})  # noqa: S606 - no shell
