"""Zones of external addresses (CoreDNS's `k8s_external`: its README and tests)."""

from __future__ import annotations

import pytest

from kdns.dns import codes, names
from kdns.records.serial import EXTERNAL_SERIAL, SERIAL

NS = "default.example.com."
V4 = "in-addr.arpa."


@pytest.fixture
def filled(cluster):
    http = ["http:80/TCP"]
    cluster.service("svc1", "10.0.0.1", ports=http, outside=["1.2.3.4"])
    cluster.service("svc6", "10.0.0.3", ports=http, outside=["1:2::5"])
    cluster.service("svc11", "10.0.0.4", ports=http, ingress=["2.3.4.5"])
    cluster.service("svc12", "10.0.0.5", ports=http, ingress=["lb.example.NET", "other.net"])
    cluster.service(
        "many", "10.0.0.6", ports=["a:1/TCP", ":2/UDP"], outside=["5.5.5.5"], ingress=["5.5.5.6"]
    )
    cluster.service("both", "10.0.0.7", ports=http, outside=["6.6.6.6"], ingress=["lb.net"])
    cluster.service("portless", "10.0.0.8", outside=["7.7.7.7"])
    cluster.service("inside", "10.0.0.9", ports=http)
    cluster.slice("inside-1", "inside", "10.1.0.9=inside-0", ports=http)
    cluster.service("headless", "None", ports=http)
    cluster.slice("headless-1", "headless", "1.2.3.4=ep-0", "1.2.3.5", "!1.2.3.6", ports=http)
    cluster.service("idle", "None", ports=http)
    cluster.service("fixed", "None", ports=http, outside=["192.168.200.123"])
    cluster.slice("fixed-1", "fixed", "10.1.0.1=ep-0", ports=http)
    cluster.service("shared", "10.0.0.10", outside=["1.2.3.4"])
    cluster.service("aliased", external="www.example.org", outside=["8.8.4.4"])
    cluster.service("hidden", "10.0.0.11", outside=["9.9.9.9"], namespace="unborn")
    cluster.service("far", "10.0.0.12", outside=["4.4.4.4"], namespace="other")
    return cluster


ANSWERS = [
    ("externalIPs", "svc1.default", "A", ["A 1.2.3.4"]),
    ("externalIPs", "svc6.default", "AAAA", ["AAAA 1:2::5"]),
    ("externalIPs of a headless service", "fixed.default", "A", ["A 192.168.200.123"]),
    ("externalIPs of an ExternalName", "aliased.default", "A", ["A 8.8.4.4"]),
    ("load balancer", "svc11.default", "A", ["A 2.3.4.5"]),
    ("load balancer behind externalIPs", "many.default", "A", ["A 5.5.5.5", "A 5.5.5.6"]),
    ("without ports", "portless.default", "A", ["A 7.7.7.7"]),
    ("another namespace", "far.other", "A", ["A 4.4.4.4"]),
    ("name of a load balancer", "svc12.default", "A", ["CNAME lb.example.net."]),
    ("name of a load balancer", "svc12.default", "AAAA", ["CNAME lb.example.net."]),
    ("RFC 1034 3.6.2 alias for every type", "svc12.default", "TXT", ["CNAME lb.example.net."]),
    ("RFC 1034 3.6.2 no alias beside an address", "both.default", "A", ["A 6.6.6.6"]),
    ("RFC 8482 4.1", "svc1.default", "ANY", ["A 1.2.3.4"]),
]


@pytest.mark.parametrize(("clause", "name", "qtype", "data"), ANSWERS)
def test_answer(filled, ask, clause, name, qtype, data):
    expected = [f"{name}.example.com. 5 {each}" for each in data]
    assert ask(filled.external(), name, qtype) == ("NOERROR", expected, [])


SERVICES = [
    ("svc1.default", [f"0 100 80 svc1.{NS}"], [f"svc1.{NS} 5 A 1.2.3.4"]),
    ("_http._tcp.svc6.default", [f"0 100 80 svc6.{NS}"], [f"svc6.{NS} 5 AAAA 1:2::5"]),
    ("http.tcp.svc11.default", [f"0 100 80 svc11.{NS}"], [f"svc11.{NS} 5 A 2.3.4.5"]),
    (
        "many.default",
        [f"0 25 1 many.{NS}", f"0 25 2 many.{NS}"],
        [f"many.{NS} 5 A 5.5.5.5", f"many.{NS} 5 A 5.5.5.6"],
    ),
    ("svc12.default", ["0 50 80 lb.example.net.", "0 50 80 other.net."], []),
    ("_http._tcp.svc12.default", ["0 50 80 lb.example.net.", "0 50 80 other.net."], []),
    (
        "_http._tcp.both.default",
        [f"0 50 80 both.{NS}", "0 50 80 lb.net."],
        [f"both.{NS} 5 A 6.6.6.6"],
    ),
]


@pytest.mark.parametrize(("name", "records", "glue"), SERVICES, ids=[row[0] for row in SERVICES])
def test_srv(filled, ask, name, records, glue):
    rcode, answer, additional = ask(filled.external(), name, "SRV")
    assert rcode == "NOERROR"
    assert answer == [f"{name}.example.com. 5 SRV {record}" for record in records]
    assert additional == glue


NODATA = [
    ("other family", "svc1.default", "AAAA"),
    ("other type", "svc1.default", "TXT"),
    ("other type", "svc1.default", "PTR"),
    ("other type", "svc1.default", "SOA"),
    ("without ports", "portless.default", "SRV"),
    ("a namespace", "default", "A"),
    ("a namespace", "default", "SOA"),
    ("the apex label", "dns", "NS"),
    ("the apex label", "dns", "SRV"),
    ("its own name", "ns1.dns", "SRV"),
    ("its own name", "ns1.dns", "NS"),
    ("SRV alone", "_http._tcp.svc1.default", "A"),
    ("RFC 8020 names below it", "_tcp.svc1.default", "A"),
    ("apex", ".", "A"),
]


@pytest.mark.parametrize(("clause", "name", "qtype"), NODATA)
def test_no_data(filled, ask, clause, name, qtype):
    assert ask(filled.external(), name, qtype) == ("NOERROR", [], [])


NXDOMAIN = [
    ("no such service", "svc0.default"),
    ("no such namespace", "svc1.unborn"),
    ("no such namespace", "hidden.unborn"),
    ("nothing outside", "inside.default"),
    ("nothing outside", "headless.default"),
    ("an endpoint", "ep-0.headless.default"),
    ("an endpoint", "inside-0.inside.default"),
    ("no such port", "_ftp._tcp.svc1.default"),
    ("no such protocol", "*._not-udp-or-tcp.svc1.default"),
    ("labels below", "x.svc1.default"),
    ("labels below", "1-2-3-4.svc1.default"),
    ("labels below", "ep-0.fixed.default"),
    ("too long", "x._http._tcp.svc1.default"),
    ("beside its own name", "ns2.dns"),
    ("below its own name", "x.ns1.dns"),
]


@pytest.mark.parametrize(("clause", "name"), NXDOMAIN)
def test_no_such_name(filled, ask, clause, name):
    zone = filled.external()
    for qtype in ("A", "SRV", "PTR", "TXT"):
        assert ask(zone, name, qtype) == ("NXDOMAIN", [], [])
    assert zone.lookup(names.from_text(f"{name}.example.com"), codes.A).denial is zone


def test_headless(filled, ask):
    """Endpoints of headless services, where they have no external addresses."""
    zone = filled.external(headless=True)
    name = "headless.default.example.com."
    assert ask(zone, "headless.default", "A")[1] == [f"{name} 5 A 1.2.3.4", f"{name} 5 A 1.2.3.5"]
    assert ask(zone, "ep-0.headless.default", "A")[1] == [f"ep-0.{name} 5 A 1.2.3.4"]
    assert ask(zone, "1-2-3-5.headless.default", "A")[1] == [f"1-2-3-5.{name} 5 A 1.2.3.5"]
    _, answer, glue = ask(zone, "_http._tcp.headless.default", "SRV")
    owner = "_http._tcp.headless.default.example.com. 5 SRV"
    assert answer == [f"{owner} 0 50 80 ep-0.{name}", f"{owner} 0 50 80 1-2-3-5.{name}"]
    assert glue == [f"ep-0.{name} 5 A 1.2.3.4", f"1-2-3-5.{name} 5 A 1.2.3.5"]
    assert ask(zone, "fixed.default", "A")[1] == [f"fixed.{NS} 5 A 192.168.200.123"]
    for missing in ("ep-0.fixed.default", "idle.default", "inside-0.inside.default"):
        assert ask(zone, missing, "A")[0] == "NXDOMAIN"


def test_apex(filled, ask):
    """CoreDNS's names below the apex label, and one TTL for all."""
    own = [bytes((127, 0, 0, 1))]
    zone = filled.external(own=own, ttl=600)
    soa = "SOA ns1.dns.example.com. hostmaster.dns.example.com. 1000 7200 1800 86400 600"
    assert ask(zone, ".", "SOA")[1] == [f"example.com. 600 {soa}"]
    assert ask(zone, ".", "ANY")[1] == [f"example.com. 600 {soa}"]
    glue = "ns1.dns.example.com. 600 A 127.0.0.1"
    ns = "example.com. 600 NS ns1.dns.example.com."
    assert ask(zone, ".", "NS") == ("NOERROR", [ns], [glue])
    assert ask(zone, "ns1.dns", "A") == ("NOERROR", [glue], [])


OWN_SERVICE = {
    "external addresses": (
        ["dns", "10.0.0.53"],
        {"outside": ["3.3.3.3", "3::3"]},
        False,
        "3.3.3.3",
    ),
    "none of them": (["dns", "10.0.0.53"], {}, False, None),
    "headless": (["dns", "None"], {}, False, None),
    "headless with the option": (["dns", "None"], {}, True, "192.0.2.1"),
}


@pytest.mark.parametrize(
    ("service", "more", "headless", "expected"), OWN_SERVICE.values(), ids=OWN_SERVICE
)
def test_name_server_is_the_service_of_this_server(filled, ask, service, more, headless, expected):
    filled.service(*service, **more)
    filled.slice("dns-1", "dns", "192.0.2.1")
    zone = filled.external(own=[bytes((192, 0, 2, 1))], headless=headless)
    answer = [] if expected is None else [f"ns1.dns.example.com. 5 A {expected}"]
    assert ask(zone, "ns1.dns", "A")[1] == answer


POINTERS = [
    ("several services", "4.3.2.1", ["svc1.default", "shared.default"]),
    ("load balancer", "5.4.3.2", ["svc11.default"]),
    ("another namespace", "4.4.4.4", ["far.other"]),
    ("endpoints have none", "5.3.2.1", None),
    ("cluster IPs have none", "1.0.0.10", None),
    ("no Namespace", "9.9.9.9", None),
    ("nobody's", "8.8.8.8", None),
    ("below", "1.4.3.2.1", None),
]


@pytest.mark.parametrize(("clause", "name", "targets"), POINTERS)
def test_pointer(filled, ask, clause, name, targets):
    zone = filled.external_reverse(V4)
    rcode, answer, _ = ask(zone, f"{name}.{V4}", "PTR", under=False)
    assert rcode == ("NXDOMAIN" if targets is None else "NOERROR")
    assert answer == [f"{name}.{V4} 5 PTR {each}.example.com." for each in targets or ()]


def test_reverse_zone(filled, ask):
    zone = filled.external_reverse(V4)
    assert ask(zone, f"4.3.2.1.{V4}", "A", under=False) == ("NOERROR", [], [])
    for above in ("3.2.1", "2.1", "1"):
        assert ask(zone, f"{above}.{V4}", "PTR", under=False) == ("NOERROR", [], [])
    assert ask(zone, f"10.{V4}", "PTR", under=False)[0] == "NXDOMAIN"
    assert ask(zone, V4, "NS", under=False)[1] == [f"{V4} 5 NS ns1.dns.example.com."]
    assert (
        " ns1.dns.in-addr.arpa. hostmaster.dns.in-addr.arpa. "
        in (ask(zone, V4, "SOA", under=False)[1][0])
    )
    six = filled.external_reverse("ip6.arpa.")
    name = ".".join(reversed("00010002" + "0" * 23 + "5")) + ".ip6.arpa."
    assert ask(six, name, "PTR", under=False)[1] == [f"{name} 5 PTR svc6.{NS}"]


def test_hidden_namespaces(filled, ask):
    only = frozenset({"other"})
    assert ask(filled.external(namespaces=only), "svc1.default", "A")[0] == "NXDOMAIN"
    assert ask(filled.external(namespaces=only), "far.other", "A")[0] == "NOERROR"
    zone = filled.external_reverse(V4, namespaces=only)
    assert ask(zone, f"4.3.2.1.{V4}", "PTR", under=False)[0] == "NXDOMAIN"


def test_serial(filled):
    """It moves for what is seen outside; with `headless` endpoints are seen too."""
    zone, wide = filled.external(), filled.external(headless=True)
    filled.now = 2000.0
    assert EXTERNAL_SERIAL not in filled.service("inside", "10.0.0.99")
    filled.slice("headless-1", "headless", "1.2.3.9")
    assert (serial(zone), serial(wide)) == (1000, 2000)
    filled.now = 3000.0
    assert {EXTERNAL_SERIAL, SERIAL} <= filled.service("inside", "10.0.0.99", outside=["1.1.1.1"])
    assert (serial(zone), serial(wide)) == (3000, 3000)
    filled.now = 4000.0
    assert EXTERNAL_SERIAL in filled.service(
        "inside", "10.0.0.99", outside=["1.1.1.1"], ports=["http:81/TCP"]
    )
    filled.now = 5000.0
    assert EXTERNAL_SERIAL in filled.service("inside", "10.0.0.99")
    assert serial(zone) == 5000
    missing = names.from_text("ghost.default.example.com")
    assert set(zone.lookup(missing, codes.A).reads) & {EXTERNAL_SERIAL, SERIAL} == {EXTERNAL_SERIAL}
    assert set(wide.lookup(missing, codes.A).reads) >= {EXTERNAL_SERIAL, SERIAL}


def serial(zone):
    return int.from_bytes(zone.soa().rdatas[0][-20:-16], "big")


def test_all_is_given_back(filled):
    for name in ("svc1", "svc6", "svc11", "svc12", "many", "both", "portless", "fixed", "shared"):
        filled.delete("Service", name)
    filled.service("aliased", external="www.example.org")
    filled.delete("Service", "hidden", "unborn")
    filled.delete("Service", "far", "other")
    externals = filled.store.externals
    assert len(externals.holders) == 0
    assert b"\x01" not in externals.prefixes[4]
    assert b"\x00" not in externals.prefixes[16]


def test_denial(filled):
    zone = filled.external()
    for name in ("ghost.default", "x.y.ghost.default", "svc1.unborn", "unborn", "a.b.c.nowhere"):
        assert zone.denies(names.from_text(f"{name}.example.com"))
    for name in ("dns", "x.dns", "svc1.dns", "default", "svc1.default", "inside.default"):
        assert not zone.denies(names.from_text(f"{name}.example.com"))
    for prefix in (b"", b"\x01x\x00\x01x", b"\x03x", b"\xc0\x0c", b"\x40" + b"x" * 64):
        assert not zone.denies(prefix + zone.origin)
    assert not zone.denies((b"\x3f" + b"x" * 63) * 4 + zone.origin)


STRANGE = {
    "externalIPs": ({"outside": ["1.2.3"]}, 1),
    "address of a load balancer": ({"ingress": ["1.2.3.400"]}, 1),
    "name of a load balancer": ({"ingress": ["a..b"]}, 1),
    "name of a load balancer is empty": ({"ingress": ["."]}, 1),
}


@pytest.mark.parametrize(("more", "count"), STRANGE.values(), ids=STRANGE)
def test_strange_addresses_are_counted(cluster, ask, more, count):
    cluster.service("web", "10.0.0.1", **more)
    assert cluster.store.rejected == count
    assert ask(cluster.external(), "web.default", "A")[0] == "NXDOMAIN"
    assert ask(cluster.zone(), "web.default.svc", "A")[0] == "NOERROR"
