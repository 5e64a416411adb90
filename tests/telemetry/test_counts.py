"""Counts of several processes, added up."""

from __future__ import annotations

import msgspec
import pytest
from prometheus_client import ProcessCollector

from kdns.dns.reply import CacheUse
from kdns.telemetry.counts import Counts, Sockets, Sum, counts
from kdns.telemetry.exposition import Exposition
from kdns.telemetry.series import Family, HistogramFamily, SeriesRegistry
from kdns.telemetry.traffic import Labels, Traffic

HIT = Labels(
    *("dns://:53", ".", "", "udp", "1", "A", False, "NOERROR", "kubernetes", 50, 100),
    CacheUse("success", ".", stale=True),
)
BLOCK = HIT[:3]
MISSES = Family("kdns_x", "X.", ("to",))
HELD = Family("kdns_held", "Held.", (), "gauge")
AT = Family("kdns_at", "At.", (), "gauge", "largest")
UP = Family("kdns_up", "Up.", (), "gauge", "smallest")
TOOK = HistogramFamily("kdns_took", "Took.", ("to",), (1.0, 2.0))


class Process:
    """What one process counts."""

    def __init__(self) -> None:
        self.traffic = Traffic()
        self.series = SeriesRegistry()

    def work(self, answers: int, gauge: float) -> None:
        self.traffic.tally(HIT).count += answers
        for _ in range(answers):
            self.traffic.observe(*BLOCK, 0.001)
        self.traffic.panics += 1
        self.series.count(MISSES, "a").value += answers
        for family in (HELD, AT, UP):
            self.series.count(family).value = gauge
        self.series.histogram(TOOK, "a").observe(1.5, answers)

    def counts(self) -> Counts:
        """As another process hears them."""
        told = counts(
            self.traffic, self.series, Sockets(1, 2, 3), ProcessCollector(registry=None).collect()
        )
        return msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=Counts)


def values(whole: Sum) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in whole.series.metrics()
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


@pytest.fixture
def processes() -> list[Process]:
    made = [Process(), Process()]
    made[0].work(3, gauge=5)
    made[1].work(4, gauge=7)
    return made


def test_two_are_a_sum(processes: list[Process]) -> None:
    whole = Sum()
    for each in processes:
        whole.add(each.counts(), alive=True)
    assert [(tally.labels, tally.count) for tally in whole.traffic.tallies()] == [(HIT, 7)]
    assert whole.traffic.durations()[BLOCK].total == 7
    assert whole.traffic.panics == 2
    assert whole.sockets == Sockets(2, 4, 6)
    assert values(whole) == {
        "kdns_x_total": 7,
        "kdns_held": 12,
        "kdns_at": 7,
        "kdns_up": 5,
        "kdns_took_count": 7,
        "kdns_took_sum": 10.5,
    }
    own = processes[0].counts().process
    assert whole.process["process_resident_memory_bytes"] == pytest.approx(
        2 * own["process_resident_memory_bytes"], rel=0.2
    )
    assert "process_start_time_seconds" not in whole.process


def test_of_one_that_is_gone_what_it_counted_stays(processes: list[Process]) -> None:
    past = Sum()
    past.add(processes[0].counts(), alive=False)
    whole = Sum()
    whole.add(past.counts(), alive=False)
    whole.add(processes[1].counts(), alive=True)
    found = values(whole)
    assert (found["kdns_x_total"], found["kdns_took_count"]) == (7, 7)
    assert (found["kdns_held"], found["kdns_at"], found["kdns_up"]) == (7, 7, 7)
    assert whole.traffic.durations()[BLOCK].total == 7
    own = processes[1].counts().process
    assert whole.process["process_cpu_seconds"] > own["process_cpu_seconds"] > 0
    assert whole.process["process_open_fds"] == own["process_open_fds"]


def test_sums_are_shown(processes: list[Process]) -> None:
    whole = Sum()
    for each in processes:
        whole.add(each.counts(), alive=True)
    exposition = Exposition(Traffic())
    text = exposition.render(whole).decode()
    shown = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(shown["coredns_panics_total"]) == 2
    assert float(shown["process_resident_memory_bytes"]) > 2 * 10**7
    (requests,) = (n for name, n in shown.items() if name.startswith("coredns_dns_requests_total"))
    assert float(requests) == 7
    assert "coredns_dns_requests_total{" not in exposition.render().decode()


def test_sizes_are_rounded_where_they_would_be_too_many() -> None:
    past = Sum(max_tallies=10)
    for size in range(100):
        process = Process()
        process.traffic.tally(HIT._replace(response_size=size * 500)).count += 1
        past.add(process.counts(), alive=False)
    assert len(past.traffic.tallies()) < 30
    assert sum(tally.count for tally in past.traffic.tallies()) == 100
