"""Corefiles as routers and requests."""

from __future__ import annotations

import itertools

import pytest

from kdns.plugins.order import NAMES
from kdns.plugins.plan import Enabled, Endpoint

DIRECTIVES = [
    "errors",
    "log",
    "any",
    "loadbalance",
    "cache",
    "whoami",
    "health",
    "ready",
    "prometheus",
    "reload",
    "transfer {\n to *\n}",
    "k8s_external example.org",
    "kubernetes cluster.local {\n manifests m\n}",
]


def test_order_in_the_corefile_has_no_meaning(planned, fill) -> None:
    seen = set()
    for directives in itertools.islice(itertools.permutations(DIRECTIVES), 0, 200_000, 9001):
        made = planned(". {\n" + "\n".join(directives) + "\n}")
        fill(made.store, "web.default=10.0.0.1")
        assert made.ask("web.default.svc.cluster.local.", "ANY")[1][0].endswith('"See RFC 8482"')
        assert made.ask("web.default.svc.cluster.local.")[1] != []
        assert made.ask("elsewhere.")[2] != []
        seen.add(tuple(name for _, _, name in made.plan.enabled))
    written = {directive.split()[0] for directive in DIRECTIVES}
    assert seen == {tuple(name for name in NAMES if name in written)}


def test_the_order_is_coredns_s() -> None:
    reference = ["reload", "bind", "ready", "health", "prometheus", "errors", "log", "any"]
    reference += ["loadbalance", "cache", "transfer", "hosts", "k8s_external", "kubernetes"]
    reference += ["loop", "forward", "whoami"]
    assert [name for name in NAMES if name in reference] == [n for n in reference if n in NAMES]


@pytest.mark.parametrize(
    ("corefile", "says", "place"),
    [
        (
            ". {\n  frobnicate\n}",
            "there is no plugin 'frobnicate': take it out, or write one of",
            (2, 3),
        ),
        (". {\n errors\n}\norg {\n Errors\n}", "there is no plugin 'Errors'", (5, 2)),
        ("tls://. {\n errors\n}", "kdns does not serve tls://: write the zone without it", (1, 1)),
        ("https://. {\n errors\n}", "kdns does not serve https://", (1, 1)),
        (". {\n whoami\n errors\n whoami\n}", "whoami is written twice in a server block", (4, 2)),
        ("org {\n whoami\n}\n.:53 org {\n errors\n}", "is served by Corefile:1:1 already", (4, 6)),
        (
            ". {\n bind 127.0.0.1\n}\n. {\n bind lo\n}",
            "on 127.0.0.1 is served by Corefile:1:1 already",
            (4, 1),
        ),
        (
            "a {\n whoami\n}\nb {\n bind 0.0.0.0\n}",
            "every address of port 53 is listened on already, as of Corefile:1:1: take out bind",
            (4, 1),
        ),
        (
            "b {\n bind ::\n}\na {\n whoami\n}",
            "every address of port 53 is listened on already, as of Corefile:4:1: take out bind ::",
            (1, 1),
        ),
    ],
)
def test_refused(refused, corefile: str, says: str, place: tuple[int, int]) -> None:
    message, found = refused(corefile)
    assert says in message
    assert found == place


def test_an_unknown_plugin_is_refused_with_those_there_are(refused) -> None:
    message, _ = refused(". {\n frobnicate 30\n}")
    assert message.endswith(", ".join(NAMES))


def test_endpoints(planned) -> None:
    made = planned("""
        .:53 org:1053 {
            whoami
        }
        cluster.local:1053 { bind 127.0.0.1 ::1
            prometheus
        }""")
    routers = made.plan.routers
    assert list(routers) == [
        Endpoint("", 53),
        Endpoint("", 1053),
        Endpoint("127.0.0.1", 1053),
        Endpoint("::1", 1053),
    ]
    assert [endpoint.server for endpoint in routers] == [
        "dns://:53",
        "dns://:1053",
        "dns://127.0.0.1:1053",
        "dns://[::1]:1053",
    ]
    assert made.plan.enabled[-2:] == (
        Enabled("dns://[::1]:1053", "cluster.local.", "bind"),
        Enabled("dns://[::1]:1053", "cluster.local.", "prometheus"),
    )
    at = routers[Endpoint("", 1053)]
    assert at.route(b"\3web\3org\0", 1).zone == "org."
    assert at.route(b"\3web\0", 1) is None


def test_metrics_of_blocks(planned) -> None:
    made = planned(". {\n prometheus\n}\norg {\n whoami\n}")
    assert made.router.route(b"\0", 1).metrics
    assert not made.router.route(b"\3org\0", 1).metrics


def test_zones_of_a_cidr(planned) -> None:
    made = planned("10.0.0.0/15 {\n whoami\n}")
    assert made.block("1.2.0.10.in-addr.arpa.") == "0.10.in-addr.arpa."
    assert made.block("1.2.1.10.in-addr.arpa.") == "1.10.in-addr.arpa."
    assert made.block("1.2.2.10.in-addr.arpa.") is None


def test_a_block_without_plugins_that_answer(planned) -> None:
    made = planned("org {\n prometheus\n}\n. {\n errors\n}")
    assert made.router.route(b"\3org\0", 1).handler is None
    assert made.ask("web.") == ("SERVFAIL", [], [])
