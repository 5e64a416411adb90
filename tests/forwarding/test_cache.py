"""What is kept of what upstreams said, for how long, and what is given of it."""

from __future__ import annotations

import dns.message
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdns.dns import codes
from kdns.dns.names import from_text
from kdns.dns.query import AD, CD, RD, Query, parse
from kdns.dns.rdata import RRset
from kdns.dns.reply import STEADY, Reply
from kdns.forwarding.cache import Cache, Prefetch, Settings, Stale, key_of
from kdns.forwarding.entries import LARGEST, OVERHEAD, Entries, Entry
from kdns.forwarding.retention import Bounds, retained
from kdns.telemetry.series import Count

NAME = "www.example.org."
A = f"{NAME} 300 IN A 192.0.2.1"
ALIAS = f"{NAME} 120 IN CNAME web.example.net."
TARGET = "web.example.net. 60 IN A 192.0.2.2"
SOA = "example.org. {ttl} IN SOA ns.example.org. root.example.org. 1 7200 3600 1209600 {minimum}"


def sets(*lines: str) -> list[RRset]:
    """Record sets of zone-file lines, each a set of its own."""
    made = []
    for line in lines:
        owner, ttl, _, rtype, rdata = line.split(maxsplit=4)
        rdatas = dns.rrset.from_text(owner, int(ttl), "IN", rtype, *rdata.split(" | "))
        wire = tuple(each.to_wire() for each in rdatas)
        made.append(RRset(from_text(owner), dns.rdatatype.from_text(rtype), int(ttl), wire))
    return made


def soa(ttl: int = 900, minimum: int = 600) -> str:
    return SOA.format(ttl=ttl, minimum=minimum)


def reply(*answer: str, rcode: int = codes.NOERROR, authority: tuple[str, ...] = (), **fields):
    return Reply(rcode, sets(*answer), sets(*authority), lifetime=0, plugin="forward", **fields)


def query(name: str = NAME, qtype: str = "A", **options) -> Query:
    made = parse(dns.message.make_query(name, qtype, **options).to_wire(), "udp")
    assert isinstance(made, Query)
    return made


def ttls(found: Reply) -> list[int]:
    return [each.ttl for each in (*found.answer, *found.authority, *found.additional)]


class Asked:
    """A cache and its clock."""

    def __init__(self, **options):
        self.now = 1_000
        self.evicted = {"success": Count(), "denial": Count()}
        self.chance = 0.0
        self.cache = Cache(Settings(**options), self.evicted, lambda: self.chance)

    def take(self, said: Reply, asked: Query | None = None):
        asked = asked or query()
        return self.cache.take(key_of(asked), asked, said, self.now)

    def find(self, asked: Query | None = None):
        asked = asked or query()
        return self.cache.find(key_of(asked), asked.name, self.now)

    def half(self, asked: Query | None = None) -> str | None:
        found = self.find(asked)
        return None if found is None else found.half

    def at(self, second: int):
        """What is found so many seconds after the start."""
        self.now = 1_000 + second
        return self.find()


NXDOMAIN, SERVFAIL, REFUSED = codes.NXDOMAIN, codes.SERVFAIL, codes.REFUSED

RETAINED = {
    "an answer, for its TTL": (reply(A), "A", "success", 300),
    "an answer of another type": (reply(f"{NAME} 9 IN MX 1 m."), "MX", "success", 9),
    "no longer than is allowed": (reply(f"{NAME} 86400 IN A 192.0.2.1"), "A", "success", 3600),
    "the alias and what it leads to, for the lesser": (reply(ALIAS, TARGET), "A", "success", 60),
    "TTL 0 (RFC 1035 §3.2.1)": (
        reply(f"{NAME} 0 IN A 1.1.1.1"),
        "A",
        "success",
        0,
    ),
    "TTL 0 behind an alias": (
        reply(ALIAS, "web.example.net. 0 IN A 1.1.1.1"),
        "A",
        "success",
        0,
    ),
    "a lone alias, asked for": (reply(ALIAS), "CNAME", "success", 120),
    "whatever there is, for ANY": (reply(ALIAS), "ANY", "success", 120),
    "an alias that leads nowhere, without SOA": (reply(ALIAS), "A", "denial", 0),
    "an alias that leads to no such record (RFC 2308 §2.2)": (
        reply(ALIAS, authority=(soa(),)),
        "A",
        "denial",
        120,
    ),
    "NODATA, for the SOA's TTL": (reply(authority=(soa(200, 600),)), "A", "denial", 200),
    "NODATA, for the SOA's minimum (RFC 2308 §5)": (
        reply(authority=(soa(900, 600),)),
        "A",
        "denial",
        600,
    ),
    "NODATA without SOA (RFC 2308 §5)": (reply(), "A", "denial", 0),
    "NXDOMAIN": (reply(rcode=NXDOMAIN, authority=(soa(),)), "A", "denial", 600),
    "NXDOMAIN, no longer than is allowed": (
        reply(rcode=NXDOMAIN, authority=(soa(86400, 86400),)),
        "A",
        "denial",
        1800,
    ),
    "NXDOMAIN with a minimum of 0": (
        reply(rcode=NXDOMAIN, authority=(soa(900, 0),)),
        "A",
        "denial",
        0,
    ),
    "NXDOMAIN without SOA (RFC 2308 §5)": (reply(rcode=NXDOMAIN), "A", "denial", 0),
    "NXDOMAIN at the end of an alias (RFC 2308 §2.1)": (
        reply(ALIAS, rcode=NXDOMAIN, authority=(soa(),)),
        "A",
        "denial",
        120,
    ),
    "NXDOMAIN with the record that it denies": (reply(A, rcode=NXDOMAIN), "A", "denial", 0),
    "an SOA record that was asked for": (reply(soa()), "SOA", "success", 900),
    "SERVFAIL (RFC 9520 §2.1)": (reply(rcode=SERVFAIL), "A", "error", 5),
    "REFUSED (RFC 9520 §2.2)": (reply(rcode=REFUSED), "A", "error", 5),
    "FORMERR (RFC 9520 §2.7)": (reply(rcode=codes.FORMERR), "A", "error", 5),
    "NOTIMP": (reply(rcode=codes.NOTIMP), "A", "error", 5),
    "SERVFAIL with records": (reply(A, rcode=SERVFAIL), "A", "error", 5),
}


@pytest.mark.parametrize(
    ("said", "qtype", "kind", "seconds"), RETAINED.values(), ids=RETAINED.keys()
)
def test_what_is_kept_and_how_long(said: Reply, qtype: str, kind: str, seconds: int) -> None:
    wanted = dns.rdatatype.from_text(qtype)
    found = retained(said, wanted, Bounds(3600), Bounds(1800), 5)
    assert (found.kind, found.seconds) == (kind, seconds)

    made = Asked()
    kept = made.take(said, query(qtype=qtype))
    hit = made.find(query(qtype=qtype))
    assert (hit is not None) == bool(seconds)
    assert kept.stands == (kind != "error")
    if hit is None:
        assert kept.reply == said
        return
    assert hit.half == ("success" if kind == "success" else "denial")
    assert hit.reply.lifetime == seconds
    made.now += seconds - 1
    assert made.find(query(qtype=qtype)) is not None
    made.now += 1
    assert made.find(query(qtype=qtype)) is None


def test_a_malformed_soa_is_none() -> None:
    broken = RRset(b"\3org\0", codes.SOA, 900, [b"\0" * 21])
    said = reply(rcode=NXDOMAIN).changed(authority=[broken])
    assert retained(said, codes.A, Bounds(3600), Bounds(1800), 5).seconds == 0


@pytest.mark.parametrize(
    ("said", "bounds", "expected"),
    [
        (reply(f"{NAME} 2 IN A 192.0.2.1"), Bounds(3600), [2]),
        (reply(f"{NAME} 2 IN A 192.0.2.1"), Bounds(3600, 5), [5]),
        (reply(ALIAS, "web.example.net. 2 IN A 192.0.2.2"), Bounds(30, 5), [30, 5]),
        (reply(ALIAS, TARGET), Bounds(3600), [120, 60]),
        (reply(A), Bounds(10, 20), [10]),
    ],
    ids=["as it is", "lifted", "each within the bounds", "each its own", "the most wins"],
)
def test_record_sets_keep_their_own_ttls(said: Reply, bounds: Bounds, expected: list[int]) -> None:
    made = Asked(success=bounds)
    kept = made.take(said)
    assert ttls(kept.reply) == expected
    assert (kept.reply.lifetime, kept.reply.counted) == (0, None)
    assert ttls(made.find().reply) == expected
    assert made.find().reply.lifetime == min(expected)


def test_a_ttl_of_0_is_not_lifted() -> None:
    made = Asked(success=Bounds(3600, 5), denial=Bounds(3600, 5))
    made.take(reply(f"{NAME} 0 IN A 192.0.2.1"))
    assert made.find() is None
    made.take(reply(rcode=NXDOMAIN, authority=(soa(0, 60),)))
    assert made.find() is None


def test_the_soa_of_a_denial_says_how_long_it_is_denied() -> None:
    made = Asked()
    kept = made.take(reply(rcode=NXDOMAIN, authority=(soa(900, 600),)))
    assert ttls(kept.reply) == [600]
    assert ttls(made.at(100).reply) == [500]


def test_ttls_count_down_and_all_else_stays() -> None:
    made = Asked()
    said = reply(
        ALIAS,
        "web.example.net. 60 IN A 192.0.2.2 | 192.0.2.3",
        recursion_available=True,
        authentic=True,
        extended_error=(3, "upstream's"),
    )
    first = made.take(said).reply
    for second in range(60):
        found = made.at(second)
        assert found.half == "success"
        assert not found.stale
        assert ttls(found.reply) == [120 - second, 60 - second]
        assert found.reply.lifetime == 60 - second
        assert found.reply.counted == 1_000 + second
        assert found.reply.recursion_available
        assert found.reply.authentic
        assert not found.reply.authoritative
        assert found.reply.extended_error == (3, "upstream's")
        assert [each._replace(ttl=0, rdatas=()) for each in found.reply.answer] == [
            each._replace(ttl=0, rdatas=()) for each in first.answer
        ]
        assert [tuple(each.rdatas) for each in found.reply.answer] == [
            each.rdatas for each in first.answer
        ]
    assert made.at(60) is None
    assert len(made.cache.success) == 0


def test_keepttl() -> None:
    made = Asked(keep_ttl=True)
    made.take(reply(A))
    found = made.at(299)
    assert ttls(found.reply) == [300]
    assert (found.reply.lifetime, found.reply.steady) == (1, STEADY)
    assert made.at(300) is None


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (query("WWW.eXample.org"), True),
        (query(payload=4096), True),
        (query(use_edns=0, payload=512), True),
        (query(flags=RD | AD), True),
        (query("example.org"), False),
        (query(qtype="AAAA"), False),
        (query(want_dnssec=True), False),
        (query(flags=RD | CD), False),
        (query(flags=0), False),
    ],
    ids=["case", "payload", "EDNS", "AD", "name", "type", "DO", "CD", "RD"],
)
def test_what_an_answer_is_for(other: Query, same: bool) -> None:
    made = Asked()
    made.take(reply(A))
    assert (made.find(other) is not None) == same


def test_another_class_is_another_question() -> None:
    packet = dns.message.make_query(NAME, "A", "CH").to_wire()
    asked = parse(packet, "udp")
    assert isinstance(asked, Query)
    assert key_of(asked) != key_of(query())


# Errors.


def test_an_error_is_told_once_and_then_remembered() -> None:
    made = Asked()
    said = reply(rcode=SERVFAIL, extended_error=(22, "nobody answered"), failure="why")
    kept = made.take(said)
    assert kept == (said, False)
    found = made.at(1)
    assert found.half == "denial"
    assert found.reply.rcode == SERVFAIL
    assert found.reply.extended_error == (codes.EDE_CACHED_ERROR, "nobody answered")
    assert found.reply.lifetime == 4
    assert not found.reply.failure
    assert made.at(5) is None


@pytest.mark.parametrize("error", [0, 1, 300])
def test_how_long_an_error_is_remembered(error: int) -> None:
    made = Asked(error=error)
    made.take(reply(rcode=REFUSED))
    assert [made.at(second) is not None for second in (0, error)] == [error > 0, False]


def test_an_error_is_not_remembered_in_the_place_of_an_answer() -> None:
    made = Asked()
    made.take(reply(A))
    made.take(reply(rcode=SERVFAIL))
    assert made.find().half == "success"
    made.take(reply(rcode=NXDOMAIN, authority=(soa(),)))
    made.take(reply(rcode=SERVFAIL))
    assert made.find().reply.rcode == NXDOMAIN


def test_errors_are_never_stale() -> None:
    made = Asked(stale=Stale())
    made.take(reply(rcode=SERVFAIL))
    assert made.at(5) is None


# One half takes over from the other.


def test_the_last_word_counts() -> None:
    made = Asked()
    for said, half in [
        (reply(A), "success"),
        (reply(rcode=NXDOMAIN, authority=(soa(),)), "denial"),
        (reply(authority=(soa(),)), "denial"),
        (reply(A), "success"),
    ]:
        made.take(said)
        assert made.half() == half
        assert len(made.cache.success) + len(made.cache.denial) == 1


@pytest.mark.parametrize(
    "said",
    [reply(f"{NAME} 0 IN A 192.0.2.1"), reply(rcode=NXDOMAIN), reply()],
    ids=["TTL 0", "NXDOMAIN without SOA", "NODATA without SOA"],
)
def test_what_is_not_kept_takes_the_place_of_what_was_known(said: Reply) -> None:
    made = Asked(stale=Stale())
    made.take(reply(A))
    assert made.at(300).stale
    assert made.take(said).stands
    assert made.find() is None


def test_zones_that_are_not_cached() -> None:
    org = frozenset([from_text("example.org")])
    made = Asked(plain_success=org, plain_denial=frozenset([b"\0"]))
    for name, half in [(NAME, None), ("example.org", None), ("xexample.org", "success")]:
        made.take(reply(A), query(name))
        assert made.half(query(name)) == half
    made.take(reply(rcode=NXDOMAIN, authority=(soa(),)), query("xexample.org"))
    assert made.half(query("xexample.org")) is None


# Serving stale (RFC 8767).


def test_a_stale_answer() -> None:
    made = Asked(stale=Stale())
    made.take(reply(ALIAS, TARGET, authentic=True))
    assert not made.at(59).stale
    found = made.at(60)
    assert (found.half, found.stale, found.due) == ("success", True, True)
    assert ttls(found.reply) == [30, 30]
    assert found.reply.extended_error == (codes.EDE_STALE, "")
    assert found.reply.lifetime == 0
    assert made.at(60 + 3599).stale
    assert made.at(60 + 3600) is None


def test_a_stale_denial() -> None:
    made = Asked(stale=Stale(ttl=7))
    made.take(reply(rcode=NXDOMAIN, authority=(soa(),)))
    found = made.at(600)
    assert (found.half, found.stale) == ("denial", True)
    assert found.reply.extended_error == (codes.EDE_STALE_NXDOMAIN, "")
    assert ttls(found.reply) == [7]
    made.take(reply(authority=(soa(),)))
    assert made.at(1_200 + 600).reply.extended_error == (codes.EDE_STALE, "")


@pytest.mark.parametrize(
    ("recheck", "error", "expected"),
    [(0, 5, 5), (0, 0, 1), (30, 5, 30), (0.25, 5, 1), (2.5, 5, 3)],
)
def test_a_refresh_that_failed_is_not_tried_again_at_once(
    recheck: float, error: int, expected: int
) -> None:
    made = Asked(stale=Stale(recheck=recheck), error=error)
    made.take(reply(A))
    assert made.at(310).due
    assert not made.take(reply(rcode=SERVFAIL)).stands
    for second in range(expected):
        found = made.at(310 + second)
        assert found.stale
        assert not found.due
        assert found.reply.lifetime == expected - second
        assert found.reply.steady == STEADY
        assert ttls(found.reply) == [30]
    assert made.at(310 + expected).due


def test_a_stale_answer_does_not_extend_itself() -> None:
    made = Asked(stale=Stale(window=100))
    made.take(reply(A))
    for second in range(300, 400):
        assert made.at(second).stale
        made.take(reply(rcode=SERVFAIL))
    assert made.at(400) is None


def test_a_stale_answer_is_given_on_no_longer_than_it_lasts() -> None:
    made = Asked(stale=Stale(window=10, recheck=300))
    made.take(reply(A))
    made.at(305)
    made.take(reply(rcode=SERVFAIL))
    assert made.at(306).reply.lifetime == 4


def test_stale_is_never_given_over_a_fresh_denial() -> None:
    made = Asked(stale=Stale())
    made.take(reply(A))
    assert made.at(400).stale
    made.take(reply(rcode=NXDOMAIN, authority=(soa(),)))
    found = made.find()
    assert (found.half, found.stale, found.reply.rcode) == ("denial", False, NXDOMAIN)
    assert made.at(400 + 600).half == "denial"


def test_prefer_positive() -> None:
    made = Asked(stale=Stale(window=1000, prefer_positive=True, recheck=20))
    made.take(reply(A))
    made.at(400)
    assert not made.take(reply(rcode=NXDOMAIN, authority=(soa(),))).stands
    found = made.find()
    assert (found.half, found.stale, found.due) == ("success", True, False)
    assert made.at(420).due
    assert made.take(reply(rcode=NXDOMAIN)).stands is False
    assert made.find().half == "success"
    assert made.take(reply(A)).stands
    assert not made.find().stale
    assert len(made.cache.denial) == 0
    made.at(420 + 300 + 1000)
    made.take(reply(rcode=NXDOMAIN, authority=(soa(),)))
    assert made.half() == "denial"


# Prefetching.


def hits(made: Asked, *seconds: int) -> list[tuple[int, bool]]:
    """Lifetime and whether a refresh is due, of a hit at each of the seconds."""
    return [(found.reply.lifetime, found.due) for found in map(made.at, seconds)]


def test_popular_answers_are_asked_for_again_before_they_end() -> None:
    made = Asked(prefetch=Prefetch(3))
    made.take(reply(A))
    assert hits(made, 1, 2) == [(0, False), (0, False)]
    # From the third on they are popular, and seen again after half of the longest gap.
    assert hits(made, 3, 34, 65) == [(30, False), (30, False), (30, False)]
    assert hits(made, 96, 127, 158, 189, 220) == [(30, False)] * 5
    # 30 of 300 seconds are left at 270.
    assert hits(made, 251) == [(19, False)]
    assert hits(made, 269, 270, 271) == [(1, False), (0, True), (0, True)]
    made.at(272)
    made.take(reply(A))
    assert hits(made, 273, 272 + 32) == [(30, False)] * 2


def test_a_gap_ends_popularity() -> None:
    made = Asked(prefetch=Prefetch(2, gap=20))
    made.take(reply(A))
    assert hits(made, 0, 20, 51) == [(0, False), (10, False), (0, False)]
    assert hits(made, 52, 82, 113) == [(10, False), (10, False), (0, False)]
    assert hits(made, 295) == [(0, False)]


def test_a_prefetch_that_failed_is_put_off() -> None:
    made = Asked(prefetch=Prefetch(1))
    made.take(reply(A))
    assert hits(made, 290) == [(0, True)]
    made.take(reply(rcode=SERVFAIL))
    assert hits(made, 291, 294, 295) == [(0, False), (0, False), (0, True)]
    assert ttls(made.at(296).reply) == [4]


@pytest.mark.parametrize("ttl", [1, 2, 5, 9, 10, 11, 3600])
@pytest.mark.parametrize("percentage", [10, 90])
def test_a_refresh_is_due_a_second_before_the_end_at_the_latest(ttl: int, percentage: int) -> None:
    made = Asked(prefetch=Prefetch(1, percentage=percentage))
    made.take(reply(f"{NAME} {ttl} IN A 192.0.2.1"))
    assert hits(made, ttl - 1) == [(0, True)]


def test_errors_are_not_prefetched() -> None:
    made = Asked(prefetch=Prefetch(1))
    made.take(reply(rcode=SERVFAIL))
    assert hits(made, 1, 4) == [(4, False), (1, False)]


# Bounds.


def size(entries: Entries) -> int:
    return sum(OVERHEAD + len(key) + len(packed) for key, packed in entries._packed.items())


@pytest.mark.parametrize("capacity", [1, 10, 1024])
def test_a_half_is_bounded_in_entries(capacity: int) -> None:
    made = Asked(success_capacity=capacity, denial_capacity=2 * capacity)
    for number in range(3 * capacity):
        asked = query(f"{number}.example.org")
        made.take(reply(A), asked)
        made.take(reply(rcode=NXDOMAIN, authority=(soa(),)), query(f"no{number}.example.org"))
        assert len(made.cache.success) <= capacity
        assert len(made.cache.denial) <= 2 * capacity
        assert made.find(asked) is not None
    assert made.evicted["success"].value == 3 * capacity - len(made.cache.success)
    assert made.evicted["denial"].value == 3 * capacity - len(made.cache.denial)
    assert len(made.cache.success) > capacity * 0.98 - 1


def test_what_is_too_large_is_not_kept() -> None:
    made = Asked()
    strings = [f'{NAME} 300 IN TXT "{"x" * 250}"'] * (LARGEST // 250)
    made.take(reply(*strings[:-5]), query(qtype="TXT"))
    assert made.half(query(qtype="TXT")) == "success"
    assert made.take(reply(*strings), query(qtype="TXT")).stands
    assert made.find(query(qtype="TXT")) is None
    assert made.cache.success.bytes == 0


PUTS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 3000), st.sampled_from(["put", "drop", "note"])),
    max_size=80,
)


@given(puts=PUTS, capacity=st.integers(1, 40), most=st.integers(1_000, 20_000))
@settings(max_examples=200, deadline=None)
def test_bytes_are_bounded_and_counted(puts, capacity: int, most: int) -> None:
    evictions = Count()
    entries = Entries(capacity, most, evictions)
    kept = 0
    for number, length, what in puts:
        key = b"key%d" % number
        entry = Entry(1, 2, 3, 4, 5, False, bytes(length))
        if what == "drop":
            kept -= entries.get(key) is not None
            entries.drop(key)
        elif what == "note":
            known = entries.get(key)
            if known is not None:
                entries.note(key, known._replace(retry=7, hits=9))
                assert entries.get(key) == known._replace(retry=7, hits=9)
        else:
            before = entries.get(key) is not None
            fits = OVERHEAD + len(key) + len(entry.packed()) <= most
            assert entries.put(key, entry) == fits
            assert entries.get(key) == (entry if fits else None)
            kept += fits - before
        assert entries.bytes == size(entries) <= most
        assert len(entries) <= capacity
    assert evictions.value == kept - len(entries)


NAMES = ["a.example.org.", "b.example.org.", "c.example.org."]
SAID = {
    "answer": reply("x. 7 IN A 192.0.2.1"),
    "brief": reply("x. 2 IN A 192.0.2.2"),
    "alias": reply("x. 9 IN CNAME y.", "y. 4 IN A 192.0.2.3"),
    "once": reply("x. 0 IN A 192.0.2.4"),
    "denied": reply(rcode=NXDOMAIN, authority=(soa(5, 3),)),
    "nodata": reply(authority=(soa(3, 9),)),
    "broken": reply(rcode=SERVFAIL),
}
STEPS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(sorted(SAID))) | st.integers(1, 4),
    max_size=40,
)


@given(steps=STEPS)
@settings(max_examples=300, deadline=None)
def test_a_model_of_the_cache(steps) -> None:
    """The last that was said of each name, until its time is over."""
    made = Asked(error=2)
    model: dict[str, tuple[int, Reply, str]] = {}
    for step in steps:
        if isinstance(step, int):
            made.now += step
        else:
            name, what = step
            kept = made.take(SAID[what], query(name))
            ends, _, last = model.get(name, (0, None, "once"))
            known = ends > made.now and last != "broken"
            if not (what == "broken" and known):
                lifetime = retained(SAID[what], codes.A, Bounds(3600), Bounds(1800), 2).seconds
                model[name] = (made.now + lifetime, kept.reply, what)
        for name in NAMES:
            found = made.find(query(name))
            ends, said, what = model.get(name, (0, None, "once"))
            assert (found is not None) == (ends > made.now)
            if found is not None:
                assert found.reply.rcode == said.rcode
                left = ends - made.now
                assert found.reply.lifetime == left
                passed = min(ttls(said), default=left) - left
                assert ttls(found.reply) == [ttl - passed for ttl in ttls(said)]


@pytest.mark.parametrize(
    ("jitter", "chance", "ttl", "kept"),
    [
        (0.0, 0.99, 30, 30),
        (0.1, 0.0, 30, 30),
        (0.1, 0.5, 30, 29),
        (0.1, 0.99, 30, 28),
        (0.1, 0.99, 5, 5),
        (0.1, 0.99, 3600, 3244),
    ],
)
def test_answers_are_kept_a_little_shorter_by_chance(jitter, chance, ttl, kept) -> None:
    asked = Asked(jitter=jitter)
    asked.chance = chance
    asked.take(reply(f"{NAME} {ttl} IN A 192.0.2.1"))
    found = asked.find()
    assert (ttls(found.reply), found.reply.lifetime) == ([ttl], kept)
    asked.now += kept
    assert asked.find() is None
