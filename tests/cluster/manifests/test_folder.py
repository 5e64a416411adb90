"""A folder of manifests as a feed: everything, Synced, then changes."""

from __future__ import annotations

import asyncio
import gc
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdns.cluster.feed import Delete, Event, Synced, Upsert
from kdns.cluster.manifests import ManifestError, ManifestFolder, load
from kdns.cluster.manifests.controlplane import ControlPlane, key
from kdns.cluster.manifests.folder import POLL_SECONDS
from kdns.cluster.objects import Service

LATER = 2.0**40  # seconds: long after every time stamp


def _service(name: str, port: object = 80) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{ports: [{{port: {port}}}]}}
"""


class _NoMoreEdits(Exception):
    pass


async def _after_each(folder: ManifestFolder, *edits: Callable[[], object]) -> list[list[Event]]:
    """Events before the first edit, and after each of them."""
    found: list[list[Event]] = [[]]
    waiting = iter(edits)

    async def sleep(seconds: float) -> None:
        assert seconds == POLL_SECONDS
        edit = next(waiting, None)
        if edit is None:
            raise _NoMoreEdits
        edit()
        found.append([])

    folder._sleep = sleep
    folder._clock = lambda: LATER
    with suppress(_NoMoreEdits):
        async for event in folder.events():
            found[-1].append(event)
    return found


def _names(events: list[Event]) -> list[str]:
    """Services of namespace shop, deleted ones with a minus."""
    names = []
    for event in events:
        match event:
            case Upsert(Service() as service) if service.metadata.namespace == "shop":
                names.append(service.metadata.name)
            case Delete("Service", "shop", name):
                names.append(f"-{name}")
    return names


def test_poll_is_fast_enough_for_a_second() -> None:
    assert 0.3 <= POLL_SECONDS <= 0.5


async def test_everything_then_synced_then_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(_service("web"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.json").write_text('{"apiVersion": "v1", "kind": "PodList", "items": []}')
    folder = ManifestFolder(tmp_path)
    first, *later = await _after_each(folder, lambda: None, lambda: None)
    assert first[-1] == Synced()
    kinds = [type(event.object).__name__ for event in first[:-1] if isinstance(event, Upsert)]
    assert kinds == ["Namespace"] * 3 + ["Service"] * 2 + ["EndpointSlice"]
    assert later == [[], []]
    assert (folder.objects, folder.errors, folder.errors_total) == (6, [], 0)
    assert folder.changes_total == 0


async def test_changes(tmp_path: Path) -> None:
    path, other = tmp_path / "a.yaml", tmp_path / "b.yaml"
    path.write_text(_service("web") + "---" + _service("db"))
    folder = ManifestFolder(tmp_path)
    _, added, changed, commented, moved, removed, gone = await _after_each(
        folder,
        lambda: other.write_text(_service("cache")),
        lambda: path.write_text(_service("web") + "---" + _service("db", 5432)),
        lambda: path.write_text(path.read_text() + "# why\n"),
        lambda: path.rename(tmp_path / "z.yaml"),
        lambda: (tmp_path / "z.yaml").write_text(_service("web")),
        other.unlink,
    )
    assert _names(added) == ["cache"]
    assert _names(changed) == ["db"]
    assert (commented, moved) == ([], [])
    assert _names(removed) == ["-db"]
    assert _names(gone) == ["-cache"]
    assert [len(events) for events in (added, changed, removed, gone)] == [1, 1, 1, 1]
    assert folder.changes_total == 4


async def test_each_iteration_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(_service("web"))
    folder = ManifestFolder(tmp_path)
    assert await _after_each(folder) == await _after_each(folder)


async def test_a_file_that_breaks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, other = tmp_path / "a.yaml", tmp_path / "b.yaml"
    path.write_text(_service("web"))
    folder = ManifestFolder(tmp_path)
    *broken, repaired = await _after_each(
        folder,
        lambda: path.write_text(_service("web", 81) + "---" + _service("db", 70000)),
        lambda: other.write_text(_service("cache")),
        lambda: path.write_text(path.read_text() + "# thinking\n"),
        lambda: path.write_text(_service("web", 81) + "---" + _service("db", 7000)),
    )
    assert [_names(events) for events in broken[1:]] == [[], ["cache"], []]
    assert _names(repaired) == ["db", "web"]
    line = (
        f"{path}:10: Service shop/db: spec.ports[0].port: 70000 is not a port: "
        "use a number from 1 to 65535 (what was served before stays)"
    )
    logged = [(record.name, record.levelno, record.getMessage()) for record in caplog.records]
    assert logged == [("plugin/kubernetes", logging.ERROR, line)] * 2  # once a change of the file
    assert (folder.errors, folder.errors_total) == ([], 2)


async def test_two_files_that_declare_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    second.write_text(_service("web", 2))
    folder = ManifestFolder(tmp_path)
    _, doubled, more, single = await _after_each(
        folder,
        lambda: first.write_text(_service("web", 1)),
        lambda: (tmp_path / "c.yaml").write_text(_service("db")),
        first.unlink,
    )
    assert [_names(events) for events in (doubled, more, single)] == [["web"], ["db"], ["web"]]
    assert isinstance(doubled[0], Upsert)
    assert isinstance(doubled[0].object, Service)
    assert doubled[0].object.spec.ports[0].port == 1
    problem = f"declared before in {first}:2, which holds: take one of the two out"
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [f"{second}:2: Service shop/web: {problem}"]


async def test_the_folder_vanishes_and_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root, away = tmp_path / "root", tmp_path / "away"
    root.mkdir()
    (root / "a.yaml").write_text(_service("web"))
    folder = ManifestFolder(root)
    _, *events = await _after_each(
        folder, lambda: root.rename(away), lambda: None, lambda: away.rename(root)
    )
    assert events == [[], [], []]
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{root}: No such file or directory: give a file or folder that is there, "
        "or mend the link (what was served before stays)"
    )


async def test_a_defect_does_not_end_the_feed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(_service("web"))
    real = ControlPlane.fill

    def fill(plane: ControlPlane, declared: Iterator[object]) -> object:
        items = list(declared)
        if any("boom" in repr(item) for item in items):
            raise RuntimeError("a defect")
        return real(plane, items)  # type: ignore[arg-type]

    monkeypatch.setattr(ControlPlane, "fill", fill)
    folder = ManifestFolder(tmp_path)
    _, failed, served = await _after_each(
        folder,
        lambda: path.write_text(_service("boom")),
        lambda: path.write_text(_service("db")),
    )
    assert failed == []
    assert _names(served) == ["-web", "db"]
    assert "this change is not served" in caplog.text
    assert folder.errors_total == 1


async def test_a_defect_at_the_start_does_not_end_the_feed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.yaml").write_text(_service("web"))
    real, failures = ControlPlane.fill, iter([RuntimeError("a defect")])

    def fill(plane: ControlPlane, declared: Iterator[object]) -> object:
        for failure in failures:
            raise failure
        return real(plane, declared)  # type: ignore[arg-type]

    monkeypatch.setattr(ControlPlane, "fill", fill)
    folder = ManifestFolder(tmp_path)
    failed, served = await _after_each(folder, lambda: None)
    assert failed == []
    assert _names(served) == ["web"]
    assert served[-1] == Synced()
    assert "this change is not served" in caplog.text
    assert (folder.errors_total, folder.changes_total) == (1, 0)


async def test_the_loop_has_turns_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("---".join(_service(f"s{n}") for n in range(500)))
    folder = ManifestFolder(tmp_path)
    turns = [0]
    done = asyncio.Event()

    async def turn() -> None:
        while not done.is_set():
            turns[-1] += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(turn())
    most = events_in_a_row = 0
    async for event in folder.events():
        if event == Synced():
            break
        events_in_a_row = events_in_a_row + 1 if turns[-1] == 0 else 1
        most = max(most, events_in_a_row)
        turns[-1] = 0
    done.set()
    await task
    assert 1 < most <= 64


@pytest.mark.parametrize("enabled", [True, False], ids=["collector on", "collector off"])
async def test_the_collector_is_left_as_it_was(tmp_path: Path, enabled: bool) -> None:
    (tmp_path / "a.yaml").write_text(_service("web"))
    try:
        if not enabled:
            gc.disable()
        await _after_each(ManifestFolder(tmp_path))
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


def test_missing_at_the_start(tmp_path: Path) -> None:
    for start in (ManifestFolder, load):
        with pytest.raises(ManifestError) as caught:
            start(tmp_path / "nowhere")
        assert str(caught.value).startswith(f"{tmp_path}/nowhere: No such file or directory: give")


def test_load(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(_service("web") + "---" + _service("db", 0) + "---\n[")
    (tmp_path / "b.yaml").write_text(_service("web"))
    (tmp_path / "c.yaml").symlink_to("nowhere")
    loaded = load(tmp_path)
    assert [item.metadata.name for item in loaded.objects if isinstance(item, Service)] == [
        "kubernetes",
        "web",
    ]
    places = [(Path(error.path).name, error.line, error.subject) for error in loaded.errors]
    assert places == [
        ("a.yaml", 10, "Service shop/db"),
        ("a.yaml", 13, ""),
        ("b.yaml", 2, "Service shop/web"),
        ("c.yaml", 0, ""),
    ]
    assert load(tmp_path / "b.yaml").errors == []


def test_load_of_an_empty_folder(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert loaded.errors == []
    assert [type(item).__name__ for item in loaded.objects] == [
        "Namespace",
        "Namespace",
        "Service",
        "EndpointSlice",
    ]


_slices = st.builds(
    lambda name, service, addresses: (
        f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: shop, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: IPv4
endpoints: [{{addresses: [{", ".join(addresses)}]}}]
"""
    ),
    st.sampled_from("de"),
    st.sampled_from("ab"),
    st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2"]), min_size=1),
)
_texts = st.lists(
    _slices
    | st.builds(
        lambda name, port, selected: (
            _service(name, port)
            if selected is None
            else f"""
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}, namespace: shop}}
spec: {{serviceName: a, replicas: {selected}, template: {{metadata: {{labels: {{app: {name}}}}}}}}}
"""
        ),
        st.sampled_from("abc"),
        st.sampled_from([80, 81, 70000]),
        st.none() | st.integers(0, 2),
    ),
    max_size=4,
).map("---".join)
_edits = st.lists(st.tuples(st.sampled_from("xyz"), st.none() | _texts), max_size=6)


@settings(max_examples=40, deadline=None)
@given(_edits)
async def test_events_add_up(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[str, str | None]]
) -> None:
    """After each edit the events so far make what a fresh feed of the same served files yields."""
    root = tmp_path_factory.mktemp("root")
    folder = ManifestFolder(root)

    def apply(name: str, text: str | None) -> None:
        path = root / f"{name}.yaml"
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(text)

    steps = [lambda name=name, text=text: apply(name, text) for name, text in edits]
    known: dict[object, object] = {}
    for events in await _after_each(folder, *steps):
        for event in events:
            match event:
                case Upsert(item):
                    assert known.get(key(item)) != item
                    known[key(item)] = item
                case Delete() as gone:
                    del known[tuple(gone)]
    if not folder.errors:
        assert known == {key(item): item for item in load(root).objects}
    shutil.rmtree(root)
