"""Which files a folder holds, which have changed, and what is kept of those that broke."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kdns.cluster.manifests.files import Files, look

LATER = 2.0**40  # seconds: long after every time stamp


def _service(*names: str) -> str:
    return "---\n".join(
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
        "spec: {ports: [{port: 1}]}\n"
        for name in names
    )


def _names(files: Files) -> list[str]:
    return [item.name for item in files.declared]


def _problems(files: Files) -> list[str]:
    return [report.error.problem.split(":")[0] for report in files.reports]


def _files(root: Path, now: float = LATER) -> Files:
    files = Files(root, lambda: now)
    files.refresh()
    return files


def test_look(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.json", "sub/deep/d.yaml", "folder.yaml/e.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    for name in (".hidden.yaml", ".git/f.yaml", "g.yaml~", "README.md", "h.yaml.swp", "..x/i.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    seen = look(str(tmp_path))
    found = sorted(str(Path(path).relative_to(tmp_path)) for path in seen.files)
    assert found == ["a.yml", "b.yaml", "c.json", "folder.yaml/e.yaml", "sub/deep/d.yaml"]
    assert seen.troubles == {}


def test_one_file_of_any_name(tmp_path: Path) -> None:
    path = tmp_path / "manifests.txt"
    path.write_text(_service("a"))
    assert _names(_files(path)) == ["a"]


def test_links_are_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.yaml").write_text(_service("a"))
    root = tmp_path / "root"
    root.mkdir()
    (root / "folder").symlink_to(elsewhere)
    (root / "file.yaml").symlink_to(elsewhere / "a.yaml")
    (root / "round").symlink_to(root)
    assert sorted(look(str(root)).files) == [f"{root}/file.yaml", f"{root}/folder/a.yaml"]
    assert look(str(root)).troubles == {}


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(_service("a"))
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round.yaml").symlink_to(tmp_path / "round.yaml")
    (tmp_path / "folder").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.yaml")
    files = _files(tmp_path)
    assert _names(files) == ["a"]
    assert {report.error.path: report.error.problem for report in files.reports} == {
        f"{tmp_path}/dangling.yaml": (
            "No such file or directory: give a file or folder that is there, or mend the link"
        ),
        f"{tmp_path}/round.yaml": ("Too many levels of symbolic links: see that it can be read"),
        f"{tmp_path}/folder": (
            "No such file or directory: give a file or folder that is there, or mend the link"
        ),
        f"{tmp_path}/pipe.yaml": "not a regular file: take it out of the folder",
    }
    assert not any(report.held for report in files.reports)


def test_a_mounted_configmap(tmp_path: Path) -> None:
    """As kubelet mounts and swaps one: files are links into ..data, a link to a dated folder."""
    for day, names in (("..day1", ("a", "b")), ("..day2", ("a2", "b2"))):
        (tmp_path / day).mkdir()
        for file, name in zip(("a.yaml", "b.yaml"), names, strict=True):
            (tmp_path / day / file).write_text(_service(name))
    (tmp_path / "..data").symlink_to("..day1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    (tmp_path / "b.yaml").symlink_to("..data/b.yaml")
    files = _files(tmp_path)
    assert _names(files) == ["a", "b"]
    assert not files.refresh()
    (tmp_path / "..data_tmp").symlink_to("..day2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert files.refresh()
    assert _names(files) == ["a2", "b2"]
    assert files.reports == []


def test_a_swap_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(_service("a"))
    (tmp_path / "b.yaml").write_text(_service("b"))
    real = Path.read_bytes

    def read(path: Path) -> bytes:
        content = real(path)
        if b"name: a}" in content:
            (tmp_path / "new").write_text(_service("a2"))
            (tmp_path / "new").rename(tmp_path / "a.yaml")
        return content

    monkeypatch.setattr(Path, "read_bytes", read)
    assert _names(_files(tmp_path)) == ["a2", "b"]


def test_a_file_that_is_replaced_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_text(_service("v0"))
    real = Path.read_bytes
    reads = 0

    def read(path: Path) -> bytes:
        nonlocal reads
        content = real(path)
        reads += 1
        (tmp_path / "new").write_text(_service(f"v{reads}"))
        (tmp_path / "new").rename(path)
        return content

    monkeypatch.setattr(Path, "read_bytes", read)
    assert _names(_files(tmp_path)) == [f"v{reads - 1}"]


def test_a_file_that_goes_while_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(_service("a"))
    real = os.scandir

    def scan(folder: str) -> object:
        entries = real(folder)
        path.rename(tmp_path / "gone")
        return entries

    monkeypatch.setattr(os, "scandir", scan)
    seen = look(str(tmp_path))
    assert (seen.files, seen.troubles) == ({}, {})


def test_content_is_read_where_the_signature_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path in paths:
        path.write_text(_service(path.stem))
    files = _files(tmp_path)
    opened: list[Path] = []
    real = Path.read_bytes

    def read(path: Path) -> bytes:
        opened.append(path)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    assert not files.refresh()
    assert opened == []
    os.utime(paths[1])
    assert not files.refresh()  # read, and found the same
    assert opened == [paths[1]]
    paths[1].write_text(_service("c"))
    assert files.refresh()
    assert opened == [paths[1]] * 2
    assert _names(files) == ["a", "c"]


def test_what_has_just_been_written_waits(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(_service("a"))
    now = path.stat().st_mtime + 0.05
    files = Files(tmp_path, lambda: now)
    assert files.refresh()  # the first time nothing waits
    path.write_text(_service("b"))
    now = path.stat().st_mtime + 0.05
    assert not files.refresh()
    assert _names(files) == ["a"]
    now += 0.1
    assert files.refresh()
    assert _names(files) == ["b"]


def test_two_writes_in_one_tick_of_the_clock(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(_service("a"))
    status = path.stat()
    now = status.st_mtime
    files = Files(tmp_path, lambda: now)
    files.refresh()
    path.write_text(_service("b"))  # as long as before, and so is its inode
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    now += 10
    assert files.refresh()
    assert _names(files) == ["b"]


def test_a_renamed_file_is_never_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(_service("a"))
    files = _files(tmp_path)
    path.rename(tmp_path / "b.yaml")
    now = (tmp_path / "b.yaml").stat().st_ctime + 0.05
    files._clock = lambda: now
    assert not files.refresh()
    assert _names(files) == ["a"]
    now += 0.1
    assert files.refresh()
    assert [item.path for item in files.declared] == [f"{tmp_path}/b.yaml"]


def test_a_time_stamp_in_the_future_does_not_wait(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(_service("a"))
    files = _files(tmp_path, now=0.0)
    path.write_text(_service("b"))
    assert files.refresh()
    assert _names(files) == ["b"]


def test_edits(tmp_path: Path) -> None:
    a, b = tmp_path / "a.yaml", tmp_path / "b.yaml"
    a.write_text(_service("a1", "a2"))
    b.write_text(_service("b"))
    files = Files(tmp_path, lambda: LATER)

    def edits() -> list[tuple[list[str], list[str]]]:
        found = files.refresh()
        return sorted(([i.name for i in e.before], [i.name for i in e.after]) for e in found)

    assert edits() == [([], ["a1", "a2"]), ([], ["b"])]
    a.write_text(_service("a1", "a3"))
    b.unlink()
    assert edits() == [(["a1", "a2"], ["a1", "a3"]), (["b"], [])]
    assert edits() == []
    a.write_text("[")
    assert edits() == [(["a1", "a3"], ["a1", "a3"])]  # what it held stays


def test_what_says_the_same_stays_the_same_object(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(_service("a", "b", "c"))
    files = _files(tmp_path)
    path.write_text(_service("a", "x", "c", "d"))
    [(before, after)] = files.refresh()
    assert [old is new for old, new in zip(before, after, strict=False)] == [True, False, True]
    path.write_text("# first\n" + _service("a", "x", "c", "d"))
    [(before, after)] = files.refresh()
    assert not any(old is new for old, new in zip(before, after, strict=True))


def test_declared_is_in_the_order_of_places(tmp_path: Path) -> None:
    for name in "cea":
        (tmp_path / f"{name}.yaml").write_text(_service(name, f"{name}2"))
    files = _files(tmp_path)
    (tmp_path / "c.yaml").unlink()
    for name in "db":
        (tmp_path / f"{name}.yaml").write_text(_service(name))
    files.refresh()
    assert _names(files) == ["a", "a2", "b", "d", "e", "e2"]


def test_deleted(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.yaml").write_text(_service(name))
    files = _files(tmp_path)
    (tmp_path / "a" / "x.yaml").unlink()
    assert files.refresh()
    assert _names(files) == ["b"]
    assert files.reports == []


# what becomes of a file that held a and b: to the names kept, and the problem reported
BROKEN: dict[str, tuple[str, list[str], list[str]]] = {
    "syntax": (_service("c") + "---\n[", ["a", "b"], ["not YAML"]),
    "wrong type": (
        _service("c") + "---\n" + _service("d").replace("port: 1", "port: x"),
        ["a", "b"],
        ["spec.ports[0].port"],
    ),
    "cut to nothing": ("", ["a", "b"], ["empty"]),
    "emptied": ("# gone\n", [], []),
    "other": (_service("c"), ["c"], []),
}


@pytest.mark.parametrize(("text", "kept", "problems"), BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_broke(tmp_path: Path, text: str, kept: list[str], problems: list[str]) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(_service("a", "b"))
    files = _files(tmp_path)
    path.write_text(text)
    assert files.refresh()
    assert _names(files) == kept
    assert _problems(files) == problems
    assert all(report.held for report in files.reports)
    path.write_text(text + "[")
    files.refresh()
    assert _names(files) == kept  # still, after one more change for the worse
    path.write_text(_service("z"))
    files.refresh()
    assert (_names(files), files.reports) == (["z"], [])


def test_a_file_that_never_was_right(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    wrong = "---\n" + _service("x").replace("port: 1", "port: 0")
    path.write_text(_service("a") + wrong)
    files = _files(tmp_path)
    assert _names(files) == ["a"]
    assert [report.held for report in files.reports] == [False]
    path.write_text(_service("b") + wrong)
    files.refresh()
    assert _names(files) == ["b"]  # its right part, while there is nothing better
    path.write_text("")
    files.refresh()
    assert _names(files) == ["b"]
    assert _problems(files) == ["empty"]


def test_a_file_that_cannot_be_read_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(_service("a"))
    files = _files(tmp_path)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        path.write_text(_service("b"))
        assert not files.refresh()
        assert _names(files) == ["a"]
        (report,) = files.reports
        assert str(report.error) == f"{path}: Permission denied: let kdns read it"
        assert report.held
    assert files.refresh()
    assert (_names(files), files.reports) == (["b"], [])


def test_a_folder_that_cannot_be_read_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sub", "subway"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.yaml").write_text(_service(name))
    files = _files(tmp_path)
    real = os.scandir

    def refuse(path: str) -> object:
        if path == f"{tmp_path}/sub":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    (tmp_path / "subway" / "a.yaml").unlink()
    assert files.refresh()
    assert _names(files) == ["sub"]
    (report,) = files.reports
    assert report.error.path == f"{tmp_path}/sub"
    assert report.held


def test_the_folder_itself_vanishes(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.yaml").write_text(_service("a"))
    files = _files(root)
    root.rename(tmp_path / "away")
    assert not files.refresh()
    assert _names(files) == ["a"]
    assert [report.error.path for report in files.reports] == [str(root)]
    (tmp_path / "away").rename(root)
    assert not files.refresh()
    assert (_names(files), files.reports) == (["a"], [])
