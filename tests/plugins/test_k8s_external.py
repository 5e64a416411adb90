"""The directive `k8s_external`: what it takes, and what it does beyond its zones' answers."""

from __future__ import annotations

import pytest

from kdns.cluster.feed import Synced, Upsert
from kdns.cluster.objects import Metadata, Namespace, Service, ServicePort, ServiceSpec
from kdns.dns import codes

KUBERNETES = "kubernetes cluster.local {\n manifests m\n ttl 30\n}"
WEB = "web.default.example.org."


def corefile(*lines: str, zones: str = "example.org", around: str = KUBERNETES) -> str:
    inside = "\n".join(lines)
    return f". {{\n k8s_external {zones} {{\n{inside}\n}}\n{around}\n}}"


@pytest.fixture
def served(planned):
    """served(corefile) -> it at work with one service that is reached from outside."""

    def made(text):
        plan = planned(text)
        for name in ("default", "other"):
            plan.store.apply(Upsert(Namespace(Metadata(name))))
            spec = ServiceSpec(
                cluster_ip="10.0.0.1",
                ports=[ServicePort(80, "http")],
                external_ips=["192.0.2.80"],
            )
            plan.store.apply(Upsert(Service(Metadata("web", name), spec)))
        plan.store.apply(Synced())
        return plan

    return made


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["apex testdns"],
        ["headless"],
        ["ttl 0"],
        ["fallthrough"],
        ["fallthrough ip6.arpa inaddr.arpa foo.com"],
    ],
    ids=" ".join,
)
def test_taken(planned, lines: list[str]) -> None:
    """CoreDNS's k8s_external/setup_test.go."""
    assert planned(corefile(*lines)).plan.routers


@pytest.mark.parametrize(
    ("lines", "says", "place"),
    [
        (["apex"], "an argument is missing after 'apex'", (3, 1)),
        (["apex a.b"], "'a.b' is no label: write one without dots", (3, 6)),
        (["apex " + "a" * 64], "is no label", (3, 6)),
        (["ttl 3601"], "a whole number from 0 to 3600", (3, 5)),
        (["ttl x"], "'x' cannot be read", (3, 5)),
        (["headless x"], "one argument too many", (3, 10)),
        (["frobnicate"], "k8s_external has no property 'frobnicate'", (3, 1)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused(refused, lines, says, place) -> None:
    message, found = refused(corefile(*lines))
    assert says in message
    assert found == place


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (corefile(around=""), "k8s_external gets its services from the kubernetes"),
        (corefile(zones="in-addr.arpa"), "k8s_external has reverse zones alone"),
        (
            corefile(around="k8s_external example.net\n" + KUBERNETES),
            "k8s_external is written twice",
        ),
    ],
)
def test_the_directive_as_a_whole(refused, text: str, says: str) -> None:
    assert says in refused(text)[0]


def test_answers(served) -> None:
    made = served(corefile(zones="example.org in-addr.arpa"))
    assert made.ask(WEB) == ("NOERROR", [f"{WEB} 5 IN A 192.0.2.80"], [])
    assert made.reply(WEB).plugin == "k8s_external"
    target = made.ask("80.2.0.192.in-addr.arpa.", "PTR")[1]
    assert target == [
        f"80.2.0.192.in-addr.arpa. 5 IN PTR web.{part}.example.org."
        for part in ("default", "other")
    ]
    assert made.ask("web.default.svc.cluster.local.")[1][0].endswith(" 30 IN A 10.0.0.1")


def test_pointers_lead_into_the_first_zone_that_is_none_of_pointers(served) -> None:
    made = served(corefile(zones="in-addr.arpa example.org example.net"))
    assert made.ask("80.2.0.192.in-addr.arpa.", "PTR")[1][0].endswith(" web.default.example.org.")


def test_options_reach_the_zone(served) -> None:
    made = served(corefile("ttl 60", "apex Names"))
    assert made.ask(WEB)[1] == [f"{WEB} 60 IN A 192.0.2.80"]
    assert made.ask("example.org.", "NS")[1] == ["example.org. 60 IN NS ns1.names.example.org."]
    assert made.ask("ns1.names.example.org.")[1] == ["ns1.names.example.org. 60 IN A 10.0.0.5"]
    assert made.ask("ns1.dns.example.org.")[0] == "NXDOMAIN"


def test_namespaces_are_those_of_kubernetes(served) -> None:
    around = "kubernetes cluster.local {\n manifests m\n namespaces other\n}"
    made = served(corefile(around=around))
    assert made.ask("web.other.example.org.")[0] == "NOERROR"
    assert made.ask(WEB)[0] == "NXDOMAIN"


def test_zones_of_the_block_where_none_are_written(served) -> None:
    made = served("example.org {\n k8s_external\n kubernetes cluster.local {\n manifests m\n }\n}")
    assert made.ask(WEB)[0] == "NOERROR"


def test_not_synced_is_a_failure_that_says_so(planned) -> None:
    made = planned(corefile())
    reply = made.reply(WEB)
    assert (reply.rcode, reply.lifetime, reply.plugin) == (codes.SERVFAIL, 0, "k8s_external")
    assert reply.extended_error[0] == codes.EDE_NOT_READY


def test_fallthrough(served) -> None:
    made = served(corefile("fallthrough", around=KUBERNETES + "\nwhoami"))
    missing = made.reply("nobody.default.example.org.")
    assert missing.plugin == "whoami"
    assert made.reply(WEB).plugin == "k8s_external"
    assert made.reply(WEB, "AAAA").plugin == "k8s_external"
    plain = served(corefile(around=KUBERNETES + "\nwhoami"))
    assert plain.reply("nobody.default.example.org.").rcode == codes.NXDOMAIN


@pytest.mark.parametrize(
    ("zones", "name", "denied"),
    [
        ("example.org", "nobody.default.example.org.", True),
        ("example.org sub.example.org", "nobody.default.example.org.", False),
        ("example.org", "nobody.default.svc.cluster.local.", True),
        ("ext.cluster.local", "nobody.default.svc.cluster.local.", False),
        ("cluster.local", "nobody.default.cluster.local.", True),
        ("local", "nobody.default.svc.cluster.local.", True),
    ],
)
def test_when_a_zone_may_speak_for_all_of_its_names(served, zones, name, denied) -> None:
    """That of `kubernetes`, which is asked later, does not speak for zones of this plugin in it."""
    reply = served(corefile(zones=zones)).reply(name)
    assert reply.rcode == codes.NXDOMAIN
    assert (reply.denial is not None) == denied


def test_a_zone_within_that_of_kubernetes(served) -> None:
    made = served(corefile(zones="ext.cluster.local"))
    assert made.ask("web.default.ext.cluster.local.")[0] == "NOERROR"
    assert made.ask("web.default.svc.cluster.local.")[0] == "NOERROR"
