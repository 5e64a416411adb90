"""A worker's stores against its parent's, by way of the messages between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from kdns.cluster.feed import Delete, Event, Synced, Upsert
from kdns.cluster.objects import Metadata, Namespace, Service, ServicePort, ServiceSpec
from kdns.cluster.source import Source
from kdns.dns.names import from_text
from kdns.records.forward import ForwardZone
from kdns.records.listing import all_records
from kdns.records.options import ZoneOptions
from kdns.records.reverse import ReverseZone
from kdns.records.store import Store
from kdns.stores import new_store
from kdns.workers.copies import Copies
from kdns.workers.messages import order, told
from kdns.workers.team import state
from tests.wire.cluster import decoded

ORIGIN = from_text("cluster.local")
SOURCE = Source(manifests=Path("/manifests"))
NUMBER = 7


def service(name: str, address: str) -> Upsert:
    spec = ServiceSpec(cluster_ip=address, cluster_ips=[address], ports=[ServicePort(80, "http")])
    return Upsert(Service(Metadata(name, "default"), spec))


def listing(store: Store) -> list[object]:
    options = ZoneOptions(pods="verified")
    reverse = ReverseZone(store, from_text("in-addr.arpa"), ORIGIN, options)
    return sorted(
        (rrset.owner, rrset.type, sorted(rrset.rdatas))
        for rrset in all_records(ForwardZone(store, ORIGIN, options), reverse)
    )


class Pair:
    """A store, and the copy of it that a worker has."""

    def __init__(self, *known: Event) -> None:
        self.now = 1_000.0
        self.store = new_store(SOURCE, lambda: self.now)
        for event in known:
            self.store.apply(event)
        self.forgotten: list[bytes] = []
        self.copies = Copies(self.forgotten.extend)
        self.copies.numbers = {repr(SOURCE): NUMBER}
        self.copy = self.copies.store(SOURCE)

    def take(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            self.copies.take(order(message))  # type: ignore[arg-type]

    def tell(self, event: Event) -> bytes:
        """The parent takes in an event; what it says of that."""
        message = told(NUMBER, self.now, event, self.store.unconfirmed)
        self.store.apply(event)
        return message

    def assert_alike(self) -> None:
        assert listing(self.copy) == listing(self.store)
        assert (self.copy.synced, self.copy.restored) == (self.store.synced, self.store.restored)
        serials = [
            [each.serial.value for each in (store.services, store.imports, store.externals)]
            for store in (self.copy, self.store)
        ]
        assert serials[0] == serials[1]


def whole_cluster() -> list[Event]:
    return [*map(Upsert, decoded()), Synced()]


@pytest.mark.parametrize(
    "cut", [lambda n: 0, lambda n: n // 2, lambda n: n], ids=["events", "both", "state"]
)
def test_a_copy_is_alike(cut: Callable[[int], int]) -> None:
    events = whole_cluster()
    known = cut(len(events))
    pair = Pair(*events[:known])
    pair.take(state(NUMBER, pair.store))
    pair.assert_alike()
    for event in events[known:]:
        pair.now += 0.5
        pair.take([pair.tell(event)])
    pair.assert_alike()
    assert len(listing(pair.copy)) > 50


def test_changes_while_the_state_is_on_its_way() -> None:
    """What they tell of may be in the state by then, or not, or be gone from it."""
    pair = Pair(*(service(f"web-{n:03}", f"10.96.1.{n % 250}") for n in range(300)), Synced())
    messages = state(NUMBER, pair.store)
    first = next(messages)
    changes = [
        service("web-000", "10.96.2.1"),
        Delete("Service", "default", "web-001"),
        Delete("Service", "default", "web-299"),
        service("web-298", "10.96.2.2"),
        service("new", "10.96.2.3"),
        Upsert(Namespace(Metadata("default"))),
    ]
    said = [pair.tell(change) for change in changes]
    pair.take([first, *messages, *said])
    pair.assert_alike()


def test_a_store_out_of_a_snapshot_that_is_confirmed_in_part() -> None:
    """The parent heard of one before it told of the state, and of another after."""
    earlier = Pair(*(service(name, "10.96.0.1") for name in ("one", "two", "gone")), Synced())
    pair = Pair()
    pair.store.restore(earlier.store.saved())
    pair.tell(service("one", "10.96.0.1"))
    pair.take(state(NUMBER, pair.store))
    assert pair.copy.restored
    assert not pair.copy.synced
    pair.take([pair.tell(service("two", "10.96.0.1")), pair.tell(Synced())])
    pair.assert_alike()
    assert {
        name
        for name in (b"\3one", b"\3two", b"\4gone")
        if name + b"\7default" in pair.copy.services.nodes
    } == {
        b"\3one",
        b"\3two",
    }


def test_a_sync_while_the_state_is_on_its_way() -> None:
    earlier = Pair(service("gone", "10.96.0.1"), Synced())
    pair = Pair()
    pair.store.restore(earlier.store.saved())
    messages = state(NUMBER, pair.store)
    first = next(messages)
    said = pair.tell(Synced())
    pair.take([first, *messages, said])
    pair.assert_alike()
    assert pair.copy.synced
    assert listing(pair.copy) == listing(pair.store)


def test_names_touched_are_forgotten() -> None:
    pair = Pair(Synced())
    pair.take(state(NUMBER, pair.store))
    pair.take([pair.tell(service("web", "10.96.0.1"))])
    assert b"\3web\7default" in pair.forgotten


def test_what_is_not_followed() -> None:
    pair = Pair(Synced())
    with pytest.raises(ValueError, match="does not follow"):
        pair.copies.store(Source(manifests=Path("/elsewhere")))
    pair.copies.keep([])
    assert pair.copies.numbered() == set()
    pair.take([pair.tell(service("web", "10.96.0.1"))])
