"""Replies as bytes, decoded by somebody else."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdns.dns import codes, rdata
from kdns.dns.names import from_text, label
from kdns.dns.query import CD, HEADER, RD, Query, parse
from kdns.dns.rdata import RRset
from kdns.dns.render import body, heading, message, opt_for, rejection
from kdns.dns.reply import Reply

FULL = 65535
NAME = from_text("web.default.svc.cluster.local")
OWNERS = [
    NAME,
    from_text("cluster.local"),
    from_text("db-0.db.default.svc.cluster.local"),
    from_text("db.default.svc.cluster.local"),
    from_text("ns.dns.cluster.local"),
    from_text("example.org"),
    from_text("xcluster.local"),
    from_text("."),
    label(b"a.b\0c") + from_text("local"),
]
OWNER = st.sampled_from(OWNERS)


def distinct(strategy: st.SearchStrategy[bytes], most: int = 8) -> st.SearchStrategy[list[bytes]]:
    return st.lists(strategy, min_size=1, max_size=most, unique=True)


DATA = {
    codes.A: distinct(st.binary(min_size=4, max_size=4), 40),
    codes.AAAA: distinct(st.binary(min_size=16, max_size=16), 40),
    codes.SRV: distinct(st.builds(rdata.srv, *[st.integers(0, 65535)] * 3, OWNER)),
    codes.TXT: distinct(st.lists(st.binary(max_size=60), min_size=1).map(lambda t: rdata.txt(*t))),
    codes.NS: distinct(OWNER),
    codes.CNAME: distinct(OWNER, 1),
    codes.PTR: distinct(OWNER),
    codes.MX: distinct(OWNER.map(lambda name: b"\0\x0a" + name)),
    codes.SOA: distinct(st.builds(rdata.soa, OWNER, OWNER, *[st.integers(0, 2**31 - 1)] * 5), 1),
    65280: distinct(st.binary(max_size=80)),
}


@st.composite
def rrsets(draw: st.DrawFn) -> RRset:
    rtype = draw(st.sampled_from(sorted(DATA)))
    return RRset(draw(OWNER), rtype, draw(st.integers(0, 2**31 - 1)), draw(DATA[rtype]))


SECTION = st.lists(rrsets(), max_size=4)
REPLIES = st.builds(
    Reply,
    rcode=st.sampled_from([codes.NOERROR, codes.NXDOMAIN, codes.SERVFAIL]),
    answer=SECTION,
    authority=st.lists(rrsets(), max_size=2),
    additional=SECTION,
    authoritative=st.booleans(),
    rotate=st.booleans(),
    extended_error=st.none() | st.tuples(st.integers(0, 65535), st.text(max_size=30)),
)


def question(name: bytes = NAME, qtype: int = codes.A) -> bytes:
    return name + qtype.to_bytes(2, "big") + b"\0\1"


def query(*, edns: int | None = None, transport: str = "udp", flags: int = RD, name=NAME) -> Query:
    packet = b"\x12\x34" + flags.to_bytes(2, "big") + b"\0\1\0\0\0\0"
    packet += (b"\0\0" if edns is None else b"\0\1") + question(name)
    if edns is not None:
        packet += b"\0\0\x29" + edns.to_bytes(2, "big") + bytes.fromhex("00008000 0000")
    made = parse(packet, transport)
    assert isinstance(made, Query)
    return made


def flat(section: list[RRset]) -> list[tuple[dns.name.Name, int, int, bytes]]:
    """Records as dnspython knows them, names in lower case."""
    return [
        (
            dns.name.from_wire(rrset.owner, 0)[0].canonicalize(),
            rrset.type,
            rrset.ttl,
            dns.rdata.from_wire(1, rrset.type, data, 0, len(data)).to_digestable(),
        )
        for rrset in section
        for data in rrset.rdatas
    ]


def decoded(section) -> list[tuple[dns.name.Name, int, int, bytes]]:
    return [
        (rrset.name.canonicalize(), rrset.rdtype, rrset.ttl, each.to_digestable())
        for rrset in section
        for each in rrset
    ]


def decode(packet: bytes) -> dns.message.Message:
    return dns.message.from_wire(packet, one_rr_per_rrset=True)


def is_prefix(part: list[object], whole: list[object]) -> bool:
    return part == whole[: len(part)]


def is_cut(part: list[object], whole: list[object], reply: Reply) -> bool:
    """Whether `part` is the beginning of an answer, its rotating set begun anywhere."""
    last = reply.answer[-1] if reply.answer else None
    if not reply.rotate or last is None or last.type not in (codes.A, codes.AAAA):
        return is_prefix(part, whole)
    fixed = len(whole) - len(last.rdatas)
    ring = whole[fixed:] * 2
    taken = part[fixed:]
    return is_prefix(part[:fixed], whole) and (
        not taken or any(ring[at : at + len(taken)] == taken for at in range(len(last.rdatas)))
    )


@given(REPLIES, st.integers(0, 100), st.booleans())
def test_what_is_rendered_is_what_is_read(reply: Reply, turn: int, edns: bool) -> None:
    packet = message(query(edns=1232 if edns else None, transport="tcp"), reply, turn)
    read = decode(packet)
    assert read.id == 0x1234
    assert read.flags & 0xFFF0 & ~dns.flags.AA == dns.flags.QR | dns.flags.RD
    assert bool(read.flags & dns.flags.AA) == reply.authoritative
    assert read.rcode() == reply.rcode
    assert [each.to_text() for each in read.question] == ["web.default.svc.cluster.local. IN A"]
    answer = decoded(read.answer)
    assert len(answer) == len(flat(reply.answer))
    assert is_cut(answer, flat(reply.answer), reply)
    assert decoded(read.authority) == flat(reply.authority)
    assert decoded(read.additional) == flat(reply.additional)
    assert read.edns == (0 if edns else -1)
    if edns:
        assert read.payload == 1232
        assert read.ednsflags == dns.flags.DO
        errors = [(each.code, each.text or "") for each in read.options]
        assert errors == ([] if reply.extended_error is None else [reply.extended_error])


def check_limit(reply: Reply, limit: int, turn: int) -> tuple[int, int]:
    """A reply under a limit, checked; its size and its number of records."""
    rendered = body(reply, NAME, limit)
    packet = b"\0\0" + heading(0, question(), rendered, b"") + rendered.at(turn)
    assert len(packet) <= max(limit, HEADER + len(question()))
    read = decode(packet)
    answer = decoded(read.answer)
    authority, additional = decoded(read.authority), decoded(read.additional)
    assert is_cut(answer, flat(reply.answer), reply)
    whole_answer = len(answer) == len(flat(reply.answer))
    whole_authority = authority == flat(reply.authority)
    assert whole_authority or not authority
    assert whole_answer or not authority
    assert whole_authority or not additional
    assert bool(read.flags & dns.flags.TC) == (not (whole_answer and whole_authority))
    left = list(reply.additional)
    while additional:
        rrset = left.pop(0)
        if is_prefix(flat([rrset]), additional):
            additional = additional[len(rrset.rdatas) :]
    return len(packet), len(answer) + len(authority) + len(decoded(read.additional))


@given(REPLIES, st.lists(st.integers(12, 3000), max_size=12), st.integers(0, 50))
@settings(deadline=None)
def test_no_reply_is_larger_than_its_limit(reply: Reply, limits: list[int], turn: int) -> None:
    size, _ = check_limit(reply, FULL, turn)
    for limit in (size - 1, size, 12, 512, *limits):
        check_limit(reply, limit, turn)


MIXED = Reply(
    answer=[
        RRset(NAME, codes.CNAME, 5, [OWNERS[3]]),
        RRset(OWNERS[3], codes.A, 5, [bytes((10, 0, 0, n)) for n in range(9)]),
    ],
    authority=[RRset(OWNERS[1], codes.NS, 5, [OWNERS[4], OWNERS[5]])],
    additional=[
        RRset(OWNERS[4], codes.AAAA, 5, [bytes(16), b"\1" * 16]),
        RRset(OWNERS[5], codes.A, 5, [bytes(4)]),
    ],
)


ADDRESSES = [bytes((10, 0, n >> 8, n & 255)) for n in range(100)]
HEADLESS = Reply(answer=[RRset(NAME, codes.A, 5, ADDRESSES)], rotate=True, authoritative=True)


@pytest.mark.parametrize(
    ("reply", "records"),
    [
        (MIXED, 15),
        (MIXED.changed(rotate=True), 15),
        (HEADLESS.changed(answer=[RRset(NAME, codes.A, 5, ADDRESSES[:20])]), 20),
    ],
    ids=["in order", "behind an alias", "rotating"],
)
def test_every_limit(reply: Reply, records: int) -> None:
    size, all_records = check_limit(reply, FULL, 0)
    assert all_records == records
    counts = []
    least: dict[int, int] = {}
    for limit in range(12, size + 3):
        taken, count = check_limit(reply, limit, limit)
        counts.append(count)
        least.setdefault(count, taken)
    assert counts[-1] == records
    assert len(set(counts)) >= 12
    for limit, count in enumerate(counts, 12):
        # A record more would not have fitted.
        assert all(need > limit for more, need in least.items() if more == count + 1)


def test_a_rotating_set_begins_with_another_record_each_turn() -> None:
    rendered = body(HEADLESS, NAME, FULL)
    seen = set()
    for turn in range(250):
        packet = b"\0\0" + heading(0, question(), rendered, b"") + rendered.at(turn)
        found = [data[-4:] for *_, data in decoded(decode(packet).answer)]
        begin = turn % len(ADDRESSES)
        assert found == ADDRESSES[begin:] + ADDRESSES[:begin]
        seen.add(found[0])
    assert seen == set(ADDRESSES)


def test_a_truncated_rotating_set_shows_each_record_in_turn() -> None:
    rendered = body(HEADLESS, NAME, 512)
    seen = set()
    for turn in range(len(ADDRESSES)):
        packet = b"\0\0" + heading(0, question(), rendered, b"") + rendered.at(turn)
        read = decode(packet)
        assert read.flags & dns.flags.TC
        found = [data[-4:] for *_, data in decoded(read.answer)]
        assert len(found) == (512 - HEADER - len(question())) // 16
        assert len(set(found)) == len(found)
        seen.update(found)
    assert seen == set(ADDRESSES)


@pytest.mark.parametrize(
    "reply",
    [
        HEADLESS.changed(rotate=False),
        HEADLESS.changed(answer=[RRset(NAME, codes.A, 5, ADDRESSES[:1])]),
        HEADLESS.changed(answer=[RRset(NAME, codes.TXT, 5, [b"\1a", b"\1b"])]),
        HEADLESS.changed(answer=[*HEADLESS.answer, RRset(NAME, codes.TXT, 5, [b"\1a"])]),
        HEADLESS.changed(answer=[]),
    ],
    ids=["not asked for", "one record", "no addresses", "not the last set", "no answer"],
)
def test_what_does_not_rotate(reply: Reply) -> None:
    rendered = body(reply, NAME, FULL)
    assert rendered.at(0) == rendered.at(1)


def test_a_rotating_set_behind_an_owner_not_written_before() -> None:
    reply = HEADLESS.changed(answer=[RRset(OWNERS[5], codes.A, 5, ADDRESSES[:3])])
    size, count = check_limit(reply, FULL, 1)
    assert count == 3
    assert check_limit(reply, size - 1, 1)[1] == 2


def test_names_end_in_the_case_of_the_asker() -> None:
    reply = Reply(answer=[RRset(NAME, codes.CNAME, 5, [OWNERS[3]])])
    mixed = query(transport="tcp", name=from_text("wEb.dEfault.sVc.cluSter.LOCAL"))
    read = dns.message.from_wire(message(mixed, reply))
    assert read.question[0].name.to_text() == "wEb.dEfault.sVc.cluSter.LOCAL."
    assert read.answer[0].name.to_text() == "wEb.dEfault.sVc.cluSter.LOCAL."
    assert read.answer[0][0].target.to_text() == "db.dEfault.sVc.cluSter.LOCAL."


class Denying:
    origin = OWNERS[1]

    def denies(self, name: bytes) -> bool:
        return True


def test_denials_of_names_of_one_length_have_one_body() -> None:
    soa = rdata.soa(OWNERS[4], OWNERS[1], 1, 2, 3, 4, 5)
    reply = Reply(
        rcode=codes.NXDOMAIN,
        authority=[RRset(OWNERS[1], codes.SOA, 5, [soa])],
        denial=Denying(),
    )
    bodies = {
        body(reply, from_text(f"{one}.svc.cluster.local"), 512) for one in ("aaaa.bb", "aa.bbbb")
    }
    assert len(bodies) == 1
    rendered = bodies.pop()
    name = from_text("aaaa.bb.svc.cluster.local")
    packet = b"\0\0" + heading(0, question(name), rendered, b"") + rendered.at(0)
    assert decoded(decode(packet).authority) == flat(reply.authority)


def test_64_kilobytes_with_names_beyond_the_reach_of_pointers() -> None:
    targets = [from_text(f"endpoint-{n}.db.default.svc.cluster.local") for n in range(900)]
    reply = Reply(
        answer=[RRset(OWNERS[3], codes.SRV, 5, [rdata.srv(0, 1, 80, each) for each in targets])],
        additional=[RRset(each, codes.A, 5, [bytes(4)]) for each in targets],
    )
    size, records = check_limit(reply, FULL, 0)
    assert 0x4000 < size <= FULL
    assert records > len(targets)


@pytest.mark.parametrize("edns", [None, 0, 512, 900, 1232, 4096])
def test_udp_sizes(edns: int | None) -> None:
    packet = message(query(edns=edns), HEADLESS)
    limit = 512 if edns is None else max(512, min(edns, 1232))
    assert limit - 16 < len(packet) <= limit
    assert decode(packet).flags & dns.flags.TC


def test_tcp_has_room_for_all() -> None:
    packet = message(query(transport="tcp"), HEADLESS)
    assert len(decoded(decode(packet).answer)) == len(ADDRESSES)


@pytest.mark.parametrize("flags", [0, RD, CD, RD | CD, RD | 0x0020, 0x07FF])
def test_flags_of_the_query_that_come_back(flags: int) -> None:
    packet = message(query(flags=flags), Reply())
    assert int.from_bytes(packet[2:4], "big") == 0x8000 | flags & (RD | CD)
    asked = query(flags=flags)
    assert opt_for(asked, Reply()) == b""


def test_a_long_error_is_cut_to_fit_beside_the_longest_name() -> None:
    long = b"".join(label(b"x" * 63) for _ in range(3)) + label(b"y" * 61) + b"\0"
    reply = HEADLESS.changed(
        answer=[RRset(long, codes.A, 5, ADDRESSES)], extended_error=(14, "not ready ä" * 50)
    )
    packet = message(query(edns=512, name=long), reply)
    assert len(packet) <= 512
    read = decode(packet)
    assert read.flags & dns.flags.TC
    assert len(decoded(read.answer)) == 1
    assert read.options[0].text == ("not ready ä" * 50)[:184]


def test_rejections(odd_packets) -> None:
    for row in odd_packets:
        found = parse(row.packet, "udp")
        if found is None or isinstance(found, Query):
            continue
        packet = rejection(row.packet, found)
        read = dns.message.from_wire(packet)
        assert read.id == 0x1234
        assert read.flags & dns.flags.QR
        assert read.opcode() == row.packet[2] >> 3 & 15
        assert read.flags & dns.flags.RD == int.from_bytes(row.packet[2:4], "big") & dns.flags.RD
        assert read.rcode() == found.rcode
        assert [*read.answer, *read.authority, *read.additional] == []
        assert len(packet) == 12 or found.query is not None
        if found.rcode == codes.BADVERS:
            assert read.edns == 0
            assert packet[12:].startswith(found.query.question)
