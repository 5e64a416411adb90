"""Nodes and cores as they are counted."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.autoscaler.census import Census, Node, count, cpu

MILLI = 10**6


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("4", 4),
        ("1930m", "1.93"),
        ("0", 0),
        ("0.5", "0.5"),
        (".5", "0.5"),
        ("2.", 2),
        ("+3", 3),
        ("250000u", "0.25"),
        ("7n", "0.000000007"),
        ("2k", 2000),
        ("1Ki", 1024),
        ("1.5Ki", 1536),
        ("1e3", 1000),
        ("12E-1", "1.2"),
        ("1E", 10**18),
        ("1M", 10**6),
        ("0.1n", "0.000000001"),  # rounded up to what is finest
    ],
)
def test_quantity(text, cores):
    assert cpu(text) == Fraction(cores) * 10**9


@pytest.mark.parametrize(
    "text", ["", "x", "1 m", "1mm", "m", "1ki", "--1", "1e", "٤", "1e9999", "."]
)
def test_no_quantity(text):
    with pytest.raises(ValueError, match="is no quantity"):
        cpu(text)


@pytest.mark.parametrize(
    ("nodes", "census"),
    [
        ([], (0, 0, 0, 0)),
        ([(True, 4000)], (1, 4, 1, 4)),
        ([(True, 1930), (True, 1930)], (2, 4, 2, 4)),
        ([(True, 500), (True, 500)], (2, 1, 2, 1)),
        ([(True, 1001)], (1, 2, 1, 2)),
        ([(True, 1900), (False, 1900)], (1, 2, 2, 4)),
        ([(False, 4000)], (0, 0, 1, 4)),
        ([(True, 0)], (1, 0, 1, 0)),
    ],
    ids=["none", "one", "odd", "halves", "a little more", "cordoned", "none left", "no cores"],
)
def test_count(nodes, census):
    assert count(Node(schedulable, cores * MILLI) for schedulable, cores in nodes) == Census(
        *census
    )


@given(st.lists(st.integers(0, 10**12)))
def test_cores_are_added_up_before_they_are_rounded(amounts):
    cores = count(Node(True, each) for each in amounts).cores
    assert cores - 1 < Fraction(sum(amounts), 10**9) <= cores or cores == sum(amounts) == 0
