"""A zone for secondaries: all of it, as it was when the transfer began."""

from __future__ import annotations

import pytest

from kdns.cluster.feed import Synced
from kdns.dns import codes, names
from kdns.records.listing import ZoneTransfer, inner_origins
from kdns.records.serial import SERIAL, Serial


@pytest.fixture
def filled(cluster):
    for number in range(20):
        cluster.service(f"web-{number}", f"10.0.0.{number}", ports=["http:80/TCP"])
    cluster.service("db", "None", ports=["pg:1/TCP"])
    for number in range(12):
        cluster.slice(f"db-{number}", "db", f"10.1.{number}.1=db-{number}", "10.9.9.9")
    return cluster


def test_soa_is_first_and_last(filled, text):
    """RFC 5936 2.2; between them each record set once, and no other SOA."""
    found = list(ZoneTransfer(filled.zone(), []).records())
    assert found[0] == found[-1] == filled.zone().soa()
    keys = [(each.owner, each.type) for each in found[1:-1]]
    assert len(keys) == len(set(keys))
    assert codes.SOA not in {qtype for _, qtype in keys}
    assert "dns-version.cluster.local. 28800 TXT " in "\n".join(text(found))


@pytest.mark.parametrize("origin", ["cluster.local.", "in-addr.arpa."])
def test_change_in_the_middle_does_not_show(filled, text, origin):
    """RFC 5936 6: what is sent is one version of the zone, whole."""
    zone = filled.zone() if origin == "cluster.local." else filled.reverse(origin)
    expected = text(ZoneTransfer(zone, []).records())
    begun = ZoneTransfer(zone, []).records()
    seen = [next(begun) for _ in range(5)]
    filled.now += 10
    for number in range(20):
        filled.delete("Service", f"web-{number}")
    for number in range(12):
        filled.slice(f"db-{number}", "db", f"10.3.{number}.1")
    filled.delete("Namespace", "default")
    filled.namespace("more")
    assert text([*seen, *begun]) == expected
    assert len(expected) > 20
    assert text(ZoneTransfer(zone, []).records()) != expected


def test_change_after_a_transfer_moves_the_serial_within_the_second(filled):
    """Or a secondary would take what it has for what there is."""
    zone = filled.zone()
    before = serial_of(zone)
    filled.service("one", "10.5.0.1")
    assert serial_of(zone) == before
    ZoneTransfer(zone, []).records()
    assert SERIAL in filled.service("two", "10.5.0.2")
    assert serial_of(zone) == before + 1
    assert SERIAL not in filled.service("three", "10.5.0.3")
    filled.now += 10
    filled.service("four", "10.5.0.4")
    assert serial_of(zone) == before + 10


def serial_of(zone):
    return int.from_bytes(zone.soa().rdatas[0][-20:-16], "big")


def test_serial_never_goes_back():
    serial, touched = Serial(b"token"), set()
    serial.move(100.9, touched)
    serial.move(50.0, touched)
    assert (serial.value, touched) == (100, {b"token"})
    serial.hand_out()
    serial.move(50.0, touched)
    assert serial.value == 101


def test_transfer_is_whole_where_an_answer_is_cut(cluster):
    """An answer holds what one message can; a transfer has as many messages as it takes."""
    cluster.service("huge", "None", ports=["p:1/TCP"])
    for high in range(50):
        hosts = [f"10.2.{high}.{low}" for low in range(100)]
        cluster.slice(f"huge-{high}", "huge", *hosts, ports=["p:1/TCP"])
    zone = cluster.zone()
    name = names.from_text("huge.default.svc.cluster.local")
    sets = {(each.owner, each.type): each for each in ZoneTransfer(zone, []).records()}
    for qtype in (codes.A, codes.SRV):
        assert len(sets[name, qtype].rdatas) == 5000
        assert len(zone.lookup(name, qtype).answer[0].rdatas) < 5000


def test_inner_zones_are_left_out(filled):
    zone, inner = filled.zone(), filled.zone("default.svc.cluster.local.")
    others = [zone, inner, filled.reverse("in-addr.arpa.")]
    assert inner_origins(zone.origin, others) == [inner.origin]
    owners = {each.owner for each in ZoneTransfer(zone, [inner.origin]).records()}
    assert not any(owner.endswith(inner.origin) for owner in owners)
    assert any(owner.endswith(inner.origin) for owner in transferred(zone))


def transferred(zone):
    return {each.owner for each in ZoneTransfer(zone, []).records()}


def test_names_that_are_too_long_are_left_out(cluster):
    origin = ".".join(["x" * 60] * 3) + "."
    cluster.service("s" * 60, "10.0.0.1", ports=["p" * 15 + ":1/TCP"])
    owners = transferred(cluster.zone(origin))
    assert all(len(owner) <= names.MAX_NAME for owner in owners)
    assert len(owners) == 2


def test_synced(filled):
    transfer = ZoneTransfer(filled.zone(), [])
    assert not transfer.synced
    filled.store.apply(Synced())
    assert transfer.synced
