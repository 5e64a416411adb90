"""Reverse zones (specification C7, C8, H10; CoreDNS 1.7)."""

from __future__ import annotations

import pytest

from kdns.dns import codes, names

V4 = "in-addr.arpa."
V6 = "ip6.arpa."
SVC = "default.svc.cluster.local."


def nibbles(text):
    return ".".join(reversed(text))


FD00_2 = nibbles("fd00" + "0" * 27 + "2") + ".ip6.arpa."
POD6 = nibbles("fd0000010000000000000000000000ab") + ".ip6.arpa."


@pytest.fixture
def filled(cluster):
    cluster.service("web", "10.0.0.1", ports=["http:80/TCP"])
    cluster.slice("web-a", "web", "10.1.0.1", "10.1.0.2")
    cluster.service("dual", "10.0.0.2", "fd00::2")
    cluster.service("db", "None")
    cluster.slice("db-a", "db", "10.1.0.2=db-0", "!10.1.0.9")
    cluster.slice("db-b", "db", "10.1.0.2=db-0")
    cluster.slice("db-c", "db", "fd00:1::ab=db-0")
    cluster.service("eager", "None", publish=True)
    cluster.slice("eager-a", "eager", "!10.2.0.1=slow")
    cluster.service("own", "10.0.0.3")
    cluster.slice("own-a", "own", "10.0.0.1=shadowed")
    cluster.service("away", external="example.com")
    cluster.slice("away-a", "away", "10.3.0.1")
    cluster.slice("early-a", "early", "10.4.0.1")
    cluster.service("far", "10.9.0.1", namespace="other")
    cluster.service("unborn", "10.9.0.2", namespace="unborn")
    return cluster


CASES = [
    ("C7", V4, "1.0.0.10.in-addr.arpa.", "PTR", "NOERROR", [f"web.{SVC}"]),
    ("C7 dual stack", V4, "2.0.0.10.in-addr.arpa.", "PTR", "NOERROR", [f"dual.{SVC}"]),
    ("C8", V6, FD00_2, "PTR", "NOERROR", [f"dual.{SVC}"]),
    ("H10", V6, POD6, "PTR", "NOERROR", [f"db-0.db.{SVC}"]),
    (
        "H10 one for each service, duplicates merged",
        V4,
        "2.0.1.10.in-addr.arpa.",
        "PTR",
        "NOERROR",
        [f"10-1-0-2.web.{SVC}", f"db-0.db.{SVC}"],
    ),
    (
        "CoreDNS 1.7 endpoints of a cluster IP",
        V4,
        "1.0.1.10.in-addr.arpa.",
        "PTR",
        "NOERROR",
        [f"10-1-0-1.web.{SVC}"],
    ),
    ("H6", V4, "9.0.1.10.in-addr.arpa.", "PTR", "NXDOMAIN", []),
    ("H6 published", V4, "1.0.2.10.in-addr.arpa.", "PTR", "NOERROR", [f"slow.eager.{SVC}"]),
    ("E2", V4, "1.0.3.10.in-addr.arpa.", "PTR", "NXDOMAIN", []),
    ("no Service yet", V4, "1.0.4.10.in-addr.arpa.", "PTR", "NXDOMAIN", []),
    ("no Namespace", V4, "2.0.9.10.in-addr.arpa.", "PTR", "NXDOMAIN", []),
    ("nobody's", V4, "8.8.8.8.in-addr.arpa.", "PTR", "NXDOMAIN", []),
    ("RFC 8482 4.1", V4, "1.0.0.10.in-addr.arpa.", "ANY", "NOERROR", [f"web.{SVC}"]),
    ("other type", V4, "1.0.0.10.in-addr.arpa.", "A", "NOERROR", []),
    ("other type", V4, "1.0.0.10.in-addr.arpa.", "TXT", "NOERROR", []),
    ("other type", V4, "1.0.0.10.in-addr.arpa.", "SOA", "NOERROR", []),
    ("other type", V4, "8.8.8.8.in-addr.arpa.", "A", "NXDOMAIN", []),
    ("shape", V4, "x.1.0.0.10.in-addr.arpa.", "PTR", "NXDOMAIN", []),
    ("shape", V4, "0.1.0.0.10.in-addr.arpa.", "PTR", "NXDOMAIN", []),
    ("shape", V4, "01.0.0.10.in-addr.arpa.", "PTR", "NXDOMAIN", []),
    ("shape", V4, "256.0.0.10.in-addr.arpa.", "PTR", "NXDOMAIN", []),
    ("shape", V4, "web.default.svc.10.in-addr.arpa.", "A", "NXDOMAIN", []),
    ("shape", V6, f"0.{FD00_2}", "PTR", "NXDOMAIN", []),
    ("shape", V6, "10.ip6.arpa.", "PTR", "NXDOMAIN", []),
    ("empty non-terminal", V4, V4, "A", "NOERROR", []),
    ("empty non-terminal", V4, "10.in-addr.arpa.", "PTR", "NOERROR", []),
    ("empty non-terminal", V4, "0.10.in-addr.arpa.", "PTR", "NOERROR", []),
    ("empty non-terminal", V4, "0.1.10.in-addr.arpa.", "NS", "NOERROR", []),
    ("empty non-terminal", V4, "11.in-addr.arpa.", "PTR", "NXDOMAIN", []),
    ("empty non-terminal", V4, "7.1.10.in-addr.arpa.", "PTR", "NXDOMAIN", []),
    ("empty non-terminal", V6, POD6[2:], "PTR", "NOERROR", []),
    ("empty non-terminal", V6, POD6[4:], "PTR", "NOERROR", []),
    ("empty non-terminal", V6, "0.d.f.ip6.arpa.", "PTR", "NOERROR", []),
    ("empty non-terminal", V6, "f.ip6.arpa.", "PTR", "NOERROR", []),
    ("empty non-terminal", V6, "e.ip6.arpa.", "PTR", "NXDOMAIN", []),
    ("empty non-terminal", V6, f"1{POD6[3:]}", "PTR", "NXDOMAIN", []),
    (
        "deep zone",
        "0.0.10.in-addr.arpa.",
        "1.0.0.10.in-addr.arpa.",
        "PTR",
        "NOERROR",
        [f"web.{SVC}"],
    ),
    ("deep zone", "0.0.10.in-addr.arpa.", "0.0.10.in-addr.arpa.", "PTR", "NOERROR", []),
    ("deep zone", "9.9.9.in-addr.arpa.", "9.9.9.in-addr.arpa.", "PTR", "NOERROR", []),
    ("deep zone", "0.d.f.ip6.arpa.", FD00_2, "PTR", "NOERROR", [f"dual.{SVC}"]),
    (
        "an address",
        "1.0.0.10.in-addr.arpa.",
        "1.0.0.10.in-addr.arpa.",
        "PTR",
        "NOERROR",
        [f"web.{SVC}"],
    ),
    ("an address", "9.9.9.9.in-addr.arpa.", "9.9.9.9.in-addr.arpa.", "PTR", "NOERROR", []),
    ("transfer", V4, V4, "AXFR", "REFUSED", []),
]


@pytest.mark.parametrize(
    ("clause", "origin", "name", "qtype", "rcode", "targets"),
    [pytest.param(*row, id=f"{row[0]}: {row[2]} {row[3]} in {row[1]}") for row in CASES],
)
def test_reverse(filled, ask, clause, origin, name, qtype, rcode, targets):
    zone = filled.reverse(origin)
    found = ask(zone, name, qtype, under=False)
    assert found == (rcode, [f"{name} 5 PTR {target}" for target in targets], [])


def test_apex(filled, ask):
    zone = filled.reverse("10.in-addr.arpa.", ttl=30)
    origin = "10.in-addr.arpa."
    soa = f"SOA ns.dns.{origin} hostmaster.{origin} 1000 7200 1800 86400 30"
    assert ask(zone, origin, "SOA", under=False)[1] == [f"{origin} 30 {soa}"]
    assert ask(zone, origin, "ANY", under=False)[1] == [f"{origin} 30 {soa}"]
    assert ask(zone, origin, "NS", under=False)[1] == [f"{origin} 30 NS ns.dns.cluster.local."]


def test_hidden_namespaces_have_no_pointers(filled, ask):
    zone = filled.reverse(V4, namespaces=frozenset({"other"}))
    assert ask(zone, "1.0.9.10.in-addr.arpa.", "PTR", under=False)[1] == [
        "1.0.9.10.in-addr.arpa. 5 PTR far.other.svc.cluster.local."
    ]
    assert ask(zone, "1.0.0.10.in-addr.arpa.", "PTR", under=False)[0] == "NXDOMAIN"
    assert ask(zone, "1.0.1.10.in-addr.arpa.", "PTR", under=False)[0] == "NXDOMAIN"


def test_noendpoints_option(filled, ask):
    zone = filled.reverse(V4, noendpoints=True)
    assert ask(zone, "1.0.0.10.in-addr.arpa.", "PTR", under=False)[0] == "NOERROR"
    assert ask(zone, "1.0.1.10.in-addr.arpa.", "PTR", under=False)[0] == "NXDOMAIN"


def test_partial_names_are_not_kept(filled):
    """Nothing says when the last address below one goes."""
    zone = filled.reverse(V4)
    for name in ("1.10.in-addr.arpa.", "77.in-addr.arpa."):
        assert zone.lookup(names.from_text(name), codes.PTR).lifetime == 0
    assert zone.lookup(names.from_text("1.0.0.10.in-addr.arpa."), codes.PTR).lifetime is None


def test_cluster_ip_that_changes_hands_out_of_order(filled, ask):
    """The new owner may be heard of before the old one is gone."""
    zone = filled.reverse(V4)
    filled.service("heir", "10.0.0.1")
    filled.delete("Service", "web")
    answer = ask(zone, "1.0.0.10.in-addr.arpa.", "PTR", under=False)[1]
    assert answer == [f"1.0.0.10.in-addr.arpa. 5 PTR heir.{SVC}"]


def test_pointers_of_an_address_behind_very_many_services_are_bounded(cluster):
    for number in range(300):
        cluster.service(f"s{number}", "None")
        cluster.slice(f"s{number}", f"s{number}", "10.0.0.1")
    zone = cluster.reverse(V4)
    reply = zone.lookup(names.from_text("1.0.0.10.in-addr.arpa."), codes.PTR)
    assert len(set(reply.answer[0].rdatas)) == 256


def test_origin_must_be_a_reverse_zone(cluster):
    with pytest.raises(ValueError, match=r"in-addr\.arpa"):
        cluster.reverse("example.com.")
