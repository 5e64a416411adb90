"""Kept answers whose TTLs count down."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.dns import codes
from kdns.dns.names import from_text
from kdns.dns.query import HEADER
from kdns.dns.rdata import RRset
from kdns.dns.render import body, heading
from kdns.dns.reply import STEADY, Reply
from kdns.frontend.kept import Counting, Kept, ttl_offsets
from kdns.telemetry.traffic import Tally

NAME = "www.example.org."
OPT = bytes.fromhex("00 0029 04d0 00008000 0006 000f0002000d")
COUNTED = 1_000


def records(owner: str, ttl: int, rtype: str, *rdatas: str) -> RRset:
    found = dns.rrset.from_text(owner, ttl, "IN", rtype, *rdatas)
    wire = [each.to_wire() for each in found]
    return RRset(from_text(owner), found.rdtype.value, ttl, wire)


ALIAS = records(NAME, 300, "CNAME", "web.example.net.")
PAIR = records("web.example.net.", 60, "A", "192.0.2.1", "192.0.2.2", "192.0.2.3")
SOA = records("org.", 900, "SOA", "ns.org. root.org. 1 2 3 4 5")
GLUE = records("ns.org.", 7, "AAAA", "2001:db8::1")


def counting(
    *answer: RRset,
    authority: tuple[RRset, ...] = (),
    additional: tuple[RRset, ...] = (),
    rotate: bool = False,
    opt: bytes = b"",
    limit: int = 1232,
    ends: int = COUNTED + 50,
    steady: int = 0,
) -> Counting:
    """A reply to a query for A at NAME, as the responder keeps it."""
    reply = Reply(
        answer=list(answer), authority=list(authority), additional=list(additional), rotate=rotate
    )
    name = from_text(NAME)
    question = name + b"\0\1\0\1"
    rendered = body(reply, name, limit - len(opt))
    kept = Kept(heading(0x0100, question, rendered, opt) + rendered.head, Tally(None))
    if rendered.width:
        kept.rotate(rendered.ring, rendered.width, rendered.window, rendered.tail + opt)
    else:
        kept.rest += opt
    return Counting(kept, HEADER - 2 + len(question), COUNTED, ends, steady)


def at(answer: Counting, second: int) -> dns.message.Message:
    return dns.message.from_wire(b"\0\1" + answer.at(second).whole(), one_rr_per_rrset=True)


def ttls(message: dns.message.Message) -> list[int]:
    return [each.ttl for section in message.sections[1:] for each in section]


CASES = {
    "one record": (counting(GLUE._replace(owner=from_text(NAME))), [7]),
    "an alias": (counting(ALIAS, PAIR), [300, 60, 60, 60]),
    "a ring": (counting(ALIAS, PAIR, rotate=True), [300, 60, 60, 60]),
    "a ring and what is behind it": (
        counting(ALIAS, PAIR, authority=(SOA,), additional=(GLUE,), rotate=True, opt=OPT),
        [300, 60, 60, 60, 900, 7],
    ),
    "a ring alone": (counting(PAIR._replace(owner=from_text(NAME)), rotate=True), [60, 60, 60]),
    "a ring of which a part fits": (
        counting(ALIAS, PAIR, rotate=True, limit=HEADER + 21 + 30 + 33),
        [300, 60, 60],
    ),
    "a denial": (counting(authority=(SOA,), opt=OPT), [900]),
    "nothing but OPT": (counting(opt=OPT), []),
    "nothing at all": (counting(), []),
}


@pytest.mark.parametrize(("answer", "expected"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("passed", [-3, 0, 1, 6, 7, 8, 49])
def test_ttls_count_down_and_nothing_else_does(
    answer: Counting, expected: list[int], passed: int
) -> None:
    first, found = at(answer, COUNTED), at(answer, COUNTED + passed)
    assert ttls(first) == expected
    assert ttls(found) == [max(0, ttl - max(0, passed)) for ttl in expected]
    assert found.flags == first.flags
    assert found.opt == first.opt
    assert found.options == first.options
    assert found.question == first.question
    for one, other in zip(first.sections[1:], found.sections[1:], strict=True):
        one_set = {(each.name, each.rdtype, each[0].to_text()) for each in one}
        other_set = {(each.name, each.rdtype, each[0].to_text()) for each in other}
        assert len(one) == len(other)
        if not first.flags & dns.flags.TC:
            assert one_set == other_set


def test_opt_is_left_alone() -> None:
    answer = counting(ALIAS, PAIR, rotate=True, opt=OPT)
    assert answer.at(COUNTED + 30).whole().endswith(OPT)
    answer = counting(ALIAS, opt=OPT)
    assert answer.at(COUNTED + 30).whole().endswith(OPT)


def test_a_ring_turns_within_a_second_and_from_one_to_the_next() -> None:
    answer = counting(PAIR._replace(owner=from_text(NAME)), rotate=True)

    def first(kept: Kept) -> str:
        message = dns.message.from_wire(b"\0\1" + kept.whole(), one_rr_per_rrset=True)
        return message.answer[0][0].address

    for second in range(COUNTED, COUNTED + 4):
        kept = answer.at(second)
        assert len({first(kept) for _ in range(3)}) == 3
    assert len({first(answer.at(second)) for second in range(COUNTED + 1, COUNTED + 4)}) == 3


def test_all_seconds_count_in_one_tally() -> None:
    answer = counting(ALIAS, PAIR, rotate=True)
    for second in range(COUNTED, COUNTED + 10):
        answer.at(second).whole()
    assert answer.kept.tally.count == 10


@pytest.mark.parametrize(
    ("steady", "expected"),
    [(0, [290, 50, 50, 50]), (1, [300, 50, 50, 50]), (STEADY, [300, 60, 60, 60])],
)
@pytest.mark.parametrize("rotate", [False, True])
def test_what_is_steady(steady: int, expected: list[int], rotate: bool) -> None:
    answer = counting(ALIAS, PAIR, rotate=rotate, steady=steady)
    assert ttls(at(answer, COUNTED + 10)) == expected


def test_all_of_a_steady_answer_is() -> None:
    answer = counting(
        ALIAS, PAIR, authority=(SOA,), additional=(GLUE,), rotate=True, opt=OPT, steady=STEADY + 1
    )
    assert ttls(at(answer, COUNTED + 10)) == [300, 60, 60, 60, 900, 7]


OWNERS = st.sampled_from([NAME, "example.org.", "web.example.net.", "other.", "."])
SETS = st.builds(
    lambda owner, rtype, ttl, count: RRset(
        from_text(owner), rtype, ttl, [bytes((n, *range(3))) for n in range(count)]
    ),
    OWNERS,
    st.sampled_from([codes.A, codes.TXT, 65280]),
    st.integers(0, 2**31 - 1),
    st.integers(1, 4),
)


@given(
    answer=st.lists(SETS, max_size=3),
    authority=st.lists(SETS, max_size=3),
    rotate=st.booleans(),
    opt=st.sampled_from([b"", OPT]),
    passed=st.integers(0, 2**31),
)
def test_what_is_kept_is_what_would_be_rendered(answer, authority, rotate, opt, passed) -> None:
    """A second later the bytes are those of a reply whose TTLs are a second less."""

    def older(sets: list[RRset]) -> list[RRset]:
        return [each._replace(ttl=max(0, each.ttl - passed)) for each in sets]

    made = counting(*answer, authority=authority, rotate=rotate, opt=opt)
    expected = counting(*older(answer), authority=older(authority), rotate=rotate, opt=opt)
    found = made.at(COUNTED + passed)
    assert (found.rest, found.after) == (expected.kept.rest, expected.kept.after)
    assert (found.ring, found.width) == (expected.kept.ring, expected.kept.width)
    assert (found.span, found.window) == (expected.kept.span, expected.kept.window)


@given(st.binary(max_size=60), st.integers(0, 20))
def test_offsets_are_where_ttls_are(junk: bytes, count: int) -> None:
    records_ = b"".join(
        b"\1a\xc0\x0c" + bytes((0, 16, 0, 1, 0, 0, 0, n, 0, len(junk))) + junk for n in range(count)
    )
    offsets = ttl_offsets(b"head" + records_ + OPT, 4)
    size = 4 + 10 + len(junk)
    assert offsets == tuple(4 + n * size + 8 for n in range(count))


def test_a_record_s_size_is_counted() -> None:
    small, large = counting(ALIAS), counting(ALIAS, PAIR, rotate=True)
    assert 400 < small.size < large.size
