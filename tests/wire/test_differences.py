"""The document of differences beside their list in code."""

from __future__ import annotations

import re
from pathlib import Path

from tests.wire.differences import ANSWERS, MESSAGES
from tests.wire.packets import rows
from tests.wire.view_differences import AGAIN, TRANSFERS, VIEWS

DOCUMENT = Path(__file__).parents[2] / "docs" / "differences.md"


def test_document():
    """The document has a section for each difference and none beside, with the same reason."""
    _, *sections = re.split(r"^### ", DOCUMENT.read_text(), flags=re.MULTILINE)
    written = dict(section.split("\n", 1) for section in sections)
    named = [*ANSWERS, *MESSAGES, *VIEWS, *TRANSFERS]
    assert sorted(written) == sorted(each.name for each in named)
    assert len(written) == len(sections)
    for each in named:
        for source in re.findall(r"RFC \d+|the specification", each.reason):
            assert source in " ".join(written[each.name].split()), f"{each.name}: {source}"


def test_differences_that_are_seen_again_have_one_name():
    known = {each.name: each.reason for each in (*ANSWERS, *MESSAGES)}
    assert {each.name for each in AGAIN} <= known.keys()


def test_rows_that_are_named_exist():
    assert {row for each in MESSAGES for row in each.rows} <= {row.name for row in rows()}
