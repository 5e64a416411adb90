"""Histograms with CoreDNS's bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as Independent

from kdns.telemetry.histogram import DURATION, HEALTH_DURATION, SIZE, Histogram


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (DURATION, [0.00025 * 2**n for n in range(16)]),
        (HEALTH_DURATION, [0.00025 * 10**n for n in range(5)]),
        (SIZE, [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16000, 32000, 48000, 64000]),
    ],
)
def test_bounds_are_those_of_coredns(bounds, expected) -> None:
    assert list(bounds) == expected


@given(st.lists(st.tuples(st.floats(0, 1e5), st.integers(1, 5))))
def test_as_the_client_library_counts(observations) -> None:
    ours = Histogram(SIZE)
    theirs = Independent("x", "x", buckets=SIZE, registry=CollectorRegistry())
    for value, times in observations:
        ours.observe(value, times)
        for _ in range(times):
            theirs.observe(value)
    (family,) = theirs.collect()
    buckets = [
        (sample.labels["le"].removesuffix(".0"), sample.value)
        for sample in family.samples
        if sample.name.endswith("bucket")
    ]
    found, total = ours.exposition()
    assert found == buckets
    assert ours.total == buckets[-1][1]
    assert total == pytest.approx(sum(value * times for value, times in observations))


def test_add() -> None:
    one, two = Histogram(SIZE), Histogram(SIZE)
    one.observe(50)
    two.observe(50, 2)
    two.observe(1e6)
    one.add(two)
    assert one.total == 4
    assert one.sum == 1_000_150
    assert (one.counts[1], one.counts[-1]) == (3, 1)
