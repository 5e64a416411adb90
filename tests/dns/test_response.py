"""What upstreams answer, read and scrubbed."""

from __future__ import annotations

import time

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.dns.codes import type_name
from kdns.dns.names import to_text
from kdns.dns.query import HEADER
from kdns.dns.response import MAX_CHAIN, answers, read, refuses_edns, truncated

SOA = "example.com. 300 IN SOA ns.example.com. root.example.com. 7 3600 600 86400 60"


def response(question="www.example.com. A", *, answer=(), authority=(), additional=(), **options):
    """A response message; records are lines of a zone file."""
    name, rtype = question.split()
    query = dns.message.make_query(name, rtype, id=0x1234, want_dnssec=options.get("dnssec", False))
    made = dns.message.make_response(query, recursion_available=True)
    made.set_rcode(dns.rcode.from_text(options.get("rcode", "NOERROR")))
    made.flags |= options.get("flags", 0)
    sections = (made.answer, answer), (made.authority, authority), (made.additional, additional)
    for section, lines in sections:
        for line in lines:
            owner, ttl, rclass, kind, rdata = line.split(maxsplit=4)
            section.append(dns.rrset.from_text(owner, int(ttl), rclass, kind, rdata))
    return made


def lines(rrsets):
    return [
        f"{to_text(each.owner)} {each.ttl} {type_name(each.type)} x{len(each.rdatas)}"
        for each in rrsets
    ]


def section(packet):
    return packet[HEADER : packet.index(0, HEADER) + 5]


@pytest.mark.parametrize(
    ("records", "kept"),
    [
        (["www.example.com. 60 IN A 192.0.2.1"], ["www.example.com. 60 A x1"]),
        (
            ["www.example.com. 60 IN A 192.0.2.1", "www.example.com. 30 IN A 192.0.2.2"],
            ["www.example.com. 30 A x2"],
        ),
        (
            ["www.example.com. 60 IN A 192.0.2.1", "www.example.com. 60 IN A 192.0.2.1"],
            ["www.example.com. 60 A x1"],
        ),
        (["victim.example.org. 60 IN A 192.0.2.66"], []),
        (["www.example.com. 60 IN AAAA 2001:db8::1"], []),
        (
            ["www.example.com. 60 IN CNAME web.example.net.", "web.example.net. 9 IN A 192.0.2.1"],
            ["www.example.com. 60 CNAME x1", "web.example.net. 9 A x1"],
        ),
        (
            ["web.example.net. 9 IN A 192.0.2.1", "WWW.example.com. 60 IN CNAME WEB.example.net."],
            ["www.example.com. 60 CNAME x1", "web.example.net. 9 A x1"],
        ),
        (
            [
                "www.example.com. 60 IN CNAME web.example.net.",
                "web.example.net. 9 IN A 192.0.2.1",
                "victim.example.org. 60 IN A 192.0.2.66",
            ],
            ["www.example.com. 60 CNAME x1", "web.example.net. 9 A x1"],
        ),
        (["www.example.com. 60 IN CNAME www.example.com."], []),
        (
            [
                "www.example.com. 60 IN CNAME a.example.com.",
                "a.example.com. 60 IN CNAME www.example.com.",
            ],
            ["www.example.com. 60 CNAME x1"],
        ),
        (
            [
                "example.com. 60 IN DNAME example.net.",
                "www.example.com. 60 IN CNAME www.example.net.",
                "www.example.net. 60 IN A 192.0.2.1",
            ],
            [
                "example.com. 60 DNAME x1",
                "www.example.com. 60 CNAME x1",
                "www.example.net. 60 A x1",
            ],
        ),
    ],
    ids=[
        "address",
        "least TTL of a set",
        "the same twice",
        "somebody else's name",
        "another type",
        "alias",
        "alias behind its target",
        "alias and somebody else",
        "alias of itself",
        "aliases in a ring",
        "DNAME",
    ],
)
def test_the_answer_is_the_chain_from_the_question(records, kept):
    reply = read(response(answer=records).to_wire())
    assert reply is not None
    assert lines(reply.answer) == kept
    assert reply.recursion_available
    assert reply.lifetime == 0


def test_records_of_another_class_answer_nothing():
    record = "www.example.com. 60 CLASS4 TYPE1 \\# 4 c0000242"
    assert read(response(answer=[record]).to_wire()).answer == []


def test_a_chain_has_an_end():
    records = [f"c{n}.example.com. 60 IN CNAME c{n + 1}.example.com." for n in range(40)]
    reply = read(response("c0.example.com. A", answer=records).to_wire())
    assert len(reply.answer) == MAX_CHAIN + 1


def test_any_gets_all_of_the_name():
    records = ["www.example.com. 60 IN A 192.0.2.1", "www.example.com. 60 IN TXT hello"]
    other = "victim.example.org. 60 IN A 192.0.2.66"
    reply = read(response("www.example.com. ANY", answer=[*records, other]).to_wire())
    assert lines(reply.answer) == ["www.example.com. 60 A x1", "www.example.com. 60 TXT x1"]


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
def test_authority_is_the_proof_that_there_is_nothing(rcode):
    made = response(rcode=rcode, authority=[SOA, "example.com. 60 IN NS ns.evil.example."])
    reply = read(made.to_wire())
    assert lines(reply.authority) == ["example.com. 300 SOA x1"]
    assert reply.rcode == dns.rcode.from_text(rcode)


def test_additional_and_the_authority_of_an_answer_are_nobodys_question():
    made = response(
        answer=["www.example.com. 60 IN A 192.0.2.1"],
        authority=["example.com. 60 IN NS ns.evil.example."],
        additional=["ns.evil.example. 60 IN A 192.0.2.66"],
    )
    reply = read(made.to_wire())
    assert (reply.authority, reply.additional) == ([], [])


@pytest.mark.parametrize(
    ("written", "ttl"), [(0, 0), (60, 60), (0x80000001, 0), (0x7FFFFFFF, 604800)]
)
def test_ttls_are_brought_to_reason(written, ttl):
    packet = response(answer=["www.example.com. 1 IN A 192.0.2.1"]).to_wire()
    at = packet.index(b"\0\0\0\1\0\4\xc0")
    reply = read(packet[:at] + written.to_bytes(4, "big") + packet[at + 4 :])
    assert reply.answer[0].ttl == ttl


def test_names_in_rdata_are_spelled_out():
    made = response("example.com. MX", answer=["example.com. 60 IN MX 10 Mail.example.com."])
    reply = read(made.to_wire())
    assert reply.answer[0].rdatas[0] == b"\0\x0a\4Mail\7example\3com\0"


def test_signatures_come_with_what_they_sign():
    rrsig = "60 IN RRSIG A 8 3 60 20300101000000 20200101000000 1 example.com. AAAA"
    made = response(
        answer=["www.example.com. 60 IN A 192.0.2.1", f"www.example.com. {rrsig}"], dnssec=True
    )
    assert lines(read(made.to_wire()).answer) == [
        "www.example.com. 60 A x1",
        "www.example.com. 60 RRSIG x1",
    ]


def test_an_extended_error_and_an_extended_rcode_are_read():
    made = response(rcode="BADVERS")
    made.use_edns(0, options=[dns.edns.EDEOption(22, "nobody there")])
    made.set_rcode(dns.rcode.BADVERS)
    reply = read(made.to_wire())
    assert reply.rcode == dns.rcode.BADVERS
    assert reply.extended_error == (22, "nobody there")


def test_a_response_answers_its_own_question_alone():
    packet = response(answer=["www.example.com. 60 IN A 192.0.2.1"]).to_wire()
    asked = section(packet)
    assert answers(packet, b"\x12\x34", asked)
    assert not answers(packet, b"\x12\x35", asked)
    assert not answers(packet, b"\x12\x34", asked.upper())
    assert not answers(packet, b"\x12\x34", asked[:-4] + b"\0\x1c\0\1")
    assert not answers(packet, b"\x12\x34", asked[:-2] + b"\0\3")
    for at, bits in ((2, 0x80), (2, 0x28), (5, 3)):
        changed = bytearray(packet)
        changed[at] ^= bits
        assert not answers(bytes(changed), b"\x12\x34", asked)
    assert not answers(packet[:11], b"\x12\x34", asked)


def test_truncated():
    assert truncated(response(flags=dns.flags.TC).to_wire())
    assert not truncated(response().to_wire())


@pytest.mark.parametrize(
    ("packet", "refused"),
    [
        ("1234 8181 0000 0000 0000 0000", True),
        ("1234 8184 0000 0000 0000 0000", True),
        ("1234 8180 0000 0000 0000 0000", False),
        ("1234 0101 0000 0000 0000 0000", False),
        ("1235 8181 0000 0000 0000 0000", False),
        ("1234 8181 0000 0001 0000 0000", False),
        ("1234 8181 0000 0000 0000 0000 00", False),
    ],
)
def test_refuses_edns(packet, refused):
    assert refuses_edns(bytes.fromhex(packet), b"\x12\x34") is refused


HEAD = "1234 8180 0001 0001 0000 0000 0377777700 0001 0001"


@pytest.mark.parametrize(
    "records",
    [
        "",
        "c00c",
        "c00c 0001 0001 0000003c 0004 c00002",
        "c00c 0001 0001 0000003c 0003 c00002",
        "c00c 001c 0001 0000003c 0004 c0000201",
        "c00c 0005 0001 0000003c 0003 c00c 00",
        "c00c 0006 0001 0000003c 0005 c00c c00c 00",
        "c0ff 0001 0001 0000003c 0004 c0000201",
        "c015 0001 0001 0000003c 0004 c0000201",
        "c016 0001 0001 0000003c 0004 c0000201",
        "c00c 0005 0001 0000003c 0002 c021",
        "c00c 0005 0001 0000003c 0002 0377",
        "c00c 0005 0001 0000003c 0000",
        "c00c 000f 0001 0000003c 0002 000a",
        "7f 0001 0001 0000003c 0004 c0000201",
    ],
)
def test_what_cannot_be_parsed_is_no_reply(records):
    assert read(bytes.fromhex(HEAD + records)) is None


@given(st.binary(max_size=200))
def test_nothing_raises(rest):
    read(bytes.fromhex(HEAD) + rest)
    read(rest)
    answers(rest, b"\x12\x34", b"\0\0\1\0\1")


def test_pointers_to_pointers_are_not_followed_for_long():
    """A ladder of 8,000 pointers, and 4,000 records whose owners are at its far end."""
    head = bytearray(bytes.fromhex(HEAD))
    rungs = len(head) + 12
    ladder = b"\0\0" + b"".join((0xC000 | at).to_bytes(2, "big") for at in range(rungs, 0x3FF0, 2))
    last = (0xC000 | rungs + len(ladder) - 2).to_bytes(2, "big")
    record = last + bytes.fromhex("0010 0001 0000003c 0000")
    count = (65535 - rungs - len(ladder)) // len(record)
    head[6:8] = (1 + count).to_bytes(2, "big")
    carrier = bytes.fromhex("c00c 0010 0001 0000003c") + len(ladder).to_bytes(2, "big") + ladder
    begin = time.process_time()
    assert read(bytes(head) + carrier + record * count) is None
    assert time.process_time() - begin < 0.5


def test_the_largest_message_is_read_in_bounded_time():
    record = bytes.fromhex("c00c 0001 0001 0000003c 0004")
    count = (65535 - 21) // 16
    head = bytearray(bytes.fromhex(HEAD))
    head[6:8] = count.to_bytes(2, "big")
    packet = bytes(head) + b"".join(record + n.to_bytes(4, "big") for n in range(count))
    begin = time.process_time()
    assert len(read(packet).answer[0].rdatas) == count
    assert time.process_time() - begin < 0.5
