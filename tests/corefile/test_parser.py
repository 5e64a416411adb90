from __future__ import annotations

from pathlib import Path

import pytest

from kdns.corefile.parser import Corefile, Directive, ServerBlock, load, parse
from kdns.corefile.tokens import CorefileError, Position


def read(text: str) -> Corefile:
    return parse(text, "Corefile", {})


def outline(directive: Directive) -> str:
    """`name arg { property; property }`."""
    words = " ".join((directive.name.text, *(arg.text for arg in directive.args)))
    if directive.block is None:
        return words
    return f"{words} {{ {'; '.join(map(outline, directive.block))} }}"


def outlines(block: ServerBlock) -> list[str]:
    return [outline(directive) for directive in block.directives]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        pytest.param("a {\n}", ["a."], id="one"),
        pytest.param("a b {\n}", ["a.", "b."], id="spaces"),
        pytest.param("a, b {\n}", ["a.", "b."], id="comma"),
        pytest.param("a,\nb,\n\nc {\n}", ["a.", "b.", "c."], id="commas and lines"),
        pytest.param("a, b c {\n}", ["a.", "b.", "c."], id="both"),
        pytest.param("a\n{\n}", ["a."], id="brace on its own line"),
        pytest.param("a { }", ["a."], id="one line"),
        pytest.param("a,b {\n}", ["a,b."], id="a comma inside is part of the name"),
        pytest.param("a", ["a."], id="no body"),
        pytest.param("a, b", ["a.", "b."], id="keys without a body"),
        pytest.param('"a" "" b {\n}', ["a.", "b."], id="strings, empty ones left out"),
        pytest.param(
            "10.0.0.0/23 a {\n}", ["0.0.10.in-addr.arpa.", "1.0.10.in-addr.arpa.", "a."], id="CIDR"
        ),
        pytest.param("(a) b {\n}", [r"\(a\).", "b."], id="no snippet with two keys"),
        pytest.param("\ufeffa {\r\n}\r\n", ["a."], id="byte order mark and CRLF"),
    ],
)
def test_keys(text: str, keys: list[str]) -> None:
    (block,) = read(text).blocks
    assert list(block.zones) == keys


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("", [], id="empty"),
        pytest.param("log\nerrors", ["log", "errors"], id="names"),
        pytest.param("cache 30 cluster.local", ["cache 30 cluster.local"], id="arguments"),
        pytest.param('log . "{remote} {type}"', ["log . {remote} {type}"], id="string"),
        pytest.param("log {\n}", ["log {  }"], id="empty block"),
        pytest.param("log { }", ["log {  }"], id="empty block on one line"),
        pytest.param("log . {\n class error\n}", ["log . { class error }"], id="block"),
        pytest.param(
            "health { lameduck 5s\n}", ["health { lameduck 5s }"], id="on the brace's line"
        ),
        pytest.param("health { lameduck 5s }", ["health { lameduck 5s }"], id="block on one line"),
        pytest.param(
            "a {\n b {\n  c {\n   d e\n  }\n }\n f\n}", ["a { b { c { d e } }; f }"], id="nested"
        ),
        pytest.param("a { b { c d } }", ["a { b { c d } }"], id="nested on one line"),
        pytest.param("log {\n}\nerrors", ["log {  }", "errors"], id="after a block"),
        pytest.param('log "a\nb" c\nerrors', ["log a\nb c", "errors"], id="string over lines"),
        pytest.param("a {}", ["a {}"], id="braces in one word are a word"),
        pytest.param('log "{"\n"}"', ["log {  }"], id="quoted braces are braces"),
        pytest.param(
            "hosts {\n 10.0.0.1 a b\n fallthrough\n}",
            ["hosts { 10.0.0.1 a b; fallthrough }"],
            id="hosts",
        ),
        pytest.param("hosts {\n {$NONE} a\n}", ["hosts {  a }"], id="a property without a name"),
    ],
)
def test_directives(body: str, expected: list[str]) -> None:
    (block,) = read(f". {{\n{body}\n}}\n").blocks
    assert outlines(block) == expected
    (bare,) = read(f".\n{body}\n").blocks
    assert outlines(bare) == expected


def test_several_blocks() -> None:
    blocks = read("a {\n log\n} b {\n}\nc\nerrors\ncache {\n 30\n}\n").blocks
    assert [(block.zones, outlines(block)) for block in blocks] == [
        (("a.",), ["log"]),
        (("b.",), []),
        (("c.",), ["errors", "cache { 30 }"]),
    ]


def test_a_stray_brace_ends_a_block_without_braces() -> None:
    blocks = read("a\nlog\n}\nb {\n}").blocks
    assert [(block.zones, outlines(block)) for block in blocks] == [
        (("a.",), ["log"]),
        (("b.",), []),
    ]


def test_positions() -> None:
    (block,) = read("a,\n b {\n  log x {\n\ty\n  }\n}").blocks
    log = block.directives[0]
    places = [key.position for key in block.keys] + [log.position, log.args[0].position]
    assert log.block is not None
    places.append(log.block[0].position)
    assert [(place.line, place.column) for place in places] == [
        (1, 1),
        (2, 2),
        (3, 3),
        (3, 7),
        (4, 2),
    ]
    assert block.position == Position("Corefile", 1, 1)


def test_results_are_immutable_and_hashable() -> None:
    corefile = read(". {\n log {\n  class error\n }\n}")
    assert hash(corefile) == hash(read(". {\n log {\n  class error\n }\n}"))
    with pytest.raises(AttributeError):
        corefile.blocks = ()  # type: ignore[misc]


@pytest.mark.parametrize("text", ["", "\n", "# only a comment", "(s) {\n log\n}", '""'])
def test_no_blocks(text: str) -> None:
    assert read(text).blocks == ()


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        pytest.param("a {", "1:3", "never closed", id="open block"),
        pytest.param("a {\n log\n", "1:3", "never closed", id="open block after a directive"),
        pytest.param("a {\n log {\n  x\n", "2:6", "never closed", id="open directive"),
        pytest.param("a {\n b {\n  c {\n }\n", "2:4", "never closed", id="open nested"),
        pytest.param("a, {\n}", "1:1", "no zone follows the comma", id="comma before a brace"),
        pytest.param("a,", "1:1", "no zone follows the comma", id="comma at the end"),
        pytest.param("a , b {\n}", "1:3", "has no zone", id="comma alone"),
        pytest.param("a { log }", "1:9", "on a line of its own", id="block on one line"),
        pytest.param("a {\n log }\n", "2:6", "on a line of its own", id="brace behind a directive"),
        pytest.param(
            "a\nlog }\n", "2:5", "on a line of its own", id="brace behind a bare directive"
        ),
        pytest.param("a {\n log {\n } }\n", "3:4", "begin a new line", id="two braces on a line"),
        pytest.param("a {\n log {\n } x\n}", "3:4", "begin a new line", id="word behind a brace"),
        pytest.param(
            "a {\n log {\n  x {\n } y\n }\n}",
            "4:4",
            "begin a new line",
            id="word behind a nested brace",
        ),
        pytest.param(
            "a {\n log\n {\n }\n}", "3:2", "'{' belongs at the end", id="brace on its own line"
        ),
        pytest.param("a {\n {\n }\n}", "2:2", "'{' belongs at the end", id="brace without a name"),
        pytest.param('a {\n ""\n}', "2:2", "name is empty", id="directive without a name"),
        pytest.param(":53 {\n}", "1:1", "has no zone", id="port without a zone"),
        pytest.param("a..b {\n}", "1:1", "not a zone", id="empty label"),
        pytest.param("a a {\n}", "1:3", "Corefile:1:1 already", id="zone twice in a block"),
        pytest.param("a {\n}\nb A.:53 {\n}", "3:3", "Corefile:1:1 already", id="zone twice"),
        pytest.param("a {\n" + "b {\n" * 101, "102:3", "more than 100 deep", id="depth"),
    ],
)
def test_refused(text: str, place: str, message: str) -> None:
    with pytest.raises(CorefileError, match=message) as caught:
        read(text)
    assert str(caught.value).startswith(f"Corefile:{place}: ")


@pytest.mark.parametrize("directive", ["bind 127.0.0.1", "view v {\n  expr true\n }"])
def test_blocks_that_bind_or_have_a_view_may_share_a_zone(directive: str) -> None:
    corefile = read(f"a {{\n {directive}\n}}\na {{\n log\n}}")
    assert [block.zones for block in corefile.blocks] == [("a.",), ("a.",)]


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        pytest.param("{\n log\n}", "Corefile:1:1: this server block has no zone", id="no key"),
        pytest.param("{$NONE} {\n}", "Corefile:1:9: this server block has no zone", id="unset key"),
        pytest.param(". {\n log {\n }\n", "Corefile:1:3: this '{' is never closed", id="open"),
        pytest.param(". {\n}\n}", r"Corefile:3:1: zone '}.' is not of letters", id="stray brace"),
        pytest.param("a,b {\n}", "Corefile:1:1: zone 'a,b.' is not of letters", id="comma"),
        pytest.param('.\nlog "a', "Corefile:2:5: this string is never closed", id="open string"),
    ],
)
def test_what_coredns_accepts_but_is_odd_is_noticed(text: str, notice: str) -> None:
    corefile = read(text)
    assert any(str(found).startswith(notice) for found in corefile.notices), corefile.notices


def test_nothing_is_noticed_in_an_ordinary_corefile() -> None:
    assert read(". 10.0.0.0/8 cluster.local {\n log\n}").notices == ()


SAME = [
    "a b {\n log . {\n  class error\n }\n errors\n}",
    "# comment\na,\nb\n{\n\tlog .   { # comment\r\n class error\n\n}\n errors\n}\n",
    "a:53 dns://b\nlog . {\n class error\n}\nerrors",
    "(s) {\n log . {\n  class error\n }\n}\nA. B {\n errors\n import s\n}",
    'a b {\n errors\n "log" . {\n  class "error"\n }\n}',
]


def test_the_digest_is_of_the_meaning() -> None:
    assert len({read(text).digest() for text in SAME}) == 1
    assert parse(SAME[0], "/other/Corefile", {}).digest() == read(SAME[0]).digest()


@pytest.mark.parametrize(
    "text",
    [
        "b a {\n log . {\n  class error\n }\n errors\n}",
        "a b:54 {\n log . {\n  class error\n }\n errors\n}",
        "a b {\n log . {\n  class all\n }\n errors\n}",
        "a b {\n log . {\n  class\n  error\n }\n errors\n}",
        'a b {\n log . {\n  "class error"\n }\n errors\n}',
        "a b {\n log .\n errors\n}",
        "a b {\n log .\n errors {\n }\n}",
        "a b {\n log . {\n  class error\n }\n errors\n errors\n}",
        "a {\n log . {\n  class error\n }\n errors\n}\nb {\n}",
    ],
)
def test_the_digest_tells_meanings_apart(text: str) -> None:
    assert read(text).digest() != read(SAME[0]).digest()


def test_the_digest_sees_imports_and_variables(tmp_path: Path) -> None:
    corefile, imported = tmp_path / "Corefile", tmp_path / "a.override"
    corefile.write_text(". {\n import *.override\n log {$FORMAT}\n}")
    digests = [load(corefile, {}).digest(), load(corefile, {"FORMAT": "x"}).digest()]
    imported.write_text("# nothing")
    assert load(corefile, {}).digest() == digests[0]
    imported.write_text("errors")
    digests.append(load(corefile, {}).digest())
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("missing", id="missing"),
        pytest.param(".", id="folder"),
        pytest.param("a\0", id="null"),
    ],
)
def test_a_corefile_that_cannot_be_read(tmp_path: Path, path: str) -> None:
    with pytest.raises(CorefileError, match=r"(?<![0-9]): the Corefile cannot be read"):
        load(f"{tmp_path}/{path}", {})


def test_the_default_port_is_an_argument() -> None:
    blocks = parse("a b:53 tls://c {\n}", "Corefile", {}, default_port=1053).blocks
    assert [key.port for key in blocks[0].keys] == [1053, 53, 853]
