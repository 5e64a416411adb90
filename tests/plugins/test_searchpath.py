"""`searchpath`: which names it completes, what a stub resolver finds with it and without, and how
long its answers hold."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rdatatype
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from kdns.cluster.feed import Synced, Upsert
from kdns.cluster.objects import Metadata, Namespace
from kdns.dns import codes
from kdns.dns.names import from_text, labels, to_text
from kdns.dns.query import Client
from kdns.dns.rdata import RRset, soa
from kdns.dns.reply import Reply, refusal
from kdns.dns.response import read
from kdns.frontend.responder import Lane, Responder
from kdns.plugins import searchpath, searchwalk
from kdns.plugins.basis import Basis
from kdns.plugins.searchnames import SearchList
from kdns.telemetry.traffic import Traffic

ZONE = "cluster.local"
OWNER = {ZONE: 5, "": 12}
"""The zones there are, and the TTLs of their denials."""


class World:
    """What there is to be found, by name without its last dot and type; stands for all upstreams.

    A name is there where one below it is. `failing` names are SERVFAIL. With `waits` an answer is
    there after a turn of the loop; `held` ones when they are let go.
    """

    def __init__(self):
        self.records = {}
        self.failing = set()
        self.ttls = {}
        self.asked = []
        self.waits = False
        self.held = {}

    def put(self, name, *texts, ttl=30):
        self.ttls[name] = ttl
        for text in texts or ("",):
            kind = "AAAA" if ":" in text else "A"
            self.records.setdefault((name, kind if text else "TXT"), []).append(text)

    def rcode(self, name):
        if name in self.failing:
            return codes.SERVFAIL
        there = any(owner == name or owner.endswith(f".{name}") for owner, _ in self.records)
        return codes.NOERROR if there or name in ("", ZONE, f"svc.{ZONE}") else codes.NXDOMAIN

    def says(self, name, qtype) -> Reply:
        rcode = self.rcode(name)
        found = self.records.get((name, codes.type_name(qtype)))
        if rcode == codes.NOERROR and found:
            rdatas = [ip_address(text).packed for text in found]
            answer = [RRset(from_text(name), qtype, self.ttls[name], rdatas)]
            return Reply(answer=answer, lifetime=0, plugin="forward")
        zone = ZONE if name.endswith(ZONE) else ""
        ttl = OWNER[zone]
        start = from_text(zone)
        authority = [RRset(start, codes.SOA, ttl, [soa(start, start, 1, 2, 3, 4, ttl)])]
        if rcode == codes.SERVFAIL:
            return Reply(rcode, lifetime=0, plugin="forward", failure="broken")
        return Reply(rcode, authority=authority, lifetime=0, plugin="forward")

    def ask(self, query):
        name = to_text(query.name).rstrip(".")
        self.asked.append(f"{name} {codes.type_name(query.qtype)}")
        if gate := self.held.get(name):
            return self._later(name, query.qtype, gate)
        return self._later(name, query.qtype) if self.waits else self.says(name, query.qtype)

    async def _later(self, name, qtype, gate=None):
        await (asyncio.sleep(0) if gate is None else gate.wait())
        return self.says(name, qtype)


NODE = """
cluster.local {{
    {directive}
    {cache}
    forward . 192.0.2.10
}}
. {{
    {cache}
    forward . 192.0.2.53
}}
"""


@pytest.fixture
def world(facilities, monkeypatch):
    """What all upstreams know: a cluster with two namespaces, and some names outside."""
    made = World()
    monkeypatch.setattr(facilities, "forwarder", lambda _: made)
    made.put(f"web.prod.svc.{ZONE}", "10.0.0.1")
    made.put(f"db-0.db.prod.svc.{ZONE}", "10.0.0.2")
    made.put(f"api.shop.svc.{ZONE}", "10.0.0.3", "fd00::3")
    made.put("www.example.com", "192.0.2.1", "2001:db8::1")
    made.put("four.example.com", "192.0.2.4")
    made.put("six.example.com", "2001:db8::6")
    made.put("text.example.com")
    made.put("files.corp.example", "192.0.2.7")
    made.put("a.b.corp.example", "192.0.2.8")
    return made


@pytest.fixture
def node(planned, world):
    """node(directive, cache) -> a node's Corefile, over `world`."""

    def made(directive="searchpath", cache="cache 30"):
        return planned(NODE.format(directive=directive, cache=cache))

    return made


def first(bare, namespace="prod"):
    """What a pod asks first."""
    return f"{bare}.{namespace}.svc.{ZONE}."


def told(reply: Reply):
    """The rcode, and all records as owner, type and value."""
    lines = []
    for each in reply.answer:
        for rdata in each.rdatas:
            alias = each.type == codes.CNAME
            value = to_text(rdata) if alias else str(ip_address(bytes(rdata)))
            lines.append(f"{to_text(each.owner)} {codes.type_name(each.type)} {value}")
    return codes.rcode_name(reply.rcode), lines


LED_TO = {
    "outside, A": ("www.example.com", "A", "www.example.com. A 192.0.2.1"),
    "outside, AAAA": ("www.example.com", "AAAA", "www.example.com. AAAA 2001:db8::1"),
    "of IPv4 alone, A": ("four.example.com", "A", "four.example.com. A 192.0.2.4"),
    "of IPv4 alone, AAAA": ("four.example.com", "AAAA", ""),
    "of IPv6 alone, A": ("six.example.com", "A", ""),
    "of IPv6 alone, AAAA": ("six.example.com", "AAAA", "six.example.com. AAAA 2001:db8::6"),
    "without addresses": ("text.example.com", "A", ""),
    "another namespace's": ("api.shop", "A", f"api.shop.svc.{ZONE}. A 10.0.0.3"),
    "as far as svc": ("api.shop.svc", "AAAA", f"api.shop.svc.{ZONE}. AAAA fd00::3"),
    "a pod of another namespace": ("db-0.db.prod", "A", f"db-0.db.prod.svc.{ZONE}. A 10.0.0.2"),
    "in a domain to search": ("a.b", "A", "a.b.corp.example. A 192.0.2.8"),
    "with four dots": ("a.b.c.d.org", "A", "a.b.c.d.org. A 192.0.2.9"),
}


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "waited for"])
@pytest.mark.parametrize("cache", ["", "cache 30"], ids=["without a cache", "with a cache"])
@pytest.mark.parametrize(("bare", "qtype", "record"), LED_TO.values(), ids=LED_TO)
async def test_what_it_leads_to(node, world, waits, cache, bare, qtype, record) -> None:
    world.waits = waits
    world.put("a.b.c.d.org", "192.0.2.9")
    made = node("searchpath {\n search corp.example\n}", cache)
    namespace = "shop" if "prod" in bare else "prod"
    asked = first(bare, namespace)
    for _ in range(2):
        answer = made.reply(asked, qtype)
        reply = answer if isinstance(answer, Reply) else await answer
        rcode, (alias, *records) = told(reply)
        target = record.partition(" ")[0] or f"{bare}."
        assert (rcode, alias, records) == (
            "NOERROR",
            f"{asked} CNAME {target}",
            [record] if record else [],
        )
        assert reply.plugin == "searchpath"
        assert not reply.authoritative


LEFT = {
    "a service that is there": ("web", "A"),
    "a name without a dot": ("www", "A"),
    "another type": ("www.example.com", "MX"),
    "HTTPS": ("www.example.com", "HTTPS"),
    "an SRV name's": ("_http._tcp.example.com", "A"),
    "a reverse name": ("1.2.0.192.in-addr.arpa", "A"),
    "with five dots": ("a.b.c.d.e.org", "A"),
    "a cluster's whole name": (f"web.prod.svc.{ZONE}", "A"),
    "what ends in the zone": (f"x.{ZONE}", "A"),
}


@pytest.mark.parametrize(("bare", "qtype"), LEFT.values(), ids=LEFT)
def test_left_as_it_is(node, world, bare, qtype) -> None:
    world.put("a.b.c.d.e.org", "192.0.2.9")
    asked = first(bare)
    reply = node().reply(asked, qtype)
    assert told(reply) == told(world.says(asked.rstrip("."), dns.rdatatype.from_text(qtype)))
    assert {each.rpartition(" ")[0] for each in world.asked} == {asked.rstrip(".")}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"want_dnssec": True}, first("www.example.com")),
        ({"flags": 0}, first("www.example.com")),
        ({"flags": dns.flags.RD | dns.flags.CD}, first("www.example.com")),
        ({}, f"www.example.com.prod.pod.{ZONE}."),
        ({}, f"www.example.com.svc.{ZONE}."),
        ({}, first("www.example.com", "gone")),
    ],
    ids=["DO", "no RD", "CD", "not below svc", "no namespace com", "no namespace gone"],
)
def test_whom_it_is_not_for(node, world, options, name) -> None:
    assert told(node().reply(name, **options)) == ("NXDOMAIN", [])
    assert "www.example.com A" not in world.asked


IN_DOUBT = {
    "the pod of a service": ("db-1.db", {"db-1.db": "192.0.2.66"}, ()),
    "a domain of the namespace's name": ("login.com", {"login.com": "192.0.2.66"}, ("x.com.prod",)),
    "the same in the zone": ("a.tools", {"a.tools": "192.0.2.66"}, (f"b.tools.prod.{ZONE}",)),
    "what ends in svc": ("a.b", {"a.b": "192.0.2.66"}, ("x.b.prod.svc",)),
    "the same in a domain": ("a.b", {"a.b": "192.0.2.66"}, ("b.prod.corp.example",)),
    "nobody who says": ("a.b", {"a.b": "192.0.2.66"}, ()),
}


@pytest.mark.parametrize(("bare", "outside", "others"), IN_DOUBT.values(), ids=IN_DOUBT)
def test_what_may_mean_something_else(node, world, bare, outside, others) -> None:
    world.records.pop(("a.b.corp.example", "A"))
    for name, text in outside.items():
        world.put(name, text)
    for name in others:
        world.put(name, "192.0.2.67")
    if not others and bare == "a.b":
        world.failing.add("b.prod")
    made = node("searchpath {\n search corp.example\n}")
    assert told(made.reply(first(bare))) == ("NXDOMAIN", [])
    assert walks(made) == {"declined": 1}


def walks(made):
    """How many walks ended where."""
    return {
        labels["end"]: sample.value
        for metric in made.facilities.series.metrics()
        if metric.name == "kdns_searchpath_walks"
        for sample in metric.samples
        if (labels := sample.labels) and sample.value
    }


def spared(made):
    """How many queries clients were spared."""
    count = made.facilities.series.count(searchpath._SPARED, "dns://:53")
    return count.value


def test_all_nxdomain_is_that_of_the_first(node, world) -> None:
    made = node()
    asked = first("nobody.example.com")
    reply = made.reply(asked)
    assert told(reply) == ("NXDOMAIN", [])
    assert [to_text(each.owner) for each in reply.authority] == [f"{ZONE}."]
    assert walks(made) == {"none": 1}
    world.asked.clear()
    assert told(made.reply(asked, "AAAA")) == ("NXDOMAIN", [])
    assert world.asked == []


def test_a_failure_on_the_way_leaves_the_steps_to_the_client(node, world) -> None:
    world.failing.add("www.example.com")
    made = node()
    reply = made.reply(first("www.example.com"))
    assert (told(reply), reply.failure) == (("NXDOMAIN", []), "")
    assert walks(made) == {"failed": 1}


def test_a_failure_of_one_type_is_that_type_s(node, world, monkeypatch) -> None:
    says = world.says

    def one(name, qtype):
        failed = name == "www.example.com" and qtype == codes.AAAA
        return Reply(codes.SERVFAIL, lifetime=0, plugin="forward") if failed else says(name, qtype)

    monkeypatch.setattr(world, "says", one)
    made = node()
    assert told(made.reply(first("www.example.com")))[0] == "NOERROR"
    reply = made.reply(first("www.example.com"), "AAAA")
    assert (reply.rcode, reply.lifetime) == (codes.SERVFAIL, 0)


@pytest.mark.parametrize("mistake", ["A", "AAAA"])
def test_types_that_disagree_about_a_name(node, world, monkeypatch, mistake) -> None:
    """As of servers that say NXDOMAIN for lack of a type (RFC 4074 §4.2)."""
    says = world.says

    def mistaken(name, qtype):
        if name == "www.example.com" and codes.type_name(qtype) == mistake:
            return says("nobody.example.com", qtype)
        return says(name, qtype)

    monkeypatch.setattr(world, "says", mistaken)
    made = node()
    for qtype in ("A", "AAAA"):
        rcode, lines = told(made.reply(first("www.example.com"), qtype))
        assert (rcode, len(lines)) == ("NOERROR", 1 if qtype == mistake else 2)


def test_a_name_that_is_there_for_the_other_type(node, world, monkeypatch) -> None:
    says = world.says
    asked = first("www.example.com").rstrip(".")

    def split(name, qtype):
        if name == asked and qtype == codes.AAAA:
            answer = [RRset(from_text(name), qtype, 5, [ip_address("fd00::9").packed])]
            return Reply(answer=answer, lifetime=0, plugin="forward")
        return says(name, qtype)

    monkeypatch.setattr(world, "says", split)
    made = node()
    assert told(made.reply(asked + "."))[0] == "NXDOMAIN"
    assert told(made.reply(asked + ".", "AAAA"))[1] == [f"{asked}. AAAA fd00::9"]


def test_what_is_asked_once(node, world) -> None:
    made = node()
    for qtype in ("A", "AAAA"):
        made.reply(first("www.example.com"), qtype)
    steps = [f"www.example.com.{each}" for each in (f"prod.svc.{ZONE}", f"svc.{ZONE}", ZONE)]
    domains = (f"svc.svc.{ZONE}", f"svc.{ZONE}", ZONE, "svc", "")
    doubts = [f"com.prod.{each}".rstrip(".") for each in domains]
    expected = [
        f"{name} {qtype}" for name in [*steps, "www.example.com"] for qtype in ("A", "AAAA")
    ]
    expected += [f"{name} A" for name in (f"prod.svc.{ZONE}", *doubts)]
    assert sorted(world.asked) == sorted(expected)
    # The second time with lifetimes, from the cache.
    assert (walks(made), spared(made)) == ({"bare": 2}, 6)
    world.asked.clear()
    made.reply(first("four.example.com"))
    assert not [each for each in world.asked if each.startswith("com.")]


async def test_both_types_wait_for_one_walk(node, world) -> None:
    world.waits = True
    made = node(cache="")
    asked = first("www.example.com")
    replies = await asyncio.gather(*(made.reply(asked, qtype) for qtype in ("A", "AAAA")))
    assert [len(told(reply)[1]) for reply in replies] == [2, 2]
    assert world.asked.count("www.example.com A") == 1
    assert walks(made) == {"bare": 1}


async def test_a_client_that_leaves_takes_no_answer_from_others(node, world) -> None:
    gate = world.held["www.example.com"] = asyncio.Event()
    world.waits = True
    made = node()
    asked = first("www.example.com")
    leaves, stays = (asyncio.ensure_future(made.reply(asked, q)) for q in ("A", "AAAA"))
    await until(lambda: "www.example.com AAAA" in world.asked)
    leaves.cancel()
    gate.set()
    assert len(told(await stays)[1]) == 2


async def test_a_walk_that_takes_too_long(node, world, monkeypatch) -> None:
    monkeypatch.setattr(searchpath, "PATIENCE", 0.01)
    gate = world.held["www.example.com"] = asyncio.Event()
    made = node()
    asked = first("www.example.com")
    reply = await made.reply(asked)
    assert (told(reply), reply.lifetime) == (("NXDOMAIN", []), 0)
    gate.set()
    await until(lambda: walks(made) == {"bare": 1})
    assert len(told(made.reply(asked))[1]) == 2


async def test_more_walks_than_it_takes_on(node, world, monkeypatch) -> None:
    monkeypatch.setattr(searchwalk, "MAX_WALKS", 1)
    gate = world.held["www.example.com"] = asyncio.Event()
    made = node()
    waiting = asyncio.ensure_future(made.reply(first("www.example.com")))
    await until(lambda: "www.example.com A" in world.asked)
    assert told(made.reply(first("four.example.com"))) == ("NXDOMAIN", [])
    gate.set()
    assert len(told(await waiting)[1]) == 2
    assert len(told(made.reply(first("four.example.com")))[1]) == 2


async def until(holds):
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it does not come to hold")


def test_what_is_remembered_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(searchwalk, "MAX_REMEMBERED", 32)
    now = 10.0
    walks = searchwalk.Walks(lambda query: refusal(), lambda: now, lambda end: None)

    def decided(name: bytes, basis: Basis) -> bool:
        walks._decided(name, searchwalk.Decision("none", basis))
        return name in walks._decisions

    for number in range(100):
        assert decided(b"%d" % number, Basis(ends=20))
        assert len(walks._decisions) <= 32
    now = 19.9
    assert b"99" in walks._decisions
    now = 20.0
    assert b"99" not in walks._decisions
    for basis in (Basis(ends=30, reads=(b"x",)), Basis(ends=30, lasting=True)):
        assert not decided(b"nothing", basis)


# How long answers hold.


@pytest.mark.parametrize(
    ("passed", "alias_ttl", "record_ttl", "lifetime"),
    [(0, 5, 30, 5), (3, 2, 27, 2), (5, 3, 23, 3)],
    ids=["at once", "later", "denied anew"],
)
def test_ttls(node, world, facilities, passed, alias_ttl, record_ttl, lifetime) -> None:
    """The alias lasts as long as the zone's denial of 5 seconds, its target as long as it says."""
    made = node()
    asked = first("four.example.com")
    made.reply(asked)
    facilities.now += passed
    made.reply(asked)
    facilities.now += searchwalk.AGREED if passed > 4 else 0
    reply = made.reply(asked)
    assert [each.ttl for each in reply.answer] == [alias_ttl, record_ttl]
    assert (reply.lifetime, reply.counted) == (lifetime, int(facilities.now))


@pytest.mark.parametrize("cache", ["", "cache"])
def test_both_types_have_one_decision_for_a_moment(node, world, facilities, cache) -> None:
    made = node(cache=cache)
    asked = first("four.example.com")
    made.reply(asked)
    facilities.now += 1
    world.put(f"four.example.com.{ZONE}", "fd00::9")
    for _ in range(2):
        assert told(made.reply(asked, "AAAA"))[1] == [f"{asked} CNAME four.example.com."]
    facilities.now += 5
    assert told(made.reply(asked, "AAAA"))[1][0] == f"{asked} CNAME four.example.com.{ZONE}."


def test_without_a_cache_nothing_is_kept(node) -> None:
    reply = node(cache="").reply(first("www.example.com"))
    assert (reply.lifetime, [each.ttl for each in reply.answer]) == (0, [5, 30])


def test_a_new_service_is_found_when_the_denial_ends(node, world, facilities) -> None:
    made = node()
    asked = first("four.example.com")
    made.reply(asked)
    world.put(asked.rstrip("."), "10.0.0.9")
    facilities.now += 4.9
    assert len(told(made.reply(asked))[1]) == 2
    facilities.now += 0.1
    assert told(made.reply(asked))[1] == [f"{asked} A 10.0.0.9"]


def respond(made, asked, *, memory):
    """What a frontend answers, out of what it has kept or without."""
    clock = made.facilities.clock
    answers = made.responder.answers
    if not memory:
        answers.clear()
    if clock() >= answers.until:
        answers.tick(clock())
    said = answers.recall(asked) or made.responder.ask(asked, Client("192.0.2.1", 4711))
    assert isinstance(said, bytes)
    return said


BARE = (
    "www.example.com",
    "four.example.com",
    "nobody.example.com",
    "api.shop",
    "alias.shop",
    "db-1.db",
)

CENTRAL = """
. {
    searchpath cluster.local {
        search corp.example
    }
    kubernetes cluster.local { manifests one
    }
    cache
    forward . 192.0.2.53
}
"""


@pytest.mark.parametrize("role", ["node", "central"])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(BARE), st.sampled_from(["A", "AAAA"]), st.integers(0, 3)),
        max_size=30,
    )
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_kept_is_what_the_chain_says(node, planned, world, facilities, fill, role, steps):
    """Over any sequence of questions and seconds between them."""
    kept, chain = two(node, planned, facilities, fill, role)
    for bare, qtype, seconds in steps:
        asked = dns.message.make_query(first(bare), qtype, id=7).to_wire()
        assert respond(kept, asked, memory=True) == respond(chain, asked, memory=False)
        facilities.now += seconds


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize("role", ["node", "central"])
@pytest.mark.parametrize("bare", BARE)
def test_the_same_second_after_second(
    node, planned, world, facilities, fill, bare, role, every
) -> None:
    kept, chain = two(node, planned, facilities, fill, role)
    asked = [dns.message.make_query(first(bare), qtype, id=7).to_wire() for qtype in ("A", "AAAA")]
    for _ in range(40):
        for each in asked:
            assert respond(kept, each, memory=True) == respond(chain, each, memory=False)
        facilities.now += every


def two(node, planned, facilities, fill, role):
    """The same server twice, each with upstreams' answers of its own."""
    sides = []
    for _ in range(2):
        facilities.stores.clear()
        made = node() if role == "node" else planned(CENTRAL)
        if role == "central":
            fill(made.store, "web.prod=10.0.0.1", "api.shop=10.0.0.3")
        lane = Lane("dns://:53", "udp", 4)
        made.responder = Responder(lane, made.router, Traffic(), facilities.clock)
        sides.append(made)
    return sides


# A cluster in the same server block.


@pytest.fixture
def central(planned, world, fill):
    """A cluster's own server, with names outside out of `world`."""
    made = planned(CENTRAL)
    fill(made.store, "web.prod=10.0.0.1", "api.shop=10.0.0.3")
    made.responder = Responder(
        Lane("dns://:53", "udp", 4), made.router, Traffic(), made.facilities.clock
    )
    return made


def test_a_cluster_of_its_own(central) -> None:
    assert told(central.reply(first("api.shop")))[1] == [
        f"{first('api.shop')} CNAME api.shop.svc.{ZONE}.",
        f"api.shop.svc.{ZONE}. A 10.0.0.3",
    ]
    assert told(central.reply(first("www.example.com"), "AAAA"))[1] == [
        f"{first('www.example.com')} CNAME www.example.com.",
        "www.example.com. AAAA 2001:db8::1",
    ]


def test_a_change_of_the_cluster_is_told_at_once(central, fill, empty) -> None:
    asked = first("api.shop")
    reads = central.reply(asked).reads
    touched = central.store.apply(Upsert(Namespace(Metadata("other"))))
    empty(central.store, "api.shop")
    assert told(central.reply(asked)) == ("NXDOMAIN", [])
    fill(central.store, "api.shop=10.0.0.4")
    assert told(central.reply(asked))[1][1].endswith(" 10.0.0.4")
    assert reads
    assert isinstance(touched, (set, frozenset, list, tuple))


def test_a_zone_s_denial_is_for_names_without_further_steps(central) -> None:
    """One answer for all missing names is not for those that are completed."""
    for bare in ("www", "example"):
        reply = central.reply(first(bare))
        assert reply.denial is not None
        assert reply.denial.denies(from_text(first("other")))
        assert not reply.denial.denies(from_text(first("www.example.com")))
    one, other = (dns.message.make_query(first(n), "A", id=1).to_wire() for n in ("abc", "xyz"))
    respond(central, one, memory=True)
    assert central.responder.answers.recall(other) is not None
    several = dns.message.make_query(first("a.b"), "A", id=1).to_wire()
    assert central.responder.answers.recall(several) is None


def test_an_unsynced_cluster(planned, world) -> None:
    made = planned(CENTRAL)
    assert told(made.reply(first("www.example.com"))) == ("SERVFAIL", [])
    made.store.apply(Synced())


# What a stub resolver finds.

GLIBC, MUSL = "glibc", "musl"


def stub(bare, namespace, ask, kind, search=()):
    """Addresses that a resolver with `ndots:5` finds, walking its search list; else "nothing", or
    musl's own words. glibc and Go's go on where a name has no address, musl's does not."""
    domains = [f"{namespace}.svc.{ZONE}", f"svc.{ZONE}", ZONE, *search]
    steps = [f"{bare}.{each}" for each in domains]
    steps = [*steps, bare] if bare.count(".") < 5 else [bare, *steps]
    for name in steps:
        replies = [ask(name, qtype) for qtype in (codes.A, codes.AAAA)]
        rcodes = {reply.rcode for reply in replies}
        found = {
            bytes(rdata)
            for reply in replies
            for each in reply.answer
            if each.type != codes.CNAME
            for rdata in each.rdatas
        }
        if kind == MUSL:
            if codes.SERVFAIL in rcodes:
                return "try again"
            if codes.NXDOMAIN in rcodes:
                continue
            return found or "no address"
        if found:
            return found
    return "nothing"


_LABELS = ["web", "db", "com", "prod", "dev", "svc"]
_NAMESPACES = ["prod", "dev", "db"]
_OWNERS = {
    "outside": "{}",
    "searched": "{}.corp.example",
    "zone": f"{{}}.{ZONE}",
    "svc": f"{{}}.svc.{ZONE}",
}


@st.composite
def _lookups(draw):
    """A name that a pod looks for, and a world with names like it: the name, who looks for it, the
    addresses there are, and what fails."""
    bare = draw(st.lists(st.sampled_from(_LABELS), min_size=1, max_size=4))
    parts = [bare[i:j] for i in range(len(bare)) for j in range(i + 1, len(bare) + 1)]
    names = st.sampled_from([*parts, bare, bare[:-1] or bare]).map(".".join)
    owners = st.sampled_from(list(_OWNERS.values()))
    owned = st.tuples(owners, names).map(lambda each: each[0].format(each[1]))
    types = st.sampled_from([(), ("A",), ("AAAA",), ("A", "AAAA")])
    records = draw(st.lists(st.tuples(owned, types), max_size=5))
    failing = draw(st.lists(owned, max_size=1))
    return ".".join(bare), draw(st.sampled_from([*_NAMESPACES, "gone"])), records, failing


@given(
    lookup=_lookups(),
    kind=st.sampled_from([GLIBC, MUSL]),
    search=st.sampled_from([(), ("corp.example",)]),
)
@settings(
    max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_stub_resolver_finds_the_same(
    planned, facilities, monkeypatch, lookup, kind, search
) -> None:
    """With the plugin and without, in any world.

    But for one sort of name that is nowhere: see `test_what_no_server_can_tell`.
    """
    bare, namespace, records, failing = lookup
    world = World()
    for each in _NAMESPACES:
        world.put(f"some.{each}.svc.{ZONE}", "10.0.0.1")
    for number, (name, types) in enumerate(records):
        texts = {"A": f"192.0.2.{number}", "AAAA": f"2001:db8::{number}"}
        world.put(name, *(texts[each] for each in types))
    world.failing = set(failing)
    monkeypatch.setattr(facilities, "forwarder", lambda _: world)
    listed = f"searchpath {{\n {'search ' + search[0] if search else ''}\n}}"
    made = planned(NODE.format(directive=listed, cache="cache"))

    def by_server(name, qtype):
        return made.reply(name + ".", codes.type_name(qtype))

    before = spared(made)
    plain = stub(bare, namespace, world.says, kind, search)
    found = stub(bare, namespace, by_server, kind, search)
    event("completed" if spared(made) > before else "left")
    if found == plain:
        return
    event("a name that is nowhere")
    assert isinstance(plain, str)
    read_again = SearchList([from_text(ZONE)], [from_text(each) for each in search], 5).read
    later = [read_again(from_text(f"{bare}.{each}")) for each in (f"svc.{ZONE}", ZONE)]
    assert any(each is not None and is_free(world, each) for each in later)


def is_free(world, searched):
    """Whether nothing in the world says that a name is not the first of a search."""
    namespace, *doubts = (
        world.rcode(to_text(each).rstrip(".")) for each in (searched.namespace, *searched.doubts)
    )
    return namespace == codes.NOERROR and set(doubts) == {codes.NXDOMAIN}


def test_what_no_server_can_tell(node, world) -> None:
    """The second step for a name that is nowhere, and ends in a namespace, is the first one for
    what is in front of that: in the docs it is a danger."""
    world.put("api.dev", "192.0.2.66")
    made = node()

    def ask(name, qtype):
        return made.reply(name + ".", codes.type_name(qtype))

    assert stub("api.dev.prod", "shop", world.says, GLIBC) == "nothing"
    assert stub("api.dev.prod", "shop", ask, GLIBC) == {ip_address("192.0.2.66").packed}


# The wire's own reader takes it.


@pytest.mark.parametrize("bare", ["www.example.com", "nobody.example.com"])
def test_frontends_keep_it(node, world, facilities, bare) -> None:
    """Once it is made of what the cache has, as of what is heard for the first time nothing is."""
    made = node()
    made.responder = Responder(
        Lane("dns://:53", "udp", 4), made.router, Traffic(), facilities.clock
    )
    asked = dns.message.make_query(first(bare), "A", id=1).to_wire()
    respond(made, asked, memory=True)
    facilities.now += searchwalk.AGREED
    said = respond(made, asked, memory=True)
    world.asked.clear()
    facilities.now += 1
    kept = made.responder.answers
    kept.tick(facilities.now)
    again = kept.recall(asked)
    assert again is not None
    first_ttls, now = ([r.ttl for r in dns.message.from_wire(w).answer] for w in (said, again))
    assert now == [ttl - 1 for ttl in first_ttls]
    assert world.asked == []


def test_on_the_wire(node) -> None:
    asked = "wWw.Example.com.prod.svc.cluster.local."
    made = node()
    responder = Responder(Lane("dns://:53", "udp", 4), made.router, Traffic(), lambda: 10.0)
    packet = dns.message.make_query(asked, "A", id=9).to_wire()
    said = responder.ask(packet, Client("192.0.2.1", 4711))
    message = dns.message.from_wire(said)
    assert [each.to_text() for each in message.answer] == [
        f"{asked} 5 IN CNAME www.example.com.",
        "www.example.com. 30 IN A 192.0.2.1",
    ]
    understood = read(said)
    assert understood is not None
    assert [each.type for each in understood.answer] == [codes.CNAME, codes.A]


# The directive.


def test_zones_are_those_of_the_block(planned, world) -> None:
    made = planned("cluster.local 10.in-addr.arpa {\n searchpath\n forward . 192.0.2.1\n}")
    assert walks(made) == {}


REFUSED = {
    "the root": (". {\n searchpath\n}", "is for the names of a cluster's zone", (2, 2)),
    "reverse alone": ("10.in-addr.arpa {\n searchpath\n}", "write it, as in", (2, 2)),
    "the root to search": (
        "cluster.local {\n searchpath {\n search .\n}\n}",
        "is no domain to search",
        (3, 9),
    ),
    "no domain": ("cluster.local {\n searchpath {\n search\n}\n}", "is missing", (3, 2)),
    "too many": (
        "cluster.local {\n searchpath {\n search "
        + " ".join(f"d{n}" for n in range(30))
        + "\n}\n}",
        "30 domains to search are too many",
        (2, 2),
    ),
    "one dot": ("cluster.local {\n searchpath {\n dots 1\n}\n}", "from 2 to 15", (3, 7)),
    "no property": ("cluster.local {\n searchpath {\n ndots 5\n}\n}", "no property", (3, 2)),
    "twice": ("cluster.local {\n searchpath\n searchpath\n}", "written twice", (3, 2)),
}


@pytest.mark.parametrize(("corefile", "says", "where"), REFUSED.values(), ids=REFUSED)
def test_refused(refused, corefile, says, where) -> None:
    message, position = refused(corefile)
    assert says in message
    assert position == where


def test_names_of_any_length_are_read() -> None:
    """What would be too long is no step."""
    search = SearchList([from_text(ZONE)], [from_text(".".join(["d" * 60] * 3))], 5)
    searched = search.read(from_text(f"{'a' * 60}.{'b' * 40}.ns.svc.{ZONE}"))
    assert searched is not None
    assert [step.kind for step in searched.steps] == ["svc", "zone", "bare"]
    assert all(len(labels(name)) >= 2 for name in searched.doubts)


def test_a_label_that_looks_like_the_zone_is_a_label() -> None:
    search = SearchList([from_text(ZONE)], [], 5)
    inside = b"\x1b" + from_text(f"ns.svc.{ZONE}")[:-1].rjust(27, b"x") + b"\0"
    assert search.read(b"\1a\1b" + inside) is None
