"""Zones cut into messages, and the serials that secondaries send."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rrset
import pytest

from kdns.dns import codes, names, rdata
from kdns.dns.query import Client, Query, parse
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply
from kdns.dns.transfer import is_current, messages, requested_serial

ZONE = names.from_text("example.org.")
MESSAGE = 16384


def soa(serial=7):
    data = rdata.soa(b"\x02ns" + ZONE, b"\x05admin" + ZONE, serial, 1, 2, 3, 4)
    return RRset(ZONE, codes.SOA, 60, (data,))


def query(qtype="AXFR", **options) -> Query:
    parsed = parse(
        dns.message.make_query("Example.ORG.", qtype, **options).to_wire(),
        "tcp",
        Client("192.0.2.1", 1),
    )
    assert isinstance(parsed, Query)
    return parsed


def sent(asked, *rrsets):
    return list(messages(asked, Reply(transfer=iter(rrsets))))


def records(packets):
    return [
        (rrset.name.to_text(), rrset.rdtype, each.to_text())
        for packet in packets
        for rrset in dns.message.from_wire(packet, one_rr_per_rrset=True).answer
        for each in rrset
    ]


def test_a_small_zone_is_one_message():
    asked = query(use_edns=0)
    (packet,) = sent(asked, soa(), soa())
    read = dns.message.from_wire(packet)
    assert read.id == asked.id
    assert read.question[0].name.to_text() == "Example.ORG."
    assert (read.edns, read.rcode()) == (0, 0)
    assert read.flags & dns.flags.AA
    assert not read.flags & dns.flags.TC


@pytest.mark.parametrize("options", [{}, {"use_edns": 0}, {"use_edns": 0, "payload": 512}])
def test_a_large_zone_is_in_messages_that_pointers_reach(options):
    """RFC 5936 2.2: every record once and in order, sets cut where a message is full."""
    hosts = [
        RRset(
            names.from_text(f"h{n}.sub.example.org."),
            codes.A,
            60,
            [bytes((10, 0, n >> 8, n & 255))],
        )
        for n in range(3000)
    ]
    many = RRset(ZONE, codes.A, 60, [bytes((10, 1, n >> 8, n & 255)) for n in range(5000)])
    packets = sent(query(**options), soa(), *hosts, many, soa())
    assert len(packets) > 5
    assert all(MESSAGE - 600 < len(packet) <= MESSAGE for packet in packets[:-1])
    found = records(packets)
    assert len(found) == 8002
    assert found[0] == found[-1]
    assert [data for _, _, data in found[1:-1]] == [
        ".".join(map(str, each)) for rrset in (*hosts, many) for each in rrset.rdatas
    ]
    for packet in packets:
        read = dns.message.from_wire(packet)
        assert read.question
        assert (read.edns >= 0) == bool(options)


def test_a_record_that_is_larger_than_a_message_has_one_of_its_own():
    large = RRset(ZONE, 99, 60, [bytes(40_000)])
    packets = sent(query(), soa(), large, soa(), large)
    assert [len(packet) > MESSAGE for packet in packets] == [False, True, False, True]
    assert len(records(packets)) == 4


def test_records_are_made_as_they_are_sent():
    """So that a large zone does not hold up everybody else."""
    made = 0

    def zone():
        nonlocal made
        for _ in range(10_000):
            made += 1
            yield soa()

    stream = messages(query(), Reply(transfer=zone()))
    next(stream)
    assert 0 < made < 1000


def ixfr(serial, *, owner="example.org.", more=()):
    asked = dns.message.make_query("example.org.", "IXFR", use_edns=0)
    text = f"ns.{owner} admin.{owner} {serial} 1 2 3 4"
    asked.authority.append(dns.rrset.from_text(owner, 0, "IN", "SOA", text))
    asked.authority += more
    parsed = parse(asked.to_wire(), "tcp")
    assert isinstance(parsed, Query)
    return parsed


@pytest.mark.parametrize("serial", [0, 1, 1499347823, 2**32 - 1])
def test_requested_serial(serial):
    """RFC 1995 3, with names compressed or not."""
    assert requested_serial(ixfr(serial)) == serial
    assert requested_serial(ixfr(serial, owner="elsewhere.net.")) == serial


OTHERS = {
    "no record": query("IXFR"),
    "no record, but OPT": query("IXFR", use_edns=0),
    "two records": ixfr(1, more=[dns.rrset.from_text("a.", 0, "IN", "A", "192.0.2.1")]),
}


@pytest.mark.parametrize("asked", OTHERS.values(), ids=OTHERS)
def test_no_serial(asked):
    assert requested_serial(asked) is None


@pytest.mark.parametrize(
    ("rtype", "length"),
    [(codes.A, 22), (codes.SOA, 0), (codes.SOA, 20), (codes.SOA, 21)],
)
def test_a_record_that_is_no_soa_has_no_serial(rtype, length):
    packet = query("IXFR").packet
    record = b"\0" + rtype.to_bytes(2, "big") + b"\0\1\0\0\0\0" + length.to_bytes(2, "big")
    parsed = parse(packet[:8] + b"\0\1" + packet[10:] + record + bytes(length), "tcp")
    assert isinstance(parsed, Query)
    assert requested_serial(parsed) is None


@pytest.mark.parametrize(
    ("serial", "ours", "current"),
    [
        (7, 7, True),
        (6, 7, False),
        (8, 7, True),
        (0, 1499347823, False),
        (2**32 - 1, 0, False),
        (2**32 - 1, 2**31 - 2, False),
        (0, 2**32 - 1, True),
        (2**31 + 8, 7, False),
        (2**31 + 6, 7, True),
    ],
)
def test_serials_go_round(serial, ours, current):
    """RFC 1982 3.2."""
    assert is_current(serial, soa(ours)) == current
