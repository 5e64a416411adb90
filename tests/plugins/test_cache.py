"""`cache` in a server block: what it reads, asks, keeps, gives and counts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dns.message
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kdns.corefile import parser
from kdns.dns import codes
from kdns.dns.names import from_text
from kdns.dns.query import AD, CD, RD, Client, Query
from kdns.dns.rdata import RRset, soa
from kdns.dns.reply import STEADY, CacheUse, Reply
from kdns.facilities import Chores
from kdns.forwarding.cache import Prefetch, Settings, Stale
from kdns.forwarding.retention import Bounds
from kdns.frontend.responder import Lane, Responder
from kdns.plugins import cache_options
from kdns.plugins import plan as plan_module
from kdns.plugins.order import ORDER
from kdns.plugins.site import Requests, Site
from kdns.telemetry.exposition import Exposition
from kdns.telemetry.traffic import Traffic

NAME = "www.example.org."
ORG = b"\3org\0"


def address(name: bytes = from_text(NAME), ttl: int = 300, last: int = 1) -> Reply:
    records = [RRset(name, codes.A, ttl, [bytes((192, 0, 2, last))])]
    return Reply(answer=records, lifetime=0, plugin="forward", recursion_available=True)


def denial(ttl: int = 60) -> Reply:
    rdata = soa(b"\0", b"\0", 1, 2, 3, 4, ttl)
    records = [RRset(ORG, codes.SOA, ttl, [rdata])]
    return Reply(codes.NXDOMAIN, authority=records, lifetime=0, plugin="forward")


def failure() -> Reply:
    why = "nobody answered"
    return Reply(codes.SERVFAIL, lifetime=0, extended_error=(22, why), failure=why)


class Upstream:
    """The last plugin of a block: says `reply`, at once or when told to."""

    name = "upstream"
    uniform = True

    def __init__(self):
        self.reply = address()
        self.asked: list[Query] = []
        self.waits = False
        self.was_asked = asyncio.Event()
        self.waiting: list[asyncio.Future[Reply]] = []

    def handle(self, query, _):
        self.asked.append(query)
        reply = self.reply(query) if callable(self.reply) else self.reply
        if not self.waits:
            return reply.changed()
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append(answer)
        self.was_asked.set()
        return answer

    def answer(self, reply: Reply) -> None:
        self.waiting.pop(0).set_result(reply)


@pytest.fixture
def upstream(monkeypatch):
    """What stands in the place of `whoami`."""
    made = Upstream()
    order = tuple((name, (lambda *_: made) if name == "whoami" else setup) for name, setup in ORDER)
    monkeypatch.setattr(plan_module, "ORDER", order)
    return made


@pytest.fixture
def block(planned, upstream):
    """block("cache { … }") -> a server block with it in front of `upstream`."""
    return lambda directive="cache": planned(". {\n loadbalance\n" + directive + "\n whoami\n}")


@pytest.fixture
def spawning(facilities, monkeypatch):
    """Lets what is spawned run, and yields it."""
    tasks = []

    def spawn(answer):
        tasks.append(asyncio.ensure_future(answer))
        return True

    monkeypatch.setattr(facilities, "spawn", spawn)
    return tasks


def addresses(reply: Reply) -> list[int]:
    return [rdata[-1] for each in reply.answer for rdata in each.rdatas]


# What it reads. The rows are those of CoreDNS's plugin/cache/setup_test.go, as facts.

CAPACITY = 9984


def read(text: str, default: Settings = Settings()) -> Settings:  # noqa: B008 - it cannot change
    """The settings of a `cache` with these properties, or in whole."""
    whole = text if text.startswith("cache") else "cache {\n" + text + "\n}"
    (served,) = parser.parse(". {\n" + whole + "\n}", "Corefile", {}).blocks
    facilities = SimpleNamespace(cache=default)
    site = Site(served.keys, Path(), facilities=facilities, requests=Requests(), lookup=None)
    return cache_options.read(served.directives[0], site)[1]


@pytest.mark.parametrize(
    ("text", "success", "denial_", "capacities", "amount"),
    [
        ("cache", (3600, 0), (1800, 0), (CAPACITY, CAPACITY), 0),
        ("cache {\n}", (3600, 0), (1800, 0), (CAPACITY, CAPACITY), 0),
        ("cache example.nl {\n success 2000\n}", (3600, 0), (1800, 0), (2000, CAPACITY), 0),
        ("cache example.nl {\n success 10\n}", (3600, 0), (1800, 0), (1024, CAPACITY), 0),
        (
            "cache example.nl {\n success 10 1800 30\n}",
            (1800, 30),
            (1800, 0),
            (1024, CAPACITY),
            0,
        ),
        (
            "cache example.nl {\n success 10\n denial 10 15\n}",
            (3600, 0),
            (15, 0),
            (1024, 1024),
            0,
        ),
        (
            "cache example.nl {\n success 10\n denial 4096 15 2\n}",
            (3600, 0),
            (15, 2),
            (1024, 4096),
            0,
        ),
        (
            "cache 25 example.nl {\n success 10\n denial 10 15\n}",
            (25, 0),
            (15, 0),
            (1024, 1024),
            0,
        ),
        (
            "cache 25 example.nl {\n success 10\n denial 10 15 5\n}",
            (25, 0),
            (15, 5),
            (1024, 1024),
            0,
        ),
        ("cache aaa example.nl", (3600, 0), (1800, 0), (CAPACITY, CAPACITY), 0),
        ("cache 30", (30, 0), (30, 0), (CAPACITY, CAPACITY), 0),
        ("prefetch 10", (3600, 0), (1800, 0), (CAPACITY, CAPACITY), 10),
        ("success 10 20 30 40 50", (20, 30), (1800, 0), (1024, CAPACITY), 0),
        ("success 1 2 3\n success 2000", (2, 3), (1800, 0), (2000, CAPACITY), 0),
        ("success -1", (3600, 0), (1800, 0), (1024, CAPACITY), 0),
        ("success 1 9999999999 9999999999", (2**31 - 1,) * 2, (1800, 0), (1024, CAPACITY), 0),
    ],
)
def test_capacities_and_ttls(text, success, denial_, capacities, amount) -> None:
    found = read(text)
    assert found.success == Bounds(*success)
    assert found.denial == Bounds(*denial_)
    assert (found.success_capacity, found.denial_capacity) == capacities
    assert (found.prefetch.amount if found.prefetch else 0) == amount


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("serve_stale", Stale()),
        ("serve_stale 20m", Stale(1200)),
        ("serve_stale 1h20m", Stale(4800)),
        ("serve_stale 0m", None),
        ("serve_stale 0", None),
        ("serve_stale 0 verify", None),
        ("serve_stale 0 immediate", None),
        ("serve_stale 1h VERIFY", Stale(verify=True)),
        ("serve_stale 1h immediate 30s", Stale(ttl=30)),
        ("serve_stale 1h immediate 30s 30s", Stale(ttl=30, recheck=30)),
        ("serve_stale 1h immediate 4294967295s", Stale(ttl=2**32 - 1)),
        ("serve_stale 1h immediate 0", Stale(ttl=0)),
        ("serve_stale 1h immediate 0 0", Stale(ttl=0)),
        ("serve_stale 1h verify 100ms", Stale(verify=True, timeout=0.1)),
        ("serve_stale 1h verify 100ms 30s", Stale(verify=True, timeout=0.1)),
        ("serve_stale 1h verify 100ms 30s 30s", Stale(verify=True, timeout=0.1, recheck=30)),
        ("serve_stale 1h verify 100ms 30s 250ms", Stale(verify=True, timeout=0.1, recheck=0.25)),
        ("serve_stale 1h verify 0", Stale(verify=True)),
        ("serve_stale 1h verify 0 1m", Stale(verify=True, ttl=60)),
        ("serve_stale 1h verify 0 0 5m", Stale(verify=True, ttl=0, recheck=300)),
        ("serve_stale 1h VERIFY 250ms", Stale(verify=True, timeout=0.25)),
        ("serve_stale 1h verify\n serve_stale 2h", Stale(7200)),
        ("serve_stale\n serve_stale_policy prefer_positive", Stale(prefer_positive=True)),
        ("serve_stale_policy PREFER_POSITIVE\n serve_stale", Stale(prefer_positive=True)),
        ("serve_stale 0\n serve_stale_policy prefer_positive", None),
        ("keepttl", None),
    ],
)
def test_serve_stale(text: str, expected: Stale | None) -> None:
    assert read(text).stale == expected


OF_A_ROLE = Settings(
    success=Bounds(30),
    denial=Bounds(5),
    prefetch=Prefetch(3, percentage=20),
    stale=Stale(window=86400, verify=True, timeout=1.8),
    jitter=0.1,
)


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("cache", {}),
        ("cache 60", {"success": Bounds(60), "denial": Bounds(60)}),
        ("success 9984 60", {"success": Bounds(60)}),
        ("denial 9984 9", {"denial": Bounds(9)}),
        ("prefetch 9", {"prefetch": Prefetch(9)}),
        ("prefetch 0", {"prefetch": None}),
        ("serve_stale", {"stale": Stale()}),
        ("serve_stale 0", {"stale": None}),
        ("servfail 1s", {"error": 1}),
    ],
)
def test_what_is_written_wins_over_what_a_role_does(text: str, changed: dict) -> None:
    assert read(text, OF_A_ROLE) == replace(OF_A_ROLE, **changed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prefetch 0", None),
        ("prefetch 1", Prefetch(1, 60, 10)),
        ("prefetch 10 2m", Prefetch(10, 120, 10)),
        ("prefetch 10 1m 10%", Prefetch(10, 60, 10)),
        ("prefetch 10 500ms 90%", Prefetch(10, 0.5, 90)),
        ("prefetch 10 2m 20%\n prefetch 5", Prefetch(5, 120, 20)),
    ],
)
def test_prefetch(text: str, expected: Prefetch | None) -> None:
    assert read(text).prefetch == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 5),
        ("servfail 1s", 1),
        ("servfail 5m", 300),
        ("servfail 0s", 0),
        ("servfail 0", 0),
        ("servfail 1ms", 1),
    ],
)
def test_servfail(text: str, expected: int) -> None:
    assert read(text).error == expected


COM, NET = from_text("example.com."), from_text("example.net.")


@pytest.mark.parametrize(
    ("text", "success", "denial_"),
    [
        ("disable denial example.com example.net", [], [COM, NET]),
        ("disable success Example.com example.net", [COM, NET], []),
        ("disable denial", [], [b"\0"]),
        ("disable success", [b"\0"], []),
        ("disable denial example.com\n disable success example.net", [NET], [COM]),
        ("disable denial example.com\n disable denial example.net", [], [NET]),
    ],
)
def test_disable(text: str, success: list[bytes], denial_: list[bytes]) -> None:
    found = read(text)
    assert found.plain_success == frozenset(success)
    assert found.plain_denial == frozenset(denial_)


def test_keepttl_is_read() -> None:
    assert read("keepttl").keep_ttl
    assert not read("cache").keep_ttl


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cache 0 example.nl", "'0' cannot be read: write a whole number of at least 1"),
        ("cache -1 example.nl", "'-1' cannot be read"),
        ("cache\n cache", "cache is written twice in a server block"),
        ("success", "an argument is missing after 'success': write success CAPACITY"),
        ("success a", "'a' cannot be read: write a whole number"),
        ("success 1 0", "'0' cannot be read: write a whole number of at least 1"),
        ("success 1 1 -1", "'-1' cannot be read: write a whole number of at least 0"),
        ("success 15\n denial aaa", "'aaa' cannot be read"),
        ("denial 1 -5", "'-5' cannot be read"),
        ("positive 15", "cache has no property"),
        ("prefetch", "an argument is missing"),
        ("prefetch -1", "'-1' cannot be read"),
        ("prefetch 0 blurp", "'blurp' cannot be read: write a duration"),
        ("prefetch 1 1m 9%", "'9%' cannot be read: write a percentage from 10% to 90%"),
        ("prefetch 1 1m 91%", "a percentage from 10% to 90%"),
        ("prefetch 1 1m 50", "a percentage from 10% to 90%"),
        ("prefetch 1 1m %", "a percentage from 10% to 90%"),
        ("prefetch 1 1m 10% 1", "is one argument too many"),
        ("serve_stale 20", "'20' cannot be read: write a duration"),
        ("serve_stale -20m", "'-20m' cannot be read"),
        ("serve_stale aa", "'aa' cannot be read"),
        ("serve_stale 1m nono", "'nono' cannot be read: write immediate or verify"),
        ("serve_stale 0 after nono", "'after' cannot be read"),
        ("serve_stale 1h immediate 100ms", "'100ms' cannot be read: write whole seconds"),
        ("serve_stale 1h immediate 4294967296s", "'4294967296s' cannot be read"),
        ("serve_stale 1h immediate -1s", "'-1s' cannot be read"),
        ("serve_stale 1h immediate garbage", "'garbage' cannot be read"),
        ("serve_stale 1h immediate 30s extra", "'extra' cannot be read"),
        ("serve_stale 1h immediate 30s -1s", "'-1s' cannot be read"),
        ("serve_stale 1h immediate 30s 5m1s", "'5m1s' cannot be read"),
        ("serve_stale 1h immediate 30s 30s extra", "'extra' is one argument too many"),
        ("serve_stale 1h verify -1ms", "'-1ms' cannot be read"),
        ("serve_stale 1h verify garbage", "'garbage' cannot be read"),
        ("serve_stale 1h verify 100ms 500ms", "'500ms' cannot be read: write whole seconds"),
        ("serve_stale 1h verify 100ms -1s", "'-1s' cannot be read"),
        ("serve_stale 1h verify 100ms 30s -1s", "'-1s' cannot be read"),
        ("serve_stale 1h verify 100ms 30s 30s extra", "'extra' is one argument too many"),
        ("serve_stale_policy prefer_positive", "serve_stale_policy has no meaning without"),
        ("serve_stale\n serve_stale_policy", "an argument is missing"),
        ("serve_stale\n serve_stale_policy prefer_positive extra", "is one argument too many"),
        ("serve_stale\n serve_stale_policy invalid", "'invalid' cannot be read"),
        (
            "serve_stale\n serve_stale_policy prefer_positive\n serve_stale_policy prefer_positive",
            "serve_stale_policy is written twice",
        ),
        ("servfail", "an argument is missing"),
        ("servfail 6m", "'6m' cannot be read: write a duration of at most 300s"),
        ("servfail 20", "'20' cannot be read"),
        ("servfail -1s", "'-1s' cannot be read"),
        ("servfail aa", "'aa' cannot be read"),
        ("servfail 1m invalid", "is one argument too many"),
        ("disable", "an argument is missing"),
        ("disable invalid example.com", "'invalid' cannot be read: write success or denial"),
        ("keepttl arg1", "is one argument too many"),
    ],
)
def test_what_is_refused(refused, text: str, says: str) -> None:
    whole = text if text.startswith("cache") else "cache {\n " + text + "\n}"
    message, _ = refused(". {\n" + whole + "\n whoami\n}")
    assert says in message


# What it asks, keeps and gives.


async def test_what_upstream_said_is_given_again(block, upstream, facilities) -> None:
    made = block()
    first = made.reply(NAME)
    assert first.cache == CacheUse("miss", ".")
    assert (first.lifetime, first.plugin, first.rotate) == (0, "forward", True)
    facilities.now = 10.99
    again = made.reply(NAME)
    assert (again.lifetime, again.counted, again.answer[0].ttl) == (300, 10, 300)
    assert (again.cache, again.plugin, again.rotate) == (CacheUse("success", "."), "cache", True)
    facilities.now = 309.99
    again = made.reply("WWW.example.ORG.")
    assert again.cache == CacheUse("success", ".")
    assert (again.lifetime, again.counted, again.answer[0].ttl) == (1, 309, 1)
    assert not again.authoritative
    assert again.recursion_available
    assert len(upstream.asked) == 1
    facilities.now = 310
    made.reply(NAME)
    assert len(upstream.asked) == 2


async def test_what_comes_later_is_kept_too(block, upstream) -> None:
    upstream.waits = True
    made = block()
    answer = made.reply(NAME)
    upstream.answer(address())
    assert (await answer).cache == CacheUse("miss", ".")
    assert made.reply(NAME).cache.outcome == "success"


async def test_denials_are_kept(block, upstream) -> None:
    upstream.reply = denial()
    made = block()
    assert made.reply(NAME).cache == CacheUse("miss", ".")
    assert made.reply(NAME).cache == CacheUse("denial", ".")
    assert made.ask(NAME)[0] == "NXDOMAIN"


@pytest.mark.parametrize(
    "reply",
    [
        address().changed(lifetime=None),
        address().changed(authoritative=True),
        address(ttl=0),
        Reply(codes.NXDOMAIN, lifetime=0),
    ],
    ids=["made from records", "authoritative", "TTL 0", "NXDOMAIN without SOA"],
)
async def test_what_is_not_kept(block, upstream, reply: Reply) -> None:
    upstream.reply = reply
    made = block()
    for _ in range(2):
        found = made.reply(NAME)
        assert found.changed(cache=None, rotate=False) == reply
        assert found.cache == CacheUse("miss", ".")
    assert len(upstream.asked) == 2


async def test_an_error_is_remembered_by_those_who_come_later(block, upstream, facilities) -> None:
    upstream.waits = True
    made = block()
    answer = made.reply(NAME)
    upstream.answer(failure())
    first = await answer
    assert first.extended_error == (22, "nobody answered")
    assert (first.lifetime, first.failure) == (0, "nobody answered")
    again = made.reply(NAME)
    assert again.rcode == codes.SERVFAIL
    assert again.extended_error == (codes.EDE_CACHED_ERROR, "nobody answered")
    assert (again.lifetime, again.failure) == (5, "")
    assert again.cache == CacheUse("denial", ".")
    facilities.now += 5
    answer = made.reply(NAME)
    upstream.answer(address())
    assert (await answer).rcode == codes.NOERROR


async def test_an_error_for_which_nobody_was_asked_is_not_remembered(block, upstream) -> None:
    upstream.reply = Reply(codes.REFUSED, lifetime=0, failure="max_concurrent")
    made = block()
    made.reply(NAME)
    upstream.reply = address()
    assert made.ask(NAME)[0] == "NOERROR"


async def test_zones(planned, upstream) -> None:
    made = planned(". {\n cache example.org 10.0.0.0/8\n whoami\n}")
    assert made.reply(NAME).cache == CacheUse("miss", "example.org.,10.in-addr.arpa.")
    assert made.reply("example.com.").cache is None
    made.reply("example.com.")
    assert len(upstream.asked) == 3


@pytest.mark.parametrize(
    ("options", "authentic"),
    [
        ({}, False),
        ({"use_edns": 0}, False),
        ({"flags": RD | AD}, True),
        ({"want_dnssec": True}, True),
        ({"want_dnssec": True, "flags": RD | CD}, True),
    ],
    ids=["plain", "EDNS", "AD", "DO", "DO and CD"],
)
async def test_authentic_data(block, upstream, options, authentic: bool) -> None:
    upstream.reply = address().changed(authentic=True)
    made = block()
    for _ in range(2):
        assert made.reply(NAME, **options).authentic == authentic
    (asked,) = upstream.asked
    assert asked.flags & AD
    assert asked.flags & CD == options.get("flags", 0) & CD
    assert asked.client is not None


async def test_one_answer_for_those_with_ad_and_those_without(block, upstream) -> None:
    upstream.reply = address().changed(authentic=True)
    made = block()
    assert not made.reply(NAME).authentic
    assert made.reply(NAME, flags=RD | AD).authentic
    assert len(upstream.asked) == 1


# In front of upstreams alone.

CLUSTER = """. {
    loadbalance
    cache
    kubernetes cluster.local in-addr.arpa {
        manifests m
        fallthrough
    }
    whoami
}"""


async def test_the_cluster_s_own_names_are_always_fresh(planned, upstream, fill, empty) -> None:
    made = planned(CLUSTER)
    fill(made.store, "web.default=10.0.0.1")
    service = "web.default.svc.cluster.local."
    found = made.reply(service)
    assert found.cache == CacheUse("miss", ".")
    assert found.lifetime is None
    upstream.reply = denial(1800)
    empty(made.store, "web.default")
    for _ in range(2):
        assert made.ask(service)[0] == "NXDOMAIN"
    assert len(upstream.asked) == 1
    fill(made.store, "web.default=10.0.0.2")
    assert made.ask(service) == ("NOERROR", [f"{service} 5 IN A 10.0.0.2"], [])


async def test_a_reverse_name_that_falls_through_comes_into_being(planned, upstream, fill) -> None:
    made = planned(CLUSTER)
    fill(made.store, "web.default=10.0.0.1")
    upstream.reply = denial(1800)
    for _ in range(3):
        found = made.reply("9.0.0.10.in-addr.arpa.", "PTR")
        assert found.rcode == codes.NXDOMAIN
        assert found.reads
    assert len(upstream.asked) == 1
    assert found.cache == CacheUse("denial", ".")
    fill(made.store, "db.default=10.0.0.9")
    assert made.ask("9.0.0.10.in-addr.arpa.", "PTR")[0] == "NOERROR"


async def test_a_zone_s_word_about_its_missing_names_passes(planned, upstream, fill) -> None:
    made = planned(CLUSTER.replace("fallthrough", ""))
    fill(made.store, "web.default=10.0.0.1")
    assert made.reply("nothing.default.svc.cluster.local.").denial is not None
    made = planned(CLUSTER.replace("fallthrough", "").replace("cache", "cache example.org"))
    assert made.reply("nothing.default.svc.cluster.local.").denial is None


# Serving stale.


async def test_immediate(block, upstream, facilities, spawning) -> None:
    made = block("cache {\n serve_stale\n}")
    made.reply(NAME)
    facilities.now = 310
    upstream.waits = True
    for _ in range(3):
        stale = made.reply(NAME)
        assert stale.extended_error == (codes.EDE_STALE, "")
        assert (stale.answer[0].ttl, stale.lifetime) == (30, 0)
        assert stale.cache == CacheUse("success", ".", stale=True)
        await asyncio.sleep(0)
    assert len(spawning) == 1
    assert len(upstream.asked) == 2
    assert upstream.asked[1].client is None
    upstream.answer(address(last=2))
    await spawning[0]
    assert addresses(made.reply(NAME)) == [2]
    assert made.reply(NAME).lifetime == 300


async def test_immediate_and_upstream_fails(block, upstream, facilities, spawning) -> None:
    made = block("cache {\n serve_stale 1h immediate 20s 10s\n}")
    made.reply(NAME)
    facilities.now = 310
    upstream.reply = failure()
    made.reply(NAME)
    await spawning[0]
    for second in range(310, 320):
        facilities.now = second
        stale = made.reply(NAME)
        assert (stale.answer[0].ttl, stale.lifetime) == (20, 320 - second)
        assert (stale.counted, stale.steady) == (second, STEADY)
    assert len(spawning) == 1
    facilities.now = 320
    upstream.reply = denial()
    assert addresses(made.reply(NAME)) == [1]
    await spawning[1]
    assert made.ask(NAME)[0] == "NXDOMAIN"


async def test_too_much_is_asked_already(block, facilities) -> None:
    made = block("cache {\n serve_stale\n}")
    made.reply(NAME)
    facilities.now = 310
    refused = []

    def spawn(answer):
        refused.append(answer)
        answer.close()
        return False

    facilities.spawn = spawn
    for count in (1, 2):
        assert made.reply(NAME).cache.stale
        assert len(refused) == count


async def test_a_refresh_breaks(block, upstream, facilities, spawning) -> None:
    made = block("cache {\n serve_stale\n}")
    made.reply(NAME)
    facilities.now = 310

    def broken(_):
        raise RuntimeError("a defect")

    upstream.reply = broken
    assert made.reply(NAME).cache.stale
    with pytest.raises(RuntimeError):
        await spawning[0]
    assert made.reply(NAME).lifetime == 5
    facilities.now = 315
    upstream.reply = address(last=2)
    made.reply(NAME)
    await spawning[1]
    assert addresses(made.reply(NAME)) == [2]


async def test_verify(block, upstream, facilities, spawning) -> None:
    made = block("cache {\n serve_stale 1h verify\n}")
    made.reply(NAME)
    facilities.now = 310
    upstream.waits = True
    waiting = [asyncio.ensure_future(made.reply(NAME)) for _ in range(3)]
    await upstream.was_asked.wait()
    upstream.answer(address(last=2))
    for reply in await asyncio.gather(*waiting):
        assert addresses(reply) == [2]
        assert reply.cache == CacheUse("miss", ".")
        assert reply.extended_error is None
    assert len(upstream.asked) == 2


async def test_verify_and_upstream_fails(block, upstream, facilities, spawning) -> None:
    made = block("cache {\n serve_stale 1h verify\n}")
    made.reply(NAME)
    facilities.now = 310
    upstream.reply = failure()
    stale = await made.reply(NAME)
    assert (addresses(stale), stale.extended_error) == ([1], (codes.EDE_STALE, ""))
    assert stale.cache == CacheUse("success", ".", stale=True)
    again = made.reply(NAME)
    assert again.lifetime == 5
    assert len(upstream.asked) == 2


async def test_verify_takes_no_longer_than_it_may(block, upstream, facilities, spawning) -> None:
    made = block("cache {\n serve_stale 1h verify 1ms\n}")
    made.reply(NAME)
    facilities.now = 310
    upstream.waits = True
    assert (await made.reply(NAME)).cache.stale
    upstream.answer(denial())
    await spawning[0]
    assert made.ask(NAME)[0] == "NXDOMAIN"


async def test_verify_with_a_recheck_is_waited_for_once(
    block, upstream, facilities, spawning
) -> None:
    made = block("cache {\n serve_stale 1h verify 0 30s 10s\n}")
    made.reply(NAME)
    facilities.now = 310
    upstream.waits = True
    first = asyncio.ensure_future(made.reply(NAME))
    await upstream.was_asked.wait()
    assert (await made.reply(NAME)).cache.stale
    upstream.answer(failure())
    assert (await first).cache.stale
    assert made.reply(NAME).lifetime == 10


async def test_verify_hears_what_is_not_kept(block, upstream, facilities, spawning) -> None:
    made = block("cache {\n serve_stale 1h verify\n}")
    made.reply(NAME)
    facilities.now = 310
    upstream.reply = address(ttl=0, last=2)
    fresh = await made.reply(NAME)
    assert (addresses(fresh), fresh.lifetime) == ([2], 0)
    upstream.reply = failure()
    assert made.ask(NAME)[0] == "SERVFAIL"


async def test_verify_prefers_what_is_positive(block, upstream, facilities, spawning) -> None:
    made = block("cache {\n serve_stale 1h verify\n serve_stale_policy prefer_positive\n}")
    made.reply(NAME)
    facilities.now = 310
    upstream.reply = denial()
    assert (await made.reply(NAME)).cache == CacheUse("success", ".", stale=True)
    facilities.now = 320
    upstream.reply = address(last=2)
    assert addresses(await made.reply(NAME)) == [2]


async def test_an_asker_who_gives_up_does_not_end_a_refresh(
    block, upstream, facilities, spawning
) -> None:
    made = block("cache {\n serve_stale 1h verify\n}")
    made.reply(NAME)
    facilities.now = 310
    upstream.waits = True
    asker = asyncio.ensure_future(made.reply(NAME))
    await upstream.was_asked.wait()
    asker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asker
    upstream.answer(address(last=2))
    await spawning[0]
    assert addresses(made.reply(NAME)) == [2]


# Prefetching. The rows are those of CoreDNS's prefetch_test.go, as facts.


@pytest.mark.parametrize(
    ("ttl", "amount", "rows"),
    [
        (80, 1, [(0, 80, 1, True), (73, 7, 1, True), (80, 73, 2, False)]),
        (5, 1, [(0, 5, 1, True), (1, 4, 1, False), (4, 1, 1, True), (5, 4, 2, False)]),
        (30, 0, [(0, 30, 1, True), (15, 15, 1, False), (29, 1, 1, False), (30, 30, 2, True)]),
    ],
    ids=["once", "short", "not at all"],
)
@pytest.mark.parametrize("options", [{}, {"want_dnssec": True}, {"flags": RD | CD}])
async def test_prefetching(
    block, upstream, facilities, spawning, ttl, amount, rows, options
) -> None:
    made = block("cache {\n prefetch " + str(amount) + "\n}")
    upstream.reply = lambda _: address(ttl=ttl, last=len(upstream.asked))
    for after, left, which, fetches in rows:
        facilities.now = 10 + after
        before = len(upstream.asked)
        reply = made.reply(NAME, **options)
        for task in spawning:
            await task
        assert (reply.answer[0].ttl, addresses(reply)) == (left, [which])
        assert len(upstream.asked) - before == fetches


# What it counts.


def scrape(made, traffic: Traffic) -> dict[str, float]:
    for gauge in made.requests.gauges:
        gauge()
    exposition = Exposition(traffic)
    exposition.sources.append(made.facilities.series.metrics)
    lines = exposition.render().decode().splitlines()
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in lines if line.startswith("coredns_cac"))
        if "_created" not in name
    }


def packet(name: str, qtype: str = "A", **options) -> bytes:
    return dns.message.make_query(name, qtype, **options).to_wire()


class Frontend:
    """A responder asked in the way that frontends do, with its memory or without."""

    def __init__(self, made, *, memory: bool = True, traffic: Traffic | None = None):
        self.traffic = traffic or Traffic()
        self.clock = made.facilities.clock
        lane = Lane("dns://:53", "udp", 4)
        self.responder = Responder(lane, made.router, self.traffic, self.clock)
        self.memory = memory
        self.hits = 0

    def ask(self, asked: bytes) -> bytes:
        answers = self.responder.answers
        if self.memory:
            if self.clock() >= answers.until:
                answers.tick(self.clock())
            kept = answers.lasting.get(asked[2:]) or answers.epochal.get(asked[2:])
            kept = kept or answers.fleeting.get(asked[2:])
            reply = asked[:2] + kept.whole() if kept else answers.recall(asked)
            if reply is not None:
                self.hits += 1
                return reply
        else:
            answers.clear()
        reply = self.responder.ask(asked, Client("192.0.2.1", 4711))
        assert isinstance(reply, bytes)
        return reply


SERVER = 'server="dns://:53"'
OF_CACHE = f'{{{SERVER},view="",zones="."}}'


def of(half: str) -> str:
    return f'{{{SERVER},type="{half}",view="",zones="."}}'


async def test_metrics(planned, upstream, facilities, fill, spawning) -> None:
    made = planned(
        """. {
        prometheus
        cache {
            serve_stale
            prefetch 1
        }
        kubernetes cluster.local {
            manifests m
        }
        whoami
    }"""
    )
    fill(made.store, "web.default=10.0.0.1")
    frontend = Frontend(made)
    for _ in range(3):
        frontend.ask(packet("web.default.svc.cluster.local."))
    for _ in range(4):
        frontend.ask(packet(NAME))
    upstream.reply = denial()
    for _ in range(5):
        frontend.ask(packet("no.example.org."))
    facilities.now = 310
    upstream.reply = failure()
    frontend.ask(packet(NAME))
    await spawning[0]
    frontend.ask(packet(NAME))
    assert frontend.hits == 2 + 2 + 3
    found = scrape(made, frontend.traffic)
    assert found == {
        f"coredns_cache_requests_total{OF_CACHE}": 14,
        f"coredns_cache_misses_total{OF_CACHE}": 3 + 1 + 1,
        f"coredns_cache_hits_total{of('success')}": 3 + 2,
        f"coredns_cache_hits_total{of('denial')}": 4,
        f"coredns_cache_served_stale_total{OF_CACHE}": 2,
        f"coredns_cache_prefetch_total{OF_CACHE}": 1,
        f"coredns_cache_drops_total{OF_CACHE}": 0,
        f"coredns_cache_entries{of('success')}": 1,
        f"coredns_cache_entries{of('denial')}": 1,
        f"coredns_cache_evictions_total{of('success')}": 0,
        f"coredns_cache_evictions_total{of('denial')}": 0,
    }


async def test_evictions_are_counted(block, upstream) -> None:
    made = block("cache {\n success 1024\n}")
    upstream.reply = lambda query: address(query.name)
    for number in range(1100):
        made.reply(f"{number}.example.org.")
    found = scrape(made, Traffic())
    entries = found[f"coredns_cache_entries{of('success')}"]
    assert found[f"coredns_cache_evictions_total{of('success')}"] == 1100 - entries
    assert 1000 < entries <= 1024


async def test_a_cache_that_is_gone_has_no_entries(block, upstream, facilities) -> None:
    made = block("cache")
    upstream.reply = lambda query: address(query.name)
    made.reply(NAME)
    assert f"coredns_cache_entries{of('success')}" in scrape(made, Traffic())
    chores = Chores()
    await chores.replace(made.requests.chores)
    await asyncio.sleep(0)
    await chores.replace(())
    left = {metric.name for metric in facilities.series.metrics() if metric.samples}
    assert "coredns_cache_evictions" in left
    assert "coredns_cache_entries" not in left


async def test_counters_go_on_after_a_reload(block, upstream) -> None:
    for count in (1, 2):
        made = block("cache {\n success 1024\n}")
        upstream.reply = lambda query: address(query.name)
        for number in range(1025):
            made.reply(f"{number}.example.org.")
        found = scrape(made, Traffic())
        assert found[f"coredns_cache_evictions_total{of('success')}"] == 5 * count


# What frontends give from memory is what the chain gives.

NAMES = [f"{letter}.example.org." for letter in "abcde"]
COREFILES = {
    "plain": "cache",
    "short": "cache 3 {\n servfail 2s\n}",
    "stale": "cache 2 {\n serve_stale 4s immediate 2s 2s\n}",
    "keepttl": "cache {\n keepttl\n}",
    "lifted": "cache {\n success 1024 5 4\n denial 1024 3 2\n}",
}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(["A", "AAAA"]),
        st.sampled_from([{}, {"use_edns": 0}, {"want_dnssec": True}, {"flags": RD | AD}]),
    )
    | st.floats(0, 3).map(lambda seconds: round(seconds, 2)),
    max_size=60,
)


def said(query: Query, now: int) -> Reply:
    """What the upstream of both says at a time: each name is of another kind."""
    kind = NAMES.index(dns.name.from_wire(query.name, 0)[0].to_text())
    changes = now // 7
    if kind == 3 and changes % 2:
        return failure().changed(failure="")
    if kind == 2 or (kind == 4 and changes % 2):
        return denial(4).changed(authentic=True)
    target = b"\5alias" + ORG
    rdatas = [bytes((10, changes % 256, 0, last)) for last in range(1 + kind)]
    if query.qtype == codes.AAAA:
        rdatas = [b"\0" * 12 + rdata for rdata in rdatas]
    alias = [RRset(query.name, codes.CNAME, 9, [target])] if kind == 1 else []
    owner = target if alias else query.name
    answer = [*alias, RRset(owner, query.qtype, 2 + 3 * kind, rdatas)]
    return Reply(answer=answer, lifetime=0, authentic=True, recursion_available=True)


@pytest.mark.parametrize("which", COREFILES)
@given(steps=STEPS)
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_memory_and_chain_say_the_same_every_second(
    planned, upstream, facilities, which: str, steps
) -> None:
    facilities.now = 1_000.0
    facilities.spawn = lambda answer: bool(run_at_once(answer))
    upstream.reply = lambda query: said(query, int(facilities.now))
    corefile = ". {\n prometheus\n" + COREFILES[which] + "\n whoami\n}"
    remembering = Frontend(planned(corefile))
    chain = Frontend(planned(corefile), memory=False)
    loop = asyncio.new_event_loop()
    try:
        for step in steps:
            if isinstance(step, float):
                facilities.now += step
                continue
            name, qtype, options = step
            asked = packet(name, qtype, **options)
            for _ in range(2):
                replies = loop.run_until_complete(both(remembering, chain, asked))
                assert replies[0] == replies[1]
    finally:
        loop.close()


async def both(one: Frontend, other: Frontend, asked: bytes) -> tuple[bytes, bytes]:
    return one.ask(asked), other.ask(asked)


def run_at_once(coroutine) -> bool:
    """Run what never waits."""
    with pytest.raises(StopIteration):
        coroutine.send(None)
    return True
