from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from kdns.corefile.parser import Corefile, load
from kdns.corefile.stream import MAX_FILE_SIZE
from kdns.corefile.tokens import CorefileError

Files = Mapping[str, str]
CIRCLE = "(a) {\n import b\n}\n(b) {\n log\n import a\n}\n. {\n import a\n}"


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder / "Corefile"


def outline(corefile: Corefile) -> list[tuple[list[str], list[str]]]:
    return [
        (
            [key.zone for key in block.keys],
            [" ".join((entry.name.text, *map(str, entry.args))) for entry in block.directives],
        )
        for block in corefile.blocks
    ]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            {"Corefile": ". {\n import a\n log\n}", "a": "errors\nprometheus :9153"},
            [(["."], ["errors", "prometheus :9153", "log"])],
            id="directives",
        ),
        pytest.param(
            {"Corefile": ". {\n errors\n}\nimport a\nb {\n}", "a": "a {\n log\n}\n"},
            [(["."], ["errors"]), (["a."], ["log"]), (["b."], [])],
            id="server blocks",
        ),
        pytest.param(
            {"Corefile": "import zones\n{\n log\n}", "zones": "a, b"},
            [(["a.", "b."], ["log"])],
            id="keys",
        ),
        pytest.param(
            {"Corefile": "a,\nimport zones\n{\n log\n}", "zones": "b c"},
            [(["a.", "b.", "c."], ["log"])],
            id="keys after a comma",
        ),
        pytest.param(
            {"Corefile": "import half\n log\n}", "half": "a {\n errors"},
            [(["a."], ["errors", "log"])],
            id="half a block",
        ),
        pytest.param(
            {"Corefile": ". { import a\n}", "a": "errors"},
            [(["."], ["errors"])],
            id="behind a server block's brace",
        ),
        pytest.param(
            {"Corefile": ".\nimport a\nlog", "a": "errors"},
            [(["."], ["errors", "log"])],
            id="without braces",
        ),
        pytest.param(
            {
                "Corefile": ". {\n import x/a\n}",
                "x/a": "import b\nimport ../c",
                "x/b": "b",
                "c": "c",
            },
            [(["."], ["b", "c"])],
            id="relative to the importing file",
        ),
        pytest.param(
            {
                "Corefile": ". {\n import x/*.override\n}\nimport x/*.server",
                "x/b.override": "b",
                "x/a.override": "a",
                "x/.c.override": "c",
                "x/other": "} nonsense {",
                "x/y.server": "y {\n}",
                "x/x.server": "import ../z",
                "z": "z {\n}",
            },
            [(["."], ["c", "a", "b"]), (["z."], []), (["y."], [])],
            id="globs in order of name, dotted too",
        ),
        pytest.param(
            {"Corefile": ". {\n import *.x\n}", "a.x": "import b.x", "b.x": "log"},
            [(["."], ["log", "log"])],
            id="a glob's file may import another of them",
        ),
        pytest.param(
            {"Corefile": ". {\n import ?/a\n}", "y/a": "y", "x/a": "x"},
            [(["."], ["x", "y"])],
            id="a glob over folders",
        ),
        pytest.param(
            {"Corefile": "(s) {\n log\n errors\n}\na {\n import s\n}\nb {\n import s\n}"},
            [(["a."], ["log", "errors"]), (["b."], ["log", "errors"])],
            id="snippet",
        ),
        pytest.param(
            {"Corefile": "(s) { log\n}\n(t) {\n}\na {\n import s\n import t\n import s\n}"},
            [(["a."], ["log", "log"])],
            id="snippet on the brace's line, and an empty one",
        ),
        pytest.param(
            {"Corefile": "(s) {\n import t\n log\n}\n(t) {\n errors\n}\na {\n import s\n}"},
            [(["a."], ["errors", "log"])],
            id="snippet of a later snippet",
        ),
        pytest.param(
            {"Corefile": "import lib\na {\n import s\n}", "lib": "(s) {\n log\n}"},
            [(["a."], ["log"])],
            id="snippet of a file",
        ),
        pytest.param(
            {"Corefile": "(s) {\n a {\n  log\n }\n}\nimport s"},
            [(["a."], ["log"])],
            id="snippet of server blocks",
        ),
        pytest.param(
            {"Corefile": "(s) {\n snippet\n}\n. {\n import s\n}", "s": "file"},
            [(["."], ["snippet"])],
            id="snippet before file",
        ),
        pytest.param(
            {"Corefile": ". {\n import a\n import a\n}", "a": "log"},
            [(["."], ["log", "log"])],
            id="the same file twice",
        ),
        pytest.param(
            {"Corefile": ". {\n log {\n  import a\n }\n}", "a": "class error"},
            [(["."], ["log"])],
            id="in a directive's block",
        ),
        pytest.param(
            {"Corefile": ". {\n forward . import\n import\ta\n}", "a": "log"},
            [(["."], ["forward . import", "log"])],
            id="import as an argument is a word",
        ),
    ],
)
def test_imports(tmp_path: Path, files: Files, expected: list[tuple[list[str], list[str]]]) -> None:
    corefile = write(tmp_path, files)
    assert outline(load(corefile, {})) == expected


def test_import_of_properties(tmp_path: Path) -> None:
    files = {"Corefile": ". {\n log {\n  a\n  import x\n  d\n }\n}", "x": "b {\n c\n}"}
    (block,) = load(write(tmp_path, files), {}).blocks
    (log,) = block.directives
    assert [entry.name.text for entry in log.block or ()] == ["a", "b", "d"]
    assert [entry.name.text for entry in (log.block or ())[1].block or ()] == ["c"]


def test_absolute_import_and_positions(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("\n  log all")
    (block,) = load(write(tmp_path / "x", {"Corefile": f". {{\n import {other}\n}}"}), {}).blocks
    (log,) = block.directives
    assert str(log.position) == f"{other}:2:3"
    assert str(log.args[0].position) == f"{other}:2:7"


@pytest.mark.parametrize(
    ("files", "place", "message"),
    [
        pytest.param({"Corefile": ". {\n import\n}"}, "Corefile:2:2", "names nothing", id="bare"),
        pytest.param(
            {"Corefile": ". {\n import a b\n}"}, "Corefile:2:11", "one argument", id="two"
        ),
        pytest.param({"Corefile": 'import ""'}, "Corefile:1:8", "names nothing", id="empty"),
        pytest.param({"Corefile": "import {$NONE}"}, "Corefile:1:8", "names nothing", id="unset"),
        pytest.param({"Corefile": "import a\0b"}, "Corefile:1:8", "names nothing", id="null byte"),
        pytest.param(
            {"Corefile": "import a"},
            "Corefile:1:8",
            "there is no file '.*/a', nor a snippet",
            id="missing",
        ),
        pytest.param(
            {"Corefile": "import x", "x/a": ""}, "Corefile:1:8", "not a regular file", id="folder"
        ),
        pytest.param(
            {"Corefile": "import " + "x" * 5000}, "Corefile:1:8", "cannot be read", id="long name"
        ),
        pytest.param({"Corefile": "import */*"}, "Corefile:1:8", "too wide", id="two stars"),
        pytest.param(
            {"Corefile": "import [a]"}, "Corefile:1:8", "there is no file", id="no glob, no file"
        ),
        pytest.param({"Corefile": "import [a]*"}, "Corefile:1:8", "too wide", id="class"),
        pytest.param({"Corefile": "import Corefile"}, "Corefile:1:8", "in a circle", id="itself"),
        pytest.param(
            {"Corefile": "import *file"}, "Corefile:1:8", "in a circle", id="itself through a glob"
        ),
        pytest.param(
            {"Corefile": "import a", "a": "import x/b", "x/b": "\nimport ../a"},
            "x/b:2:8",
            "in a circle, .*a -> .*b -> .*a",
            id="circle of files",
        ),
        pytest.param(
            {"Corefile": CIRCLE},
            "Corefile:6:9",
            r"\(a\) -> \(b\) -> \(a\)",
            id="circle of snippets",
        ),
        pytest.param(
            {"Corefile": "(a) {\n}\n(a) {\n}"},
            "Corefile:3:1",
            r"Corefile:1:1 already",
            id="snippet twice",
        ),
        pytest.param(
            {"Corefile": "(a)\nlog"},
            "Corefile:2:1",
            "put it in braces",
            id="snippet without braces",
        ),
        pytest.param(
            {"Corefile": "(a) {\n b {\n}"},
            "Corefile:1:5",
            "never closed",
            id="snippet without an end",
        ),
        pytest.param(
            {"Corefile": ". {\n import a\n}", "a": "log {\n x {"},
            "a:1:5",
            "never closed",
            id="brace of a file",
        ),
    ],
)
def test_refused_imports(tmp_path: Path, files: Files, place: str, message: str) -> None:
    with pytest.raises(CorefileError, match=message) as caught:
        load(write(tmp_path, files), {})
    assert str(caught.value).startswith(f"{tmp_path}/{place}: ")


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(CorefileError, match="not a regular file"):
        load(write(tmp_path, {"Corefile": "import fifo"}), {})


def test_a_file_that_cannot_be_a_corefile_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(MAX_FILE_SIZE + 1)
    with pytest.raises(CorefileError, match="has more than 16777216 bytes"):
        load(write(tmp_path, {"Corefile": "import big"}), {})


def test_an_imported_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"a\n\xe9")
    with pytest.raises(CorefileError, match="latin:2:1: byte 0xe9 is not UTF-8"):
        load(write(tmp_path, {"Corefile": "import latin"}), {})


def test_files_are_listed_once_with_their_digests(tmp_path: Path) -> None:
    files = {"Corefile": "import a\nimport b\nimport b", "a": "(s) {\n}", "b": "# nothing"}
    found = load(write(tmp_path, files), {}).files
    assert [Path(file.path).name for file in found] == ["Corefile", "a", "b"]
    assert [file.digest for file in found] == [
        hashlib.sha256(content.encode()).hexdigest() for content in files.values()
    ]


def test_a_glob_that_matches_nothing_is_noticed(tmp_path: Path) -> None:
    corefile = load(write(tmp_path, {"Corefile": ". {\n import x/*.override\n}"}), {})
    assert [str(notice) for notice in corefile.notices] == [
        f"{tmp_path}/Corefile:2:9: no file matches '{tmp_path}/x/*.override'"
    ]


ENVIRON = {
    "WORD": "word",
    "EMPTY": "",
    "NESTED": "<{$WORD}{%WORD%}>",
    "SPACED": "a b",
    "BRACE": "{",
    "IMPORT": "import",
    "SELF": "{$SELF}",
    "GROWING": "{$GROWING}{$GROWING}",
    "FRENCH": "caf\udce9",
}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{$WORD}", "word"),
        ("{%WORD%}", "word"),
        ("a{$WORD}b{%WORD%}c{$WORD}", "awordbwordcword"),
        ("{$EMPTY}x{$UNSET}", "x"),
        ("{$NESTED}", "<word{%WORD%}>"),
        ("{%NESTED%}", "<wordword>"),
        ("{$SPACED}", "a b"),
        ('"{$WORD} {$WORD}"', "word word"),
        ("{$}{$WORD}", "{$}{$WORD}"),
        ("{%}{%WORD%}", "{%}{%WORD%}"),
        ("{$WORD", "{$WORD"),
        ("{%WORD}", "{%WORD}"),
        ("$WORD", "$WORD"),
        ("{WORD}", "{WORD}"),
        ("{$BRACE}", "{"),
        ("{$IMPORT}", "import"),
    ],
)
def test_environment(tmp_path: Path, written: str, expected: str) -> None:
    corefile = write(tmp_path, {"Corefile": f". {{\n log . {written}\n}}"})
    (block,) = load(corefile, ENVIRON).blocks
    assert block.directives[0].args[1].text == expected


def test_environment_reaches_keys_names_properties_and_imports(tmp_path: Path) -> None:
    files = {
        "Corefile": (
            "{$WORD}.example:{$PORT} {\n {$WORD} {\n  {$WORD} {$WORD}\n }\n import {$WORD}\n}"
        ),
        "word": "log",
    }
    (block,) = load(write(tmp_path, files), {**ENVIRON, "PORT": "1053"}).blocks
    assert str(block.keys[0]) == "dns://word.example.:1053"
    word, log = block.directives
    assert (word.name.text, log.name.text) == ("word", "log")
    (entry,) = word.block or ()
    assert (entry.name.text, entry.args[0].text) == ("word", "word")


def test_an_unset_variable_is_noticed(tmp_path: Path) -> None:
    corefile = load(write(tmp_path, {"Corefile": ". {\n log {$NONE}\n}"}), {})
    assert [str(notice) for notice in corefile.notices] == [
        f"{tmp_path}/Corefile:2:6: environment variable 'NONE' is not set and reads as nothing"
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [("SELF", "without an end"), ("GROWING", "without an end"), ("FRENCH", "not UTF-8")],
)
def test_refused_environment(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(CorefileError, match=message) as caught:
        load(write(tmp_path, {"Corefile": f". {{\n log {{${name}}}\n}}"}), ENVIRON)
    assert (caught.value.position.line, caught.value.position.column) == (2, 6)
