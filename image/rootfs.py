"""The image's file system, picked from a Debian system: `python rootfs.py FOLDER` as root.

Run by the interpreter of the environment that kdns is installed in. What is taken: that
environment, its interpreter and library, iptables, certificates, the shared libraries of them all,
and the licences and package records of whatever Debian gave.
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

import notices

ENVIRONMENT: Final = Path(sys.prefix)
COMMANDS: Final = {"kdns": "kdns", "coredns": "kdns", "node-cache": "node-cache"}
"""Links in / to what is in the environment: the programs' paths in the images it replaces."""
USERS: Final = {"root": 0, "nobody": 65534, "nonroot": 65532}

PROGRAMS: Final = ("iptables", "ip6tables")
MATCHES: Final = ("NOTRACK", "CT", "comment", "mark", "socket", "standard", "tcp", "udp")
"""iptables' plugins that kdns.node.iptables has rules of."""

_INSTALLS: Final = ("dist-packages", "ensurepip", "site-packages", "venv")
_DRAWS: Final = ("curses", "idlelib", "tkinter", "turtledemo")
_TESTS: Final = ("test", "tests")
_OTHER: Final = ("__pycache__", "dbm", "distutils", "lib2to3", "pydoc_data", "sqlite3")
UNWANTED: Final = frozenset((*_INSTALLS, *_DRAWS, *_TESTS, *_OTHER))
"""Folders of the standard library that no server needs."""

UNWANTED_MODULES: Final = re.compile(
    r"(_?test|_ctypes_test|_curses|_dbm|_gdbm|_sqlite3|_tkinter|_xx|nis|readline|turtle|xxl)"
)
UNWANTED_PACKAGES: Final = ("kubernetes/aio",)
"""Half of its size, and a second client beside ours."""
WITHOUT_SOURCE: Final = ("kubernetes/client",)
"""Thousands of classes that were generated: what runs is half of what there is."""

_LIBRARY: Final = re.compile(r"(/\S+) \(0x")
_CAPABILITY: Final = struct.pack("<5I", 0x02000000, 1 << 10, 0, 0, 0)
"""linux/capability.h, revision 2: CAP_NET_BIND_SERVICE permitted, not effective."""


def said_by(*words: str) -> str:
    """What a program says; it may fail for a part of what it was asked."""
    found = subprocess.run(words, check=False, capture_output=True, text=True)  # noqa: S603 - ours
    return found.stdout


class Picked:
    """A file system in a folder, filled from that of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: set[Path] = set()
        for name in ("bin", "lib", "lib64", "sbin"):
            if (link := Path("/", name)).is_symlink():
                self.link(link, str(link.readlink()))

    def at(self, path: Path) -> Path:
        """Where a path of the machine is in this one."""
        return self.root / path.relative_to("/")

    def link(self, path: Path, target: str) -> None:
        """Have a symbolic link."""
        place = self.at(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.is_symlink():
            place.symlink_to(target)

    def write(self, path: str, text: str) -> None:
        """Have a file of this text."""
        place = self.at(Path(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")

    def take(self, path: Path) -> None:
        """Copy a file; of a link, all that it leads to."""
        path = path.parent.resolve() / path.name
        if path in self.files:
            return
        self.files.add(path)
        if path.is_symlink():
            self.link(path, str(path.readlink()))
            self.take(path.parent / path.readlink())
            return
        place = self.at(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)

    def take_tree(self, folder: Path) -> None:
        """Copy a folder without what is unwanted."""
        for here, folders, files in os.walk(folder):
            folders[:] = sorted(each for each in folders if not self._unwanted(Path(here, each)))
            for name in sorted(files):
                if not UNWANTED_MODULES.match(name):
                    self.take(Path(here, name))

    def _unwanted(self, folder: Path) -> bool:
        if folder.name in UNWANTED:
            return ENVIRONMENT not in folder.parents or folder.name == "__pycache__"
        return folder.name.startswith("config-") or str(folder).endswith(UNWANTED_PACKAGES)

    def take_libraries(self) -> None:
        """Copy the shared libraries of all programs and libraries that are here."""
        for path in sorted(self.files):
            if path.is_symlink() or path.read_bytes()[:4] != b"\x7fELF":
                continue
            for library in _LIBRARY.findall(said_by("/usr/bin/ldd", str(path))):
                self.take(Path(library))


def interpreter(picked: Picked) -> Path:
    """The environment, the interpreter and its library; the interpreter's path."""
    program = Path(sys.executable).resolve()
    picked.take(program)
    # The environment's own links lead there by ways that are not all taken.
    for name in ("python", "python3", program.name):
        picked.link(ENVIRONMENT / "bin" / name, str(program))
    picked.take(ENVIRONMENT / "pyvenv.cfg")
    for name in sorted(set(COMMANDS.values())):
        picked.take(ENVIRONMENT / "bin" / name)
    for path in dict.fromkeys(sysconfig.get_path(each) for each in ("stdlib", "platstdlib")):
        if ENVIRONMENT not in Path(path).parents:
            picked.take_tree(Path(path).resolve())
    picked.take_tree(Path(sysconfig.get_path("purelib")))
    return program


def packet_filter(picked: Picked) -> None:
    """iptables, as much of it as node-local rules need."""
    for name in PROGRAMS:
        picked.take(Path("/usr/sbin", name))
    (folder,) = Path("/usr/lib").glob("*/xtables")
    for name in MATCHES:
        for path in folder.glob(f"libxt_{name}.so"):
            picked.take(path)


def system(picked: Picked) -> None:
    """What the C library and TLS look for."""
    picked.take(Path("/etc/ssl/certs/ca-certificates.crt"))
    picked.take(Path("/etc/os-release"))
    (libgcc,) = Path("/usr/lib").glob("*/libgcc_s.so.1")  # opened when a thread is cancelled
    picked.take(libgcc)
    picked.write("/etc/nsswitch.conf", "hosts: files dns\n")
    users = USERS.items()
    picked.write(
        "/etc/passwd", "".join(f"{name}:x:{n}:{n}::/:/sbin/nologin\n" for name, n in users)
    )
    picked.write("/etc/group", "".join(f"{name}:x:{n}:\n" for name, n in users))
    for folder in ("etc/coredns", "etc/kube-dns", "run", "tmp"):
        (picked.root / folder).mkdir(parents=True, exist_ok=True)
    (picked.root / "tmp").chmod(0o1777)


def papers(picked: Picked) -> None:
    """Licences of all that is here, and the records by which scanners know Debian's packages."""
    for package in sorted(debian_packages(picked)):
        name = package.partition(":")[0]
        licence = Path("/usr/share/doc", name, "copyright")
        picked.write(str(licence), licence.read_text(encoding="utf-8"))
        record = said_by("/usr/bin/dpkg-query", "--status", package)
        picked.write(f"/var/lib/dpkg/status.d/{name}", record)
    picked.take_tree(Path("/usr/share/common-licenses"))
    picked.write("/usr/share/doc/kdns/NOTICES", notices.notices(distributions()))


def debian_packages(picked: Picked) -> set[str]:
    """Names of the packages that files came from."""
    paths = {str(path) for path in picked.files if ENVIRONMENT not in path.parents}
    # Of files in folders that were merged, some are on record where they were before.
    paths |= {path.removeprefix("/usr") for path in paths if path.startswith("/usr/lib")}
    found = said_by("/usr/bin/dpkg-query", "--search", *sorted(paths))
    lines = (line.rpartition(": ")[0] for line in found.splitlines())
    return {name for line in lines if "diversion" not in line for name in line.split(", ") if name}


def compiled(picked: Picked) -> None:
    """Byte code that is not held against the time of its source, as nothing is written later."""
    packages = Path(sysconfig.get_path("purelib"))
    for name in WITHOUT_SOURCE:
        folder = picked.at(packages / name)
        compile_folder(picked, folder, beside=True)
        for source in folder.rglob("*.py"):
            source.unlink()
    for path in (Path(sysconfig.get_path("stdlib")).resolve(), packages):
        compile_folder(picked, picked.at(path))


def compile_folder(picked: Picked, folder: Path, *, beside: bool = False) -> None:
    """Compile what is in a folder of the image; `beside` its source, where it needs none."""
    good = compileall.compile_dir(
        folder,
        quiet=1,
        legacy=beside,
        stripdir=str(picked.root),
        prependdir="/",
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
    if not good:
        raise SystemExit(f"{folder} has modules that cannot be compiled")


def main(folder: str) -> None:
    """Fill a folder that is not there yet."""
    picked = Picked(Path(folder))
    program = interpreter(picked)
    packet_filter(picked)
    system(picked)
    picked.take_libraries()
    papers(picked)
    compiled(picked)
    for name, command in COMMANDS.items():
        picked.link(Path("/", name), str(ENVIRONMENT / "bin" / command))
    # A program that gains a capability is told nothing by LD_LIBRARY_PATH or $ORIGIN.
    if Path("/etc/ld.so.conf").exists():
        shutil.copytree("/etc/ld.so.conf.d", picked.root / "etc/ld.so.conf.d")
        shutil.copy2("/etc/ld.so.conf", picked.root / "etc/ld.so.conf")
    said_by("/sbin/ldconfig", "-X", "-r", str(picked.root))
    shutil.rmtree(picked.root / "var/cache", ignore_errors=True)
    os.setxattr(picked.at(program), "security.capability", _CAPABILITY)
    moment = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    for here, folders, files in os.walk(picked.root, topdown=False):
        for name in (*files, *folders):
            os.utime(Path(here, name), (moment, moment), follow_symlinks=False)
    os.utime(picked.root, (moment, moment))


if __name__ == "__main__":
    main(sys.argv[1])
