"""Any text is a Corefile or a CorefileError, in bounded time."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdns.corefile.parser import Corefile, Directive, load, parse
from kdns.corefile.stream import MAX_IMPORTS, MAX_TOKENS
from kdns.corefile.tokens import CorefileError

ENVIRON = {"A": "a", "LOOP": "{%LOOP%}", "GROW": "x{$GROW}", "OPEN": "{", "IMPORT": "import"}
PIECES = """a b.example . :53 .:1053 tls://. 10.0.0.0/23 fd00::/7 [::1]:53 log errors { } {} {{ }}
    (s) (t) import s t one two *.glob none , a, # \\ " "" "{" "}" "q {$A} {%A%} {$LOOP} {$GROW}
    {$OPEN} {$IMPORT} {$ {% {$} \0""".split()  # noqa: SIM905 - forty words of quotes and braces
SEPARATORS = [" ", " ", "\n", "\n", "", "\r\n", "\u00a0", "\ufeff"]


@st.composite
def corefiles(draw: st.DrawFn) -> str:
    pieces = draw(st.lists(st.sampled_from(PIECES), max_size=30))
    return "".join(piece + draw(st.sampled_from(SEPARATORS)) for piece in pieces)


def check(content: str | bytes, file: str) -> None:
    try:
        corefile = parse(content, file, ENVIRON)
    except CorefileError as error:
        refused = error
    else:
        assert isinstance(corefile, Corefile)
        assert all(block.keys for block in corefile.blocks)
        assert len(corefile.digest()) == 128
        return
    place = refused.position
    assert place.line >= 1
    assert place.column >= 1
    assert str(refused) == f"{place.file}:{place.line}:{place.column}: {refused.message}"
    assert len(refused.message) < 3000
    assert "\n" not in refused.message


@given(st.text() | corefiles())
def test_any_text(text: str) -> None:
    check(text, "/nonexistent/Corefile")


@given(st.binary())
def test_any_bytes(content: bytes) -> None:
    check(content, "/nonexistent/Corefile")


@given(main=corefiles(), one=corefiles(), two=corefiles())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_files(tmp_path: Path, main: str, one: str, two: str) -> None:
    (tmp_path / "one").write_text(one)
    (tmp_path / "two").write_text(two)
    (tmp_path / "three.glob").write_text(one)
    check(main, str(tmp_path / "Corefile"))


WORDS = st.text(alphabet='abc.{}()#,$% \n\té"', max_size=8).filter(
    lambda word: word not in ("", "{", "}", "import") and "{$" not in word and "{%" not in word
)


@st.composite
def lines(draw: st.DrawFn, depth: int = 0) -> list[list[object]]:
    """Directives as lists of words, the last of which may be such a list again."""
    directives: list[list[object]] = []
    for _ in range(draw(st.integers(0, 3))):
        directive: list[object] = [*draw(st.lists(WORDS, min_size=1, max_size=3))]
        if depth < 3 and draw(st.booleans()):
            directive.append(draw(lines(depth + 1)))
        directives.append(directive)
    return directives


def written(directives: list[list[object]]) -> str:
    text = ""
    for directive in directives:
        for word in directive:
            if isinstance(word, list):
                text += "{\n" + written(word) + "}"
            else:
                text += '"' + str(word).replace('"', '\\"') + '" '
        text += "\n"
    return text


@given(lines())
def test_what_is_written_is_what_is_read(directives: list[list[object]]) -> None:
    def plain(entries: tuple[Directive, ...]) -> list[list[object]]:
        found: list[list[object]] = []
        for entry in entries:
            words: list[object] = [entry.name.text, *(arg.text for arg in entry.args)]
            if entry.block is not None:
                words.append(plain(entry.block))
            found.append(words)
        return found

    (block,) = parse(f". {{\n{written(directives)}}}", "Corefile", {}).blocks
    assert plain(block.directives) == directives


SNIPPETS = (
    "".join(f"(s{n}) {{\n import s{n + 1}\n import s{n + 1}\n}}\n" for n in range(40))
    + "(s40) {\n}\n"
)
CHAIN = "".join(f"(s{n}) {{\n import s{n + 1}\n}}\n" for n in range(MAX_IMPORTS + 1))
WIDE = "(s) {\n" + "log\n" * 1000 + "}\n"


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(SNIPPETS + "import s0", f"more than {MAX_IMPORTS} imports", id="doubling"),
        pytest.param(CHAIN + "import s0", f"more than {MAX_IMPORTS} imports", id="chain"),
        pytest.param(
            WIDE + ". {\n" + "import s\n" * 1001 + "}", f"more than {MAX_TOKENS} words", id="wide"
        ),
        pytest.param(". {\n" + "a {\n" * 100_000, "nested more than 100 deep", id="deep"),
        pytest.param("{ " * 100_000, "'{' belongs at the end", id="braces"),
        pytest.param(". " * 100_000, "already", id="keys"),
        pytest.param("." + '\\"' * 500_000, "longer than", id="escapes"),
        pytest.param('"' + "\\" * 1_000_001, "longer than", id="backslashes"),
        pytest.param("a " + "{$A}" * 100_000 + "b", "longer than", id="variables"),
        pytest.param("{$" * 200_000, "longer than", id="open references"),
        pytest.param("." + ":1" * 500_000, "longer than", id="colons"),
        pytest.param("1." * 500_000 + "/8", "longer than", id="CIDR"),
    ],
)
def test_bounded_time(text: str, message: str) -> None:
    with pytest.raises(CorefileError, match=message) as caught:
        parse(text, "Corefile", ENVIRON)
    assert len(caught.value.message) < 3000


@pytest.mark.timeout(30)
def test_a_glob_that_imports_itself_through_another_name(tmp_path: Path) -> None:
    (tmp_path / "Corefile").write_text("import x/*")
    (tmp_path / "x").symlink_to(".")
    with pytest.raises(CorefileError):
        load(tmp_path / "Corefile", {})
