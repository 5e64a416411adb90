"""Packets read as queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.edns
import dns.flags
import dns.message
import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.dns.codes import rcode_name
from kdns.dns.query import STREAM_LIMIT, Client, Query, Rejection, parse

if TYPE_CHECKING:
    from tests.conftest import OddPacket

CLIENT = Client("192.0.2.1", 4711)


def made(packet: bytes) -> Query:
    query = parse(packet, "udp", CLIENT)
    assert isinstance(query, Query)
    return query


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_odd_packets(odd: OddPacket, transport: str) -> None:
    found = parse(odd.packet, transport, CLIENT)
    if found is None:
        assert odd.parse == "silence"
    elif isinstance(found, Rejection):
        assert odd.parse == rcode_name(found.rcode)
    else:
        assert odd.parse == "query"


@pytest.mark.parametrize("parse_says", ["BADVERS", "NOTIMP"])
def test_a_rejection_has_the_query_where_the_question_was_understood(parse_says, odd_packets):
    understood = [
        found.query is not None
        for row in odd_packets
        if isinstance(found := parse(row.packet, "udp"), Rejection) and row.parse == parse_says
    ]
    assert understood
    assert all(understood) == (parse_says == "BADVERS")


NAMES = st.lists(st.binary(min_size=1, max_size=20), max_size=8).map(
    lambda labels: dns.name.Name([*labels, b""])
)


@given(
    name=NAMES,
    # No meta types, which are rejections.
    rdtype=st.integers(1, 65535).filter(lambda number: number not in (41, 249, 250, 253, 254)),
    rdclass=st.integers(0, 65535),
    ident=st.integers(0, 65535),
    flags=st.integers(0, 0xFFFF).map(lambda bits: bits & 0x07FF),
    edns=st.booleans(),
    dnssec_ok=st.booleans(),
    payload=st.integers(0, 65535),
    option=st.none() | st.binary(max_size=50),
)
def test_what_dnspython_asks(
    name, rdtype, rdclass, ident, flags, edns, dnssec_ok, payload, option
) -> None:
    asked = dns.message.QueryMessage(id=ident)
    asked.flags = flags
    asked.find_rrset(asked.question, name, rdclass, rdtype, create=True, force_unique=True)
    if edns:
        options = [] if option is None else [dns.edns.GenericOption(65001, option)]
        ednsflags = dns.flags.DO if dnssec_ok else 0
        asked.use_edns(0, ednsflags=ednsflags, payload=payload, options=options)
    packet = asked.to_wire()
    query = made(packet)
    assert query.packet is packet
    assert (query.id, query.flags) == (ident, flags)
    assert query.question[:-4] == name.to_wire()
    assert query.name == name.canonicalize().to_wire()
    assert (query.qtype, query.qclass) == (rdtype, rdclass)
    assert query.client == CLIENT
    if edns:
        assert query.edns is not None
        assert query.edns.payload == payload
        assert query.edns.dnssec_ok == dnssec_ok
        assert query.limit == max(512, min(payload, 1232))
    else:
        assert query.edns is None
        assert query.limit == 512


@given(st.binary(max_size=300), st.sampled_from(["udp", "tcp"]))
def test_any_bytes_are_a_value(packet: bytes, transport: str) -> None:
    found = parse(packet, transport)
    assert found is None or isinstance(found, Query | Rejection)


def test_over_tcp_the_size_is_the_largest_there_is() -> None:
    packet = dns.message.make_query("a.", "A", payload=1400).to_wire()
    query = parse(packet, "tcp")
    assert isinstance(query, Query)
    assert query.limit == STREAM_LIMIT


def test_a_query_renamed() -> None:
    packet = dns.message.make_query("Web.Example.", "A", want_dnssec=True).to_wire()
    query = made(packet)
    other = query.renamed(b"\5other\0", 28)
    assert (other.name, other.qtype, other.qclass) == (b"\5other\0", 28, 1)
    assert other.question == b"\5other\0\0\x1c\0\1"
    assert (other.edns, other.client, other.id) == (query.edns, CLIENT, query.id)
