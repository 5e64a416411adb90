"""The lock files are made from what they lock."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
_ENTRY = re.compile(
    r"^(\S+)==(\S+)(?: ; (.+?))? \\\n((?: +--hash=.*\n)+)((?: +#.*\n?)+)", re.MULTILINE
)


def _locked(path: str) -> dict[str, tuple[str, int, set[str]]]:
    """Version, number of hashes, and who wants it, by name."""
    found = {}
    for name, version, _, hashes, comments in _ENTRY.findall((ROOT / path).read_text()):
        words = (line.strip(" #").removeprefix("via").strip() for line in comments.splitlines())
        wanted_by = {word for word in words if word}
        found[name] = (version, hashes.count("--hash=sha256:"), wanted_by)
    return found


def _lines(path: str) -> list[str]:
    lines = (ROOT / path).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


LOCKS = {
    "requirements.lock": (PROJECT["project"]["dependencies"], "kdns (pyproject.toml)"),
    "image/build.lock": (_lines("image/build.in"), "-r image/build.in"),
    "image/release.lock": (_lines("image/release.in"), "-r image/release.in"),
}
each_lock = pytest.mark.parametrize("path", LOCKS)


@each_lock
def test_it_has_what_is_asked_for(path) -> None:
    wanted, origin = LOCKS[path]
    locked = _locked(path)
    asked = {canonicalize_name(each.name): each for each in map(Requirement, wanted)}
    direct = {name for name, (_, _, wanted_by) in locked.items() if origin in wanted_by}
    assert direct == set(asked), "run make lock"
    for name, requirement in asked.items():
        assert requirement.specifier.contains(locked[name][0]), f"{name}: run make lock"


@each_lock
def test_all_of_it_is_pinned_by_hash_and_wanted_by_something(path) -> None:
    origin = LOCKS[path][1]
    locked = _locked(path)
    pinned = re.findall(r"^(\S+)==", (ROOT / path).read_text(), re.MULTILINE)
    assert sorted(pinned) == sorted(locked)
    for name, (_, hashes, wanted_by) in locked.items():
        assert hashes, name
        assert wanted_by, name
        assert wanted_by <= {*locked, origin}, name


def test_the_wheel_is_made_with_what_pyproject_says() -> None:
    requires = {Requirement(each) for each in PROJECT["build-system"]["requires"]}
    assert requires <= {Requirement(each) for each in _lines("image/build.in")}


@each_lock
def test_no_index_is_named(path) -> None:
    assert "://" not in (ROOT / path).read_text()
