"""Which upstream is asked, when another one is, and what becomes of the answers; by a clock that
the tests move, over transports that they script."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

import dns.message
import dns.rcode
import dns.rrset
import pytest

from kdns.dns import codes
from kdns.dns.names import from_text
from kdns.dns.query import Client, Query, parse
from kdns.dns.reply import Reply
from kdns.forwarding.exchange import Heard, Lost, Question
from kdns.forwarding.forwarder import IN_FLIGHT, TRIALS, Forwarder
from kdns.forwarding.options import Health, Options, ResolvFile, Target
from kdns.telemetry.series import SeriesRegistry

A, B, C = (Target("dns", f"192.0.2.{number}", 53) for number in (1, 2, 3))
NEAR = 0.001


@dataclass
class Sent:
    """One question as a transport got it."""

    to: str
    proto: str
    question: Question
    heard: Heard
    given_up: bool = False

    def give_up(self) -> None:
        self.given_up = True

    @property
    def name(self) -> str:
        return dns.name.from_wire(self.question.section, 0)[0].to_text()

    def answer(self, rcode="NOERROR", *records: str) -> bool:
        return self.heard(answer(self.question, rcode, *records))


@dataclass
class Scripted:
    """A transport that keeps what it is asked to send."""

    to: str
    proto: str
    sent: list[Sent]
    hits: int = 3
    misses: int = 4
    closed: bool = False

    def send(self, question: Question, heard: Heard) -> Sent:
        self.sent.append(Sent(self.to, self.proto, question, heard))
        return self.sent[-1]

    def close(self) -> None:
        self.closed = True


def answer(question: Question, rcode="NOERROR", *records: str) -> bytes:
    asked = dns.message.from_wire(question.packet(b"\0\1"))
    message = dns.message.make_response(asked)
    message.set_rcode(dns.rcode.from_text(rcode))
    for record in records or (["@ 60 A 192.0.2.1"] if rcode == "NOERROR" else []):
        owner, rest = record.split(" ", 1)
        name = asked.question[0].name.to_text() if owner == "@" else owner
        ttl, rtype, rdata = rest.split(" ", 2)
        message.answer.append(dns.rrset.from_text(name, int(ttl), "IN", rtype, rdata))
    return message.to_wire()


def query(name="www.example.com.", qtype="A", transport="udp", **options) -> Query:
    packet = dns.message.make_query(name, qtype, **options).to_wire()
    found = parse(packet, transport, Client("192.0.2.77", 4711))
    assert isinstance(found, Query)
    return found


@dataclass
class Bench:
    """A forwarder, its clock, and what its upstreams were sent."""

    targets: tuple
    options: dict
    now: float = 1000.0
    all: list[Sent] = field(default_factory=list)
    ways: list[Scripted] = field(default_factory=list)

    def __post_init__(self):
        self.series = SeriesRegistry()
        loop = asyncio.get_running_loop()
        self.options.setdefault("policy", "sequential")
        options = Options(self.targets, **self.options)
        self.forwarder = Forwarder(options, self.series, loop, lambda: self.now, self.make)
        # Its ticks are those of the test.
        self.forwarder.wheel.wake = lambda: None

    def make(self, target: Target, stream: bool) -> Scripted:
        proto = {"dns": "tcp" if stream else "udp"}.get(target.way, target.way)
        self.ways.append(Scripted(str(target), proto, self.all))
        return self.ways[-1]

    @property
    def sent(self) -> list[Sent]:
        """Without the probes."""
        return [each for each in self.all if each.name != "."]

    @property
    def probes(self) -> list[Sent]:
        return [each for each in self.all if each.name == "."]

    @property
    def waiting(self) -> list[Sent]:
        return [each for each in self.sent if not each.given_up]

    def ask(self, name="www.example.com.", *args, **options):
        given = self.forwarder.ask(query(name, *args, **options))
        if isinstance(given, asyncio.Future):
            given.add_done_callback(lambda _: None)
        return given

    def pass_(self, seconds: float) -> None:
        """Time goes by, tick by tick."""
        for _ in range(max(1, round(seconds * 100))):
            self.now += 0.01
            self.forwarder.wheel.turn(self.now)

    def learn(self, seconds: float = NEAR, times: int = 20) -> None:
        """Let all upstreams have a history."""
        for upstream in self.forwarder._upstreams:
            for stream in (False, True):
                for _ in range(times):
                    upstream.way(stream).latency.took(seconds)

    def value(self, name: str, **labels: str) -> float:
        for metric in self.series.metrics():
            for sample in metric.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return 0.0

    def to(self) -> list[str]:
        """Whom questions went to: the last byte of their addresses, in order."""
        return [each.to.split(":")[0][-1] for each in self.sent]


@pytest.fixture
async def bench():
    """bench(target, …, option=…) -> Bench."""
    made = []

    def make(*targets, **options):
        made.append(Bench(targets or (A, B), options))
        return made[-1]

    yield make
    for each in made:
        for sent in each.all:
            sent.give_up()
        each.forwarder.retire()


def failed(reply) -> str:
    """Why the forwarder had to say SERVFAIL."""
    reply = reply.result() if isinstance(reply, asyncio.Future) else reply
    assert isinstance(reply, Reply)
    assert reply.rcode == codes.SERVFAIL
    assert reply.lifetime == 0
    code, text = reply.extended_error
    assert code in (codes.EDE_UNREACHABLE, codes.EDE_LOOP)
    assert text == reply.failure
    return text


async def test_an_answer_reaches_who_asked(bench):
    it = bench()
    given = it.ask("WWW.example.com.")
    (sent,) = it.sent
    assert (sent.to, sent.proto, sent.name) == ("192.0.2.1:53", "udp", "www.example.com.")
    assert sent.answer("NOERROR", "@ 60 A 192.0.2.9", "victim.example. 60 A 192.0.2.66")
    reply = await given
    assert (reply.rcode, reply.lifetime, reply.failure) == (0, 0, "")
    assert [each.rdatas for each in reply.answer] == [(bytes((192, 0, 2, 9)),)]


async def test_equal_questions_are_asked_once(bench):
    it = bench()
    given = [it.ask(name) for name in ("www.example.com.", "WWW.EXAMPLE.COM.") * 15]
    (sent,) = it.sent
    sent.answer()
    replies = [await each for each in given]
    assert all(reply.answer == replies[0].answer for reply in replies)
    assert len({id(reply) for reply in replies}) == 30
    assert it.value("kdns_forward_coalesced_total") == 29
    it.ask()
    assert len(it.sent) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"name": "w.example.com."},
        {"qtype": "AAAA"},
        {"transport": "tcp"},
        {"want_dnssec": True},
        {"flags": "CD RD"},
        {"flags": ""},
        {"flags": "AD RD"},
    ],
    ids=str,
)
async def test_other_questions_are_asked_themselves(bench, other):
    it = bench()
    it.ask()
    if "flags" in other:
        other = {"flags": dns.flags.from_text(other["flags"])}
    it.ask(**{"name": "www.example.com.", **other})
    assert len(it.sent) == 2


async def test_one_who_gives_up_takes_nothing_from_the_others(bench):
    it = bench()
    first, second = it.ask(), it.ask()
    first.cancel()
    it.sent[0].answer()
    assert (await second).answer


@pytest.mark.parametrize(
    ("transport", "options", "proto"),
    [
        ("udp", {}, "udp"),
        ("tcp", {}, "tcp"),
        ("udp", {"force_tcp": True}, "tcp"),
        ("tcp", {"prefer_udp": True}, "udp"),
        ("udp", {"prefer_udp": True, "force_tcp": True}, "tcp"),
    ],
)
async def test_transport_follows_the_client_unless_told(bench, transport, options, proto):
    it = bench(A, **options)
    it.ask(transport=transport)
    assert it.sent[0].proto == proto


@pytest.mark.parametrize("way", ["tls", "https"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_an_encrypted_way_is_the_only_one(bench, way, transport):
    it = bench(Target(way, "192.0.2.1", 853))
    it.ask(transport=transport)
    assert it.sent[0].proto == way


async def test_truncated_is_asked_over_tcp_of_the_same(bench):
    it = bench()
    given = it.ask()
    it.sent[0].heard(Lost("did not fit", by_tcp=True))
    assert [(each.to, each.proto) for each in it.sent] == [
        ("192.0.2.1:53", "udp"),
        ("192.0.2.1:53", "tcp"),
    ]
    it.sent[1].answer()
    assert (await given).answer
    assert it.probes == []


@pytest.mark.parametrize(("transport", "taken"), [("udp", False), ("tcp", True)])
async def test_what_cannot_be_read_ends_no_waiting_over_udp(bench, transport, taken):
    it = bench()
    it.ask(transport=transport)
    (sent,) = it.sent
    assert sent.heard(answer(sent.question)[:-3]) is taken
    assert len(it.sent) == (2 if taken else 1)


class TestLate:
    async def test_another_is_asked_when_one_is_late_by_its_own_history(self, bench):
        it = bench()
        it.learn(0.001)
        given = it.ask()
        it.pass_(0.03)
        assert it.to() == ["1", "2"]
        it.sent[1].answer()
        assert (await given).answer
        assert it.sent[0].given_up
        assert it.value("kdns_forward_hedges_total", to="192.0.2.2:53") == 1

    async def test_one_that_always_takes_long_is_not_late(self, bench):
        it = bench()
        it.learn(0.3, 100)
        it.ask()
        it.pass_(0.25)
        assert it.to() == ["1"]

    async def test_the_same_is_asked_again_where_there_is_no_other(self, bench):
        it = bench(A)
        it.learn()
        given = it.ask()
        it.pass_(0.03)
        assert it.to() == ["1", "1"]
        it.sent[0].answer()
        assert (await given).answer
        assert it.sent[1].given_up

    async def test_over_tcp_the_same_is_not_asked_twice(self, bench):
        it = bench(A)
        it.learn()
        given = it.ask(transport="tcp")
        it.pass_(3.9)
        assert it.to() == ["1"]
        it.pass_(0.2)
        assert failed(given) == "no upstream answered: 192.0.2.1:53 timed out"

    async def test_second_questions_are_a_share_while_all_is_slow(self, bench):
        it = bench()
        it.learn()
        for number in range(200):
            it.learn()
            it.ask(f"n{number}.example.com.")
            it.pass_(0.05)
            for sent in it.waiting:
                sent.answer()
                sent.give_up()
        assert 200 * 0.1 <= len(it.sent) - 200 <= 200 * 0.1 + 10

    async def test_who_is_outrun_again_and_again_is_asked_later(self, bench):
        it = bench()
        it.learn()
        for number in range(6):
            it.ask(f"n{number}.example.com.")
            it.pass_(0.05)
            it.sent[-1].answer()
        it.ask()
        assert it.to()[-1] == "2"
        it.pass_(6)
        it.ask("later.example.com.")
        assert "1" in it.to()[-2:]

    async def test_a_question_that_was_lost_is_asked_again_without_a_budget(self, bench):
        it = bench(A)
        it.learn()
        while it.forwarder.budget.spend():
            pass
        it.ask()
        it.pass_(0.39)
        assert it.to() == ["1"]
        it.pass_(0.05)
        assert it.to() == ["1", "1"]


class TestSilence:
    @pytest.mark.parametrize(
        ("options", "seconds"),
        [({}, 4.0), ({"read_timeout": 1.0}, 2.0), ({"read_timeout": 30.0}, 4.0)],
        ids=str,
    )
    async def test_it_ends_in_time(self, bench, options, seconds):
        it = bench(A, **options)
        given = it.ask()
        it.pass_(seconds - 0.05)
        assert not given.done()
        it.pass_(0.1)
        assert failed(given) == "no upstream answered: 192.0.2.1:53 timed out"
        assert all(sent.given_up for sent in it.sent)

    async def test_one_is_asked_three_times_at_most(self, bench):
        it = bench(A)
        it.ask()
        it.pass_(5)
        assert it.to() == ["1", "1", "1"]

    @pytest.mark.parametrize(("attempts", "asked"), [(1, "1"), (2, "12"), (0, "121212")])
    async def test_max_connect_attempts(self, bench, attempts, asked):
        it = bench(max_connect_attempts=attempts)
        it.learn()
        it.ask()
        it.pass_(5)
        assert it.to() == list(asked)

    async def test_the_next_client_does_not_feel_it(self, bench):
        it = bench()
        it.learn()
        it.ask()
        it.pass_(0.5)
        it.sent[1].answer()
        before = len(it.sent)
        it.ask("next.example.com.")
        assert it.to()[before:] == ["2"]

    async def test_a_late_answer_is_an_answer(self, bench):
        it = bench(A)
        given = it.ask()
        it.pass_(3)
        assert it.sent[0].answer()
        assert (await given).answer


class TestLost:
    async def test_another_is_asked_at_once(self, bench):
        it = bench()
        given = it.ask()
        it.sent[0].heard(Lost("connection refused"))
        assert it.to() == ["1", "2"]
        it.sent[1].answer()
        assert (await given).answer

    async def test_who_is_alone_is_asked_again_a_little_later(self, bench):
        it = bench(A)
        given = it.ask()
        for count in (1, 2, 3):
            assert len(it.sent) == count
            it.sent[-1].heard(Lost("connection refused"))
            it.pass_(0.55 * count)
        assert failed(given) == "no upstream answered: 192.0.2.1:53 connection refused"

    async def test_reasons_are_told(self, bench):
        it = bench(max_connect_attempts=2)
        given = it.ask()
        it.sent[0].heard(Lost("connection refused"))
        it.sent[1].heard(Lost("no route to host"))
        assert failed(given) == (
            "no upstream answered: 192.0.2.1:53 connection refused, 192.0.2.2:53 no route to host"
        )


class TestAnswersOfNoUse:
    @pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
    async def test_another_is_asked(self, bench, rcode):
        it = bench()
        given = it.ask()
        it.sent[0].answer(rcode)
        assert it.to() == ["1", "2"]
        it.sent[1].answer()
        assert (await given).rcode == 0

    async def test_the_last_is_told_where_all_say_so(self, bench):
        it = bench(A, B, C)
        given = it.ask()
        for rcode in ("SERVFAIL", "SERVFAIL", "REFUSED"):
            it.sent[-1].answer(rcode)
        reply = await given
        assert (reply.rcode, reply.failure) == (codes.REFUSED, "")
        assert it.to() == ["1", "2", "3"]

    @pytest.mark.parametrize(
        ("failover", "rcode", "asked"),
        [
            ((), "NXDOMAIN", "1"),
            ((codes.NXDOMAIN,), "NXDOMAIN", "12"),
            ((codes.NXDOMAIN,), "SERVFAIL", "12"),
            ((), "FORMERR", "1"),
            ((codes.FORMERR,), "FORMERR", "12"),
        ],
    )
    async def test_failover(self, bench, failover, rcode, asked):
        it = bench(failover=frozenset(failover))
        it.ask()
        it.sent[0].answer(rcode)
        assert it.to() == list(asked)

    async def test_one_who_says_so_often_is_asked_later(self, bench):
        it = bench()
        for number in range(5):
            it.ask(f"n{number}.example.com.")
            it.sent[-1].answer("SERVFAIL")
            it.sent[-1].answer()
        it.ask()
        assert it.to()[-1] == "2"
        assert it.probes == []

    async def test_an_answer_about_others_is_none(self, bench):
        it = bench(A)
        given = it.ask()
        it.sent[0].answer("NOERROR", "other.example. 60 A 192.0.2.66")
        assert "answers about other names" in failed(given)

    async def test_an_answer_is_waited_for_while_one_may_come(self, bench):
        it = bench()
        it.learn()
        given = it.ask()
        it.pass_(0.03)
        it.sent[1].answer("SERVFAIL")
        assert not given.done()
        it.sent[0].answer()
        assert (await given).rcode == 0


class TestHealth:
    async def test_who_fails_is_probed_until_it_answers(self, bench):
        it = bench()
        it.ask()
        it.sent[0].heard(Lost("connection refused"))
        it.sent[1].answer()
        it.pass_(0.02)
        (probe,) = it.probes
        assert probe.question == Question(b"\0\0\2\0\1", 0x0100, False)
        it.pass_(1.2)
        assert probe.given_up
        it.pass_(0.5)
        it.probes[-1].answer("SERVFAIL")
        assert [each.to for each in it.probes] == ["192.0.2.1:53"] * 2
        it.ask("next.example.com.")
        assert it.to()[-1] == "1"
        it.sent[-1].answer()
        it.pass_(5)
        assert len(it.probes) == 2

    async def test_options_of_probes(self, bench):
        domain = from_text("health.example.")
        it = bench(A, health=Health(2.0, recursion_desired=False, domain=domain))
        it.ask()
        it.sent[0].heard(Lost("connection refused"))
        it.pass_(0.02)
        probe = it.sent[-1]
        assert (probe.question.section[:-4], probe.question.flags) == (domain, 0)

    @pytest.mark.parametrize("options", [{"max_fails": 0}, {"health": Health(interval=0.0)}])
    async def test_probes_may_be_switched_off(self, bench, options):
        it = bench(**options)
        it.ask()
        it.sent[0].heard(Lost("connection refused"))
        it.pass_(2)
        assert it.probes == []

    @pytest.mark.parametrize(("max_fails", "probes"), [(1, 2), (2, 3), (5, 6)])
    async def test_down_after_so_many_probes(self, bench, max_fails, probes):
        it = bench(A, max_fails=max_fails)
        it.ask()
        it.sent[0].heard(Lost("connection refused"))
        for _ in range(probes):
            assert it.forwarder.healthy() == {"192.0.2.1:53": True}
            it.pass_(0.52)
            it.probes[-1].heard(Lost("connection refused"))
        assert it.forwarder.healthy() == {"192.0.2.1:53": False}
        assert it.value("coredns_proxy_healthcheck_failures_total") == probes
        it.pass_(0.52)
        it.probes[-1].answer("REFUSED")
        assert it.forwarder.healthy() == {"192.0.2.1:53": True}

    async def test_packets_that_answer_nothing_never_count(self, bench):
        it = bench()
        it.ask()
        for _ in range(100):
            it.sent[0].heard(b"\0\1\x81\x80")
        assert it.probes == []
        it.ask("next.example.com.")
        assert it.to() == ["1", "1"]

    async def test_one_that_owes_answers_is_asked_when_no_other_is_left(self, bench):
        it = bench()
        it.ask()
        it.sent[0].heard(Lost("connection refused"))
        it.sent[1].heard(Lost("connection refused"))
        given = it.ask("next.example.com.")
        it.sent[-1].answer()
        assert (await given).rcode == 0


class TestAllDown:
    @staticmethod
    def kill(it: Bench) -> None:
        for number in range(12):
            it.ask(f"dead{number}.example.com.")
        it.pass_(6)
        for sent in it.sent:
            assert sent.given_up

    async def test_a_flood_costs_next_to_nothing(self, bench):
        it = bench()
        self.kill(it)
        before = len(it.sent)
        given = [it.ask(f"n{number}.example.com.") for number in range(5000)]
        assert len(it.sent) - before <= TRIALS
        at_once = [each for each in given if isinstance(each, Reply)]
        assert len(at_once) >= 5000 - TRIALS
        assert failed(at_once[0]) == (
            "no upstream answers: 192.0.2.1:53 timed out, 192.0.2.2:53 timed out"
        )
        assert it.value("kdns_forward_unasked_total") == len(at_once)

    async def test_a_trial_that_is_answered_ends_it(self, bench):
        it = bench(max_fails=0)
        self.kill(it)
        given = it.ask()
        it.waiting[-1].answer()
        assert (await given).answer
        assert isinstance(it.ask("next.example.com."), asyncio.Future)
        assert len([it.ask(f"n{number}.example.com.") for number in range(50)]) == 50
        assert len(it.waiting) >= 51

    async def test_a_probe_that_is_answered_ends_it(self, bench):
        it = bench()
        self.kill(it)
        before = it.value("coredns_forward_healthcheck_broken_total")
        it.ask()
        assert it.value("coredns_forward_healthcheck_broken_total") == before + 1
        while not (waiting := [each for each in it.probes if not each.given_up]):
            it.pass_(0.1)
        waiting[-1].answer("SERVFAIL")
        it.ask("next.example.com.")
        assert it.value("coredns_forward_healthcheck_broken_total") == before + 1

    async def test_failfast(self, bench):
        it = bench(failfast_all_unhealthy=True)
        self.kill(it)
        before = len(it.sent)
        assert failed(it.ask())
        assert len(it.sent) == before


class TestBounds:
    async def test_max_concurrent(self, bench):
        it = bench(max_concurrent=2)
        it.ask("a.example.com."), it.ask("b.example.com.")
        refused = it.ask("c.example.com.")
        assert isinstance(refused, Reply)
        assert (refused.rcode, refused.lifetime) == (codes.REFUSED, 0)
        assert "max_concurrent" in refused.failure
        assert it.value("coredns_forward_max_concurrent_rejects_total") == 1
        assert isinstance(it.ask("a.example.com."), asyncio.Future)
        it.sent[0].answer()
        assert isinstance(it.ask("c.example.com."), asyncio.Future)

    async def test_there_is_a_bound_of_its_own(self, bench):
        it = bench()
        for number in range(IN_FLIGHT):
            it.ask(f"n{number}.example.com.")
        assert "wait for upstreams" in failed(it.ask())
        assert len(it.sent) == IN_FLIGHT


class TestUpstreams:
    async def test_what_is_on_its_way_outlives_a_change(self, bench):
        it = bench(A)
        given = it.ask()
        it.forwarder.update([B])
        it.ask("next.example.com.")
        assert it.to() == ["1", "2"]
        it.sent[0].answer()
        assert (await given).answer
        assert [way.closed for way in it.ways] == [False, False]
        it.pass_(4.1)
        assert [way.closed for way in it.ways] == [True, False]

    async def test_one_that_stays_is_still_known(self, bench):
        it = bench(A, B)
        it.ask()
        it.sent[0].heard(Lost("connection refused"))
        it.forwarder.update([A, C])
        it.ask("next.example.com.")
        assert it.to()[-1] == "3"
        assert it.forwarder.targets() == ["192.0.2.1:53", "192.0.2.3:53"]

    async def test_nobody_to_ask(self, bench):
        it = bench(ResolvFile(Path("/nonexistent")))
        assert failed(it.ask()) == "no upstream answers: there is none"
        it.forwarder.update([A])
        assert isinstance(it.ask(), asyncio.Future)

    async def test_one_put_aside_is_asked_no_more(self, bench):
        it = bench()
        it.forwarder.aside("192.0.2.1:53", "asks back")
        it.ask()
        assert it.to() == ["2"]
        assert it.forwarder.healthy() == {"192.0.2.1:53": False, "192.0.2.2:53": True}
        it.forwarder.aside("192.0.2.2:53", "asks back, too")
        reply = it.ask("next.example.com.")
        assert reply.extended_error[0] == codes.EDE_LOOP
        assert "192.0.2.2:53 asks back, too" in failed(reply)
        it.forwarder.back("192.0.2.1:53")
        it.ask("last.example.com.")
        assert it.to() == ["2", "1"]
        assert it.forwarder.healthy() == {"192.0.2.1:53": True, "192.0.2.2:53": False}

    async def test_one_may_be_put_aside_before_it_is_there(self, bench):
        it = bench(A)
        it.forwarder.aside("192.0.2.2:53", "asks back")
        it.forwarder.back("192.0.2.3:53")
        it.forwarder.update([B])
        assert it.forwarder.targets() == ["192.0.2.2:53"]
        assert "asks back" in failed(it.ask())

    async def test_a_probe_of_others_has_no_consequence(self, bench):
        it = bench()
        seen = []
        it.forwarder.aside("192.0.2.1:53", "asks back")
        question = Question.of(query("probe.example."))
        pending = it.forwarder.probe("192.0.2.1:53", question, lambda what: bool(seen.append(what)))
        it.sent[0].heard(Lost("connection refused"))
        assert seen == [Lost("connection refused")]
        pending.give_up()
        it.pass_(3)
        assert it.probes == []
        assert it.forwarder.probe("192.0.2.9:53", question, lambda _: True) is None

    async def test_it_retires_when_the_last_answer_is_there(self, bench):
        it = bench()
        given = it.ask()
        it.forwarder.retire()
        assert not it.ways[0].closed
        it.sent[0].answer()
        assert (await given).answer
        assert it.ways[0].closed


async def test_metrics(bench):
    it = bench()
    it.ask()
    it.now += 0.003
    it.sent[0].answer("NXDOMAIN")
    it.forwarder.measure()
    it.forwarder.measure()
    duration = "coredns_proxy_request_duration_seconds"
    labels = {"proxy_name": "forward", "to": "192.0.2.1:53", "rcode": "NXDOMAIN"}
    assert it.value(f"{duration}_count", **labels) == 1
    assert it.value(f"{duration}_sum", **labels) == pytest.approx(0.003)
    labels = {"proxy_name": "forward", "to": "192.0.2.1:53", "proto": "udp"}
    assert it.value("coredns_proxy_conn_cache_hits_total", **labels) == 3
    assert it.value("coredns_proxy_conn_cache_misses_total", **labels) == 4


async def test_nothing_to_ask_with_is_no_upstreams_fault(bench):
    """And what was lost for it is asked again."""
    it = bench(A)
    for _ in range(3):
        given = it.ask()
        it.sent[-1].heard(Lost("too many open files", local=True))
        assert it.forwarder.ask(query("next.example.com.")).done() is False
        it.pass_(0.6)
        assert not it.probes
        for sent in it.waiting:
            sent.answer()
        assert (await given).answer


async def test_a_probe_that_cannot_be_sent_is_sent_later(bench):
    it = bench(A)
    it.ask()
    it.sent[0].heard(Lost("connection refused"))
    for _ in range(9):
        it.pass_(0.52)
        it.probes[-1].heard(Lost("too many open files", local=True))
    assert len(it.probes) >= 9
    assert it.forwarder.healthy() == {"192.0.2.1:53": True}


@pytest.mark.parametrize("first", [True, False], ids=["at once", "when it is due"])
async def test_what_breaks_keeps_nobody_waiting(bench, monkeypatch, first):
    it = bench(A)
    broken = RuntimeError("broken")

    def send(question, heard):
        raise broken

    if first:
        monkeypatch.setattr(Scripted, "send", lambda *_: send(*_[1:]))
        with pytest.raises(RuntimeError):
            it.ask()
        monkeypatch.undo()
    else:
        given = it.ask()
        it.ways[0].send = send
        it.pass_(1)
        assert failed(await given) == "no upstream answered: "
        del it.ways[0].send
    given = it.ask()
    it.sent[-1].answer()
    assert (await given).answer


async def test_response_codes_that_nobody_knows_are_one_series(bench):
    it = bench(A)
    for number in (14, 3841, 4095):
        it.ask(f"n{number}.example.com.")
        it.sent[-1].answer(str(number))
    counted = it.value(
        "coredns_proxy_request_duration_seconds_count", to="192.0.2.1:53", rcode="other"
    )
    assert counted == 3


async def test_failures_are_a_line_at_once_and_one_each_half_minute(bench, caplog):
    caplog.set_level(logging.INFO)
    it = bench()
    for number in range(20):
        it.ask(f"n{number}.example.com.")
        if it.sent[-1].to == "192.0.2.1:53":
            it.sent[-1].heard(Lost("connection refused"))
        it.sent[-1].answer()
        if number % 2:
            it.pass_(0.02)
            it.probes[-1].answer()
            it.pass_(0.5)
    it.pass_(30)
    it.pass_(60)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "upstream 192.0.2.1:53 failed: connection refused; it is probed",
        "upstream 192.0.2.1:53 failed 9 of 9 queries in the last 30 s: connection refused",
    ]
