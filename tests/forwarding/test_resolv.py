"""Upstreams that files and names lead to, and how they are kept up to date."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kdns.forwarding import roster as rosters
from kdns.forwarding.names import Unresolved
from kdns.forwarding.options import Options, ResolvFile, Target, Tls
from kdns.forwarding.resolv import NAMESERVERS, Watched, read
from kdns.forwarding.roster import Roster
from tests.forwarding.peers import PATIENCE, until


def hosts(targets: tuple[Target, ...]) -> list[str]:
    return [target.host for target in targets]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            "nameserver 10.0.0.1\nnameserver 10.0.0.2\n", ["10.0.0.1", "10.0.0.2"], id="two"
        ),
        pytest.param("nameserver 10.0.0.1", ["10.0.0.1"], id="no last newline"),
        pytest.param("nameserver 10.0.0.1\r\nnameserver ::1\r\n", ["10.0.0.1", "::1"], id="CRLF"),
        pytest.param(" \tnameserver\t 10.0.0.1 # here\n", ["10.0.0.1"], id="white space"),
        pytest.param(
            "".join(f"nameserver 10.0.0.{n}\n" for n in range(1, 8)),
            [f"10.0.0.{n}" for n in range(1, 8)],
            id="more than libc's three",
        ),
        pytest.param(
            "".join(f"nameserver 10.0.0.{n}\n" for n in range(100)),
            [f"10.0.0.{n}" for n in range(NAMESERVERS)],
            id="far too many",
        ),
        pytest.param("nameserver 10.0.0.1\n" * 3, ["10.0.0.1"], id="repeated"),
        pytest.param(
            "# nameserver 1.1.1.1\n;nameserver 1.1.1.1\n#nameserver 1.1.1.1", [], id="comments"
        ),
        pytest.param("nameserver fe80::1%eth0", ["fe80::1%eth0"], id="link-local"),
        pytest.param("nameserver 2001:db8::1%eth0", ["2001:db8::1"], id="a scope without meaning"),
        pytest.param("nameserver 0388:d254:7aec::1%en0", ["388:d254:7aec::1"], id="leading zeros"),
        pytest.param(
            "search example.org\noptions ndots:5\ndomain x\nsortlist 1.1.1.1\nnameserver 10.0.0.1",
            ["10.0.0.1"],
            id="other lines",
        ),
        pytest.param("nameserver\nnameserver  \n", [], id="no address"),
        pytest.param("nameserver dns.example\nnameserver 10.0.0.1:53", [], id="no addresses"),
        pytest.param("nameservers 10.0.0.1\nNameserver 10.0.0.1", [], id="no keyword"),
        pytest.param("\udcff\x00nameserver 10.0.0.1\nnameserver 10.0.0.2", ["10.0.0.2"], id="junk"),
        pytest.param("", [], id="empty"),
    ],
)
def test_reading(tmp_path: Path, content: str, expected: list[str]) -> None:
    path = tmp_path / "resolv.conf"
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert hosts(read(path)) == expected
    assert all(target.port == 53 and target.way == "dns" for target in read(path))


def test_reading_what_never_ends_or_begins(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read(tmp_path / "pipe") == ()
    assert read(Path("/dev/null")) == ()
    assert read(Path("/dev/zero")) == ()


def _rewritten(path: Path, content: str) -> None:
    path.write_text(content)


def _replaced(path: Path, content: str) -> None:
    (path.parent / "new").write_text(content)
    (path.parent / "new").replace(path)


def _swapped(path: Path, content: str) -> None:
    """As kubelet does: the file is behind a link to a folder that is replaced."""
    folder = path.parent / f"..{len(list(path.parent.iterdir()))}"
    folder.mkdir()
    (folder / "resolv.conf").write_text(content)
    link = path.parent / "..data_tmp"
    link.symlink_to(folder.name)
    link.replace(path.parent / "..data")
    if not path.is_symlink():
        path.unlink(missing_ok=True)
        path.symlink_to("..data/resolv.conf")


@pytest.mark.parametrize("write", [_rewritten, _replaced, _swapped])
def test_a_file_that_changes(tmp_path: Path, write: Callable[[Path, str], None]) -> None:
    path = tmp_path / "resolv.conf"
    write(path, "nameserver 10.0.0.1\n")
    watched = Watched(path)
    assert watched.changed()
    assert not watched.changed()
    write(path, "nameserver 10.0.0.2\n")
    assert watched.changed()
    assert hosts(watched.targets) == ["10.0.0.2"]
    write(path, "# the same\nnameserver 10.0.0.2\n")
    assert not watched.changed()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda path: path.unlink(), "it cannot be read (No such file or directory)"),
        (lambda path: path.write_text("search example.org\n"), "it names no nameserver"),
    ],
    ids=["gone", "empty"],
)
def test_a_bad_file_changes_nothing_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable, complaint: str
) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 10.0.0.1\n")
    watched = Watched(path)
    watched.changed()
    spoil(path)
    assert [watched.changed() for _ in range(3)] == [False] * 3
    assert hosts(watched.targets) == ["10.0.0.1"]
    expected = f"{path}: {complaint}, 10.0.0.1:53 is asked on"
    assert caplog.messages == [expected]
    path.write_text("nameserver 10.0.0.1\n")
    assert not watched.changed()
    spoil(path)
    watched.changed()
    assert caplog.messages == [expected] * 2


class Kept:
    """A roster whose names are looked up in `names`; `told` are the hosts it told of."""

    def __init__(self, *targets: Target | ResolvFile, **options: object) -> None:
        self.names: dict[str, tuple[str, ...] | Unresolved] = {}
        self.told: list[list[str]] = []
        self.roster = Roster(
            Options(targets, **options),
            asyncio.get_running_loop(),
            lambda targets: self.told.append(hosts(targets)),
            self._look_up,
        )

    async def _look_up(self, host: str) -> tuple[str, ...]:
        await asyncio.sleep(0)
        found = self.names[host]
        if isinstance(found, Unresolved):
            raise found
        return found


async def test_targets_in_their_order_and_each_but_once(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 10.0.0.3\nnameserver 10.0.0.1\n")
    kept = Kept(
        Target("dns", "a.example", 53),
        Target("dns", "10.0.0.1", 53),
        ResolvFile(path),
        Target("dns", "10.0.0.1", 54),
    )
    kept.names["a.example"] = ("10.0.0.9", "2001:db8::9")
    assert hosts(kept.roster.targets()) == ["10.0.0.1", "10.0.0.1"]
    await kept.roster.start()
    expected = ["10.0.0.9", "2001:db8::9", "10.0.0.1", "10.0.0.3", "10.0.0.1"]
    assert hosts(kept.roster.targets()) == kept.told[-1] == expected
    kept.roster.close()


@pytest.mark.parametrize(
    ("target", "for_all", "expected"),
    [
        (Target("tls", "a.example", 853), "", "a.example"),
        (Target("tls", "a.example", 853, "b.example"), "", "b.example"),
        (Target("https", "a.example", 443), "", "a.example"),
        (Target("tls", "a.example", 853), "all.example", ""),
        (Target("dns", "a.example", 53), "", ""),
    ],
)
async def test_the_name_that_is_written_is_the_name_to_prove(
    target: Target, for_all: str, expected: str
) -> None:
    kept = Kept(target, tls=Tls(server_name=for_all))
    kept.names["a.example"] = ("10.0.0.9",)
    await kept.roster.look_up("a.example")
    assert kept.roster.targets() == (target._replace(host="10.0.0.9", server_name=expected),)


async def test_a_name_that_moves_and_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept(Target("dns", "a.example", 53))
    kept.names["a.example"] = ("10.0.0.1",)
    for _ in range(2):
        await kept.roster.look_up("a.example")
    kept.names["a.example"] = ("10.0.0.2",)
    await kept.roster.look_up("a.example")
    assert kept.told == [["10.0.0.1"], ["10.0.0.2"]]
    kept.names["a.example"] = Unresolved("no such name", absent=True)
    caplog.clear()
    for _ in range(3):
        await kept.roster.look_up("a.example")
    assert hosts(kept.roster.targets()) == ["10.0.0.2"]
    assert caplog.messages == [
        "upstream a.example has no address (no such name), 10.0.0.2 is asked on"
    ]


async def test_keeping_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rosters, "FILES_EVERY", 0.001)
    monkeypatch.setattr(rosters, "NAMES_EVERY", 0.001)
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 10.0.0.1\n")
    kept = Kept(ResolvFile(path), Target("dns", "a.example", 53))
    kept.names["a.example"] = Unresolved("timed out", absent=False)
    await kept.roster.start()
    assert kept.told == [["10.0.0.1"]]
    kept.names["a.example"] = ("10.0.0.5",)
    await until(lambda: kept.told[-1] == ["10.0.0.1", "10.0.0.5"])
    path.write_text("nameserver 10.0.0.2\n")
    await until(lambda: kept.told[-1] == ["10.0.0.2", "10.0.0.5"])
    kept.roster.close()
    await until(lambda: all(task.done() for task in kept.roster._tasks))


async def test_a_name_that_nobody_looks_up_holds_no_start_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rosters, "START_PATIENCE", 0.01)
    answer = asyncio.Event()

    async def slow(_: str) -> tuple[str, ...]:
        await answer.wait()
        return ("10.0.0.7",)

    told = []
    options = Options((Target("dns", "a.example", 53),))
    roster = Roster(options, asyncio.get_running_loop(), told.append, slow)
    async with asyncio.timeout(PATIENCE):
        await roster.start()
    assert not told
    answer.set()
    await until(lambda: told)
    assert hosts(told[0]) == ["10.0.0.7"]
    roster.close()


async def test_nothing_to_keep_up_with() -> None:
    with_addresses = Kept(Target("dns", "10.0.0.1", 53), Target("tls", "fe80::1%lo", 853))
    await with_addresses.roster.start()
    assert hosts(with_addresses.roster.targets()) == ["10.0.0.1", "fe80::1%lo"]
    assert not with_addresses.told
    assert not with_addresses.roster._tasks
