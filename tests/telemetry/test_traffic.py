"""Counting cheaply, and making series of it when somebody asks."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.telemetry import traffic as module
from kdns.telemetry.histogram import DURATION, SIZE, Histogram
from kdns.telemetry.traffic import Batches, Labels, Traffic

SERVER = "dns://:53"
LABELS = Labels(SERVER, ".", "", "udp", "1", "A", False, "NOERROR", "kubernetes", 30, 46)


def test_equal_labels_share_one_tally() -> None:
    traffic = Traffic()
    one = traffic.tally(LABELS)
    one.count += 2
    assert traffic.tally(LABELS._replace(type="A")) is one
    assert traffic.tally(LABELS._replace(type="AAAA")) is not one
    assert [tally.count for tally in traffic.tallies()] == [2, 0]


def test_sizes_without_end_do_not_fill_the_memory() -> None:
    traffic = Traffic()
    choose = random.Random(1)  # noqa: S311 - the same sizes each time
    for _ in range(50_000):
        sizes = choose.randrange(65536), choose.randrange(65536)
        labels = LABELS._replace(request_size=sizes[0], response_size=sizes[1])
        traffic.tally(labels).count += 1
    assert len(traffic.tallies()) <= module._MAX_TALLIES + (len(SIZE) + 1) ** 2
    assert sum(tally.count for tally in traffic.tallies()) == 50_000


@pytest.mark.parametrize("size", [0, 1, 100, 101, 511, 512, 4096, 8291, 64000, 64001, 65535])
def test_a_size_stands_for_its_own_bucket(size: int) -> None:
    exact, rounded = Histogram(SIZE), Histogram(SIZE)
    exact.observe(size)
    rounded.observe(module._bucket(size))
    assert exact.counts == rounded.counts


@given(st.floats(0, 100), st.integers(0, 64))
def test_a_batch_is_observed_as_a_histogram_would(seconds: float, answers: int) -> None:
    batches, histogram = Batches(), Histogram(DURATION)
    batches.observe(seconds, answers)
    histogram.observe(seconds, answers)
    assert batches.durations.counts == histogram.counts
    assert batches.durations.sum == pytest.approx(histogram.sum)


class Scraped:
    """Traffic of some zones, checked each time that it is asked for its durations."""

    def __init__(self, zones: int):
        self.traffic = Traffic()
        self.tallies = [self.traffic.tally(LABELS._replace(zone=f"{n}.")) for n in range(zones)]
        self.last: dict[object, list[int]] = {}

    def chained(self, zone: int, seconds: float) -> None:
        tally = self.tallies[zone]
        tally.count += 1
        self.traffic.observe(SERVER, tally.labels.zone, "", seconds)

    def batch(self, seconds: float, answers: dict[int, int], uncounted: int = 0) -> None:
        for zone, count in answers.items():
            self.tallies[zone].count += count
        total = sum(answers.values()) + uncounted
        self.traffic.batches(SERVER).observe(seconds, total)

    def scrape(self) -> dict[str, Histogram]:
        found = self.traffic.durations()
        for key, histogram in found.items():
            last = self.last.get(key, [0] * len(histogram.counts))
            assert all(new >= old for new, old in zip(histogram.counts, last, strict=True))
            self.last[key] = list(histogram.counts)
        assert self.last.keys() == found.keys()
        return {key[1]: histogram for key, histogram in found.items()}


def test_chained_and_remembered_answers() -> None:
    scraped = Scraped(1)
    assert scraped.scrape() == {}
    scraped.chained(0, 0.001)
    scraped.batch(0.0001, {0: 10})
    found = scraped.scrape()["0."]
    assert found.total == 11
    assert found.sum == pytest.approx(0.002)
    assert (found.counts[0], found.counts[2]) == (10, 1)
    again = scraped.scrape()["0."]
    assert (again.counts, again.sum) == (found.counts, found.sum)


def test_zones_share_what_they_answered_together() -> None:
    scraped = Scraped(2)
    scraped.batch(0.0001, {0: 30, 1: 10})
    scraped.batch(1.0, {0: 30, 1: 10})
    found = scraped.scrape()
    assert found["0."].total == 60
    assert found["1."].total == 20
    assert found["0."].counts[0] == 30
    assert found["0."].sum == pytest.approx(0.75 * 40.004)


def test_zones_that_are_not_counted_take_no_part() -> None:
    scraped = Scraped(1)
    for _ in range(5):
        scraped.batch(0.0001, {0: 10}, uncounted=30)
        scraped.batch(1.0, {0: 10}, uncounted=10)
        found = scraped.scrape()["0."]
        assert abs(found.total - scraped.tallies[0].count) <= 2
    assert scraped.tallies[0].count == 100


STEP = (
    st.tuples(st.just("chained"), st.integers(0, 2), st.floats(0, 10))
    | st.tuples(
        st.just("batch"), st.floats(0, 10), st.dictionaries(st.integers(0, 2), st.integers(0, 64))
    )
    | st.tuples(st.just("scrape"))
)


@given(st.lists(STEP, max_size=40))
def test_what_is_shared_adds_up_and_never_goes_back(steps) -> None:
    scraped = Scraped(3)
    for what, *args in [*steps, ("scrape",)]:
        found = getattr(scraped, what)(*args)
        if what == "scrape":
            counted = sum(tally.count for tally in scraped.tallies)
            assert sum(histogram.total for histogram in found.values()) <= counted
    assert sum(histogram.total for histogram in found.values()) == counted
