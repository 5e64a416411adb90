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
from tests.upstream.messages import answer
from tests.upstream.scripted import Upstreams, sends
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


FORWARDING = """\
. {{
    bind 127.0.0.1 ::1
    ready {{$READY}}
    kubernetes cluster.local {{
        {{$SOURCE}}
    }}
    forward . {upstream}
    cache 30
}}
"""

SOA = "example.net. 60 SOA ns.example.net. host.example.net. 1 2 3 4 60"


@pytest.fixture(scope="module")
def forwarding():
    """(CoreDNS, kdns) that forward to one upstream."""
    with Upstreams() as upstreams:
        upstream = upstreams.open()
        upstream.script("www.example.com.", sends(answer("@ 60 A 192.0.2.80")), type="A")
        alias = answer("@ 60 CNAME a.example.net.", "a.example.net. 60 A 192.0.2.81")
        upstream.script("v4.example.com.", sends(alias), type="A")
        upstream.script("example.net.", sends(answer(rcode="NXDOMAIN", authority=[SOA])))
        upstream.script("www.elsewhere.test.", sends(answer(rcode="SERVFAIL")))
        text = FORWARDING.format(upstream=upstream.address)
        with (
            ApiServer(OBJECTS) as api,
            coredns.CoreDNS(sourced(text, f"endpoint {api.url}")) as server,
            kdns(text, MemoryFeed(decoded(OBJECTS))) as port,
        ):
            yield server.port, port


@pytest.mark.parametrize(("name", "records"), [("outside", 2), ("chain-outside", 3), ("v4", 3)])
def test_what_upstream_knows(forwarding, name, records) -> None:
    """TTLs aside, as both count down: kdns those of upstream, CoreDNS all in its cache."""
    for tcp in (False, False, True):
        theirs, ours = map(answer_of, ask(forwarding, name, "A", tcp=tcp))
        data = [{each[:2] + each[3:] for each in answer.answer} for answer in (theirs, ours)]
        assert data[0] == data[1]
        assert len(data[1]) == records
        assert (theirs.rcode, ours.rcode) == ("NOERROR", "NOERROR")
        own = {each.ttl for each in ours.answer if each.owner.endswith(".cluster.local.")}
        assert own == {5}


@pytest.mark.parametrize(
    ("name", "rcode", "errors"),
    [
        ("outside-dot", "NXDOMAIN", ([], [])),
        (
            "elsewhere",
            "SERVFAIL",
            ([dns.edns.EDECode.OTHER], [dns.edns.EDECode.CACHED_ERROR]),
        ),
    ],
)
def test_what_upstream_does_not_know(forwarding, name, rcode, errors) -> None:
    """ALIAS_RCODE, with an upstream behind the alias."""
    for error in errors:
        replies = ask(forwarding, name, "A")
        theirs, ours = map(answer_of, replies)
        assert {each[:2] + each[3:] for each in theirs.answer} == {
            each[:2] + each[3:] for each in ours.answer
        }
        assert (theirs.rcode, ours.rcode) == ("NOERROR", rcode)
        assert [each.owner for each in ours.authority] == ["example.net."] * (rcode == "NXDOMAIN")
        assert [option.code for option in replies[1].options] == error


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
