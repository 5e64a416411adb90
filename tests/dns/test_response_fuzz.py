"""Messages that are nearly responses: no exception, a bounded time, dnspython's word on them."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from kdns.dns import codes
from kdns.dns.query import HEADER
from kdns.dns.response import MAX_CHAIN, answers, read, refuses_edns, truncated

COUNT = 240_000
COMPARED_EVERY = 8
LONGEST = 0.01
"""Seconds of processor time for one message."""

NUMBER = b"\x12\x34"
SOA = "example.com. 300 SOA ns.example.com. root.example.com. 7 3600 600 86400 60"

MESSAGES: list[tuple[str, str, list[str], list[str], list[str]]] = [
    ("www.example.com. A", "NOERROR", ["www.example.com. 60 A 192.0.2.1"], [], []),
    (
        "www.example.com. A",
        "NOERROR",
        [f"www.example.com. {n} A 192.0.2.{n}" for n in range(1, 20)],
        ["example.com. 60 NS ns.example.com."],
        ["ns.example.com. 60 A 192.0.2.53"],
    ),
    ("www.example.com. AAAA", "NOERROR", ["www.example.com. 60 AAAA 2001:db8::1"], [], []),
    ("www.example.com. A", "NXDOMAIN", [], [SOA], []),
    (
        "www.example.com. A",
        "NOERROR",
        [
            "www.example.com. 60 CNAME a.example.com.",
            "a.example.com. 30 CNAME b.example.com.",
            "b.example.com. 60 A 192.0.2.1",
        ],
        [],
        [],
    ),
    (
        "www.example.com. A",
        "NXDOMAIN",
        ["www.example.com. 60 CNAME a.example.com.", "a.example.com. 60 CNAME www.example.com."],
        [SOA],
        [],
    ),
    (
        "c0.example.com. A",
        "NOERROR",
        [f"c{n}.example.com. 60 CNAME c{n + 1}.example.com." for n in range(14)],
        [],
        [],
    ),
    ("example.com. MX", "NOERROR", ["example.com. 60 MX 10 mail.example.com."], [], []),
    ("_a._tcp.example.com. SRV", "NOERROR", ["_a._tcp.example.com. 60 SRV 1 2 3 www.x."], [], []),
    ("example.com. TXT", "NOERROR", ['example.com. 60 TXT "one" "two"'], [], []),
    ("example.com. SOA", "NOERROR", [SOA], [], []),
    ("1.2.0.192.in-addr.arpa. PTR", "NOERROR", ["1.2.0.192.in-addr.arpa. 9 PTR www.x."], [], []),
    (
        "www.example.com. A",
        "NOERROR",
        [
            "example.com. 60 DNAME example.net.",
            "www.example.com. 60 CNAME www.example.net.",
            "www.example.net. 60 A 192.0.2.1",
        ],
        [],
        [],
    ),
    ("www.example.com. ANY", "NOERROR", ["www.example.com. 60 A 192.0.2.1"], [], []),
]

PAIRS = [b"\0\0", b"\xff\xff", b"\xc0\x0c", b"\xc0\0", b"\0\x29", b"\0\5", b"\x3f\0", b"\0\1"]


def _messages() -> Iterator[bytes]:
    for question, rcode, *sections in MESSAGES:
        name, rtype = question.split()
        for edns in (False, True):
            query = dns.message.make_query(name, rtype, use_edns=0 if edns else False, id=0x1234)
            made = dns.message.make_response(query, recursion_available=True)
            made.set_rcode(dns.rcode.from_text(rcode))
            if edns:
                made.use_edns(0, options=[dns.edns.EDEOption(22, "nobody there")])
            for section, lines in zip(
                (made.answer, made.authority, made.additional), sections, strict=True
            ):
                for line in lines:
                    owner, ttl, kind, data = line.split(" ", 3)
                    section.append(dns.rrset.from_text(owner, int(ttl), "IN", kind, data))
            yield made.to_wire()


SEEDS = list(_messages())


def _section(packet: bytes) -> bytes:
    return packet[HEADER : packet.index(0, HEADER) + 5]


def mutants(count: int) -> Iterator[tuple[bytes, bytes]]:
    """(question, message): up to four things done to a response, mostly behind its question."""
    number = random.Random("responses").random  # noqa: S311 - the same messages each time
    for _ in range(count):
        seed = SEEDS[int(number() * len(SEEDS))]
        question = _section(seed)
        packet = bytearray(seed)
        behind = HEADER + len(question)
        for _ in range(int(number() * 4) + 1):
            first = behind if number() < 0.9 else 2
            at = first + int(number() * max(1, len(packet) - first))
            match int(number() * 8):
                case 0:
                    packet[at : at + 1] = bytes((int(number() * 256),))
                case 1:
                    packet[at : at + 1] = bytes((1 << int(number() * 8),))
                case 2:
                    del packet[at : at + int(number() * 8)]
                case 3:
                    begin = int(number() * len(packet))
                    packet[at:at] = packet[begin : begin + 20]
                case 4:
                    packet[at:] = SEEDS[int(number() * len(SEEDS))][at:]
                case 5:
                    packet[at : at + 2] = PAIRS[int(number() * len(PAIRS))]
                case 6:
                    packet[at : at + 2] = (0xC000 | int(number() * len(packet))).to_bytes(2, "big")
                case _:
                    packet[6 + int(number() * 6)] = int(number() * 4)
        yield question, bytes(packet)


@pytest.mark.timeout(300)
def test_mutated_messages() -> None:
    seen: Counter[str] = Counter()
    for count, (question, packet) in enumerate(mutants(COUNT)):
        begin = time.thread_time()
        matches = answers(packet, NUMBER, question)
        refuses_edns(packet, NUMBER)
        reply = read(packet) if matches else None
        taken = time.thread_time() - begin
        assert taken < LONGEST, packet.hex()
        if not matches:
            seen["not an answer"] += 1
        elif reply is None:
            seen["not read"] += 1
        else:
            truncated(packet)
            seen["read"] += 1
            if count % COMPARED_EVERY == 0:
                seen["compared"] += _agrees(packet, reply)
    assert sum(seen.values()) - seen["compared"] == COUNT
    assert min(seen["not an answer"], seen["not read"], seen["read"]) > COUNT // 50, seen
    assert seen["compared"] > COUNT // 100, seen


def _agrees(packet, reply) -> bool:
    """Whether dnspython parses it too; asserts that it then finds the same."""
    try:
        message = dns.message.from_wire(packet, one_rr_per_rrset=True, ignore_trailing=True)
    except dns.exception.DNSException:
        return False
    question = message.question[0]
    records = [each for each in message.answer if each.rdclass == question.rdclass]
    chain = _chain(records, question.name, question.rdtype)
    assert reply.rcode == message.rcode(), packet.hex()
    found = {
        (each.owner, each.type, each.rclass, rdata)
        for each in reply.answer
        for rdata in each.rdatas
    }
    assert found == chain, packet.hex()
    return True


def _chain(records, name, qtype):
    """The records that a chain of aliases leads to, as (owner, type, class, rdata)."""
    kept = []
    if qtype == codes.ANY:
        kept = [each for each in records if each.name == name]
    seen = {name}
    while qtype != codes.ANY and len(seen) <= MAX_CHAIN + 1:
        wanted = [each for each in records if each.name == name and _covers(each, qtype)]
        if any(each.rdtype == qtype for each in wanted):
            kept += wanted
            break
        aliases = [r for r in records if r.name == name and _covers(r, codes.CNAME)]
        target = next((r[0].target for r in aliases if r.rdtype == codes.CNAME), None)
        if target is None or target in seen:
            break
        kept += [r for r in records if r.rdtype == codes.DNAME and name.is_subdomain(r.name)]
        kept += aliases
        seen.add(target)
        name = target
    return {
        (each.name.canonicalize().to_wire(), each.rdtype, each.rdclass, each[0].to_wire())
        for each in kept
    }


def _covers(record, qtype):
    return record.rdtype == qtype or (
        record.rdtype == codes.RRSIG and record[0].type_covered == qtype
    )
