"""The scripted upstream does what its scripts say, and tells what it was asked."""

from __future__ import annotations

import ssl

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
import trustme

from tests.upstream.messages import answer, header_only, with_flags, with_number
from tests.upstream.scripted import (
    LOCAL,
    Upstreams,
    by_edns,
    by_transport,
    closes,
    dribbles,
    held,
    sends,
    sends_elsewhere,
    silent,
)

TIMEOUT = 5.0
GOOD = answer("@ 60 A 192.0.2.1")


@pytest.fixture
def upstreams():
    with Upstreams() as made:
        yield made


def ask(upstream, name="www.example.", send=dns.query.udp, timeout=TIMEOUT, **options):
    return send(dns.message.make_query(name, "A", **options), LOCAL, timeout, upstream.port)


def addresses(reply):
    return [each.address for rrset in reply.answer for each in rrset]


@pytest.mark.parametrize("send", [dns.query.udp, dns.query.tcp])
def test_steps_are_taken_in_their_order_and_the_last_for_good(upstreams, send):
    upstream = upstreams.open()
    upstream.script("www.example.", sends(answer(rcode="SERVFAIL")), sends(GOOD))
    rcodes = [ask(upstream, send=send).rcode() for _ in range(3)]
    assert rcodes == [dns.rcode.SERVFAIL, dns.rcode.NOERROR, dns.rcode.NOERROR]
    assert ask(upstream, "other.example.", send).rcode() == dns.rcode.REFUSED


def test_what_was_asked_is_told(upstreams):
    upstream = upstreams.open()
    ask(upstream, "wWw.example.", use_edns=0, options=[dns.edns.GenericOption(65001, b"x")])
    ask(upstream, "www.other.", dns.query.tcp)
    first, second = upstream.asked
    assert (first.transport, second.transport) == ("udp", "tcp")
    assert (first.asked_name, first.name, first.type) == ("wWw.example.", "www.example.", "A")
    assert first.options == [65001]
    assert first.number == first.packet[:2]
    assert first.at < second.at
    assert upstream.of("www.example.") == [first]
    assert upstream.of(".other.") == [second]


def test_what_comes_first_comes_first(upstreams):
    upstream = upstreams.open()
    upstream.script("www.example.", sends(with_number(GOOD), header_only(0x8180), GOOD))
    query = dns.message.make_query("www.example.", "A")
    reply = dns.query.udp(query, LOCAL, TIMEOUT, upstream.port, ignore_errors=True)
    assert addresses(reply) == ["192.0.2.1"]


def test_another_port_answers(upstreams):
    upstream = upstreams.open()
    upstream.script("www.example.", sends_elsewhere(GOOD, silent))
    with pytest.raises(dns.query.UnexpectedSource):
        ask(upstream)


def test_by_transport_and_edns(upstreams):
    upstream = upstreams.open()
    cut_short = sends(with_flags(answer(), on=dns.flags.TC))
    upstream.script("www.example.", by_transport(udp=cut_short, tcp=sends(GOOD)))
    reply, over_tcp = dns.query.udp_with_fallback(
        dns.message.make_query("www.example.", "A"), LOCAL, TIMEOUT, upstream.port
    )
    assert over_tcp
    assert addresses(reply) == ["192.0.2.1"]
    upstream.script("old.example.", by_edns(sends(header_only(0x8181)), sends(GOOD)))
    assert ask(upstream, "old.example.").rcode() == dns.rcode.NOERROR
    assert ask(upstream, "old.example.", use_edns=0).rcode() == dns.rcode.FORMERR


def test_streams_dribble_and_end(upstreams):
    upstream = upstreams.open()
    upstream.script("www.example.", dribbles(GOOD, apart=0.001), closes)
    assert addresses(ask(upstream, send=dns.query.tcp)) == ["192.0.2.1"]
    with pytest.raises(EOFError):
        ask(upstream, send=dns.query.tcp)
    assert upstream.connections == 2


def test_a_gate_holds_and_lets_go(upstreams):
    upstream, gate = upstreams.open(), upstreams.gate()
    upstream.script("www.example.", held(gate, sends(GOOD)))
    with pytest.raises(dns.exception.Timeout):
        ask(upstream, timeout=0.05)
    gate.open()
    assert addresses(ask(upstream)) == ["192.0.2.1"]


def test_tls(upstreams):
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("upstream.example").configure_cert(context)
    upstream = upstreams.open(tls=context)
    upstream.script("www.example.", by_transport(tls=sends(GOOD)))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    reply = dns.query.tls(
        dns.message.make_query("www.example.", "A"),
        LOCAL,
        TIMEOUT,
        upstream.tls_port,
        ssl_context=trusting,
        server_hostname="upstream.example",
    )
    assert addresses(reply) == ["192.0.2.1"]


def test_a_closed_one_is_gone(upstreams):
    upstream = upstreams.open()
    upstreams.close(upstream)
    with pytest.raises(ConnectionRefusedError):
        ask(upstream, send=dns.query.tcp)


def test_steps_that_fail_are_told():
    async def fails(_asked, _way):
        raise KeyError("oops")

    def run():
        with Upstreams() as upstreams:
            upstream = upstreams.open()
            upstream.script("www.example.", fails)
            with pytest.raises(dns.exception.Timeout):
                ask(upstream, timeout=0.05)

    with pytest.raises(BaseExceptionGroup, match="steps that failed"):
        run()
