"""The directive `kubernetes`: what it takes, and what it does beyond its zones' answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdns.cluster.feed import Upsert
from kdns.cluster.objects import Metadata, Namespace
from kdns.cluster.source import ApiServer, Selection
from kdns.dns import codes
from kdns.dns.names import ROOT, from_text
from kdns.dns.reply import EPOCH, Reply, refusal
from kdns.plugins.fallthrough import Fallthrough
from kdns.plugins.kubernetes import Kubernetes
from kdns.records.forward import ForwardZone
from kdns.records.options import ZoneOptions
from kdns.records.reverse import ReverseZone
from kdns.records.store import Store

WEB = "web.default.svc.cluster.local."
MISSING = "no.default.svc.cluster.local."


def corefile(*lines: str, zones: str = "cluster.local", around: str = "") -> str:
    inside = "\n".join(("manifests m", *lines))
    return f". {{\n kubernetes {zones} {{\n{inside}\n}}\n{around}\n}}"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["ttl 0"],
        ["ttl 3600"],
        ["pods disabled"],
        ["pods insecure"],
        ["pods verified"],
        ["namespaces a b", "namespaces c"],
        ["ignore empty_service"],
        ["noendpoints"],
        ["endpoint_pod_names"],
        ["fallthrough"],
        ["fallthrough in-addr.arpa ip6.arpa 10.0.0.0/8"],
        ["service_range 10.96.0.0/16 fd00::/108"],
        ["zonal"],
        ["startup_timeout 100ms"],
        ["stale_after 5m"],
        ["multicluster cluster.local"],
    ],
    ids=" ".join,
)
def test_taken(planned, lines: list[str]) -> None:
    assert planned(corefile(*lines)).requests.readiness[0].name == "kubernetes"


@pytest.mark.parametrize(
    ("lines", "says", "place"),
    [
        (["ttl"], "an argument is missing after 'ttl'", (4, 1)),
        (["ttl 3601"], "'3601' cannot be read: write a whole number from 0 to 3600", (4, 5)),
        (["ttl -1"], "a whole number from 0 to 3600", (4, 5)),
        (["pods maybe"], "write disabled or insecure or verified", (4, 6)),
        (["pods"], "an argument is missing", (4, 1)),
        (["ignore something"], "write empty_service", (4, 8)),
        (["noendpoints x"], "one argument too many", (4, 13)),
        (["namespaces"], "an argument is missing", (4, 1)),
        (["namespaces a " + "b" * 64], "is no namespace: write a DNS label", (4, 14)),
        (['namespaces ""'], "is no namespace: write a DNS label", (4, 12)),
        (["namespaces a.b"], "is no namespace: write a DNS label", (4, 12)),
        (["service_range 10.96.0.1/16"], "is no range of addresses: write one such as", (4, 15)),
        (["service_range lots"], "is no range of addresses", (4, 15)),
        (["fallthrough a..b"], "", (4, 13)),
        (["frobnicate"], "kubernetes has no property 'frobnicate': write one of", (4, 1)),
        (["endpoint https://api:6443"], "kubernetes takes its objects from manifests", (2, 2)),
        (["snapshot /var/lib/kdns"], "kubernetes takes its objects from manifests", (2, 2)),
        (["labels app=web"], "kubernetes takes its objects from manifests", (2, 2)),
        (
            ["zonal", "noendpoints"],
            "zonal answers from endpoints and noendpoints keeps none",
            (2, 2),
        ),
        (["multicluster other.org"], "other.org is none of the zones", (4, 14)),
        (["labels app=("], "is no label selector", (4, 8)),
        (["apiserver_qps many"], "write a number of requests a second", (4, 15)),
        (["tls cert key"], "write tls CERT KEY CACERT", (4, 10)),
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
        (corefile(zones="in-addr.arpa"), "kubernetes has reverse zones alone"),
        (corefile(zones="10.0.0.0/8 fd00::/8"), "kubernetes has reverse zones alone"),
        (corefile(zones="a..b"), "a..b"),
        (corefile(around="kubernetes org {\n manifests m\n}"), "kubernetes is written twice"),
    ],
)
def test_the_directive_as_a_whole(refused, text: str, says: str) -> None:
    assert says in refused(text)[0]


def test_a_zone_that_only_looks_like_a_reverse_one(planned, fill) -> None:
    made = planned(corefile(zones=r"x\007in-addr.arpa cluster.local"))
    fill(made.store, "web.default=10.0.0.1")
    assert made.ask(r"web.default.svc.x\007in-addr.arpa.")[0] == "NOERROR"


def test_zones_of_the_block_where_none_are_written(planned, fill) -> None:
    made = planned("cluster.local 10.0.0.0/8 {\n kubernetes {\n manifests m\n }\n}")
    fill(made.store, "web.default=10.0.0.1")
    assert made.ask(WEB)[0] == "NOERROR"
    answer = made.ask("1.0.0.10.in-addr.arpa.", "PTR")[1]
    assert answer == ["1.0.0.10.in-addr.arpa. 5 IN PTR web.default.svc.cluster.local."]


def test_the_nearest_of_several_zones(planned, fill) -> None:
    made = planned(corefile(zones="local cluster.local"))
    fill(made.store, "web.default=10.0.0.1")
    assert made.ask(WEB)[0] == "NOERROR"
    assert made.ask("web.default.svc.local.")[0] == "NOERROR"
    assert made.reply("x.cluster.local.").authority[0].owner == b"\7cluster\5local\0"
    assert made.reply("x.y.local.").authority[0].owner == b"\5local\0"
    assert made.ask("elsewhere.") == ("SERVFAIL", [], [])


def test_relative_paths_begin_at_the_corefile_s_folder(planned, facilities) -> None:
    planned(corefile())
    planned(". {\n kubernetes cluster.local {\n manifests /abs\n service_range 10.0.0.0/8\n }\n}")
    assert [str(source.manifests) for source in facilities.stores] == ["/etc/kdns/m", "/abs"]
    assert [source.service_ranges for source in facilities.stores] == [(), ("10.0.0.0/8",)]


def test_equal_sources_share_a_store(planned, facilities) -> None:
    planned(corefile("pods insecure"))
    planned(corefile("ttl 30", zones="example.org"))
    assert len(facilities.stores) == 1
    planned(corefile("endpoint_pod_names"))
    assert len(facilities.stores) == 2


def test_options_reach_the_zone(planned, fill) -> None:
    made = planned(corefile("ttl 30", "pods insecure", "namespaces default"))
    fill(made.store, "web.default=10.0.0.1", "web.other=10.0.0.2")
    assert made.ask(WEB)[1] == [WEB + " 30 IN A 10.0.0.1"]
    assert made.ask("web.other.svc.cluster.local.")[0] == "NXDOMAIN"
    assert made.ask("10-1-2-3.default.pod.cluster.local.")[0] == "NOERROR"


def test_not_synced_is_a_failure_that_says_so(planned, fill) -> None:
    made = planned(corefile(zones="cluster.local in-addr.arpa"))
    for name in (WEB, MISSING, "cluster.local.", "1.0.0.10.in-addr.arpa."):
        reply = made.reply(name)
        assert reply.rcode == codes.SERVFAIL
        assert reply.extended_error[0] == 14
        assert reply.lifetime == 0
    made.store.apply(Upsert(Namespace(Metadata("default"))))
    assert made.reply(WEB).rcode == codes.SERVFAIL
    ((name, ready, _),) = made.requests.readiness
    assert (name, ready()) == ("kubernetes", False)
    fill(made.store, "web.default=10.0.0.1")
    assert ready()
    assert made.ask(WEB)[0] == "NOERROR"


def test_ready_ends_with_a_source_that_is_not_heard_of(planned, fill) -> None:
    made = planned(corefile("stale_after 1m"))
    fill(made.store, "web.default=10.0.0.1")
    _, fresh = made.requests.readiness
    assert (fresh.name, fresh.sticky, fresh.ready()) == ("kubernetes", False, True)
    made.facilities.heard = 61.0
    assert not fresh.ready()


API = [
    ("", ApiServer()),
    ("endpoint https://api:6443/", ApiServer("https://api:6443")),
    ("endpoint api:8080 other:8080", ApiServer("http://api:8080")),
    (
        "endpoint https://api\n tls c k ca",
        ApiServer("https://api", Path("/etc/kdns/c"), Path("/etc/kdns/k"), Path("/etc/kdns/ca")),
    ),
    ("kubeconfig admin.conf", ApiServer(kubeconfig=Path("/etc/kdns/admin.conf"))),
    (
        "kubeconfig admin.conf blue",
        ApiServer(kubeconfig=Path("/etc/kdns/admin.conf"), context="blue"),
    ),
    (
        "apiserver_qps 2.5\n apiserver_burst 5\n apiserver_max_inflight 3",
        ApiServer(qps=2.5, burst=5, max_inflight=3),
    ),
]


@pytest.mark.parametrize(("lines", "api"), API, ids=[lines for lines, _ in API])
def test_an_api_server(planned, lines: str, api: ApiServer) -> None:
    made = planned(f". {{\n kubernetes cluster.local {{\n {lines}\n }}\n}}")
    (source,) = made.facilities.stores
    assert (source.manifests, source.api) == (None, api)


SELECTIONS = [
    ("pods verified", Selection(pods=True)),
    ("pods insecure", Selection()),
    ("noendpoints", Selection(endpoints=False)),
    ("labels app=web, tier in (a, b),!old", Selection(labels="app=web, tier in (a, b),!old")),
    ("namespace_labels x.io/team!=red", Selection(namespace_labels="x.io/team!=red")),
    ("multicluster cluster.local", Selection(service_imports=True)),
]


@pytest.mark.parametrize(("line", "selection"), SELECTIONS, ids=[line for line, _ in SELECTIONS])
def test_what_is_wanted_of_it(planned, line: str, selection: Selection) -> None:
    made = planned(f". {{\n kubernetes cluster.local {{\n {line}\n }}\n}}")
    (source,) = made.facilities.stores
    assert source.selection == selection


@pytest.mark.parametrize(
    ("name", "falls"),
    [
        ("0.10.in-addr.arpa.", True),
        ("9.10.in-addr.arpa.", True),
        ("2.0.0.10.in-addr.arpa.", True),
        ("1.0.0.10.in-addr.arpa.", False),
        ("in-addr.arpa.", False),
    ],
)
def test_others_have_records_above_the_cluster_s_addresses(planned, fill, name, falls) -> None:
    made = planned(
        corefile("fallthrough in-addr.arpa", zones="cluster.local in-addr.arpa", around="whoami")
    )
    fill(made.store, "web.default=10.0.0.1")
    assert (made.reply(name).plugin == "whoami") == falls


def test_not_synced_falls_through(planned) -> None:
    made = planned(
        corefile("fallthrough in-addr.arpa", zones="cluster.local in-addr.arpa", around="whoami")
    )
    assert made.ask("1.0.0.10.in-addr.arpa.")[2] != []
    assert made.reply("1.0.0.10.in-addr.arpa.").lifetime == 0
    assert made.reply(WEB).rcode == codes.SERVFAIL


@pytest.mark.parametrize(
    ("fallthrough", "name", "falls"),
    [
        ("fallthrough", MISSING, True),
        ("fallthrough", "1.0.0.11.in-addr.arpa.", True),
        ("fallthrough", WEB, False),
        ("fallthrough", "default.svc.cluster.local.", False),
        ("fallthrough in-addr.arpa", MISSING, False),
        ("fallthrough in-addr.arpa", "1.0.0.11.in-addr.arpa.", True),
        ("fallthrough in-addr.arpa", "1.0.0.10.in-addr.arpa.", False),
        ("fallthrough no.default.svc.cluster.local", MISSING, True),
        ("fallthrough no.default.svc.cluster.local", "x." + MISSING, True),
        ("fallthrough no.default.svc.cluster.local", "on.default.svc.cluster.local.", False),
        ("fallthrough .", MISSING, True),
        ("", MISSING, False),
    ],
)
def test_fallthrough(planned, fill, fallthrough: str, name: str, falls: bool) -> None:
    zones = "cluster.local in-addr.arpa"
    made = planned(corefile(fallthrough, zones=zones, around="whoami"))
    fill(made.store, "web.default=10.0.0.1")
    assert (made.reply(name).plugin == "whoami") == falls


@pytest.mark.parametrize("lifetime", [None, 0, 30.0])
def test_what_fell_through_was_also_made_from_what_is_missing(fill, query, lifetime) -> None:
    store = Store(clock=lambda: 1_000)
    fill(store, "web.default=10.0.0.1")
    target, options = from_text("cluster.local"), ZoneOptions()
    zones = [ForwardZone(store, target, options)]
    zones.append(ReverseZone(store, from_text("in-addr.arpa"), target, options))
    plugin = Kubernetes(store, zones, Fallthrough(frozenset((ROOT,))), lambda _: refusal())
    found = Reply(reads=(b"other",), lifetime=lifetime)

    def handler(asked):
        return plugin.handle(asked, lambda _: found)

    reply = handler(query(MISSING))
    assert reply.reads[0] == b"other"
    assert b"\2no\7default" in reply.reads
    assert any(name.startswith(EPOCH) for name in reply.reads)
    assert (reply.lifetime, reply.denial) == (lifetime, None)
    # A part of a reverse name comes to be without a word, so nothing of it is kept.
    assert handler(query("11.in-addr.arpa.")).lifetime == 0


@pytest.mark.parametrize(
    ("zones", "fallthrough", "denied"),
    [
        ("cluster.local", "", True),
        ("cluster.local in-addr.arpa", "", True),
        ("cluster.local x.cluster.local", "", False),
        ("cluster.local", "fallthrough x.cluster.local", False),
        ("cluster.local", "fallthrough in-addr.arpa", True),
        ("cluster.local", "fallthrough", False),
    ],
)
def test_when_a_zone_may_speak_for_all_of_its_names(
    planned, fill, zones, fallthrough, denied
) -> None:
    made = planned(corefile(fallthrough, zones=zones))
    fill(made.store, "web.default=10.0.0.1")
    assert (made.reply(MISSING).denial is not None) == denied


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("", ["10.0.0.5", "fd00::5"]),
        ("bind 127.0.0.1", ["127.0.0.1"]),
        ("bind eth0 {\n except fd00::5 fe80::5\n}", ["10.0.0.5"]),
    ],
)
def test_the_own_addresses_are_those_that_others_reach(planned, fill, bind, expected) -> None:
    made = planned(corefile(around=bind))
    fill(made.store)
    router = next(iter(made.plan.routers.values()))
    answers = made.ask("ns.dns.cluster.local.", "A", router=router)[1]
    answers += made.ask("ns.dns.cluster.local.", "AAAA", router=router)[1]
    assert [line.split()[-1] for line in answers] == expected


def test_restored_records_answer_as_stale(planned, fill) -> None:
    earlier = Store(clock=lambda: 1)
    fill(earlier, "web.default=10.0.0.1")
    made = planned(corefile(zones="cluster.local"))
    made.store.restore(earlier.saved())
    found, missing = made.reply(WEB), made.reply(MISSING)
    assert (found.rcode, missing.rcode) == (codes.NOERROR, codes.NXDOMAIN)
    assert found.extended_error[0] == missing.extended_error[0] == codes.EDE_STALE
    assert missing.denial is None
    assert made.requests.readiness[0].ready()
    fill(made.store, "web.default=10.0.0.1")
    assert made.reply(WEB).extended_error is None
    assert made.reply(MISSING).denial is not None
