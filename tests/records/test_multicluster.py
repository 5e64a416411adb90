"""The zone of a cluster set (KEP-1645, CoreDNS's handler_test.go for multicluster zones)."""

from __future__ import annotations

import pytest

from kdns.dns import codes, names
from kdns.records.serial import IMPORTS_SERIAL, SERIAL

SVC = "default.svc.clusterset.local."
WEB = b"M\x03web\x07default"


@pytest.fixture
def filled(cluster):
    made = type(cluster)(multicluster=True)
    made.namespace("default")
    made.service_import("web", "10.0.0.1", ports=["http:80/TCP"])
    made.service_import("dual", "10.0.0.3", "fd00::3", ports=["http:80/TCP", ":81/UDP"])
    made.service_import("portless", "10.0.0.4")
    made.service_import("pending", ports=["http:80/TCP"])
    made.service_import("db", headless=True, ports=["pg:5432/TCP"])
    made.service_import("idle", headless=True)
    made.service_import("loose", headless=True)
    made.service_import("hidden", "10.0.0.9", namespace="unborn")
    pg = ["pg:5432/TCP"]
    made.slice("db-1", "", "10.1.0.1=db-0", "10.1.0.2", imported="db", cluster="one", ports=pg)
    made.slice("db-2", "", "10.2.0.1=db-0", "!10.2.0.9", imported="db", cluster="two", ports=pg)
    made.slice("db-3", "own", "fd00:1::", imported="db", cluster="one", ports=pg)
    made.slice("web-1", "", "10.1.0.5", imported="web", cluster="one", ports=["http:8080/TCP"])
    made.slice("loose-1", "", "10.3.0.1", "10.3.0.2=named", imported="loose")
    made.slice("loose-2", "", "10.3.0.3", imported="loose", cluster="No.Label")
    made.service("own", "None")
    made.service("local", "10.0.0.7")
    made.service("web", "10.99.0.1", ports=["other:1/TCP"])
    return made


ANSWERS = [
    ("cluster set IP", "web.default.svc", "A", ["10.0.0.1"]),
    ("cluster set IP", "dual.default.svc", "A", ["10.0.0.3"]),
    ("cluster set IP", "dual.default.svc", "AAAA", ["fd00::3"]),
    ("without ports", "portless.default.svc", "A", ["10.0.0.4"]),
    ("headless", "db.default.svc", "A", ["10.1.0.1", "10.1.0.2", "10.2.0.1"]),
    ("headless", "db.default.svc", "AAAA", ["fd00:1::"]),
    ("an endpoint of a cluster", "db-0.one.db.default.svc", "A", ["10.1.0.1"]),
    ("an endpoint of a cluster", "db-0.two.db.default.svc", "A", ["10.2.0.1"]),
    ("by its address", "10-1-0-2.one.db.default.svc", "A", ["10.1.0.2"]),
    ("by its address", "fd00-1--0.one.db.default.svc", "AAAA", ["fd00:1::"]),
    ("of a cluster set IP", "10-1-0-5.one.web.default.svc", "A", ["10.1.0.5"]),
    ("no cluster known", "10-3-0-1.loose.default.svc", "A", ["10.3.0.1"]),
    ("no cluster known", "named.loose.default.svc", "A", ["10.3.0.2"]),
    ("cluster's name is no label", "10-3-0-3.loose.default.svc", "A", ["10.3.0.3"]),
    ("schema version", "dns-version", "TXT", ['"1.1.0"']),
]


@pytest.mark.parametrize(("clause", "name", "qtype", "data"), ANSWERS)
def test_answer(filled, ask, clause, name, qtype, data):
    rcode, answer, additional = ask(filled.clusterset(), name, qtype)
    ttl = 28800 if qtype == "TXT" else 5
    expected = [f"{name}.clusterset.local. {ttl} {qtype} {each}" for each in data]
    assert (rcode, answer, additional) == ("NOERROR", expected, [])


SERVICES = [
    ("_http._tcp.web.default.svc", [f"0 100 80 web.{SVC}"], [f"web.{SVC} 5 A 10.0.0.1"]),
    ("http._tcp.web.default.svc", [f"0 100 80 web.{SVC}"], [f"web.{SVC} 5 A 10.0.0.1"]),
    (
        "_pg._tcp.db.default.svc",
        [
            f"0 25 5432 db-0.one.db.{SVC}",
            f"0 25 5432 10-1-0-2.one.db.{SVC}",
            f"0 25 5432 db-0.two.db.{SVC}",
            f"0 25 5432 fd00-1--0.one.db.{SVC}",
        ],
        [
            f"db-0.one.db.{SVC} 5 A 10.1.0.1",
            f"10-1-0-2.one.db.{SVC} 5 A 10.1.0.2",
            f"db-0.two.db.{SVC} 5 A 10.2.0.1",
            f"fd00-1--0.one.db.{SVC} 5 AAAA fd00:1::",
        ],
    ),
    (
        "db-0.two.db.default.svc",
        [f"0 100 5432 db-0.two.db.{SVC}"],
        [f"db-0.two.db.{SVC} 5 A 10.2.0.1"],
    ),
]


@pytest.mark.parametrize(("name", "records", "glue"), SERVICES, ids=[row[0] for row in SERVICES])
def test_srv(filled, ask, name, records, glue):
    rcode, answer, additional = ask(filled.clusterset(), name, "SRV")
    assert rcode == "NOERROR"
    assert answer == [f"{name}.clusterset.local. 5 SRV {record}" for record in records]
    assert additional == glue


NODATA = [
    ("other family", "web.default.svc", "AAAA"),
    ("other type", "web.default.svc", "TXT"),
    ("no address yet", "pending.default.svc", "A"),
    ("without ports", "portless.default.svc", "SRV"),
    ("RFC 8020 names below it", ".", "A"),
    ("RFC 8020 names below it", "svc", "A"),
    ("RFC 8020 names below it", "default.svc", "A"),
    ("RFC 8020 names below it", "one.db.default.svc", "A"),
    ("RFC 8020 names below it", "two.db.default.svc", "SRV"),
    ("RFC 8020 names below it", "_tcp.web.default.svc", "A"),
    ("RFC 8020 names below it", "_tcp.db.default.svc", "A"),
    ("RFC 8020 names below it", "dns", "A"),
]


@pytest.mark.parametrize(("clause", "name", "qtype"), NODATA)
def test_no_data(filled, ask, clause, name, qtype):
    assert ask(filled.clusterset(), name, qtype) == ("NOERROR", [], [])


NXDOMAIN = [
    ("not imported", "local.default.svc"),
    ("headless without endpoints", "idle.default.svc"),
    ("no Namespace", "hidden.unborn.svc"),
    ("endpoint without its cluster", "db-0.db.default.svc"),
    ("endpoint without its cluster", "10-1-0-2.db.default.svc"),
    ("endpoint in another cluster", "10-1-0-2.two.db.default.svc"),
    ("not ready", "10-2-0-9.two.db.default.svc"),
    ("no such cluster", "db-0.three.db.default.svc"),
    ("no such cluster", "three.db.default.svc"),
    ("ports need an underscore", "http.tcp.web.default.svc"),
    ("ports need an underscore", "tcp.web.default.svc"),
    ("no such port", "_ftp._tcp.web.default.svc"),
    ("ports of another view", "_other._tcp.web.default.svc"),
    ("not zonal", "us.pin._zone.db.default.svc"),
    ("not zonal", "pin._zone.db.default.svc"),
    ("no pods", "pod"),
    ("no pods", "10-1-0-1.default.pod"),
    ("too long", "x.db-0.one.db.default.svc"),
]


@pytest.mark.parametrize(("clause", "name"), NXDOMAIN)
def test_no_such_name(filled, ask, clause, name):
    zone = filled.clusterset(pods="insecure", zonal=True)
    for qtype in ("A", "SRV", "TXT"):
        assert ask(zone, name, qtype) == ("NXDOMAIN", [], [])
    assert zone.lookup(names.from_text(f"{name}.clusterset.local"), codes.A).denial is zone


def test_views_do_not_mix(filled, ask):
    """Services are not imports, nor the other way round; slices may be of both."""
    local = filled.zone()
    assert ask(local, "web.default.svc", "A")[1][0].endswith(" 10.99.0.1")
    assert ask(local, "dual.default.svc", "A")[0] == "NXDOMAIN"
    assert ask(local, "db.default.svc", "A")[0] == "NXDOMAIN"
    assert ask(local, "own.default.svc", "AAAA")[1] == [
        "own.default.svc.cluster.local. 5 AAAA fd00:1::"
    ]


def test_options(filled, ask):
    hiding = filled.clusterset(ignore_empty_service=True)
    assert ask(hiding, "web.default.svc", "A")[0] == "NOERROR"
    assert ask(hiding, "dual.default.svc", "A")[0] == "NXDOMAIN"
    elsewhere = filled.clusterset(namespaces=frozenset({"other"}))
    assert ask(elsewhere, "web.default.svc", "A")[0] == "NXDOMAIN"


def test_name_servers_are_in_the_zone(filled, ask):
    """CoreDNS names them for a Service of the cluster's own zone, which this one does not have."""
    own = [bytes((192, 0, 2, 1))]
    zone = filled.clusterset(own=own)
    ns = "clusterset.local. 5 NS ns.dns.clusterset.local."
    assert ask(zone, ".", "NS") == ("NOERROR", [ns], ["ns.dns.clusterset.local. 5 A 192.0.2.1"])
    filled.service("dns", "10.0.0.53")
    filled.slice("dns-a", "dns", "192.0.2.1")
    assert ask(zone, ".", "NS") == ("NOERROR", [ns], ["ns.dns.clusterset.local. 5 A 10.0.0.53"])
    assert ask(zone, "ns.dns", "A")[1] == ["ns.dns.clusterset.local. 5 A 10.0.0.53"]


def test_serial_is_its_own(filled):
    """CoreDNS 1.3: each view has a counter."""
    zone, local = filled.clusterset(), filled.zone()
    filled.now = 2000.0
    touched = filled.service_import("web", "10.0.0.2")
    assert touched >= {WEB, IMPORTS_SERIAL}
    assert SERIAL not in touched
    assert serial(zone) == 2000
    assert serial(local) == 1000
    filled.now = 3000.0
    assert IMPORTS_SERIAL not in filled.service("web", "10.99.0.2")
    assert (serial(zone), serial(local)) == (2000, 3000)
    filled.now = 4000.0
    assert {SERIAL, IMPORTS_SERIAL} <= filled.namespace("new")
    reply = zone.lookup(names.from_text("nothing.default.svc.clusterset.local"), codes.A)
    assert IMPORTS_SERIAL in reply.reads
    assert WEB in zone.lookup(names.from_text("web.default.svc.clusterset.local"), codes.A).reads


def serial(zone):
    return int.from_bytes(zone.soa().rdatas[0][-20:-16], "big")


def test_store_that_is_not_told_keeps_no_imports(cluster):
    assert cluster.service_import("web", "10.0.0.1") == set()
    cluster.slice("web-1", "", "10.1.0.5", imported="web", cluster="one")
    assert cluster.store.imports.nodes == {}


def test_all_is_given_back(filled):
    for name in ("db-1", "db-2", "db-3", "web-1", "loose-1", "loose-2"):
        filled.delete("EndpointSlice", name)
    for name in ("web", "dual", "portless", "pending", "db", "idle", "loose"):
        assert filled.delete("ServiceImport", name)
    assert filled.delete("ServiceImport", "nothing") == set()
    filled.delete("ServiceImport", "hidden", "unborn")
    assert filled.store.imports.nodes == {}
    assert len(filled.store.imports.endpoints) == 0


def test_denial(filled):
    zone = filled.clusterset()
    for name in ("pod", "x.pod", "x", "ghost.default.svc", "a.b.ghost.default.svc", "x.ghost.svc"):
        assert zone.denies(names.from_text(f"{name}.clusterset.local"))
    for name in ("svc", "dns", "db-0.one.db.default.svc", "x.db.default.svc", "default.svc"):
        assert not zone.denies(names.from_text(f"{name}.clusterset.local"))
