"""What a scrape gets: names, labels and buckets of CoreDNS."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kdns.telemetry.exposition import CONTENT_TYPE, Exposition, histogram_family
from kdns.telemetry.histogram import DURATION, SIZE, Histogram
from kdns.telemetry.traffic import Labels, Traffic

SERVER = "dns://:53"
HIT = Labels(SERVER, "cluster.local.", "", "udp", "1", "A", False, "NOERROR", "kubernetes", 60, 76)
DENIED = HIT._replace(rcode="NXDOMAIN", type="AAAA", dnssec_ok=True, response_size=1300)
SILENCE = Labels(SERVER, "dropped", "", "tcp", "2", "other", False, "", "", 5, 0)
BLOCK = {"server": SERVER, "zone": "cluster.local.", "view": ""}


@pytest.fixture
def traffic() -> Traffic:
    made = Traffic()
    for labels, count in ((HIT, 7), (DENIED, 3), (SILENCE, 2)):
        made.tally(labels).count += count
        for _ in range(count):
            made.observe(labels.server, labels.zone, labels.view, 0.0003)
    return made


@pytest.fixture
def families(traffic):
    """Families of a scrape by name, as another program reads them."""
    text = Exposition(traffic).render().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def sample(family, /, **labels) -> float:
    (found,) = [
        each.value
        for each in family.samples
        if labels.items() <= each.labels.items() and not each.name.endswith("_created")
    ]
    return found


@pytest.mark.parametrize(
    ("name", "kind", "labels"),
    [
        ("coredns_build_info", "gauge", {"version", "revision", "goversion"}),
        ("coredns_panics", "counter", set()),
        ("coredns_dns_requests", "counter", {"server", "zone", "view", "proto", "family", "type"}),
        ("coredns_dns_do_requests", "counter", {"server", "zone", "view"}),
        ("coredns_dns_responses", "counter", {"server", "zone", "view", "rcode", "plugin"}),
        ("coredns_dns_request_size_bytes", "histogram", {"server", "zone", "view", "proto"}),
        ("coredns_dns_response_size_bytes", "histogram", {"server", "zone", "view", "proto"}),
        ("coredns_dns_request_duration_seconds", "histogram", {"server", "zone", "view"}),
    ],
)
def test_names_kinds_and_labels(families, name, kind, labels) -> None:
    family = families[name]
    assert family.type == kind
    assert family.documentation
    assert family.samples
    for each in family.samples:
        assert each.labels.keys() - {"le"} == labels
        if kind == "counter":
            assert each.name == name + "_total"


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("coredns_dns_request_size_bytes", SIZE),
        ("coredns_dns_response_size_bytes", SIZE),
        ("coredns_dns_request_duration_seconds", DURATION),
    ],
)
def test_buckets(families, name, bounds) -> None:
    by_series: dict[object, list[tuple[float, float]]] = {}
    for each in families[name].samples:
        if each.name == name + "_bucket":
            series = tuple(sorted((k, v) for k, v in each.labels.items() if k != "le"))
            by_series.setdefault(series, []).append((float(each.labels["le"]), each.value))
    assert by_series
    for buckets in by_series.values():
        assert [bound for bound, _ in buckets] == [*map(float, bounds), float("inf")]
        counts = [count for _, count in buckets]
        assert counts == sorted(counts)


def test_counts(families) -> None:
    requests = families["coredns_dns_requests"]
    assert sample(requests, **BLOCK, proto="udp", family="1", type="A") == 7
    assert sample(requests, **BLOCK, proto="udp", family="1", type="AAAA") == 3
    assert sample(requests, zone="dropped", proto="tcp", family="2", type="other") == 2
    assert sample(families["coredns_dns_do_requests"], **BLOCK) == 3
    responses = families["coredns_dns_responses"]
    assert sample(responses, **BLOCK, rcode="NOERROR", plugin="kubernetes") == 7
    assert sample(responses, **BLOCK, rcode="NXDOMAIN", plugin="kubernetes") == 3
    assert len(responses.samples) == 2
    assert sample(families["coredns_panics"]) == 0


def test_sizes_and_durations(families) -> None:
    sizes = families["coredns_dns_response_size_bytes"]
    assert sample_of(sizes, "_count", zone="cluster.local.") == 10
    assert sample_of(sizes, "_sum", zone="cluster.local.") == 7 * 76 + 3 * 1300
    assert sample_of(sizes, "_bucket", zone="cluster.local.", le="1023") == 7
    requests = families["coredns_dns_request_size_bytes"]
    assert sample_of(requests, "_count", zone="dropped") == 2
    durations = families["coredns_dns_request_duration_seconds"]
    assert sample_of(durations, "_count", zone="cluster.local.") == 10
    assert sample_of(durations, "_sum", zone="cluster.local.") == pytest.approx(0.003)


def sample_of(family, suffix, /, **labels) -> float:
    (found,) = [
        each.value
        for each in family.samples
        if each.name == family.name + suffix and labels.items() <= each.labels.items()
    ]
    return found


def test_the_process_itself(families) -> None:
    assert {"process_resident_memory_bytes", "process_cpu_seconds"} <= families.keys()


def test_series_are_in_one_order_and_scrapes_do_not_count(traffic) -> None:
    exposition = Exposition(traffic)

    def own(text: bytes) -> list[bytes]:
        return [line for line in text.splitlines() if line.startswith(b"coredns_")]

    assert own(exposition.render()) == own(exposition.render())


def test_nothing_was_asked_yet() -> None:
    text = Exposition(Traffic()).render().decode()
    names = {family.name for family in text_string_to_metric_families(text) if family.samples}
    assert "coredns_build_info" in names
    assert "coredns_dns_requests" not in names


def test_other_parts_have_their_say(traffic) -> None:
    exposition = Exposition(traffic)
    histogram = Histogram(SIZE)
    histogram.observe(5)
    exposition.sources.append(
        lambda: [histogram_family("kdns_x", "X.", ["a"], {("b",): histogram})]
    )
    assert b'kdns_x_bucket{a="b",le="100"} 1.0' in exposition.render()


def test_labels_are_escaped(traffic) -> None:
    traffic.tally(HIT._replace(zone='a"\n\\.')).count += 1
    text = Exposition(traffic).render().decode()
    (family,) = [
        each for each in text_string_to_metric_families(text) if each.name == "coredns_dns_requests"
    ]
    assert 'a"\n\\.' in {each.labels["zone"] for each in family.samples}


def test_content_type() -> None:
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")
