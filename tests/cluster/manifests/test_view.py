"""What a folder comes to, one look after the other, and how much is made anew for a change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from kdns.cluster.manifests.addresses import Settings
from kdns.cluster.manifests.controlplane import ControlPlane, Filled
from kdns.cluster.manifests.kinds import Declared, GivenSlice
from kdns.cluster.manifests.turns import Turns
from kdns.cluster.manifests.view import UNCHANGED, Changes, View
from kdns.cluster.objects import SERVICE_NAME_LABEL

LATER = 2.0**40  # seconds: long after every time stamp

Manifest = dict[str, Any]


def _slice(name: str, *addresses: str, **labels: str) -> Manifest:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]} for address in addresses],
    }


def _service(name: str) -> Manifest:
    metadata = {"name": name, "namespace": "shop"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"clusterIP": "None", "ports": [{"port": 80}]},
    }


def _write(path: Path, *items: Manifest) -> None:
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def _found(changes: Changes) -> tuple[list[str], list[str]]:
    """Names that have gone, and those that came or changed, with the addresses of slices."""
    upserted = []
    for item in changes.upserted:
        whole = item.whole() if isinstance(item, GivenSlice) else None
        addresses = [a for e in (whole and whole.endpoints) or () for a in e.addresses]
        upserted.append(" ".join([item.metadata.name, *addresses]))
    return [name for _, _, name in changes.gone], upserted


def _problems(view: View) -> list[str]:
    return [str(report.error) for report in view.reports]


@pytest.fixture
def view(tmp_path: Path) -> View:
    return View(tmp_path, Settings(), lambda: LATER)


@pytest.fixture
def fills(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each time that the control plane goes through all there is."""
    real, found = ControlPlane.fill, []

    def fill(plane: ControlPlane, declared: Iterable[Declared]) -> Filled:
        found.append(1)
        return real(plane, declared)

    monkeypatch.setattr(ControlPlane, "fill", fill)
    return found


WEB = {SERVICE_NAME_LABEL: "web"}

# what b.json held, what it holds now, what that changes, and whether all is gone through for it;
# before it comes a.json with the Service web and the slice first of 10.0.0.1
EDITS: dict[str, tuple[list[Manifest], list[Manifest], tuple[list[str], list[str]], bool]] = {
    "addresses": (
        [_slice("x", "10.0.0.2", **WEB)],
        [_slice("x", "10.0.0.2", "10.0.0.3", **WEB)],
        ([], ["x 10.0.0.2 10.0.0.3"]),
        False,
    ),
    "one of a list": (
        [_service("db"), _slice("x", "10.0.0.2", **WEB), _slice("y", "10.0.0.3", **WEB)],
        [_service("db"), _slice("x", "10.0.0.2", **WEB), _slice("y", **WEB)],
        ([], ["y"]),
        False,
    ),
    "what no name is made of": (
        [_slice("x", "10.0.0.2")],
        [{**_slice("x", "10.0.0.2"), "unknown": True}],
        ([], []),
        False,
    ),
    "an annotation": (
        [_slice("x", "10.0.0.2")],
        [_slice("x", "10.0.0.3") | {"metadata": {"name": "x", "namespace": "shop", "uid": "u"}}],
        ([], ["x 10.0.0.3"]),
        False,
    ),
    "another service": (
        [_slice("x", "10.0.0.2", **WEB)],
        [_slice("x", "10.0.0.2", **{SERVICE_NAME_LABEL: "db"})],
        ([], ["x 10.0.0.2"]),
        True,
    ),
    "another name": (
        [_slice("x", "10.0.0.2", **WEB)],
        [_slice("y", "10.0.0.2", **WEB)],
        (["x"], ["y 10.0.0.2"]),
        True,
    ),
    "one more": (
        [_slice("x", "10.0.0.2")],
        [_slice("x", "10.0.0.2"), _slice("y")],
        ([], ["y"]),
        True,
    ),
    "one less": ([_slice("x"), _slice("y")], [_slice("x")], (["y"], []), True),
    "another order": ([_slice("x"), _slice("y")], [_slice("y"), _slice("x")], ([], []), True),
    "a service as well": (
        [_service("db"), _slice("x", "10.0.0.2", **WEB)],
        [_service("cache"), _slice("x", "10.0.0.3", **WEB)],
        (["db"], ["cache", "x 10.0.0.3"]),
        True,
    ),
    "one of a name that another holds": (
        [_slice("first", "10.0.0.2", **WEB)],
        [_slice("first", "10.0.0.3", **WEB)],
        ([], []),
        True,
    ),
    "one of a name and content that another holds": (
        [_slice("first", "10.0.0.1", **WEB)],
        [_slice("first", "10.0.0.3", **WEB)],
        ([], []),
        True,
    ),
}


@pytest.mark.parametrize(("before", "after", "expected", "whole"), EDITS.values(), ids=EDITS.keys())
def test_an_edit(
    tmp_path: Path,
    view: View,
    fills: list[int],
    before: list[Manifest],
    after: list[Manifest],
    expected: tuple[list[str], list[str]],
    whole: bool,
) -> None:
    _write(tmp_path / "a.json", _service("web"), _slice("first", "10.0.0.1", **WEB))
    _write(tmp_path / "b.json", *before)
    view.refresh()
    fills.clear()
    _write(tmp_path / "b.json", *after)
    assert _found(view.refresh()) == expected
    assert len(fills) == whole
    assert view.refresh() is UNCHANGED
    fresh = View(tmp_path, Settings(), lambda: LATER)
    fresh.refresh()
    assert view.objects == fresh.objects
    assert _problems(view) == _problems(fresh)


def test_the_one_that_holds_a_name_changes(tmp_path: Path, view: View, fills: list[int]) -> None:
    for name in ("a.json", "b.json"):
        _write(tmp_path / name, _slice("x", "10.0.0.1"))
    view.refresh()
    fills.clear()
    _write(tmp_path / "a.json", _slice("x", "10.0.0.2"))
    assert _found(view.refresh()) == ([], ["x 10.0.0.2"])
    assert fills == []
    assert [report.error.line for report in view.reports] == [1]


def test_a_file_edited_while_it_is_read(
    tmp_path: Path, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    _write(path, _slice("x", "10.0.0.1"))
    view.refresh()
    _write(path, _slice("x", "10.0.0.2"))
    real = Path.read_bytes

    def read(path: Path) -> bytes:
        content = real(path)
        if b"10.0.0.2" in content:
            _write(path, _slice("x", "10.0.0.3", "10.0.0.4"))
        return content

    monkeypatch.setattr(Path, "read_bytes", read)
    assert _found(view.refresh()) == ([], ["x 10.0.0.3 10.0.0.4"])


def test_an_edit_of_a_slice_after_a_move(tmp_path: Path, view: View, fills: list[int]) -> None:
    """What is served is the object of the file as it is now, for all that it says the same."""
    _write(tmp_path / "a.json", _slice("x", "10.0.0.1"))
    view.refresh()
    (tmp_path / "a.json").rename(tmp_path / "b.json")
    assert _found(view.refresh()) == ([], [])
    fills.clear()
    _write(tmp_path / "b.json", _slice("x", "10.0.0.2"))
    assert _found(view.refresh()) == ([], ["x 10.0.0.2"])
    assert fills == []


def test_an_edit_after_a_defect(
    tmp_path: Path, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not served for a defect is not forgotten over an edit that is served."""
    _write(tmp_path / "a.json", _slice("x", "10.0.0.1"))
    view.refresh()

    def fail(*_: object) -> Filled:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(ControlPlane, "fill", fail)
        _write(tmp_path / "b.json", _service("web"))
        with pytest.raises(RuntimeError, match="a defect"):
            view.refresh()
        assert view.refresh() is UNCHANGED  # tried again with the next edit, not each time
    _write(tmp_path / "a.json", _slice("x", "10.0.0.2"))
    assert _found(view.refresh()) == ([], ["web", "x 10.0.0.2"])


def test_turns_are_taken_once_there_are_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []
    clock: Callable[[], float] = iter(range(10**6)).__next__  # a second passes at each look at it
    view = View(tmp_path, Settings(), lambda: LATER, Turns(clock, rests.append))
    _write(tmp_path / "a.json", _slice("x", "10.0.0.1"))
    view.refresh()
    assert rests == []
    _write(tmp_path / "a.json", _slice("x", "10.0.0.2"))
    view.refresh()
    assert len(rests) > 1
