from typing import Any

import pytest

from bench.peers.storage import HISTORY, Event, Expired, Storage


def service(name: str, label: str = "") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": label}},
    }


def test_every_change_has_a_version_and_an_object_keeps_its_uid() -> None:
    storage = Storage([service("web")])
    first = storage.get("services", "shop", "web")
    second = storage.put(service("web", "new"))
    assert first is not None
    assert first["metadata"]["uid"] == second["metadata"]["uid"]
    assert int(second["metadata"]["resourceVersion"]) == storage.version
    assert [event.type for event in storage.since("services", 0)] == ["ADDED", "MODIFIED"]


def test_delete_returns_the_last_state_once() -> None:
    storage = Storage([service("web")])
    last = storage.delete("services", "shop", "web")
    assert last is not None
    assert last["metadata"]["resourceVersion"] == str(storage.version)
    assert storage.delete("services", "shop", "web") is None
    assert list(storage.objects("services")) == []


def test_a_version_older_than_the_history_has_expired() -> None:
    storage = Storage()
    start = storage.version
    for _ in range(HISTORY):
        storage.put(service("web"))
    assert len(storage.since("services", start)) == HISTORY
    storage.put(service("web"))
    with pytest.raises(Expired):
        storage.since("services", start)


def test_a_kind_that_is_not_served_is_refused() -> None:
    with pytest.raises(KeyError):
        Storage([{"kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}}])


@pytest.mark.parametrize(
    ("event", "before", "now", "seen"),
    [
        ("ADDED", None, "in", "ADDED"),
        ("ADDED", None, "out", None),
        ("MODIFIED", "in", "in", "MODIFIED"),
        ("MODIFIED", "out", "in", "ADDED"),
        ("MODIFIED", "in", "out", "DELETED"),
        ("MODIFIED", "out", "out", None),
        ("DELETED", "in", "in", "DELETED"),
        ("DELETED", "out", "out", None),
    ],
)
def test_a_watch_with_selectors_sees_objects_come_and_go(
    event: Any, before: str | None, now: str, seen: str | None
) -> None:
    change = Event(2, event, service("web", now), service("web", before) if before else None)
    assert change.seen_through(lambda one: one["metadata"]["labels"]["app"] == "in") == seen
