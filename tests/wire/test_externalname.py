"""ExternalName services that lead out of their zone, on kdns beside the real CoreDNS."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from bench.peers import coredns
from bench.peers.apiserver import ApiServer
from tests.wire.cluster import MemoryFeed, decoded, external, objects
from tests.wire.exchange import TIMEOUT, answer_of
from tests.wire.servers import kdns, sourced
from tests.wire.test_coredns import VERSION

COREFILE = """\
. {
    bind 127.0.0.1 ::1
    ready {$READY}
    loadbalance
    hosts /nonexistent example.com example.net {
        192.0.2.80 www.example.com
        192.0.2.81 www.example.com
        2001:db8::80 www.example.com
        192.0.2.82 v4.example.com
    }
    kubernetes cluster.local two.test {
        {$SOURCE}
    }
}
"""

OBJECTS = [
    *objects(),
    external("v4", "v4.example.com"),
    external("two", "web.default.svc.two.test"),
    external("two-missing", "nobody.default.svc.two.test"),
    external("two-circle", "two-circle.default.svc.two.test"),
    external("elsewhere", "www.elsewhere.test"),
]


@pytest.fixture(scope="module", autouse=True)
def _installed():
    path = coredns.executable()
    if path is None:
        pytest.skip(coredns.MISSING)
    if coredns.version(path) != VERSION:
        pytest.skip(f"{path} is {coredns.version(path)}; the differences are those to {VERSION}")


@pytest.fixture(scope="module")
def ports():
    """(CoreDNS, kdns) over one cluster and one hosts file."""
    with (
        ApiServer(OBJECTS) as api,
        coredns.CoreDNS(sourced(COREFILE, f"endpoint {api.url}")) as server,
        kdns(COREFILE, MemoryFeed(decoded(OBJECTS))) as port,
    ):
        yield server.port, port


def ask(ports, name, qtype, *, flags=dns.flags.RD, tcp=False):
    """What CoreDNS and kdns reply."""
    query = dns.message.make_query(f"{name}.default.svc.cluster.local.", qtype, use_edns=0)
    query.flags = flags
    send = dns.query.tcp if tcp else dns.query.udp
    return [send(query, "127.0.0.1", TIMEOUT, port) for port in ports]


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize(
    ("name", "qtype", "records"),
    [
        ("outside", "A", 3),
        ("outside", "AAAA", 2),
        ("outside", "CNAME", 1),
        ("ported-outside", "A", 3),
        ("chain-outside", "A", 4),
        ("v4", "A", 2),
        ("v4", "AAAA", 1),
        ("two", "A", 2),
        ("elsewhere", "A", 1),
    ],
)
def test_both_say_the_same(ports, name, qtype, records, tcp) -> None:
    """Asked twice, as the second time kdns answers from memory."""
    for _ in range(2):
        theirs, ours = map(answer_of, ask(ports, name, qtype, tcp=tcp))
        assert theirs == ours
        assert (ours.rcode, len(ours.answer)) == ("NOERROR", records)


@pytest.mark.parametrize(
    ("name", "rcode", "soa", "error"),
    [
        ("two-missing", "NXDOMAIN", ["two.test."], []),
        ("outside-dot", "SERVFAIL", [], [dns.edns.EDECode.OTHER]),
    ],
)
def test_rcode(ports, name, rcode, soa, error) -> None:
    """ALIAS_RCODE: the alias is the same, and CoreDNS does not say what is behind it."""
    replies = ask(ports, name, "A")
    theirs, ours = map(answer_of, replies)
    assert theirs.answer == ours.answer
    assert len(ours.answer) == 1
    assert (theirs.rcode, ours.rcode) == ("NOERROR", rcode)
    assert [record.owner for record in ours.authority] == soa
    assert [option.code for option in replies[1].options] == error
    assert theirs.authority == frozenset()


def test_without_recursion(ports) -> None:
    """ALIAS_ALONE: CoreDNS follows the alias also for who does not want it."""
    theirs, ours = map(answer_of, ask(ports, "outside", "A", flags=0))
    assert len(theirs.answer) == 3
    assert len(ours.answer) == 1
    assert ours.rcode == "NOERROR"


def test_other_types(ports) -> None:
    """The name behind the alias has no such record, and says so for itself."""
    _, ours = map(answer_of, ask(ports, "two", "TXT"))
    assert ours.rcode == "NOERROR"
    assert [record.type for record in ours.answer] == ["CNAME"]
    assert [record.owner for record in ours.authority] == ["two.test."]


def test_a_circle(ports) -> None:
    theirs, ours = map(answer_of, ask(ports, "two-circle", "A"))
    assert ours.rcode == theirs.rcode == "NOERROR"
    assert [record.type for record in ours.answer] == ["CNAME", "CNAME"]
