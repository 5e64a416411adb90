"""Names as text and as wire, there and back."""

from __future__ import annotations

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.dns.names import MAX_NAME, ROOT, BadName, from_text, label, labels, suffixes, to_text

LABELS = st.binary(min_size=1, max_size=63)
CONTENTS = st.lists(LABELS, max_size=8).filter(
    lambda contents: sum(map(len, contents)) + len(contents) < MAX_NAME
)


def wire_of(contents: list[bytes]) -> bytes:
    return b"".join(map(label, contents)) + ROOT


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("", b"\0"),
        (".", b"\0"),
        ("a", b"\1a\0"),
        ("a.", b"\1a\0"),
        ("Web.Default.svc", b"\3Web\7Default\3svc\0"),
        (r"a\.b", b"\3a.b\0"),
        (r"a\.", b"\2a.\0"),
        (r"\.", b"\1.\0"),
        (r"\\.", b"\1\\\0"),
        (r"\046.\046", b"\1.\1.\0"),
        (r"\000\255", b"\2\0\xff\0"),
        (r"\"q\"", b'\3"q"\0'),
        ("é", b"\2\xc3\xa9\0"),
        ("a" * 63, b"\x3f" + b"a" * 63 + b"\0"),
        ("*._tcp.0/25", b"\1*\4_tcp\0040/25\0"),
        (
            ".".join(["a" * 63] * 3 + ["b" * 61]),
            (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"b" * 61 + b"\0",
        ),
    ],
)
def test_from_text(text: str, wire: bytes) -> None:
    assert from_text(text) == wire


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("..", "empty label"),
        (".a", "empty label"),
        ("a..b", "empty label"),
        ("a" * 64, "longer than 63 bytes"),
        ("é" * 32, "longer than 63 bytes"),
        (".".join(["a" * 63] * 3 + ["b" * 62]), "longer than 255 bytes"),
        ("a\\", "unfinished escape"),
        (r"a\1", "unfinished escape"),
        (r"a\12", "unfinished escape"),
        (r"a\1x2", "unfinished escape"),
        (r"a\256", r"\256, above \255"),
        (r"a\999", "above"),
    ],
)
def test_text_that_is_no_name(text: str, says: str) -> None:
    with pytest.raises(BadName, match=says.replace("\\", r"\\")):
        from_text(text)


@pytest.mark.parametrize("content", [b"", b"a" * 64, ""])
def test_a_label_has_1_to_63_bytes(content: bytes | str) -> None:
    with pytest.raises(BadName):
        label(content)


@given(CONTENTS)
def test_wire_to_text_and_back(contents: list[bytes]) -> None:
    wire = wire_of(contents)
    text = to_text(wire)
    assert from_text(text) == wire
    assert text.isascii()
    assert text.isprintable()
    assert text.endswith(".")


@given(CONTENTS.filter(bool))
def test_a_relative_name_has_no_final_dot(contents: list[bytes]) -> None:
    relative = wire_of(contents)[:-1]
    assert to_text(relative) + "." == to_text(relative + ROOT)
    assert labels(relative) == contents


@given(CONTENTS)
def test_text_means_the_same_to_dnspython(contents: list[bytes]) -> None:
    wire = wire_of(contents)
    assert dns.name.from_text(to_text(wire)).to_wire() == wire


@given(CONTENTS)
def test_lower_case_of_the_wire_is_the_canonical_case(contents: list[bytes]) -> None:
    wire = wire_of(contents)
    assert wire.lower() == dns.name.from_wire(wire, 0)[0].canonicalize().to_wire()


@given(CONTENTS)
def test_suffixes_are_the_names_above(contents: list[bytes]) -> None:
    wire = wire_of(contents)
    found = suffixes(wire)
    assert [suffix for _, suffix in found] == [wire_of(contents[n:]) for n in range(len(contents))]
    assert all(wire[at:] == suffix for at, suffix in found)


@given(st.text())
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        wire = from_text(text)
    except BadName:
        return
    assert len(wire) <= MAX_NAME
    assert wire_of(labels(wire)) == wire
