from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.corefile.tokens import CorefileError, Position, decode, split


def words(text: str) -> list[list[str]]:
    return [[token.text for token in line] for line in split(text, "Corefile")[0]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", [], id="empty"),
        pytest.param(" \t\n\r\n", [], id="white space"),
        pytest.param("a b\tc\nd", [["a", "b", "c"], ["d"]], id="words and lines"),
        pytest.param("a {\n b\n}", [["a", "{"], ["b"], ["}"]], id="braces are words"),
        pytest.param("a{b}", [["a{b}"]], id="a brace inside a word is none"),
        pytest.param("a\n\n\nb", [["a"], ["b"]], id="empty lines"),
        pytest.param("a # b\nc", [["a"], ["c"]], id="comment"),
        pytest.param("# a\n#b c\nd", [["d"]], id="comment lines"),
        pytest.param('# "a\nb', [["b"]], id="quote in a comment"),
        pytest.param("a#b c", [["a", "c"]], id="comment in a word ends with the word"),
        pytest.param("a#b\nc", [["a"], ["c"]], id="comment in a word, then a line"),
        pytest.param('a "b c" d', [["a", "b c", "d"]], id="string"),
        pytest.param('a "" d', [["a", "", "d"]], id="empty string"),
        pytest.param('"a"b', [["a", "b"]], id="a string ends at its quote"),
        pytest.param('a"b c"', [['a"b', 'c"']], id="a quote in a word is itself"),
        pytest.param(r'"a \"b\" c"', [['a "b" c']], id="escaped quote"),
        pytest.param(r'"a\b \\ \n"', [[r"a\b \\ \n"]], id="other backslashes stay"),
        pytest.param(r'"a\\" b', [[r"a\\", "b"]], id="a pair of backslashes before a quote"),
        pytest.param(r"a\"b", [[r"a\"b"]], id="no escapes outside of strings"),
        pytest.param('"# a"', [["# a"]], id="no comment in a string"),
        pytest.param('a "b\nc" d\ne', [["a", "b\nc", "d"], ["e"]], id="a string over lines"),
        pytest.param("a \\\nb", [["a", "\\"], ["b"]], id="no line continuation"),
        pytest.param("a b\r\nc\r\n", [["a", "b"], ["c"]], id="CRLF"),
        pytest.param("a\rb", [["ab"]], id="a bare CR is dropped"),
        pytest.param('"a\r\nb"', [["a\r\nb"]], id="CR in a string stays"),
        pytest.param("\ufeffa", [["a"]], id="byte order mark"),
        pytest.param("a\ufeff", [["a\ufeff"]], id="byte order mark elsewhere is a character"),
        pytest.param("a\u00a0b\u2028c\u3000d", [["a", "b", "c", "d"]], id="Unicode white space"),
        pytest.param("a\x1cb\u200bc", [["a\x1cb\u200bc"]], id="what is no white space in Go"),
        pytest.param('a "b', [["a", "b"]], id="unclosed string"),
        pytest.param('a "b\\', [["a", "b"]], id="unclosed string ending in a backslash"),
        pytest.param('a "', [["a"]], id="quote at the end is nothing"),
    ],
)
def test_words_are_split_as_in_coredns(text: str, expected: list[list[str]]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a", [("a", 1, 1)], id="start"),
        pytest.param("\ufeffa b", [("a", 1, 1), ("b", 1, 3)], id="byte order mark is no column"),
        pytest.param("a\n  b\r\n\tc", [("a", 1, 1), ("b", 2, 3), ("c", 3, 2)], id="lines"),
        pytest.param(
            'é "ü" x', [("é", 1, 1), ("ü", 1, 3), ("x", 1, 7)], id="columns are characters"
        ),
        pytest.param(
            '"a\n b" c\nd', [("a\n b", 1, 1), ("c", 2, 5), ("d", 3, 1)], id="after a string"
        ),
        pytest.param("# x\n y", [("y", 2, 2)], id="after a comment"),
    ],
)
def test_positions(text: str, expected: list[tuple[str, int, int]]) -> None:
    found = [token for line in split(text, "Corefile")[0] for token in line]
    assert [(token.text, token.position.line, token.position.column) for token in found] == expected
    assert {token.position.file for token in found} == {"Corefile"}


@given(st.text(alphabet='ab{}"\\#\n\r \u00a0é', max_size=60))
def test_every_token_is_where_its_position_says(text: str) -> None:
    lines = text.split("\n")
    for token in (token for line in split(text, "f")[0] for token in line):
        written = "\n".join(lines[token.position.line - 1 :])[token.position.column - 1 :]
        if token.quoted:
            assert written.startswith('"' + token.text.replace('"', '\\"'))
        else:
            assert written.replace("\r", "").startswith(token.text)


def test_quoted_is_told() -> None:
    (line,) = split('a "b"', "f")[0]
    assert [token.quoted for token in line] == [False, True]


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [
        pytest.param(b"\xff", 1, 1, id="first byte"),
        pytest.param(b"a\nb\xc3\xa9 \xc3", 2, 4, id="cut short"),
        pytest.param(b"\xef\xbb\xbfab\xfe", 1, 3, id="after a byte order mark"),
        pytest.param(b"\xed\xa0\x80", 1, 1, id="surrogate"),
    ],
)
def test_bytes_that_are_not_utf8_are_refused(content: bytes, line: int, column: int) -> None:
    with pytest.raises(CorefileError, match="not UTF-8") as caught:
        decode(content, "Corefile")
    assert caught.value.position == Position("Corefile", line, column)


def test_surrogates_are_refused() -> None:
    with pytest.raises(CorefileError, match=r"^f:2:3: .*U\+D800"):
        split("a\nb \ud800", "f")


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        pytest.param('a\n "b', "f:2:2: this string is never closed", id="unclosed string"),
        pytest.param(
            "tls://9.9.9.9#dns.quad9.net", "f:1:1: '#dns.quad9.net' is left out", id="cut"
        ),
    ],
)
def test_what_is_odd_is_noticed(text: str, notice: str) -> None:
    (found,) = split(text, "f")[1]
    assert str(found).startswith(notice)


def test_errors_print_as_file_line_column_and_message() -> None:
    assert str(CorefileError("it is wrong: do right", Position("/etc/Corefile", 3, 7))) == (
        "/etc/Corefile:3:7: it is wrong: do right"
    )
