"""Packets with one canonical form are one question: whatever answers the one answers the other."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.dns.canonical import canonical
from kdns.dns.names import from_text
from kdns.dns.query import Query, parse

QUESTION = from_text("Web.Default") + b"\0\1\0\1"
PLAIN = bytes.fromhex("1234 0100 0001 0000 0000 0000") + QUESTION
WITH_OPT = bytes.fromhex("1234 0100 0001 0000 0000 0001") + QUESTION
OPT = bytes.fromhex("00 0029 04d0 00000000")


def cookie(length: int, byte: bytes = b"c") -> bytes:
    return (length + 4).to_bytes(2, "big") + b"\0\x0a" + length.to_bytes(2, "big") + byte * length


@pytest.mark.parametrize(
    ("packet", "ordinary"),
    {
        "plain": (PLAIN, True),
        "RD, AD and CD are free": (PLAIN[:2] + b"\0\x30" + PLAIN[4:], True),
        "AA is not": (PLAIN[:2] + b"\5\0" + PLAIN[4:], False),
        "TC is not": (PLAIN[:2] + b"\3\0" + PLAIN[4:], False),
        "RA is not": (PLAIN[:3] + b"\x80" + PLAIN[4:], False),
        "Z is not": (PLAIN[:3] + b"\x40" + PLAIN[4:], False),
        "an rcode is not": (PLAIN[:3] + b"\1" + PLAIN[4:], False),
        "a response is not": (PLAIN[:2] + b"\x81\0" + PLAIN[4:], False),
        "an opcode is not": (PLAIN[:2] + b"\x09\0" + PLAIN[4:], False),
        "junk behind": (PLAIN + b"\0", False),
        "cut short": (PLAIN[:-1], False),
        "no end of the name": (PLAIN[:14], False),
        "a header": (PLAIN[:12], False),
        "nothing": (b"", False),
        "EDNS": (WITH_OPT + OPT + b"\0\0", True),
        "a cookie of 8": (WITH_OPT + OPT + cookie(8), True),
        "a cookie of 16": (WITH_OPT + OPT + cookie(16), True),
        "a cookie of 40": (WITH_OPT + OPT + cookie(40), True),
        "a cookie of 9": (WITH_OPT + OPT + cookie(9), False),
        "another option": (WITH_OPT + OPT + b"\0\x08\xfd\xe9\0\4abcd", False),
        "a cookie and another option": (
            WITH_OPT + OPT + b"\0\x10" + cookie(8)[2:] + b"\xfd\xe9\0\0",
            False,
        ),
        "options counted and not there": (WITH_OPT + OPT + b"\0\x0c", False),
        "a cookie cut short": (WITH_OPT + OPT + cookie(8)[:-1], False),
        "OPT counted and not there": (WITH_OPT, False),
        "OPT there and not counted": (PLAIN + OPT + b"\0\0", False),
    }.values(),
    ids=lambda value: "" if isinstance(value, bytes) else str(value),
)
def test_what_is_ordinary(packet: bytes, ordinary: bool) -> None:
    assert (canonical(packet) is not None) == ordinary


def test_parts() -> None:
    form = canonical(WITH_OPT + OPT + cookie(8))
    assert form is not None
    key, header, name, rest, end = form
    assert header == WITH_OPT[2:12]
    assert name == b"\3web\7default\0"
    assert rest == b"\0\1\0\1" + OPT + cookie(8, b"\0")
    assert key == header + name + rest
    assert end == len(WITH_OPT)


def test_type_97_is_not_type_65() -> None:
    forms = {canonical(PLAIN[:-4] + qtype.to_bytes(2, "big") + b"\0\1")[0] for qtype in (65, 97)}
    assert len(forms) == 2


PIECES = st.sampled_from(
    [
        b"\0",
        b"\1a",
        b"\1A",
        b"\3a\0b",
        b"\3A\0B",
        b"\x41",
        b"\x61",
        b"\xc0\x0c",
        b"\2\0\1",
        b"\0\1",
        b"\0\x0a",
    ]
)
TAILS = st.sampled_from(
    [
        b"",
        OPT + b"\0\0",
        OPT + cookie(8),
        OPT + cookie(8, b"\0"),
        OPT + cookie(16),
        OPT + b"\0\4\0\x0a\0\0",
    ]
)


@st.composite
def nearly_ordinary(draw: st.DrawFn) -> bytes:
    header = draw(st.binary(min_size=2, max_size=2)) + bytes(
        (draw(st.integers(0, 1)), draw(st.sampled_from([0, 16, 32])), 0, 1, 0, 0, 0, 0, 0)
    )
    name = b"".join(draw(st.lists(PIECES, max_size=4)))
    tail = draw(TAILS)
    question = name + draw(st.sampled_from([b"\0", b""])) + draw(st.binary(min_size=4, max_size=4))
    return header + (b"\1" if tail else b"\0") + question + tail


def meaning(packet: bytes) -> object:
    """All that an answer may depend on, in a word that does not know of canonical forms."""
    found = parse(packet, "udp")
    if not isinstance(found, Query):
        return found if found is None else (found.rcode, found.query is None)
    edns = found.edns
    seen = None if edns is None else (edns.udp_limit(), edns.dnssec_ok, len(edns.options))
    return found.name, found.qtype, found.qclass, found.flags, seen


@given(st.lists(nearly_ordinary(), min_size=2, max_size=30))
def test_one_key_one_meaning(packets: list[bytes]) -> None:
    meanings: dict[bytes, object] = {}
    for packet in packets:
        for variant in (packet, packet.swapcase(), packet.upper(), packet.lower()):
            form = canonical(variant)
            if form is not None:
                assert meanings.setdefault(form[0], meaning(variant)) == meaning(variant)


@given(
    name=st.from_regex(r"[a-zA-Z]{1,9}(\.[a-zA-Z]{1,9}){0,4}\.", fullmatch=True),
    secret=st.binary(min_size=8, max_size=8),
    ident=st.integers(0, 65535),
)
def test_what_may_differ(name: str, secret: bytes, ident: int) -> None:
    def form(name: str, ident: int, cookie: bytes) -> object:
        asked = dns.message.make_query(name, "AAAA", use_edns=0, payload=4096, id=ident)
        asked.use_edns(0, payload=4096, options=[dns.edns.GenericOption(10, cookie)])
        found = canonical(asked.to_wire())
        assert found is not None
        return found[0]

    assert form(name, ident, secret) == form(name.swapcase(), ident ^ 0xFFFF, bytes(8))


def test_what_may_not_differ() -> None:
    asked = [
        dns.message.make_query("web.default.", "A"),
        dns.message.make_query("web.default.", "AAAA"),
        dns.message.make_query("web.default.", "A", rdclass="CH"),
        dns.message.make_query("web.defaults.", "A"),
        dns.message.make_query("web.default.", "A", use_edns=0, payload=1232),
        dns.message.make_query("web.default.", "A", use_edns=0, payload=1220),
        dns.message.make_query(
            "web.default.", "A", use_edns=0, payload=1232, ednsflags=dns.flags.DO
        ),
    ]
    for flag in (dns.flags.CD, dns.flags.AD):
        asked.append(dns.message.make_query("web.default.", "A"))
        asked[-1].flags |= flag
    asked.append(dns.message.make_query("web.default.", "A"))
    asked[-1].flags = 0
    keys = {canonical(each.to_wire())[0] for each in asked}
    assert len(keys) == len(asked)


@pytest.mark.parametrize("flags", [0, 1, 0x4000])
def test_payloads_and_flags_come_to_no_more_forms_than_answers(flags: int) -> None:
    asked = (
        dns.message.make_query("web.default.", "A", use_edns=0, payload=size, ednsflags=flags)
        for size in (*range(1500), *range(1500, 65536, 97))
    )
    assert len({canonical(each.to_wire())[0] for each in asked}) < 750
