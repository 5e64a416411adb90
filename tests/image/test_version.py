"""The version is written once. The chart, which repeats it, has a test of its own."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from kdns import __version__

ROOT = Path(__file__).parents[2]


def test_the_package_takes_it_from_the_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "kdns/__init__.py"


def test_make_knows_it() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (expression,) = re.findall(r"sed -n 's/(.*?)/\\1/p' kdns/__init__\.py", makefile)
    pattern = expression.replace(r"\(", "(").replace(r"\)", ")")
    found = re.search(pattern, (ROOT / "kdns/__init__.py").read_text(), re.MULTILINE)
    assert found
    assert found[1] == __version__
