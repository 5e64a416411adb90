"""A store as bytes and back."""

import gc
import weakref

import pytest

from kdns.cluster.feed import Synced, Upsert
from kdns.cluster.objects import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Metadata,
    Namespace,
    Pod,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
)
from kdns.dns.names import from_text
from kdns.records.forward import ForwardZone
from kdns.records.listing import all_records
from kdns.records.options import ZoneOptions
from kdns.records.reverse import ReverseZone
from kdns.records.snapshot import Header, opened, pieces
from kdns.records.store import Store

ORIGIN = from_text("cluster.local")
PORTS = [ServicePort(80, "http"), ServicePort(53, "dns", "UDP")]


def objects():
    yield Namespace(Metadata("shop"))
    yield Service(
        Metadata("web", "shop"),
        ServiceSpec(cluster_ip="10.96.0.1", cluster_ips=["10.96.0.1", "fd00::1"], ports=PORTS),
    )
    yield Service(Metadata("db", "shop"), ServiceSpec(cluster_ip="None", ports=PORTS))
    yield Service(
        Metadata("out", "shop"), ServiceSpec(type="ExternalName", external_name="example.org")
    )
    endpoints = [
        Endpoint(["10.244.0.1"], hostname="db-0"),
        Endpoint(["10.244.0.2"]),
        Endpoint(["10.244.0.3"], EndpointConditions(ready=False)),
    ]
    for service in ("db", "web"):
        labels = {SERVICE_NAME_LABEL: service}
        ports = [EndpointPort(8080, "http", "TCP")]
        yield EndpointSlice(
            Metadata(f"{service}-x", "shop", labels=labels), "IPv4", endpoints, ports
        )
    yield Pod(Metadata("db-0", "shop"), PodStatus("Running", "10.244.0.1"))


def filled() -> Store:
    store = Store(clock=lambda: 1_000)
    for item in objects():
        store.apply(Upsert(item))
    store.apply(Synced())
    return store


def listing(store: Store) -> list[object]:
    options = ZoneOptions(pods="verified")
    reverse = ReverseZone(store, from_text("in-addr.arpa"), ORIGIN, options)
    return [
        (rrset.owner, rrset.type, sorted(rrset.rdatas))
        for rrset in all_records(ForwardZone(store, ORIGIN, options), reverse)
        if rrset.type != 6
    ]


def copy(store: Store) -> Store:
    made = Store(clock=lambda: 1_000)
    restore(made, store)
    return made


def restore(made: Store, store: Store) -> None:
    header, parts = opened(b"".join(pieces(store, Header("a", 5.0))), "a")
    assert header == Header("a", 5.0)
    for items in parts:
        made.restore(items)


def test_a_restored_store_answers_the_same() -> None:
    store = filled()
    restored = copy(store)
    assert restored.restored
    assert not restored.synced
    assert listing(restored) == listing(store) != []


def test_large_slices_are_pieces_of_their_own() -> None:
    """Or the loop would stand still for 35 ms with 256 of them in one."""
    store = filled()
    for n in range(20):
        endpoints = [Endpoint([f"10.{n}.{i // 250}.{i % 250}"]) for i in range(1000)]
        labels = {SERVICE_NAME_LABEL: "db"}
        store.apply(
            Upsert(EndpointSlice(Metadata(f"s{n}", "shop", labels=labels), "IPv4", endpoints))
        )
    _, parts = opened(b"".join(pieces(store, Header("a", 5.0))), "a")
    assert len(parts) >= 10
    made = Store(clock=lambda: 1_000)
    restore(made, store)
    assert listing(made) == listing(store)


def test_what_is_confirmed_stays() -> None:
    restored = copy(filled())
    for item in objects():
        assert restored.apply(Upsert(item)) == set()
    restored.apply(Synced())
    assert listing(restored) == listing(filled())


@pytest.mark.parametrize("one_by_one", [False, True])
def test_what_nobody_confirms_goes_at_the_first_sync(one_by_one) -> None:
    restored = copy(filled())
    kept = [item for item in objects() if item.metadata.name in ("shop", "web", "web-x")]
    fresh = Store(clock=lambda: 1_000)
    for store in (restored, fresh):
        for item in kept:
            store.apply(Upsert(item))
    touched: set[bytes] = set()
    if one_by_one:
        for event in restored.unconfirmed_deletes():
            touched.update(restored.apply(event))
        assert not restored.unconfirmed
    touched.update(restored.apply(Synced()))
    fresh.apply(Synced())
    assert {b"\x02db\x04shop", b"\x03out\x04shop", b"@\x0a\xf4\x00\x01"} <= set(touched)
    assert listing(restored) == listing(fresh)
    assert not restored.services.slices()[1:]


def test_every_view_is_restored(cluster, ask, text) -> None:
    """Topology zones, imports and external addresses too."""
    made = type(cluster)(zonal=True, multicluster=True)
    made.namespace("default")
    made.service("db", "None", outside=["192.0.2.1"], ingress=["lb.example.net"])
    made.slice("db-1", "db", "10.1.0.1@us-2a", "10.1.0.2@us-2b", imported="db", cluster="one")
    made.service_import("db", headless=True)
    other = type(cluster)(zonal=True, multicluster=True)
    restore(other.store, made.store)
    for before, after in (
        (made.clusterset(), other.clusterset()),
        (made.external(), other.external()),
        (made.external_reverse("in-addr.arpa."), other.external_reverse("in-addr.arpa.")),
    ):
        assert text(after.records()) == text(before.records())
        assert len(list(after.records())) > 1
    name = "us-2b.pin._zone.db.default.svc"
    assert ask(other.zone(zonal=True), name, "A")[1] == [f"{name}.cluster.local. 5 A 10.1.0.2"]


def test_a_store_that_nobody_uses_is_gone_at_once() -> None:
    store = filled()
    gone = weakref.ref(store)
    gc.disable()
    try:
        del store
        assert gone() is None
    finally:
        gc.enable()
