"""Answers larger than a message: what is kept, what is left out, and who is told."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.query
import pytest

from tests.wire.cluster import BIG, HUGE
from tests.wire.exchange import TIMEOUT
from tests.wire.servers import INSECURE

BIG_NAME = "big.prod.svc.cluster.local."
HUGE_NAME = "huge.prod.svc.cluster.local."
HUGE_ADDRESSES = {str(ip_address("10.245.0.0") + n) for n in range(HUGE)}


def ask(port, name, qtype, *, send=dns.query.udp, **edns):
    query = dns.message.make_query(name, qtype, **edns)
    return send(query, "127.0.0.1", TIMEOUT, port)


@pytest.mark.parametrize(
    ("edns", "limit"),
    [
        ({}, 512),
        ({"use_edns": 0, "payload": 0}, 512),
        ({"use_edns": 0, "payload": 512}, 512),
        ({"use_edns": 0, "payload": 1000}, 1000),
        ({"use_edns": 0, "payload": 1232}, 1232),
        ({"use_edns": 0, "payload": 65535}, 1232),
    ],
    ids=["no EDNS", "0", "512", "1000", "1232", "65535"],
)
@pytest.mark.parametrize("name", [BIG_NAME, HUGE_NAME])
def test_udp_keeps_whole_records_up_to_the_limit(kdns_port, name, edns, limit):
    """RFC 6891 §6.2.3, RFC 9715 §3.1; TC says that there are more (RFC 2181 §9)."""
    reply = ask(kdns_port(INSECURE), name, "A", **edns)
    record = 16  # a compressed owner, type, class, TTL, length and an address
    assert limit - record < len(reply.wire) <= limit
    assert reply.flags & dns.flags.TC
    assert len(reply.answer) == 1
    assert not reply.authority
    assert not reply.additional


def test_tcp_takes_what_udp_cannot(kdns_port):
    reply = ask(kdns_port(INSECURE), BIG_NAME, "A", send=dns.query.tcp)
    addresses = {each.address for each in reply.answer[0]}
    assert addresses == {f"10.244.64.{n}" for n in range(1, BIG + 1)}
    assert not reply.flags & dns.flags.TC


@pytest.mark.parametrize("qtype", ["A", "SRV"])
def test_tcp_has_a_limit_too(kdns_port, qtype):
    """65535 bytes are all that a message can have (RFC 1035 §4.2.2)."""
    reply = ask(kdns_port(INSECURE), HUGE_NAME, qtype, send=dns.query.tcp)
    assert 65535 - 64 < len(reply.wire) <= 65535
    assert reply.flags & dns.flags.TC
    if qtype == "A":
        assert {each.address for each in reply.answer[0]} < HUGE_ADDRESSES


def test_glue_of_many_targets(kdns_port):
    """Additional records that do not fit are left out, and nobody asks again (RFC 2181 §9)."""
    whole = ask(kdns_port(INSECURE), BIG_NAME, "SRV", send=dns.query.tcp)
    assert len(whole.answer[0]) == len(whole.additional) == BIG
    name = "eight.prod.svc.cluster.local."
    some = ask(kdns_port(INSECURE), name, "SRV", use_edns=0, payload=600)
    assert len(some.answer[0]) == 8
    assert 0 < len(some.additional) < 8
    assert not some.flags & dns.flags.TC


def test_a_stub_without_tcp_finds_an_address(kdns_port):
    """The system resolver's way: 512 bytes over UDP, and the first address it finds."""
    packet = dns.message.make_query(HUGE_NAME, "A").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.sendto(packet, ("127.0.0.1", kdns_port(INSECURE)))
        reply = dns.message.from_wire(sock.recv(1 << 16))
    assert reply.answer[0][0].address in HUGE_ADDRESSES
