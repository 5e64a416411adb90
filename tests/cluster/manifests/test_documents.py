"""Files to positioned documents."""

from __future__ import annotations

import json
from contextlib import suppress
from textwrap import dedent
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kdns.cluster.manifests.documents import ManifestError, documents


def _found(text: str, name: str = "a.yaml") -> list[tuple[int, Any]]:
    return [(document.line, document.tree) for document in documents(name, dedent(text).encode())]


CASES: dict[str, tuple[str, str, list[tuple[int, Any]]]] = {
    "one document": ("a.yaml", "kind: A\n", [(1, {"kind": "A"})]),
    "several documents, empty ones between": (
        "a.yml",
        "---\n---\nkind: A\n---\n# nothing\n---\nkind: B\n",
        [(3, {"kind": "A"}), (7, {"kind": "B"})],
    ),
    "nothing": ("a.yaml", "", []),
    "comments alone": ("a.yaml", "# a\n# b\n", []),
    "byte order mark": ("a.yaml", "\ufeffkind: A\n", [(1, {"kind": "A"})]),
    "list": (
        "a.yaml",
        "kind: List\nitems:\n- kind: A\n  n: 1\n- kind: B\n",
        [(3, {"kind": "A", "n": 1}), (5, {"kind": "B"})],
    ),
    "list whose kind comes last, as kubectl writes it": (
        "a.yaml",
        "apiVersion: v1\nitems:\n- kind: A\n- kind: B\nkind: List\n",
        [(3, {"kind": "A"}), (4, {"kind": "B"})],
    ),
    "typed list tells its items their kind": (
        "a.yaml",
        "kind: ServiceList\napiVersion: v1\nitems:\n- n: 1\n- apiVersion: v2\n",
        [
            (4, {"kind": "Service", "apiVersion": "v1", "n": 1}),
            (5, {"kind": "Service", "apiVersion": "v2"}),
        ],
    ),
    "typed list whose kind comes last": (
        "a.yaml",
        "apiVersion: v1\nitems:\n- n: 1\n- n: 2\nkind: ServiceList\n",
        [
            (3, {"kind": "Service", "apiVersion": "v1", "n": 1}),
            (4, {"kind": "Service", "apiVersion": "v1", "n": 2}),
        ],
    ),
    "empty list": ("a.yaml", "kind: List\nitems: []\n", []),
    "list of null": ("a.yaml", "kind: List\nitems:\n", []),
    "items of what is no list": (
        "a.yaml",
        "kind: Menu\nitems:\n- kind: A\n",
        [(1, {"kind": "Menu", "items": [{"kind": "A"}]})],
    ),
    "scalars": (
        "a.yaml",
        "a: 1\nb: '1'\nc: true\nd: ~\ne: 1.5\nf: 10.96.0.10\ng: 2024-01-02T03:04:05Z\nh: 0x10\n",
        [
            (
                1,
                {
                    "a": 1,
                    "b": "1",
                    "c": True,
                    "d": None,
                    "e": 1.5,
                    "f": "10.96.0.10",
                    "g": "2024-01-02T03:04:05Z",
                    "h": 16,
                },
            )
        ],
    ),
    "keys are text": ("a.yaml", "1: a\ntrue: b\n", [(1, {"1": "a", "true": "b"})]),
    "odd numbers are text": (
        "a.yaml",
        f"a: 0b_\nb: {'9' * 5000}\n",
        [(1, {"a": "0b_", "b": "9" * 5000})],
    ),
    "anchors and merges": (
        "a.yaml",
        "a: &x {k: 1, l: 2}\nb: *x\nc:\n  <<: *x\n  l: 3\nd: {<<: [{k: 4}, *x]}\n",
        [
            (
                1,
                {
                    "a": {"k": 1, "l": 2},
                    "b": {"k": 1, "l": 2},
                    "c": {"k": 1, "l": 3},
                    "d": {"k": 4, "l": 2},
                },
            )
        ],
    ),
    "json": ("a.json", '{"kind": "A",\n\t"n": [1, null]}', [(1, {"kind": "A", "n": [1, None]})]),
    "json list": (
        "a.json",
        '{"apiVersion": "v1", "items": [\n {"kind": "A"},\n\n {"kind": "A"}],\n "kind": "List"}',
        [(2, {"kind": "A"}), (4, {"kind": "A"})],
    ),
    "json typed list": (
        "a.json",
        '\n{"kind": "PodList", "apiVersion": "v1", "items": [{}]}',
        [(2, {"kind": "Pod", "apiVersion": "v1"})],
    ),
    "json values one after the other": (
        "a.json",
        '{"kind": "A"}\n{"kind":\n"B"}\n\n{"kind": "List", "items": [\n{"kind": "C"}]}\n',
        [(1, {"kind": "A"}), (2, {"kind": "B"}), (6, {"kind": "C"})],
    ),
    "json of nothing": ("a.json", " \n", []),
    "json in a yaml file": (
        "a.yaml",
        '{"kind": "A", "n": {"m":1}}',
        [(1, {"kind": "A", "n": {"m": 1}})],
    ),
}


@pytest.mark.parametrize(("name", "text", "expected"), CASES.values(), ids=CASES.keys())
def test_documents(name: str, text: str, expected: list[tuple[int, Any]]) -> None:
    assert _found(text, name) == expected


BROKEN: dict[str, tuple[str, bytes, int, str]] = {
    "yaml": ("a.yaml", b"kind: A\n---\na: [1\nb: 2\n", 4, "not YAML"),
    "yaml tab": ("a.yaml", b"a:\n\tb: 1\n", 2, "not YAML"),
    "yaml control character": ("a.yaml", b"a: 1\nb: \x01\n", 2, "not YAML"),
    "not utf-8": ("a.yaml", b"a: 1\nb: \xff\n", 2, "byte 0xff is not UTF-8"),
    "utf-16": ("a.yaml", "a: 1\n".encode("utf-16"), 1, "is not UTF-8"),
    "json not utf-8": ("a.json", b'{"a":\n"\xff"}', 2, "is not UTF-8"),
    "json": ("a.json", b'{"a": 1,\n "b": }', 2, "not JSON"),
    "json cut off": ("a.json", b'{"a": 1}\n{"b": ', 2, "not JSON"),
    "json half a surrogate": ("a.json", b'{"a": "\\ud800"}', 1, "not JSON"),
    "json number out of range": ("a.json", b'\n{"a": 1e999}', 2, "not JSON: Number out of range"),
    "text": ("a.yaml", b"# hello\nhello\n", 2, "a manifest is a mapping"),
    "list": ("a.yaml", b"- a\n- b\n", 1, "this is a list"),
    "json list": ("a.json", b"[1]", 1, "this is a list"),
    "list of text": ("a.yaml", b"kind: List\nitems:\n- a\n", 3, "a manifest is a mapping"),
    "aliases of aliases": (
        "a.yaml",
        b"a: &a [1,2,3,4,5,6,7,8,9]\n"
        + b"".join(b"%c: &%c [%s]\n" % (n + 1, n + 1, b"*%c," % n * 10) for n in b"abcdefg"),
        6,
        "`*e` and the aliases before it stand for too much",
    ),
    "aliases of a long text": (
        "a.yaml",
        b"a: &a " + b"x" * 100_000 + b"\nb: [" + b"*a," * 100 + b"]\n",
        2,
        "stand for too much",
    ),
    "alias of nothing": ("a.yaml", b"a: 1\nb: *x\n", 2, "`*x` has no `&`"),
    "alias of itself": ("a.yaml", b"a: &x [*x]\n", 1, "`*x` has no `&`"),
    "key that is a mapping": ("a.yaml", b"a: 1\n? {b: c}\n: d\n", 2, "a key must be a plain word"),
    "merge of a number": ("a.yaml", b"a: 1\n<<: 2\n", 2, "`<<` takes a mapping"),
    "nested without end": ("a.yaml", b"a: " + b"[" * 100_000, 1, "nested deeper than 200"),
    "json nested without end": ("a.json", b'{"a":' + b"[" * 100_000, 0, "nested too deep"),
}


@pytest.mark.parametrize(("name", "content", "line", "problem"), BROKEN.values(), ids=BROKEN.keys())
def test_broken(name: str, content: bytes, line: int, problem: str) -> None:
    with pytest.raises(ManifestError) as caught:
        list(documents(name, content))
    error = caught.value
    assert (error.path, error.line, error.subject) == (name, line, "")
    assert problem in error.problem
    assert str(error).startswith(f"{name}:{line}: " if line else f"{name}: ")


def test_what_comes_before_an_error_is_yielded() -> None:
    found = documents("a.yaml", b"kind: A\n---\nkind: [\n")
    assert next(found).tree == {"kind": "A"}
    with pytest.raises(ManifestError):
        next(found)


LINES = """\
kind: A
spec:
  ports:
    - port: 1
    - name: x
      port: [2,
        3]
  flow: {a: {b:
    c}}
  aliased: &n
    deep: 1
  again: *n
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("kind",), 1),
        (("spec",), 2),
        (("spec", "ports", 0, "port"), 4),
        (("spec", "ports", 1), 5),
        (("spec", "ports", 1, "port", 1), 7),
        (("spec", "flow", "a", "b"), 8),
        (("spec", "aliased", "deep"), 11),
        (("spec", "again", "deep"), 12),
        (("spec", "ports", 7), 3),
        (("spec", "missing", "below"), 2),
        (("missing",), 1),
    ],
    ids=str,
)
def test_line_of_a_path(path: tuple[str | int, ...], line: int) -> None:
    (document,) = documents("a.yaml", LINES.encode())
    assert document.locate(path) == line


def test_line_of_a_path_in_a_list() -> None:
    text = "\nkind: List\nitems:\n- kind: B\n- " + LINES.replace("\n", "\n  ")
    _, document = documents("a.yaml", text.encode())
    assert document.line == 5
    assert document.locate(("spec", "ports", 1, "port")) == 10


def test_line_of_a_path_in_json() -> None:
    tree = {"kind": "A", "spec": {"ports": [{"port": 1}, {"name": "x/y", "port": [2, 3]}]}}
    text = '\n{"kind":"List","items":[{"kind":"B"},\n' + json.dumps(tree, indent="\t") + "]}"
    _, document = documents("a.json", text.encode())
    line = text[: text.index('"port": [')].count("\n") + 1
    assert document.line == 3
    assert document.locate(("spec", "ports", 1, "port")) == line


_trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)
_documents = st.dictionaries(st.sampled_from(["a", "kind-of", "metadata", "z"]), _trees, min_size=1)


@given(st.lists(_documents, max_size=4))
def test_reads_what_a_yaml_writer_writes(trees: list[dict[str, Any]]) -> None:
    text = yaml.safe_dump_all(trees, allow_unicode=True)
    expected = [tree for tree in yaml.safe_load_all(text) if tree is not None]
    assert [document.tree for document in documents("a.yaml", text.encode())] == expected


@given(st.lists(_documents, max_size=4), st.sampled_from([None, 1, "\t"]))
def test_reads_what_a_json_writer_writes(trees: list[dict[str, Any]], indent: int | None) -> None:
    items = [{"kind": "A", **tree} for tree in trees]
    text = json.dumps({"kind": "List", "items": items}, indent=indent)
    found = list(documents("a.json", text.encode()))
    assert [document.tree for document in found] == items
    for document in found:
        assert document.locate(("z",)) >= document.line
        assert text.split("\n")[document.line - 1].strip()


@given(st.binary(max_size=60), st.sampled_from(["a.yaml", "a.json"]))
def test_any_bytes_are_documents_or_an_error(content: bytes, name: str) -> None:
    with suppress(ManifestError):
        for document in documents(name, content):
            assert isinstance(document.tree, dict)
