"""What `apply` takes in, what it says was touched, and what it leaves out."""

from __future__ import annotations

import logging

import pytest

from kdns.cluster.feed import Synced, Upsert
from kdns.cluster.objects import (
    SERVICE_NAME_LABEL,
    EndpointSlice,
    Metadata,
    Service,
    ServicePort,
    ServiceSpec,
)
from kdns.dns import codes, names
from kdns.dns.reply import EPOCH
from kdns.records.serial import SERIAL
from kdns.records.services import address_token
from kdns.records.store import pod_token

DEFAULT = b"\x07default"
WEB = b"\x03web" + DEFAULT
DB = b"\x02db" + DEFAULT
ONE, TWO, THREE = (address_token(bytes((10, 0, 0, last))) for last in (1, 2, 3))


@pytest.fixture
def quiet(cluster):
    """A cluster whose clock has stopped, so that the serial moves no more."""
    cluster.service("x", "None")
    return cluster


def test_serial_is_the_second_of_the_last_visible_change(cluster):
    """CoreDNS 1.3."""
    fresh = type(cluster)()
    assert fresh.store.services.serial.value == 0
    fresh.now = 5000.7
    assert SERIAL in fresh.namespace("default")
    assert fresh.store.services.serial.value == 5000
    fresh.now = 5000.9
    assert fresh.service("web", "10.0.0.1") == {WEB, ONE}
    fresh.now = 5002.0
    assert fresh.service("web", "10.0.0.1") == set()
    assert fresh.store.services.serial.value == 5000
    fresh.now = 4000.0
    assert fresh.service("web", "10.0.0.2") == {WEB, ONE, TWO}
    assert fresh.store.services.serial.value == 5000
    fresh.now = 5001.0
    assert SERIAL in fresh.delete("Service", "web")


def test_serial_token_is_an_epoch():
    """So many answers read it that they are forgotten together."""
    assert SERIAL.startswith(EPOCH)


def test_synced_comes_once(cluster):
    assert not cluster.store.synced
    assert set(cluster.store.apply(Synced())) == {SERIAL}
    assert cluster.store.synced
    assert set(cluster.store.apply(Synced())) == set()


def test_touched_by_a_slice(quiet):
    assert quiet.slice("a", "web", "10.0.0.1", "10.0.0.2") == {WEB, ONE, TWO}
    assert quiet.slice("a", "web", "10.0.0.1", "10.0.0.2") == set()
    assert quiet.slice("a", "web", "10.0.0.1", "10.0.0.3") == {WEB, TWO, THREE}
    assert quiet.slice("a", "web", "10.0.0.1=name", "10.0.0.3") == {WEB}
    assert quiet.slice("a", "web", "10.0.0.1=10-0-0-1", "10.0.0.3") == {WEB}
    assert quiet.slice("a", "web", "10.0.0.1", "10.0.0.3", ports=["p:1/TCP"]) == {WEB}
    assert quiet.slice("a", "db", "!10.0.0.1", "10.0.0.3") == {WEB, DB, ONE, THREE}
    assert quiet.slice("a", "web", "!10.0.0.1") == {WEB, DB, ONE, THREE} - {WEB}
    assert quiet.slice("a", "db", "10.0.0.1", "10.0.0.3") == {DB, ONE, THREE}
    assert quiet.slice("a", "db") == {DB, ONE, THREE}
    assert quiet.slice("a", "db") == set()
    assert quiet.delete("EndpointSlice", "a") == set()


def test_endpoints_that_are_not_ready_touch_no_service(quiet):
    """Unless it publishes them: a rollout goes through this with each pod."""
    quiet.service("web", "None")
    assert quiet.slice("a", "web", "10.0.0.1") == {WEB, ONE}
    assert quiet.slice("a", "web", "10.0.0.1", "!10.0.0.2") == {TWO}
    assert quiet.slice("a", "web", "10.0.0.1", "10.0.0.2") == {WEB}
    assert quiet.slice("a", "web", "10.0.0.1", "!10.0.0.2") == {WEB}
    assert quiet.service("web", "None", publish=True) == {WEB}
    assert quiet.slice("a", "web", "10.0.0.1") == {WEB, TWO}


def test_touched_by_namespace_and_pod(quiet):
    assert quiet.namespace("new") == {b"\x03new"}
    assert quiet.namespace("new") == set()
    assert quiet.delete("Namespace", "new") == {b"\x03new"}
    assert quiet.delete("Namespace", "new") == set()
    tokens = {pod_token(DEFAULT, bytes((1, 2, 3, last))) for last in (4, 5)}
    assert quiet.pod("p", "1.2.3.4") | quiet.pod("p", "1.2.3.5") == tokens
    assert quiet.pod("p", "1.2.3.5", phase="Failed") == {pod_token(DEFAULT, b"\1\2\3\5")}
    assert quiet.delete("Pod", "p") == set()


@pytest.mark.parametrize("kind", ["Namespace", "Service", "EndpointSlice", "Pod"])
def test_delete_of_what_was_never_there(quiet, kind):
    assert quiet.delete(kind, "nothing") == set()
    assert quiet.delete(kind, "No Name!") == set()
    assert quiet.store.rejected == 0


def test_order_of_arrival_does_not_matter(cluster, ask):
    fresh = type(cluster)()
    zone = fresh.zone()
    fresh.slice("a", "web", "10.0.0.1", ports=["http:80/TCP"])
    assert ask(zone, "web.default.svc", "A")[0] == "NXDOMAIN"
    fresh.service("web", "None")
    assert ask(zone, "web.default.svc", "A")[0] == "NXDOMAIN"
    fresh.namespace("default")
    assert ask(zone, "web.default.svc", "A")[1] == ["web.default.svc.cluster.local. 5 A 10.0.0.1"]
    fresh.delete("Service", "web")
    assert ask(zone, "web.default.svc", "A")[0] == "NXDOMAIN"
    fresh.service("web", "None")
    assert ask(zone, "web.default.svc", "A")[0] == "NOERROR"


def test_all_is_given_back(cluster):
    """Nothing stays behind of objects that are gone, moved or emptied."""
    store = cluster.store
    hosts = [f"10.0.1.{low}=h{low}" for low in range(20)]
    for turn in range(8):
        cluster.slice(f"s{turn}", "web", *hosts, "!10.0.2.1=h", ports=["p:1/TCP"])
        cluster.slice(f"t{turn}", "web", "fd00::1")
    cluster.service("web", "10.9.0.1", "fd00::9")
    assert len(store.services.endpoints) == 22
    cluster.slice("s0", "db", "10.0.1.1")
    cluster.slice("s1", "")
    cluster.slice("s2", "web")
    for name in [*(f"s{turn}" for turn in range(8)), *(f"t{turn}" for turn in range(8))]:
        cluster.delete("EndpointSlice", name)
    assert len(store.services.endpoints) == 0
    cluster.delete("Service", "web")
    assert store.services.nodes == {}
    assert len(store.services.cluster_ips) == 0
    assert b"\x0a" not in store.services.prefixes[4]
    assert b"\xfd" not in store.services.prefixes[16]


def test_service_of_many_labelled_slices(cluster, ask):
    """Labels are found through an index once there are many slices, and after it is dropped."""
    cluster.service("db", "None")
    zone = cluster.zone()

    def known():
        return [n for n in range(9) if ask(zone, f"h{n}.db.default.svc", "A")[0] == "NOERROR"]

    for number in range(9):
        cluster.slice(f"s{number}", "db", f"10.0.0.{number}=h{number}")
        assert known() == list(range(number + 1))
    cluster.slice("s4", "db", "10.0.0.4=other")
    assert known() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert ask(zone, "other.db.default.svc", "A")[0] == "NOERROR"
    for number in range(7):
        cluster.delete("EndpointSlice", f"s{number}")
    assert known() == [7, 8]
    cluster.slice("s8", "db", "10.0.0.8=h0")
    assert known() == [0, 7]


def test_equal_ports_are_one_object(cluster):
    for name in ("a", "b"):
        cluster.slice(name, "web", f"10.0.0.{ord(name)}", ports=["http:80/TCP", "https:443/TCP"])
    first, second = cluster.store.services.nodes[WEB].slices.values()
    assert first.ports is second.ports


def test_addresses_that_stay_keep_their_objects(cluster):
    """The table by address shares them; otherwise memory would grow with every change."""
    cluster.slice("a", "web", "10.0.0.1", "10.0.0.2")
    before = {id(key) for key in cluster.store.services.endpoints}
    cluster.slice("a", "web", "10.0.0.2", "10.0.0.1=h", "10.0.0.3")
    (entry,) = cluster.store.services.nodes[WEB].slices.values()
    assert before < {id(packed) for packed in entry.ready.addresses}


STRANGE = {
    "service name": (lambda c: c.service("Not_A_Label", "10.0.0.1"), 1),
    "service name too long": (lambda c: c.service("a" * 64, "10.0.0.1"), 1),
    "service name with a newline": (lambda c: c.service("web\n", "10.0.0.1"), 1),
    "no namespace": (lambda c: c.service("web", "10.0.0.1", namespace=""), 1),
    "namespace name": (lambda c: c.namespace("a.b"), 1),
    "pod namespace": (lambda c: c.pod("p", "1.2.3.4", namespace="a.b"), 1),
    "cluster IP": (lambda c: c.service("web", "10.0.0.300"), 1),
    "external name empty": (lambda c: c.service("web", external="."), 1),
    "external name too long": (lambda c: c.service("web", external="a" * 64), 1),
    "external name is an address": (lambda c: c.service("web", external="fd00::1"), 1),
    "address": (lambda c: c.slice("a", "web", "not-an-address"), 1),
    "addresses of the other family": (lambda c: c.slice("a", "web", "::1", family="IPv4"), 1),
    "FQDN slice": (lambda c: c.slice("a", "web", "www.example.com", family="FQDN"), 1),
    "no address type": (lambda c: c.slice("a", "web", "10.0.0.1", family=""), 1),
    "service label": (lambda c: c.slice("a", "-", "10.0.0.1"), 1),
    "pod address": (lambda c: c.pod("p", "1.2.3"), 1),
    "hostname": (lambda c: c.slice("a", "web", "10.0.0.1=no_label"), 1),
    "port name": (lambda c: c.slice("a", "web", "10.0.0.1", ports=["a.b:1/TCP"]), 1),
    "port number": (lambda c: c.service("web", "10.0.0.1", ports=["a:70000/TCP"]), 1),
    "protocol": (lambda c: c.service("web", "10.0.0.1", ports=["a:1/ICMP"]), 1),
    "three at once": (lambda c: c.slice("a", "web", "x=y_", "z", "10.0.0.1"), 3),
}


@pytest.mark.parametrize(("act", "count"), STRANGE.values(), ids=STRANGE)
def test_strange_objects_are_counted_and_logged_once(cluster, caplog, act, count):
    with caplog.at_level(logging.WARNING, logger="plugin/kubernetes"):
        act(cluster)
        assert cluster.store.rejected == count
        assert len(caplog.records) == count
        act(cluster)
        assert cluster.store.rejected == 2 * count
        assert len(caplog.records) == count
    zone = cluster.zone(pods="verified")
    for name in ("web.default.svc", "_a._tcp.web.default.svc", "x.web.default.svc"):
        wire = names.from_text(name)[:-1] + zone.origin
        for qtype in (codes.A, codes.AAAA, codes.SRV, codes.ANY):
            assert zone.lookup(wire, qtype).authoritative


def test_complaint_names_the_object(cluster, caplog):
    cluster.slice("a", "web", "10.0.0.256", "10.0.0.1")
    assert caplog.messages == [
        "EndpointSlice default/a: '10.0.0.256' is no address of its kind; it is left out"
    ]


def test_what_is_good_of_a_strange_object_is_served(cluster, ask):
    cluster.service("web", "None")
    cluster.slice(
        "a", "web", "bad", "10.0.0.1=no_label", "10.0.0.2", ports=["a.b:1/TCP", "c:2/TCP"]
    )
    zone = cluster.zone()
    assert len(ask(zone, "web.default.svc", "A")[1]) == 2
    assert ask(zone, "10-0-0-1.web.default.svc", "A")[0] == "NOERROR"
    assert len(ask(zone, "_c._tcp.web.default.svc", "SRV")[1]) == 2


def test_complaints_are_bounded(cluster, caplog):
    for number in range(1100):
        cluster.service(f"bad_{number}")
    assert len(caplog.records) == 1000
    assert cluster.store.rejected == 1100


def test_objects_as_bare_as_they_can_be(cluster):
    labels = {SERVICE_NAME_LABEL: "web"}
    for item in (
        EndpointSlice(Metadata("a", "default", labels=labels), "IPv4"),
        EndpointSlice(Metadata("b", "default"), "FQDN"),
        Service(Metadata("web", "default")),
    ):
        cluster.store.apply(Upsert(item))
    assert cluster.store.rejected == 0
    assert list(cluster.store.services.nodes) == [WEB]


def test_cluster_ip_alone_is_enough(cluster, ask):
    """clusterIPs is what an API server adds; older objects have clusterIP only."""
    spec = ServiceSpec(cluster_ip="10.0.0.1", ports=[ServicePort(80)])
    cluster.apply(Service(Metadata("web", "default"), spec))
    assert ask(cluster.zone(), "web.default.svc", "A")[0] == "NOERROR"
    cluster.apply(Service(Metadata("web", "default"), ServiceSpec(cluster_ip="None")))
    assert ask(cluster.zone(), "web.default.svc", "A")[0] == "NXDOMAIN"
