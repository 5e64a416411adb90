"""`health`, `ready`, `prometheus` and `reload`: what they ask of the process."""

from __future__ import annotations

import pytest

from kdns.plugins.site import Health, Ready, Reload


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("health", Health(("", 8080), 0.0)),
        ("health :8081", Health(("", 8081), 0.0)),
        ("health localhost:8091", Health(("localhost", 8091), 0.0)),
        ("health [::1]:8091", Health(("::1", 8091), 0.0)),
        ("health {\n lameduck 5s\n}", Health(("", 8080), 5.0)),
        ("health 127.0.0.1:1 {\n lameduck 1m30s\n}", Health(("127.0.0.1", 1), 90.0)),
        ("health {\n lameduck 1s\n lameduck 2s\n}", Health(("", 8080), 2.0)),
        ("health {\n}", Health(("", 8080), 0.0)),
    ],
)
def test_health(planned, line: str, expected: Health) -> None:
    assert planned(f". {{\n{line}\n}}").requests.health == [expected]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ready", Ready(("", 8181), sticky=True)),
        ("ready localhost:8182", Ready(("localhost", 8182), sticky=True)),
        ("ready {\n monitor until-ready\n}", Ready(("", 8181), sticky=True)),
        ("ready {\n monitor continuously\n}", Ready(("", 8181), sticky=False)),
    ],
)
def test_ready(planned, line: str, expected: Ready) -> None:
    assert planned(f". {{\n{line}\n}}").requests.ready == [expected]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("prometheus", ("localhost", 9153)),
        ("prometheus :9153", ("", 9153)),
        ("prometheus 10.0.0.1:9153", ("10.0.0.1", 9153)),
        ("prometheus :9153 {\n runtime_metrics\n}", ("", 9153)),
    ],
)
def test_prometheus(planned, line: str, expected: object) -> None:
    made = planned(f". {{\n{line}\n}}")
    assert made.requests.metrics == [expected]
    assert made.router.route(b"\0", 1).metrics


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("reload", Reload(30.0, 15.0)),
        ("reload 10s", Reload(10.0, 5.0)),
        ("reload 1m", Reload(60.0, 15.0)),
        ("reload 2s", Reload(2.0, 1.0)),
        ("reload 10s 1s", Reload(10.0, 1.0)),
        ("reload 10s 9s", Reload(10.0, 5.0)),
    ],
)
def test_reload(planned, line: str, expected: Reload) -> None:
    assert planned(f". {{\n{line}\n}}").requests.reload == expected


def test_nothing_is_asked_for(planned) -> None:
    requests = planned(". {\n whoami\n}").requests
    assert requests.reload is None
    assert not requests.health + requests.ready + requests.metrics + requests.readiness


def test_of_several_blocks(planned) -> None:
    made = planned("a {\n health :1\n ready :2\n}\nb {\n health :1\n ready :3\n prometheus :4\n}")
    assert [health.address for health in made.requests.health] == [("", 1), ("", 1)]
    assert [ready.address for ready in made.requests.ready] == [("", 2), ("", 3)]
    assert made.requests.metrics == [("", 4)]


@pytest.mark.parametrize(
    ("line", "says", "place"),
    [
        ("health a b", "one argument too many", (2, 10)),
        ("health nonsense", "an address and port, such as", (2, 8)),
        ("health :65536", "an address and port", (2, 8)),
        ("health {\n lameduck soon\n}", "a duration", (3, 11)),
        ("health {\n lameduck -1s\n}", "a duration", (3, 11)),
        ("health {\n lame\n}", "health has no property 'lame': write one of lameduck", (3, 2)),
        ("health\nhealth", "health is written twice in a server block", (3, 1)),
        ("ready {\n monitor sometimes\n}", "until-ready or continuously", (3, 10)),
        ("ready a b", "one argument too many", (2, 9)),
        ("prometheus {\n x\n}", "write one of runtime_metrics", (3, 2)),
        ("prometheus {\n runtime_metrics x\n}", "one argument too many", (3, 18)),
        ("reload 1s", "a duration of at least 2s", (2, 8)),
        ("reload 10s 0.5s", "a duration of at least 1s", (2, 12)),
        ("reload often", "a duration", (2, 8)),
        ("reload 10s 1s 1s", "one argument too many", (2, 15)),
        ("reload {\n}", "takes no braces", (2, 1)),
        ("errors x", "one argument too many: take it out", (2, 8)),
        ("errors {\n}", "takes no braces", (2, 1)),
        ("any x", "one argument too many", (2, 5)),
        ("any {\n}", "takes no braces", (2, 1)),
        ("whoami x", "one argument too many", (2, 8)),
        ("whoami {\n}", "takes no braces", (2, 1)),
        ("loadbalance random", "write round_robin", (2, 13)),
        ("loadbalance round_robin x", "one argument too many", (2, 25)),
        ("loadbalance {\n}", "takes no braces", (2, 1)),
        ("log {\n class some\n}", "write all or success or denial or error", (3, 8)),
        ("log {\n class\n}", "an argument is missing", (3, 2)),
        ("log {\n klass all\n}", "log has no property 'klass'", (3, 2)),
        ("log a..b", "empty label", (2, 5)),
    ],
)
def test_refused(refused, line: str, says: str, place: tuple[int, int]) -> None:
    message, found = refused(f". {{\n{line}\n}}")
    assert says in message
    assert found == place
