"""The queries of the benchmark of walks that the server takes."""

from __future__ import annotations

import random

from bench.dataset import Size, generate
from bench.query import AAAA, NXDOMAIN, A
from bench.scenarios import POOL, SCENARIOS
from bench.searchpath import FIRST, WALK, first_steps


def test_the_first_of_each_walk() -> None:
    dataset = generate(
        Size(services=20, endpoints=100, headless=2, headless_endpoints=5, srv=1, srv_endpoints=5),
        1,
    )
    [scenario] = [each for each in SCENARIOS if each.name == "walk"]
    walk = scenario.queries(dataset, random.Random(1))  # noqa: S311 - has to be the same every time
    steps = first_steps(walk)
    assert len(steps) == POOL // WALK * FIRST
    assert {query.qtype for query in steps} == {A, AAAA}
    for query in steps:
        bare, _, zone = query.name.partition(".example.com.")
        assert bare.startswith("host-")
        assert zone.split(".")[0] in dataset.namespaces
        assert zone.split(".")[1:] == ["svc", "cluster", "local"]
        assert query.expected.answers == 2
    assert sum(query.expected.rcode == NXDOMAIN for query in walk) == len(walk) * 3 // 4
