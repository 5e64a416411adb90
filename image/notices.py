"""The licences of what kdns runs with: `notices.py [FOLDER]`, text on stdout.

Of every distribution in a folder of packages, this interpreter's own by default: name, version,
the licence it declares, and the texts it comes with.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import PurePosixPath
from typing import Final

_PRODUCT: Final = "kdns"
_FILES: Final = ("licen", "copying", "notice", "authors")
_CLASSIFIER: Final = "License :: "
_RULE: Final = "=" * 80


def declared(distribution: Distribution) -> str:
    """The licence that the metadata names, in one line; empty if there is none."""
    metadata = distribution.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    named = [each for each in metadata.get_all("Classifier", ()) if each.startswith(_CLASSIFIER)]
    if named:
        return ", ".join(each.rpartition(" :: ")[2] for each in named)
    lines = str(metadata.get("License") or "").strip().splitlines()
    return lines[0] if lines else ""


def texts(distribution: Distribution) -> Iterator[tuple[str, str]]:
    """Name and text of each licence file that came with a distribution."""
    for path in sorted(distribution.files or (), key=str):
        inside = PurePosixPath(path)
        if not inside.parts[0].endswith(".dist-info"):
            continue
        if inside.name.lower().startswith(_FILES) or "licenses" in inside.parts:
            yield inside.name, path.read_text(encoding="utf-8")


def notices(found: Iterable[Distribution]) -> str:
    """One text of all. Raises ValueError for a distribution that says nothing of its licence."""
    parts = []
    for each in sorted(found, key=lambda each: each.name.lower()):
        if each.name == _PRODUCT:
            continue
        licence = declared(each)
        files = list(texts(each))
        if not licence and not files:
            raise ValueError(f"{each.name} {each.version} names no licence and has no text of one")
        parts.append(f"{_RULE}\n{each.name} {each.version}\nLicense: {licence or 'see below'}\n")
        parts += [f"--- {name}\n\n{text.strip()}\n" for name, text in files]
    return "\n".join(parts)


if __name__ == "__main__":
    print(notices(distributions(path=sys.argv[1:] or sys.path)), end="")
