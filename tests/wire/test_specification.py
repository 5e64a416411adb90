"""The specification as a table, over real sockets with dnspython as the client."""

from __future__ import annotations

import dns.message
import dns.query
import dns.rcode
import pytest

from tests.wire.exchange import TIMEOUT, answer_of
from tests.wire.specification import CASES

ASK = {"udp": dns.query.udp, "tcp": dns.query.tcp}


@pytest.mark.parametrize("transport", ASK)
@pytest.mark.parametrize("case", CASES, ids=map(str, CASES))
def test_case(kdns_port, host, transport, case):
    query = dns.message.make_query(case.name, case.type)
    reply = ASK[transport](query, host, TIMEOUT, kdns_port(case.variant))
    assert answer_of(reply) == case.expected


@pytest.mark.parametrize("name", ["missing", "chain-missing", "inside-empty"])
def test_alias_does_not_fall_through(kdns_port, name):
    """The alias exists, and its target is looked up nowhere else (CoreDNS 1.5)."""
    query = dns.message.make_query(f"{name}.default.svc.cluster.local.", "A")
    reply = dns.query.udp(query, "127.0.0.1", TIMEOUT, kdns_port("fallthrough"))
    assert reply.rcode() == dns.rcode.NXDOMAIN
    assert reply.answer


NAMES_IN_MIXED_CASE = (
    ("KuBerNetes.DEFAULT.svc.Cluster.LOCAL.", "A"),
    ("_HttpS._TCP.kubernetes.default.SVC.cluster.local.", "SRV"),
    ("Outside.Default.Svc.Cluster.Local.", "CNAME"),
    ("10.4.244.10.IN-addr.arpa.", "PTR"),
    ("BOTH-1.both.PROD.svc.cluster.local.", "AAAA"),
    ("NOBODY.default.svc.cluster.LOCAL.", "A"),
    ("Cluster.LOCAL.", "NS"),
    ("Ns.dNs.cluster.LOCAL.", "A"),
)


@pytest.mark.parametrize(("name", "qtype"), NAMES_IN_MIXED_CASE)
@pytest.mark.parametrize("transport", ASK)
def test_case_of_letters_is_echoed(kdns_port, transport, name, qtype):
    """Question and owner come back as they were asked, twice: also from memory (RFC 4343 §4.1)."""
    query = dns.message.make_query(name, qtype)
    for _ in range(2):
        reply = ASK[transport](query, "127.0.0.1", TIMEOUT, kdns_port("insecure"))
        assert reply.question[0].name.to_text() == name
        assert [each.name.to_text() for each in reply.answer[:1]] in ([], [name])
        assert reply.answer or reply.authority
