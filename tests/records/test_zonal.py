"""Zonal names of headless services, clause by clause of CoreDNS's README ("Zonal Names")."""

from __future__ import annotations

import pytest

from kdns.dns import codes, names

DB = "db.default.svc"
SVC = "default.svc.cluster.local."


@pytest.fixture
def filled(cluster):
    made = type(cluster)(zonal=True)
    made.namespace("default")
    made.service("db", "None", ports=["pg:5432/TCP"])
    made.slice("db-a", "db", "10.1.0.1@us-2a", "10.1.0.2=two@US-2B", ports=["pg:5432/TCP"])
    made.slice("db-b", "db", "10.1.0.3@us-2b", "!10.1.0.9@us-2c", "10.1.0.4", ports=["pg:5432/TCP"])
    made.slice("db-c", "db", "fd00::6@six", ports=["pg:5432/TCP"])
    made.slice("db-d", "db", "10.1.0.5@corp.example.com", "10.1.0.6@bad..zone", "10.1.0.7@-_-")
    made.service("plain", "None")
    made.slice("plain-a", "plain", "10.2.0.1")
    made.service("idle", "None")
    made.service("web", "10.0.0.1", ports=["http:80/TCP"])
    made.slice("web-a", "web", "10.1.1.1@us-2a")
    made.service("away", external="example.com")
    return made


ALL = [f"10.1.0.{last}" for last in (1, 2, 3, 4, 5, 6, 7)]

ADDRESSES = [
    ("pin", f"us-2a.pin._zone.{DB}", "A", ["10.1.0.1"]),
    ("zones compare without case", f"us-2b.pin._zone.{DB}", "A", ["10.1.0.2", "10.1.0.3"]),
    ("several slices", f"us-2b.pin._zone.{DB}", "ANY", ["10.1.0.2", "10.1.0.3"]),
    ("a zone may have dots", f"corp.example.com.pin._zone.{DB}", "A", ["10.1.0.5"]),
    ("any label", f"-_-.pin._zone.{DB}", "A", ["10.1.0.7"]),
    ("prefer narrows", f"us-2a.prefer._zone.{DB}", "A", ["10.1.0.1"]),
    ("prefer widens", f"us-2z.prefer._zone.{DB}", "A", ALL),
    ("prefer: nothing ready there", f"us-2c.prefer._zone.{DB}", "A", ALL),
    ("IPv6", f"six.pin._zone.{DB}", "AAAA", ["fd00::6"]),
    ("no zones known", "us-2a.prefer._zone.plain.default.svc", "A", ["10.2.0.1"]),
]


@pytest.mark.parametrize(
    ("clause", "name", "qtype", "addresses"), ADDRESSES, ids=[row[0] for row in ADDRESSES]
)
def test_addresses(filled, ask, clause, name, qtype, addresses):
    rcode, answer, additional = ask(filled.zone(zonal=True), name, qtype)
    family = "AAAA" if qtype == "AAAA" else "A"
    expected = [f"{name}.cluster.local. 5 {family} {address}" for address in addresses]
    assert (rcode, answer, additional) == ("NOERROR", expected, [])


def test_services(filled, ask):
    """Targets are the endpoints' own names, and their weight is shared by those of the zone."""
    name = f"us-2b.pin._zone.{DB}"
    _, answer, additional = ask(filled.zone(zonal=True), name, "SRV")
    assert answer == [
        f"{name}.cluster.local. 5 SRV 0 50 5432 two.db.{SVC}",
        f"{name}.cluster.local. 5 SRV 0 50 5432 10-1-0-3.db.{SVC}",
    ]
    assert additional == [f"two.db.{SVC} 5 A 10.1.0.2", f"10-1-0-3.db.{SVC} 5 A 10.1.0.3"]
    wide = ask(filled.zone(zonal=True), f"nowhere.prefer._zone.{DB}", "SRV")[1]
    assert sorted(wide) == sorted(
        line.replace(DB, f"nowhere.prefer._zone.{DB}", 1)
        for line in ask(filled.zone(zonal=True), DB, "SRV")[1]
    )


NODATA = [
    ("an empty zone", f"us-2z.pin._zone.{DB}", "A"),
    ("nothing ready in it", f"us-2c.pin._zone.{DB}", "A"),
    ("an empty zone", f"us-2z.pin._zone.{DB}", "SRV"),
    ("other types", f"us-2a.pin._zone.{DB}", "TXT"),
    ("other types", f"us-2a.prefer._zone.{DB}", "HTTPS"),
    ("other types", f"us-2z.pin._zone.{DB}", "TXT"),
    ("prefer does not widen over a family", f"six.prefer._zone.{DB}", "A"),
    ("nothing anywhere", "us-2a.prefer._zone.idle.default.svc", "A"),
    ("RFC 8020 names below it", f"pin._zone.{DB}", "A"),
    ("RFC 8020 names below it", f"prefer._zone.{DB}", "SRV"),
    ("RFC 8020 names below it", f"_zone.{DB}", "A"),
]


@pytest.mark.parametrize(("clause", "name", "qtype"), NODATA)
def test_no_data(filled, ask, clause, name, qtype):
    assert ask(filled.zone(zonal=True), name, qtype) == ("NOERROR", [], [])


NXDOMAIN = [
    ("no service", "us-2a.pin._zone.ghost.default.svc"),
    ("unknown directive", f"us-2a.florp._zone.{DB}"),
    ("unknown directive", f"florp._zone.{DB}"),
    ("a cluster IP", "us-2a.pin._zone.web.default.svc"),
    ("a cluster IP", "_zone.web.default.svc"),
    ("ExternalName", "us-2a.pin._zone.away.default.svc"),
    ("no anchor", f"us-2a.pin.zone.{DB}"),
    ("an endpoint has none", "us-2a.pin._zone.two.db.default.svc"),
]


@pytest.mark.parametrize(("clause", "name"), NXDOMAIN)
def test_no_such_name(filled, ask, clause, name):
    assert ask(filled.zone(zonal=True), name, "A") == ("NXDOMAIN", [], [])


@pytest.mark.parametrize("name", [row[1] for row in (*ADDRESSES, *NODATA, *NXDOMAIN)])
def test_without_the_option_there_is_no_such_name(filled, ask, name):
    assert ask(filled.zone(), name, "A") == ("NXDOMAIN", [], [])


def test_plain_names_are_not_affected(filled, ask):
    for name in (DB, f"two.{DB}", f"_pg._tcp.{DB}", f"_tcp.{DB}"):
        for qtype in ("A", "SRV", "TXT"):
            assert ask(filled.zone(zonal=True), name, qtype) == ask(filled.zone(), name, qtype)


def test_denial_spares_zonal_names(filled):
    zone = filled.zone(zonal=True)
    for name in (f"us-2a.pin._zone.{DB}", f"_zone.{DB}", f"x.y.z.pin._zone.{DB}"):
        assert not zone.denies(names.from_text(f"{name}.cluster.local"))
    assert zone.denies(names.from_text("us-2a.pin._zone.ghost.default.svc.cluster.local"))


def test_endpoint_that_changes_its_zone(filled, ask):
    """The change is visible, so it touches the service and moves the serial."""
    zone = filled.zone(zonal=True)
    token = names.from_text("db.default")[:-1]
    filled.now += 5
    touched = filled.slice("db-a", "db", "10.1.0.1@us-2z", ports=["pg:5432/TCP"])
    assert token in touched
    assert filled.store.services.serial.token in touched
    assert ask(zone, f"us-2a.pin._zone.{DB}", "A")[1] == []
    assert len(ask(zone, f"us-2z.pin._zone.{DB}", "A")[1]) == 1
    assert (
        token in zone.lookup(names.from_text(f"us-2z.pin._zone.{DB}.cluster.local"), codes.A).reads
    )


def test_only_a_zonal_store_keeps_zones(cluster, filled):
    cluster.service("db", "None")
    cluster.slice("db-a", "db", "10.1.0.1@us-2a")
    assert zones_of(cluster, "db") == [None]
    assert None not in zones_of(filled, "db")
    assert zones_of(filled, "plain") == [None]


def zones_of(cluster, name):
    node = cluster.store.services.nodes[names.from_text(f"{name}.default")[:-1]]
    return [entry.ready.zones for entry in node.slices.values()]


def test_zone_without_a_name_is_complained_about_once(filled):
    assert filled.store.rejected == 1
