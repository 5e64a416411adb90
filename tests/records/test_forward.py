"""The forward zone, clause by clause.

S, C, H and E are rules of the Kubernetes DNS specification 1.1.0 in its own order (schema version,
cluster IP, headless, external name); "CoreDNS" is behaviour beyond it.
"""

from __future__ import annotations

import pytest

from kdns.dns import codes, names
from kdns.dns.query import STREAM_LIMIT
from kdns.records.zone import ANSWER_BYTES

SVC = "default.svc.cluster.local."


@pytest.fixture
def filled(cluster):
    """Services of every kind in `default`."""
    web = ["http:80/TCP", "https:443/TCP"]
    cluster.service("web", "10.0.0.1", ports=web)
    cluster.slice("web-a", "web", "10.1.0.1", "10.1.0.2", ports=["http:8080/TCP"])
    cluster.service("dual", "10.0.0.2", "fd00::2", ports=["http:80/TCP"])
    cluster.service("six", "fd00::3", ports=["http:80/TCP"])
    cluster.service("plain", "10.0.0.4", ports=[":80/TCP"])
    cluster.service("portless", "10.0.0.5")
    cluster.service("pending", "", ports=["http:80/TCP"])
    cluster.service("names", "10.0.0.6", ports=["dns:53/UDP", "dns-tcp:53/TCP", "sig:7/SCTP"])
    cluster.service("db", "None", ports=["pg:5432/TCP"])
    cluster.slice("db-a", "db", "10.1.1.1=db-0", "10.1.1.2=db-1", ports=["pg:5432/TCP"])
    cluster.slice("db-b", "db", "10.1.1.2=db-1", "!10.1.1.3=db-2", ports=["pg:5432/TCP"])
    cluster.slice("db-c", "db", "fd00:1::1=db-0", ports=["pg:5432/TCP"])
    cluster.service("pool", "None")
    cluster.slice("pool-a", "pool", "10.1.2.1", "10.1.2.2", ports=["m:9/TCP", ":10/TCP"])
    cluster.service("pool6", "None")
    cluster.slice("pool6-a", "pool6", "5678:abcd::1", "fd00::", ports=["m:9/TCP"])
    cluster.service("quiet", "None")
    cluster.slice("quiet-a", "quiet", "10.1.3.1")
    cluster.service("empty", "None", ports=["pg:5432/TCP"])
    cluster.service("starting", "None")
    cluster.slice("starting-a", "starting", "!10.1.4.1")
    cluster.service("eager", "None", publish=True)
    cluster.slice("eager-a", "eager", "10.1.5.1", "!10.1.5.2=slow", ports=["m:9/TCP"])
    cluster.service("shared", "None")
    cluster.slice("shared-a", "shared", "10.1.6.1+10.1.6.2=one", ports=["m:9/TCP"])
    cluster.service("anyport", "None")
    cluster.slice("anyport-a", "anyport", "10.1.7.1", ports=["m:/TCP"])
    cluster.service("away", external="www.Example.com")
    cluster.service("near", external=f"web.{SVC}")
    cluster.service("far", external=f"near.{SVC[:-1]}")
    cluster.service("ping", external=f"pong.{SVC}")
    cluster.service("pong", external=f"ping.{SVC}")
    cluster.service("self", external=f"self.{SVC}")
    cluster.service("gone", external=f"nothing.{SVC}")
    cluster.service("away2", external=f"away.{SVC}")
    cluster.service("literal", external="192.0.2.1")
    cluster.service("web", "10.0.1.1", namespace="unborn")
    return cluster


def rows(table):
    return [pytest.param(*row, id=f"{row[0]}: {row[1]} {row[2]}") for row in table]


POSITIVE = [
    ("S1", "dns-version", "TXT", ['dns-version.cluster.local. 28800 TXT "1.1.0"']),
    ("C1", "web.default.svc", "A", [f"web.{SVC} 5 A 10.0.0.1"]),
    ("C2", "dual.default.svc", "A", [f"dual.{SVC} 5 A 10.0.0.2"]),
    ("C2", "dual.default.svc", "AAAA", [f"dual.{SVC} 5 AAAA fd00::2"]),
    ("C2", "six.default.svc", "AAAA", [f"six.{SVC} 5 AAAA fd00::3"]),
    ("H1", "pool.default.svc", "A", [f"pool.{SVC} 5 A 10.1.2.1", f"pool.{SVC} 5 A 10.1.2.2"]),
    (
        "H1 two slices",
        "db.default.svc",
        "A",
        [f"db.{SVC} 5 A 10.1.1.1", f"db.{SVC} 5 A 10.1.1.2"],
    ),
    ("H2", "db.default.svc", "AAAA", [f"db.{SVC} 5 AAAA fd00:1::1"]),
    ("H4", "db-0.db.default.svc", "A", [f"db-0.db.{SVC} 5 A 10.1.1.1"]),
    ("H4", "db-0.db.default.svc", "AAAA", [f"db-0.db.{SVC} 5 AAAA fd00:1::1"]),
    ("H4 once from two slices", "db-1.db.default.svc", "A", [f"db-1.db.{SVC} 5 A 10.1.1.2"]),
    (
        "H4 several addresses",
        "one.shared.default.svc",
        "A",
        [f"one.shared.{SVC} 5 A 10.1.6.1", f"one.shared.{SVC} 5 A 10.1.6.2"],
    ),
    ("H5", "10-1-2-2.pool.default.svc", "A", [f"10-1-2-2.pool.{SVC} 5 A 10.1.2.2"]),
    (
        "H5 IPv6",
        "5678-abcd--1.pool6.default.svc",
        "AAAA",
        [f"5678-abcd--1.pool6.{SVC} 5 AAAA 5678:abcd::1"],
    ),
    (
        "H5 no dash last",
        "fd00--0.pool6.default.svc",
        "AAAA",
        [f"fd00--0.pool6.{SVC} 5 AAAA fd00::"],
    ),
    (
        "H6 published",
        "eager.default.svc",
        "A",
        [f"eager.{SVC} 5 A 10.1.5.1", f"eager.{SVC} 5 A 10.1.5.2"],
    ),
    ("H6 published", "slow.eager.default.svc", "A", [f"slow.eager.{SVC} 5 A 10.1.5.2"]),
    (
        "CoreDNS 1.2 endpoint of a cluster IP",
        "10-1-0-2.web.default.svc",
        "A",
        [f"10-1-0-2.web.{SVC} 5 A 10.1.0.2"],
    ),
    ("E1", "away.default.svc", "A", [f"away.{SVC} 5 CNAME www.example.com."]),
    ("E1", "away.default.svc", "AAAA", [f"away.{SVC} 5 CNAME www.example.com."]),
    ("E1 every type", "away.default.svc", "HTTPS", [f"away.{SVC} 5 CNAME www.example.com."]),
    ("E1 every type", "away.default.svc", "TXT", [f"away.{SVC} 5 CNAME www.example.com."]),
    ("E1 no chase", "near.default.svc", "CNAME", [f"near.{SVC} 5 CNAME web.{SVC}"]),
    ("RFC 8482 4.1", "near.default.svc", "ANY", [f"near.{SVC} 5 CNAME web.{SVC}"]),
    (
        "E1 chased",
        "far.default.svc",
        "A",
        [
            f"far.{SVC} 5 CNAME near.{SVC}",
            f"near.{SVC} 5 CNAME web.{SVC}",
            f"web.{SVC} 5 A 10.0.0.1",
        ],
    ),
    (
        "E1 chased to the outside",
        "away2.default.svc",
        "A",
        [f"away2.{SVC} 5 CNAME away.{SVC}", f"away.{SVC} 5 CNAME www.example.com."],
    ),
    (
        "E1 loop",
        "ping.default.svc",
        "A",
        [f"ping.{SVC} 5 CNAME pong.{SVC}", f"pong.{SVC} 5 CNAME ping.{SVC}"],
    ),
    ("E1 loop", "self.default.svc", "A", [f"self.{SVC} 5 CNAME self.{SVC}"]),
    ("RFC 8482 4.1", "dual.default.svc", "ANY", [f"dual.{SVC} 5 A 10.0.0.2"]),
    ("RFC 8482 4.1", "six.default.svc", "ANY", [f"six.{SVC} 5 AAAA fd00::3"]),
    ("RFC 8482 4.1", "dns-version", "ANY", ['dns-version.cluster.local. 28800 TXT "1.1.0"']),
]


@pytest.mark.parametrize(("clause", "name", "qtype", "answer"), rows(POSITIVE))
def test_answer(filled, ask, clause, name, qtype, answer):
    assert ask(filled.zone(), name, qtype) == ("NOERROR", answer, [])


SERVICES = [
    (
        "C4",
        "_https._tcp.web.default.svc",
        [f"0 100 443 web.{SVC}"],
        [f"web.{SVC} 5 A 10.0.0.1"],
    ),
    (
        "C4 UDP",
        "_dns._udp.names.default.svc",
        [f"0 100 53 names.{SVC}"],
        [f"names.{SVC} 5 A 10.0.0.6"],
    ),
    (
        "C4 SCTP",
        "_sig._sctp.names.default.svc",
        [f"0 100 7 names.{SVC}"],
        [f"names.{SVC} 5 A 10.0.0.6"],
    ),
    (
        "C6 dual stack counts twice",
        "_http._tcp.dual.default.svc",
        [f"0 50 80 dual.{SVC}"],
        [f"dual.{SVC} 5 A 10.0.0.2", f"dual.{SVC} 5 AAAA fd00::2"],
    ),
    (
        "CoreDNS 1.2 the service's own name",
        "web.default.svc",
        [f"0 50 80 web.{SVC}", f"0 50 443 web.{SVC}"],
        [f"web.{SVC} 5 A 10.0.0.1"],
    ),
    (
        "CoreDNS 1.2 unnamed ports too",
        "plain.default.svc",
        [f"0 100 80 plain.{SVC}"],
        [f"plain.{SVC} 5 A 10.0.0.4"],
    ),
    (
        "CoreDNS 1.4 weight before equal records are merged",
        "names.default.svc",
        [f"0 33 53 names.{SVC}", f"0 33 7 names.{SVC}"],
        [f"names.{SVC} 5 A 10.0.0.6"],
    ),
    (
        "CoreDNS 1.1 underscores are optional",
        "http.tcp.web.default.svc",
        [f"0 100 80 web.{SVC}"],
        [f"web.{SVC} 5 A 10.0.0.1"],
    ),
    (
        "H7 H8, weight of four pairs",
        "_pg._tcp.db.default.svc",
        [f"0 25 5432 db-0.db.{SVC}", f"0 25 5432 db-1.db.{SVC}"],
        [
            f"db-0.db.{SVC} 5 A 10.1.1.1",
            f"db-1.db.{SVC} 5 A 10.1.1.2",
            f"db-0.db.{SVC} 5 AAAA fd00:1::1",
        ],
    ),
    (
        "H7 several ports",
        "pool.default.svc",
        [
            f"0 25 9 10-1-2-1.pool.{SVC}",
            f"0 25 10 10-1-2-1.pool.{SVC}",
            f"0 25 9 10-1-2-2.pool.{SVC}",
            f"0 25 10 10-1-2-2.pool.{SVC}",
        ],
        [f"10-1-2-1.pool.{SVC} 5 A 10.1.2.1", f"10-1-2-2.pool.{SVC} 5 A 10.1.2.2"],
    ),
    (
        "H7 one target for several addresses",
        "_m._tcp.shared.default.svc",
        [f"0 50 9 one.shared.{SVC}"],
        [f"one.shared.{SVC} 5 A 10.1.6.1", f"one.shared.{SVC} 5 A 10.1.6.2"],
    ),
    (
        "CoreDNS 1.2 an endpoint's own name",
        "db-0.db.default.svc",
        [f"0 50 5432 db-0.db.{SVC}"],
        [f"db-0.db.{SVC} 5 AAAA fd00:1::1", f"db-0.db.{SVC} 5 A 10.1.1.1"],
    ),
    (
        "CoreDNS 1.2 an endpoint of a cluster IP",
        "10-1-0-1.web.default.svc",
        [f"0 100 8080 10-1-0-1.web.{SVC}"],
        [f"10-1-0-1.web.{SVC} 5 A 10.1.0.1"],
    ),
]


@pytest.mark.parametrize(
    ("clause", "name", "records", "glue"),
    [pytest.param(*row, id=f"{row[0]}: {row[1]}") for row in SERVICES],
)
def test_srv(filled, ask, clause, name, records, glue):
    rcode, answer, additional = ask(filled.zone(), name, "SRV")
    assert rcode == "NOERROR"
    assert answer == [f"{name}.cluster.local. 5 SRV {record}" for record in records]
    assert sorted(additional) == sorted(glue)


NODATA = [
    ("C3", "web.default.svc", "AAAA"),
    ("C3", "six.default.svc", "A"),
    ("C4 SRV alone", "_http._tcp.web.default.svc", "A"),
    ("C4 SRV alone", "_http._tcp.web.default.svc", "TXT"),
    ("H7 SRV alone", "_pg._tcp.db.default.svc", "AAAA"),
    ("H2", "pool.default.svc", "AAAA"),
    ("H4", "db-1.db.default.svc", "AAAA"),
    ("S1", "dns-version", "A"),
    ("CoreDNS 1.2 no ports", "portless.default.svc", "SRV"),
    ("CoreDNS 1.2 no ports", "quiet.default.svc", "SRV"),
    ("all ports", "_m._tcp.anyport.default.svc", "SRV"),
    ("no address yet", "pending.default.svc", "A"),
    ("no address yet", "_http._tcp.pending.default.svc", "SRV"),
    ("RFC 2308", "web.default.svc", "TXT"),
    ("RFC 2308", "web.default.svc", "MX"),
    ("RFC 2308", "web.default.svc", "HTTPS"),
    ("RFC 2308", "web.default.svc", "TYPE65280"),
    ("RFC 2308", "web.default.svc", "CNAME"),
    ("RFC 2308", "web.default.svc", "PTR"),
    ("SOA below the apex", "web.default.svc", "SOA"),
    ("NS below the apex", "web.default.svc", "NS"),
    ("NS below the apex", "db-0.db.default.svc", "NS"),
    ("RFC 8482 4.1", "pending.default.svc", "ANY"),
    ("RFC 8020 empty non-terminal", ".", "A"),
    ("RFC 8020 empty non-terminal", ".", "TXT"),
    ("RFC 8020 empty non-terminal", "svc", "A"),
    ("RFC 8020 empty non-terminal", "svc", "TXT"),
    ("RFC 8020 empty non-terminal", "svc", "SOA"),
    ("RFC 8020 empty non-terminal", "svc", "ANY"),
    ("RFC 8020 empty non-terminal", "pod", "NS"),
    ("RFC 8020 empty non-terminal", "dns", "A"),
    ("RFC 8020 empty non-terminal", "default.svc", "A"),
    ("RFC 8020 empty non-terminal", "default.svc", "TXT"),
    ("RFC 8020 empty non-terminal", "other.svc", "A"),
    ("RFC 8020 empty non-terminal", "_tcp.web.default.svc", "A"),
    ("RFC 8020 empty non-terminal", "_tcp.web.default.svc", "SRV"),
    ("RFC 8020 empty non-terminal", "_sctp.names.default.svc", "ANY"),
    ("RFC 8020 empty non-terminal", "_tcp.db.default.svc", "A"),
    ("RFC 8020 empty non-terminal", "tcp.db.default.svc", "A"),
    ("no address of its own", "ns.dns", "A"),
]


@pytest.mark.parametrize(("clause", "name", "qtype"), rows(NODATA))
def test_no_data(filled, ask, clause, name, qtype):
    assert ask(filled.zone(), name, qtype) == ("NOERROR", [], [])


NXDOMAIN = [
    ("H3", "empty.default.svc", "A"),
    ("H3", "empty.default.svc", "SRV"),
    ("H3", "_pg._tcp.empty.default.svc", "SRV"),
    ("H3 H6", "starting.default.svc", "A"),
    ("H6", "db-2.db.default.svc", "A"),
    ("H6", "10-1-4-1.starting.default.svc", "A"),
    ("H5", "10-1-1-1.db.default.svc", "A"),
    ("H5", "10-1-2-9.pool.default.svc", "A"),
    ("H5 of another service", "10-1-2-1.web.default.svc", "A"),
    ("H5 one spelling", "fd00--.pool6.default.svc", "AAAA"),
    ("H5 one spelling", "5678-abcd-0--1.pool6.default.svc", "AAAA"),
    ("C5", "_._tcp.plain.default.svc", "SRV"),
    ("C5", "_tcp.plain.default.svc", "A"),
    ("C4", "_ftp._tcp.web.default.svc", "SRV"),
    ("C4", "_http._udp.web.default.svc", "SRV"),
    ("C4", "_http._quic.web.default.svc", "SRV"),
    ("C4", "_udp.web.default.svc", "A"),
    ("H7 the Service's ports do not count", "_pg._tcp.pool.default.svc", "SRV"),
    ("E2", "_http._tcp.away.default.svc", "SRV"),
    ("E2", "x.away.default.svc", "A"),
    ("E2", "x.y.away.default.svc", "A"),
    ("CoreDNS 1.5 an address is no name", "literal.default.svc", "A"),
    ("CoreDNS 1.1", "x", "A"),
    ("CoreDNS 1.1", "web.default", "A"),
    ("CoreDNS 1.1", "a.b.c.web.default.svc", "A"),
    ("CoreDNS 1.1", "x.dns-version", "TXT"),
    ("CoreDNS 1.1", "x.dns", "A"),
    ("CoreDNS 1.1", "x.ns.dns", "A"),
    ("CoreDNS 1.1", "*.default.svc", "A"),
    ("CoreDNS 1.1", "web.*.svc", "A"),
    ("CoreDNS 1.2", "nothing.default.svc", "A"),
    ("CoreDNS 1.2", "nothing.default.svc", "SOA"),
    ("CoreDNS 1.2", "nothing.default.svc", "TXT"),
    ("CoreDNS 1.2", "nothing.default.svc", "ANY"),
    ("CoreDNS 1.2", "unborn.svc", "A"),
    ("CoreDNS 1.2", "web.unborn.svc", "A"),
    ("RFC 2181 11 a dot in a label", r"web\.default.svc", "A"),
    ("RFC 2181 11 any byte", r"w\000b.default.svc", "A"),
    ("RFC 2181 11 any byte", r"\255.web.default.svc", "A"),
]


@pytest.mark.parametrize(("clause", "name", "qtype"), rows(NXDOMAIN))
def test_no_such_name(filled, ask, clause, name, qtype):
    zone = filled.zone()
    assert ask(zone, name, qtype) == ("NXDOMAIN", [], [])
    wire = names.from_text(name)[:-1] + zone.origin
    assert zone.lookup(wire, codes.A).denial is zone


def test_alias_to_a_name_that_does_not_exist_has_its_rcode(filled, ask):
    """RFC 6604 3: the rcode is that of the last name of the chain."""
    zone = filled.zone()
    alias = f"gone.{SVC} 5 CNAME nothing.{SVC}"
    assert ask(zone, "gone.default.svc", "A") == ("NXDOMAIN", [alias], [])
    reply = zone.lookup(names.from_text(f"gone.{SVC}"), codes.A)
    assert reply.denial is None
    assert [each.type for each in reply.authority] == [codes.SOA]
    assert names.from_text("nothing.default.")[:-1] in reply.reads


def test_alias_to_a_name_without_such_records_ends_in_an_soa(filled, ask):
    reply = filled.zone().lookup(names.from_text(f"far.{SVC}"), codes.AAAA)
    assert reply.rcode == codes.NOERROR
    assert [each.type for each in reply.answer] == [codes.CNAME, codes.CNAME]
    assert [each.type for each in reply.authority] == [codes.SOA]


def test_alias_chain_is_bounded(cluster):
    for number in range(15):
        cluster.service(f"s{number}", external=f"s{number + 1}.{SVC}")
    cluster.service("s15", "10.0.0.1")
    zone = cluster.zone()
    long = zone.lookup(names.from_text(f"s0.{SVC}"), codes.A)
    assert (long.rcode, len(long.answer)) == (codes.NOERROR, 12)
    short = zone.lookup(names.from_text(f"s4.{SVC}"), codes.A)
    assert [each.type for each in short.answer] == [codes.CNAME] * 11 + [codes.A]


def test_soa(filled, ask):
    """CoreDNS 1.3: owner, names, timers; the TTL is at most 300 seconds."""
    soa = "SOA ns.dns.cluster.local. hostmaster.cluster.local. 1000 7200 1800 86400"
    assert ask(filled.zone(ttl=30), ".", "SOA")[1] == [f"cluster.local. 30 {soa} 30"]
    assert ask(filled.zone(ttl=3600), ".", "SOA")[1] == [f"cluster.local. 300 {soa} 3600"]
    assert ask(filled.zone(ttl=30), ".", "ANY")[1] == [f"cluster.local. 30 {soa} 30"]
    zone = filled.zone()
    assert " 1000 7200 " in ask(zone, ".", "SOA")[1][0]
    filled.now = 1060.9
    filled.service("another", "10.0.0.77")
    assert " 1060 7200 " in ask(zone, ".", "SOA")[1][0]


def test_ttl(filled, ask):
    assert ask(filled.zone(ttl=0), "web.default.svc", "A")[1] == [f"web.{SVC} 0 A 10.0.0.1"]
    reply = filled.zone(ttl=77).lookup(names.from_text(f"_pg._tcp.db.{SVC}"), codes.SRV)
    assert {each.ttl for each in (*reply.answer, *reply.additional)} == {77}


@pytest.mark.parametrize("qtype", ["AXFR", "IXFR"])
@pytest.mark.parametrize("name", [".", "web.default.svc", "nothing"])
def test_transfer_is_refused(filled, ask, name, qtype):
    assert ask(filled.zone(), name, qtype) == ("REFUSED", [], [])


@pytest.mark.parametrize("origin", [".", "a.very.deep.zone.example.com.", "local."])
def test_one_store_serves_every_zone(filled, ask, origin):
    zone = filled.zone(origin)
    suffix = "" if origin == "." else origin
    answer = [f"web.default.svc.{suffix} 5 A 10.0.0.1"]
    assert ask(zone, "web.default.svc", "A")[1] == answer
    target = ask(zone, "_http._tcp.web.default.svc", "SRV")[1][0].split()[-1]
    assert target == f"web.default.svc.{suffix}"
    assert ask(zone, "nothing.default.svc", "A")[0] == "NXDOMAIN"


NS = {
    "cluster IP": ("10.1.0.1", [f"web.{SVC}"], [f"web.{SVC} 5 A 10.0.0.1"]),
    "headless": (
        "10.1.1.1",
        [f"db-0.db.{SVC}", f"db-1.db.{SVC}"],
        [f"db-0.db.{SVC} 5 A 10.1.1.1", f"db-1.db.{SVC} 5 A 10.1.1.2"],
    ),
    "not ready": (
        "10.1.4.1",
        ["ns.dns.cluster.local."],
        ["ns.dns.cluster.local. 5 A 10.1.4.1"],
    ),
    "no endpoint": (
        "192.0.2.1",
        ["ns.dns.cluster.local."],
        ["ns.dns.cluster.local. 5 A 192.0.2.1"],
    ),
}


@pytest.mark.parametrize(("own", "servers", "glue"), NS.values(), ids=NS)
def test_ns(filled, ask, own, servers, glue):
    """CoreDNS 1.6: the services that this server is an endpoint of, else ns.dns."""
    zone = filled.zone(own=[bytes(map(int, own.split(".")))])
    rcode, answer, additional = ask(zone, ".", "NS")
    assert (rcode, additional) == ("NOERROR", glue)
    assert answer == [f"cluster.local. 5 NS {server}" for server in servers]
    addresses = [line.split()[-1] for line in glue]
    assert ask(zone, "ns.dns", "A")[1] == [
        f"ns.dns.cluster.local. 5 A {address}" for address in addresses
    ]
    assert ask(zone, "ns.dns", "AAAA") == ("NOERROR", [], [])


def test_ns_of_a_hidden_namespace_is_not_named(filled, ask):
    zone = filled.zone(own=[b"\x0a\x01\x00\x01"], namespaces=frozenset({"other"}))
    assert ask(zone, ".", "NS")[1] == ["cluster.local. 5 NS ns.dns.cluster.local."]


def test_namespaces_option(filled, ask):
    filled.service("here", "10.0.9.1", namespace="other")
    zone = filled.zone(namespaces=frozenset({"other"}))
    assert ask(zone, "here.other.svc", "A")[1] == ["here.other.svc.cluster.local. 5 A 10.0.9.1"]
    assert ask(zone, "web.default.svc", "A")[0] == "NXDOMAIN"
    assert ask(zone, "default.svc", "A")[0] == "NXDOMAIN"


def test_ignore_empty_service_option(filled, ask):
    """CoreDNS 1.9: hides cluster IPs without ready endpoints, not external names."""
    zone = filled.zone(ignore_empty_service=True)
    assert ask(zone, "web.default.svc", "A")[0] == "NOERROR"
    assert ask(zone, "dual.default.svc", "A")[0] == "NXDOMAIN"
    assert ask(zone, "_http._tcp.dual.default.svc", "SRV")[0] == "NXDOMAIN"
    assert ask(zone, "away.default.svc", "A")[0] == "NOERROR"


def test_noendpoints_option(filled, ask):
    zone = filled.zone(noendpoints=True, own=[b"\x0a\x01\x00\x01"])
    assert ask(zone, "web.default.svc", "A")[0] == "NOERROR"
    assert ask(zone, "pool.default.svc", "A")[0] == "NXDOMAIN"
    assert ask(zone, "10-1-0-1.web.default.svc", "A")[0] == "NXDOMAIN"
    assert ask(zone, ".", "NS")[1] == ["cluster.local. 5 NS ns.dns.cluster.local."]


def test_endpoint_pod_names_option(cluster, ask):
    """CoreDNS 1.4: the hostname goes first; a pod's name serves where it is one label."""
    cluster = type(cluster)(endpoint_pod_names=True)
    cluster.namespace("default")
    cluster.service("db", "None")
    cluster.slice("a", "db", "10.1.0.1", ports=["pg:5/TCP"], pod="db-7d4b-x2")
    cluster.slice("b", "db", "10.1.0.2=first", pod="db-7d4b-x3")
    cluster.slice("c", "db", "10.1.0.3", pod="a.b")
    cluster.slice("d", "db", "10.1.0.4", pod="p" * 64)
    zone = cluster.zone()
    below = "db.default.svc"
    assert ask(zone, f"db-7d4b-x2.{below}", "A")[1] == [f"db-7d4b-x2.db.{SVC} 5 A 10.1.0.1"]
    assert ask(zone, f"10-1-0-1.{below}", "A")[0] == "NXDOMAIN"
    assert ask(zone, f"db-7d4b-x3.{below}", "A")[0] == "NXDOMAIN"
    assert ask(zone, f"first.{below}", "A")[0] == "NOERROR"
    assert ask(zone, f"10-1-0-3.{below}", "A")[0] == "NOERROR"
    assert ask(zone, f"10-1-0-4.{below}", "A")[0] == "NOERROR"


POD4 = "1-2-3-4.default.pod.cluster.local. 5 A 1.2.3.4"
POD6 = "fd00--7.default.pod.cluster.local. 5 AAAA fd00::7"
PODS = [
    ("disabled", "1-2-3-4.default.pod", "A", "NXDOMAIN", []),
    ("disabled", "default.pod", "A", "NXDOMAIN", []),
    ("disabled", "pod", "A", "NOERROR", []),
    ("insecure", "default.pod", "A", "NOERROR", []),
    ("insecure", "default.pod", "TXT", "NOERROR", []),
    ("insecure", "unborn.pod", "A", "NXDOMAIN", []),
    ("insecure", "1-2-3-4.default.pod", "A", "NOERROR", [POD4]),
    ("insecure", "1-2-3-4.default.pod", "ANY", "NOERROR", [POD4]),
    ("insecure", "1-2-3-4.default.pod", "AAAA", "NOERROR", []),
    ("insecure", "1-2-3-4.default.pod", "SRV", "NOERROR", []),
    ("insecure", "1-2-3-4.default.pod", "TXT", "NOERROR", []),
    ("insecure", "fd00--7.default.pod", "AAAA", "NOERROR", [POD6]),
    ("insecure", "1-2-3-4.unborn.pod", "A", "NXDOMAIN", []),
    ("insecure", "1-2-3-256.default.pod", "A", "NXDOMAIN", []),
    ("insecure", "1-2-3-04.default.pod", "A", "NXDOMAIN", []),
    ("insecure", "1-2-3.default.pod", "A", "NXDOMAIN", []),
    ("insecure", "podname.default.pod", "A", "NXDOMAIN", []),
    ("insecure", r"1\.2\.3\.4.default.pod", "A", "NXDOMAIN", []),
    ("insecure", "x.1-2-3-4.default.pod", "A", "NXDOMAIN", []),
    ("verified", "default.pod", "A", "NOERROR", []),
    ("verified", "1-2-3-4.default.pod", "A", "NOERROR", [POD4]),
    ("verified", "fd00--7.default.pod", "AAAA", "NOERROR", [POD6]),
    ("verified", "1-2-3-4.other.pod", "A", "NXDOMAIN", []),
    ("verified", "1-2-3-5.default.pod", "A", "NXDOMAIN", []),
    ("verified", "9-9-9-9.default.pod", "A", "NXDOMAIN", []),
    ("verified", "x.1-2-3-4.default.pod", "A", "NXDOMAIN", []),
]


@pytest.mark.parametrize(
    ("mode", "name", "qtype", "rcode", "answer"),
    [pytest.param(*row, id=" ".join(row[:3])) for row in PODS],
)
def test_pod(cluster, ask, mode, name, qtype, rcode, answer):
    """CoreDNS 1.8, with both addresses of a dual-stack pod, and nothing below a pod's name."""
    cluster.pod("p", "1.2.3.4", "fd00::7")
    cluster.pod("done", "9.9.9.9", phase="Succeeded")
    assert ask(cluster.zone(pods=mode), name, qtype) == (rcode, answer, [])


def test_pods_that_share_an_address_go_one_by_one(cluster, ask):
    zone = cluster.zone(pods="verified")
    cluster.pod("a", "1.2.3.4")
    assert cluster.pod("b", "1.2.3.4") == set()
    assert cluster.delete("Pod", "a") == set()
    assert ask(zone, "1-2-3-4.default.pod", "A")[1] == [POD4]
    assert cluster.delete("Pod", "b")
    assert ask(zone, "1-2-3-4.default.pod", "A")[0] == "NXDOMAIN"


def test_large_answers_are_cut_beyond_a_message(cluster):
    """Little more is made than TCP can carry, and never so little that the cut goes unnoticed."""
    cluster.service("big", "None")
    for number in range(50):
        addresses = [f"10.{number}.{low // 250}.{low % 250}" for low in range(100)]
        cluster.slice(f"s{number}", "big", *addresses, ports=["a:1/TCP"])
        six = [f"fd00::{number:x}:{low:x}" for low in range(100)]
        cluster.slice(f"t{number}", "big", *six, ports=["a:1/TCP"])
    zone = cluster.zone()
    name = names.from_text(f"big.{SVC}")
    a, aaaa, srv = (zone.lookup(name, t).answer[0].rdatas for t in (codes.A, codes.AAAA, codes.SRV))
    assert (len(a), len(aaaa)) == (ANSWER_BYTES // 16, ANSWER_BYTES // 28)
    for rdatas in (a, aaaa, srv):
        assert STREAM_LIMIT < sum(12 + len(data) for data in rdatas) <= ANSWER_BYTES + 100
    assert len(set(a)) == len(a)


def test_targets_too_long_for_a_name_are_left_out(cluster, ask):
    """RFC 1035 2.3.4: 255 bytes; a long zone can make an endpoint's name longer."""
    origin = ".".join(["z" * 60] * 2) + "."
    host, service = "h" * 63, "s" * 63
    cluster.service(service, "None")
    cluster.slice("a", service, f"10.0.0.1={host}", "10.0.0.2=b", ports=["a:1/TCP"])
    zone = cluster.zone(origin)
    targets = [line.split()[-1] for line in ask(zone, f"{service}.default.svc", "SRV")[1]]
    assert targets == [f"b.{service}.default.svc.{origin}"]
