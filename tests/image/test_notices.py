"""The notices have a licence of everything that kdns runs with."""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made():
    spec = importlib.util.spec_from_file_location("notices", ROOT / "image/notices.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _distribution(folder: Path, metadata: str, files: dict[str, str]) -> Distribution:
    info = folder / "thing-1.0.dist-info"
    (info / "licenses").mkdir(parents=True)
    (info / "METADATA").write_text(f"Name: thing\nVersion: 1.0\n{metadata}\n")
    for name, text in files.items():
        (info / name).write_text(text)
    record = ["METADATA", *files]
    (info / "RECORD").write_text("".join(f"{info.name}/{name},,\n" for name in record))
    return PathDistribution(info)


LOCKED = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)


def test_everything_that_is_locked_has_a_licence(made) -> None:
    text = made.notices(distribution(name) for name in LOCKED)
    sections = re.findall(r"^={80}\n(\S+) \S+\nLicense: (.+)$", text, re.MULTILINE)
    named = {re.sub(r"[-_.]+", "-", name).lower() for name, _ in sections}
    assert named == set(LOCKED)
    assert len(sections) == len(LOCKED)


@pytest.mark.parametrize(
    ("metadata", "files", "expected"),
    [
        pytest.param(
            "License-Expression: MIT\nLicense: old", {}, "License: MIT\n", id="expression"
        ),
        pytest.param(
            "Classifier: License :: OSI Approved :: BSD License",
            {},
            "License: BSD License\n",
            id="classifier",
        ),
        pytest.param("License: ISC", {}, "License: ISC\n", id="free text"),
        pytest.param(
            "", {"LICENSE": "do good"}, "see below\n\n--- LICENSE\n\ndo good\n", id="text alone"
        ),
        pytest.param(
            "License: X", {"licenses/a.txt": "some"}, "--- a.txt\n\nsome\n", id="folder of licences"
        ),
        pytest.param("License: X", {"NOTICE": "thanks"}, "--- NOTICE\n\nthanks\n", id="notice"),
    ],
)
def test_where_a_licence_is_found(made, tmp_path, metadata, files, expected) -> None:
    assert expected in made.notices([_distribution(tmp_path, metadata, files)])


def test_what_says_nothing_of_its_licence_is_refused(made, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"thing 1\.0 names no licence"):
        made.notices([_distribution(tmp_path, "", {})])
