"""Aliases that lead out of a zone: what is behind them, how long it holds, and where it ends."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import dns.flags
import dns.message
import pytest

from kdns.cluster.feed import Delete, Synced, Upsert
from kdns.cluster.objects import (
    Ingress,
    LoadBalancerStatus,
    Metadata,
    Namespace,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from kdns.dns import codes
from kdns.dns.names import from_text
from kdns.dns.query import Client
from kdns.dns.rdata import RRset
from kdns.dns.reply import CacheUse, Reply, refusal
from kdns.dns.response import MAX_CHAIN
from kdns.frontend.responder import Lane, Responder
from kdns.plugins.aliases import completed
from kdns.plugins.chain import Block, Router
from kdns.telemetry.traffic import Traffic

ALIAS = from_text("db.default.svc.cluster.local")
TARGET = from_text("db.example.com")
ADDRESS = RRset(TARGET, codes.A, 300, (ip_address("192.0.2.1").packed,))
SOA = RRset(from_text("example.com"), codes.SOA, 60, (b"soa",))
FURTHER = RRset(TARGET, codes.CNAME, 60, (from_text("other.example.com"),))


def own(target=TARGET, **fields):
    alias = RRset(ALIAS, codes.CNAME, 5, (target,))
    return Reply(answer=[alias], authoritative=True, reads=(b"db",), plugin="kubernetes", **fields)


def found(**fields):
    return Reply(plugin="forward", **{"lifetime": 0, **fields})


@pytest.mark.parametrize(
    ("behind", "rcode", "answer", "error"),
    [
        (found(answer=[ADDRESS]), 0, [ADDRESS], None),
        (found(answer=[FURTHER]), 0, [FURTHER], None),
        (found(authority=[SOA]), 0, [], None),
        (found(rcode=3, authority=[SOA]), 3, [], None),
        (found(rcode=3, answer=[FURTHER], authority=[SOA]), 3, [FURTHER], None),
        (found(rcode=2, extended_error=(22, "nobody answered")), 2, [], (22, "nobody answered")),
        (found(rcode=2), 2, [], (0, "db.example.com., which this name stands for, is SERVFAIL")),
        (found(rcode=5), 2, [], (0, "db.example.com., which this name stands for, is REFUSED")),
        (found(answer=[ADDRESS], extended_error=(3, "")), 0, [ADDRESS], (3, "")),
    ],
    ids=[
        "an address",
        "another alias",
        "no such record",
        "no such name",
        "an alias to no such name",
        "no upstream",
        "a failure",
        "a refusal",
        "stale",
    ],
)
def test_rcode_and_records(query, behind, rcode, answer, error) -> None:
    reply = completed(query("db.default.svc.cluster.local."), own(), lambda _: behind)
    assert reply.rcode == rcode
    assert reply.answer == [*own().answer, *answer]
    assert reply.authority == behind.authority
    assert reply.extended_error == error
    assert (reply.authoritative, reply.authentic, reply.plugin) == (True, False, "kubernetes")


@pytest.mark.parametrize(
    ("behind", "lifetime", "counted", "reads", "steady"),
    [
        (found(), 0, None, (b"db",), 1),
        (found(lifetime=200, counted=7), 200, 7, (b"db",), 1),
        (found(lifetime=200, counted=7, steady=2), 200, 7, (b"db",), 3),
        (found(lifetime=None, reads=(b"web", b"db")), None, None, (b"db", b"web"), 1),
        (found(rcode=2), 0, None, (b"db",), 1),
        (refusal(), None, None, (b"db",), 0),
        (Reply(rcode=2, lifetime=0), None, None, (b"db",), 0),
        (Reply(rcode=2, lifetime=0, reads=(b"gone",)), 0, None, (b"db", b"gone"), 0),
    ],
    ids=[
        "not to be kept",
        "for a while",
        "for a while, by way of another alias",
        "until it changes",
        "a failure",
        "no zone of this server",
        "no plugin",
        "no plugin for what is missing",
    ],
)
def test_how_long_it_holds(query, behind, lifetime, counted, reads, steady) -> None:
    reply = completed(query("db.default.svc.cluster.local."), own(), lambda _: behind)
    assert (reply.lifetime, reply.counted, reply.reads) == (lifetime, counted, reads)
    assert reply.steady == steady
    assert reply.denial is None


def test_the_part_of_a_cache_is_told(query) -> None:
    use = CacheUse("success", ".")
    asked = query("db.default.svc.cluster.local.")
    assert completed(asked, own(), lambda _: found(cache=use)).cache == use


@pytest.mark.parametrize("behind", [refusal(), Reply(rcode=codes.SERVFAIL, lifetime=0)])
def test_where_nobody_answers_the_alias_is_left_to_the_asker(query, behind) -> None:
    reply = completed(query("db.default.svc.cluster.local."), own(), lambda _: behind)
    assert (reply.rcode, reply.answer, reply.extended_error) == (0, own().answer, None)


def test_what_is_asked_is_the_client_s_query(query) -> None:
    asked = query("DB.default.svc.cluster.local.", "AAAA", transport="tcp", want_dnssec=True)
    seen = []
    completed(asked, own(), lambda each: seen.append(each) or refusal())
    (behind,) = seen
    assert (behind.name, behind.qtype, behind.hops) == (TARGET, codes.AAAA, (ALIAS,))
    assert (behind.edns, behind.transport, behind.client) == (asked.edns, "tcp", asked.client)
    assert (behind.limit, behind.packet) == (asked.limit, asked.packet)


@pytest.mark.parametrize(
    ("hops", "flags", "target"),
    [
        ((), 0, TARGET),
        ((TARGET,), dns.flags.RD, TARGET),
        ((), dns.flags.RD, ALIAS),
        (tuple(from_text(f"n{n}") for n in range(MAX_CHAIN)), dns.flags.RD, TARGET),
    ],
    ids=["no recursion wanted", "a circle", "itself", "too long"],
)
def test_left_as_it_is(query, hops, flags, target) -> None:
    asked = query("db.default.svc.cluster.local.", flags=flags)
    asked = asked.renamed(ALIAS, codes.A, hops)
    left = own(target)

    def never(_):
        raise AssertionError

    assert completed(asked, left, never) is left


async def test_an_answer_that_is_waited_for(query) -> None:
    async def later():
        await asyncio.sleep(0)
        return found(answer=[ADDRESS])

    reply = await completed(query("db.default.svc.cluster.local."), own(), lambda _: later())
    assert reply.answer[1:] == [ADDRESS]


BALANCED = """
example.net {
    k8s_external
    kubernetes cluster.local { manifests one
    }
}
org {
    hosts /nonexistent {
        192.0.2.7 lb.example.org
    }
}
"""


def test_a_load_balancer_with_a_name(planned) -> None:
    made = planned(BALANCED)
    made.store.apply(Upsert(Namespace(Metadata("a"))))
    spec = ServiceSpec(type="LoadBalancer", cluster_ip="10.0.0.1", ports=[ServicePort(80, "http")])
    status = ServiceStatus(LoadBalancerStatus([Ingress(hostname="lb.example.org")]))
    made.store.apply(Upsert(Service(Metadata("db", "a"), spec, status)))
    made.store.apply(Synced())
    (router, *_) = made.plan.routers.values()
    assert [each.type for each in made.reply("db.a.example.net.", router=router).answer] == [
        codes.CNAME,
        codes.A,
    ]
    reply = made.reply("db.a.example.net.", router=router)
    assert (reply.plugin, reply.lifetime, reply.rcode) == ("k8s_external", None, codes.NOERROR)
    assert made.reply("db.a.example.net.", "AAAA", router=router).answer == reply.answer[:1]


# Two clusters, and a block that knows all else, in one server.

CLUSTERS = """
one.test {
    kubernetes one.test { manifests one
    }
}
two.test {
    loadbalance
    kubernetes two.test { manifests two
        ttl 30
    }
}
. {
    whoami
}
"""


@pytest.fixture
def clusters(planned, facilities):
    """Two clusters in one server: `clusters.put("one", name=target or address)`."""
    made = planned(CLUSTERS)
    stores = {source.manifests.name: store for source, store in facilities.stores.items()}
    for store in stores.values():
        store.apply(Upsert(Namespace(Metadata("a"))))

    def put(cluster, **services):
        touched = set()
        for name, value in services.items():
            outside = not value[0].isdigit()
            spec = ServiceSpec(
                type="ExternalName" if outside else "ClusterIP",
                cluster_ip="" if outside else value,
                cluster_ips=[] if outside else [value],
                external_name=value if outside else "",
                ports=[ServicePort(80, "http")],
            )
            touched.update(stores[cluster].apply(Upsert(Service(Metadata(name, "a"), spec))))
        return touched

    for store in stores.values():
        store.apply(Synced())
    made.put, made.stores = put, stores
    return made


def test_into_another_cluster(clusters) -> None:
    clusters.put("one", db="db.a.svc.two.test")
    clusters.put("two", db="10.2.0.1")
    rcode, answer, _ = clusters.ask("db.a.svc.one.test.")
    assert rcode == "NOERROR"
    assert answer == [
        "db.a.svc.one.test. 5 IN CNAME db.a.svc.two.test.",
        "db.a.svc.two.test. 30 IN A 10.2.0.1",
    ]
    reply = clusters.reply("db.a.svc.one.test.")
    assert (reply.lifetime, reply.rotate, reply.plugin) == (None, True, "kubernetes")
    assert clusters.reply("db.a.svc.one.test.", "CNAME").answer == reply.answer[:1]
    assert clusters.reply("db.a.svc.one.test.", "ANY").answer == reply.answer[:1]
    assert clusters.ask("db.a.svc.one.test.", "AAAA")[:2] == ("NOERROR", answer[:1])
    assert clusters.ask("db.a.svc.one.test.", "SRV")[1][1].endswith(" 80 db.a.svc.two.test.")


def test_to_a_name_that_another_cluster_does_not_have(clusters) -> None:
    clusters.put("one", db="db.a.svc.two.test")
    rcode, answer, _ = clusters.ask("db.a.svc.one.test.")
    assert (rcode, answer) == ("NXDOMAIN", ["db.a.svc.one.test. 5 IN CNAME db.a.svc.two.test."])
    reply = clusters.reply("db.a.svc.one.test.")
    assert reply.denial is None
    assert [each.owner for each in reply.authority] == [from_text("two.test")]


def test_a_cluster_that_is_not_known_yet(clusters) -> None:
    clusters.put("one", db="db.a.svc.two.test")
    clusters.stores["two"].synced = False
    reply = clusters.reply("db.a.svc.one.test.")
    assert (reply.rcode, reply.lifetime) == (codes.SERVFAIL, 0)
    assert reply.extended_error[0] == codes.EDE_NOT_READY
    assert len(reply.answer) == 1


def test_a_circle_of_clusters_has_an_end(clusters) -> None:
    clusters.put("one", db="other.a.svc.one.test", other="db.a.svc.two.test")
    clusters.put("two", db="other.a.svc.one.test")
    rcode, answer, _ = clusters.ask("db.a.svc.one.test.")
    assert rcode == "NOERROR"
    assert [line.split()[0] for line in answer] == [
        "db.a.svc.one.test.",
        "other.a.svc.one.test.",
        "db.a.svc.two.test.",
    ]


def test_a_long_way_has_an_end(clusters) -> None:
    clusters.put("one", **{f"n{n}": f"n{n + 1}.a.svc.two.test" for n in range(0, 40, 2)})
    clusters.put("two", **{f"n{n}": f"n{n + 1}.a.svc.one.test" for n in range(1, 40, 2)})
    rcode, answer, _ = clusters.ask("n0.a.svc.one.test.")
    assert (rcode, len(answer)) == ("NOERROR", MAX_CHAIN + 1)


def test_out_of_all_clusters(clusters) -> None:
    clusters.put("one", db="db.example.com")
    rcode, answer, additional = clusters.ask("db.a.svc.one.test.")
    assert (rcode, len(answer), len(additional)) == ("NOERROR", 1, 2)  # whoami's


def test_forgotten_with_either_part(clusters) -> None:
    """Kept as bytes until the service here, or what it leads to, is another."""
    clusters.put("one", db="db.a.svc.two.test")
    clusters.put("two", db="10.2.0.1", other="10.2.0.2")
    responder = responder_of(lambda query: clusters.router.route(query.name, 1).handler(query))
    steps = [
        ("10.2.0.1", lambda: clusters.put("two", db="10.2.0.9")),
        ("10.2.0.9", lambda: clusters.put("one", db="other.a.svc.two.test")),
        ("10.2.0.2", lambda: clusters.stores["two"].apply(Delete("Service", "a", "other"))),
    ]
    for address, change in steps:
        assert said(responder)[1:] == [f"{address}"]
        assert said(responder, memory=True)[1:] == [address]
        responder.forget(change())
        assert responder.recall(packet()) is None
    assert said(responder)[1:] == []


def responder_of(handler, clock=lambda: 0.0):
    router = Router([Block(".", b"\0", handler)])
    return Responder(Lane("dns://:53", "udp", 4), router, Traffic(), clock)


def packet():
    return dns.message.make_query("db.a.svc.one.test.", "A", id=1).to_wire()


def said(responder, *, memory=False):
    """Data of the answer's records, from memory alone or by way of the chain."""
    if memory:
        wire = responder.recall(packet())
        assert wire is not None
    else:
        wire = responder.ask(packet(), Client("192.0.2.1", 4711))
    return [record.to_text() for rrset in dns.message.from_wire(wire).answer for record in rrset]


@pytest.mark.parametrize("addresses", [1, 2], ids=["one address", "addresses that take turns"])
def test_kept_for_as_long_as_what_it_leads_to(addresses) -> None:
    """The alias keeps its TTL, which is this server's own; what is behind it counts down."""
    name, now = from_text("db.a.svc.one.test"), 10.0
    rdatas = [ip_address(f"192.0.2.{n}").packed for n in range(addresses)]

    def handler(query):
        alias = RRset(name, codes.CNAME, 5, (TARGET,))
        left = 300 - (int(now) - 10)
        behind = found(
            answer=[RRset(TARGET, codes.A, left, rdatas)],
            lifetime=left,
            counted=int(now),
            rotate=True,
        )
        return completed(query, Reply(answer=[alias], plugin="kubernetes"), lambda _: behind)

    responder = responder_of(handler, lambda: now)
    responder.ask(packet(), Client("192.0.2.1", 4711))
    for second, ttls in ((10.9, [5, 300]), (17.0, [5, 293]), (309.5, [5, 1])):
        now = second
        responder.answers.tick(now)
        whole = dns.message.from_wire(responder.recall(packet()))
        chain = dns.message.from_wire(responder.ask(packet(), Client("192.0.2.1", 4711)))
        assert [rrset.ttl for rrset in whole.answer] == ttls
        assert [rrset.ttl for rrset in chain.answer] == ttls
    responder.answers.tick(310.0)
    assert responder.recall(packet()) is None
