"""The directive `loop`: what leads back here is put aside, and called back when it does no more."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from kdns.corefile.tokens import Position, Token
from kdns.corefile.zones import zone_keys
from kdns.dns import codes
from kdns.dns.names import from_text, labels, to_text
from kdns.dns.query import parse
from kdns.dns.render import message
from kdns.dns.reply import Reply
from kdns.forwarding.exchange import Lost
from kdns.forwarding.options import Options, Target
from kdns.plugins import loop as module
from kdns.plugins.loop import ASIDE, Loop
from kdns.plugins.site import Forwarding, Requests, Site

ROOT = b"\0"
ANSWER = b"a message"
WRITTEN = "forward . /etc/resolv.conf"


def target(text):
    host, _, port = text.rpartition(":")
    return Target("dns", host.strip("[]"), int(port))


class Block:
    """A server block with `loop` and a `forward`, and where its upstreams lead."""

    def __init__(self, facilities, *targets, zone=".", port=53, hosts=(), origin=ROOT):
        options = Options(tuple(map(target, targets)))
        self.forwarder = facilities.forwarder(options)
        self.series = facilities.series
        keys = zone_keys(Token(f"{zone}:{port}", Position("Corefile", 1, 1)))
        self.site = Site(keys, Path("/"), facilities, Requests(), lambda _: Reply(), list(hosts))
        self.site.forwardings.append(Forwarding(self.forwarder, origin, WRITTEN))
        self.loop = Loop(self.site)
        self.turn = 0

    @property
    def aside(self):
        return [name for name, _ in self.forwarder.put_aside]

    def gauge(self, name):
        return self.series.count(ASIDE, name).value

    def comes_in(self, question):
        """What a client is told who sends this question."""
        query = parse(question.packet(b"id"), "udp")
        return self.loop.handle(query, lambda _: Reply(rcode=codes.REFUSED, plugin="next"))

    async def look(self, said=None):
        """One look, a probe's time after the last; `said` are answers by upstream.

        `round` is a probe that comes in here, `silence` one that nobody hears of.
        """
        self.turn += 6
        self.forwarder.probed.clear()
        looking = asyncio.create_task(self.loop.look(self.turn))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for name, question, heard in self.forwarder.probed:
            what = (said or {}).get(name, ANSWER)
            if what == "round":
                reply = self.comes_in(question)
                assert (reply.rcode, reply.plugin, reply.lifetime) == (3, "loop", 0)
                assert self.comes_in(question) == reply
                heard(ANSWER)
            elif what != "silence":
                heard(what)
        await looking
        return [name for name, _, _ in self.forwarder.probed]


@pytest.mark.parametrize(
    ("hosts", "port", "upstream", "here"),
    [
        ([], 53, "127.0.0.53:53", True),
        ([], 53, "127.0.0.1:53", True),
        ([], 53, "[::1]:53", True),
        ([], 53, "10.0.0.5:53", True),
        ([], 53, "[fd00::5]:53", True),
        ([], 53, "[fe80::5%eth0]:53", True),
        ([], 53, "0.0.0.0:53", True),
        ([], 53, "[::]:53", True),
        ([], 53, "[::ffff:127.0.0.1]:53", True),
        ([], 53, "127.0.0.1:5353", False),
        ([], 1053, "127.0.0.1:1053", True),
        ([], 53, "10.0.0.6:53", False),
        ([], 53, "dns.example.org:53", False),
        (["127.0.0.1"], 53, "127.0.0.1:53", True),
        (["127.0.0.1"], 53, "0.0.0.0:53", True),
        (["127.0.0.1"], 53, "127.0.0.53:53", False),
        (["127.0.0.1"], 53, "10.0.0.5:53", False),
        (["169.254.20.10", "10.96.0.10"], 53, "10.96.0.10:53", True),
        (["169.254.20.10"], 53, "10.96.0.10:53", False),
        (["0.0.0.0"], 53, "127.0.0.53:53", True),
        (["0.0.0.0"], 53, "[::1]:53", False),
        (["::"], 53, "[fd00::5]:53", True),
        (["fe80::5%eth0"], 53, "[fe80::5%eth0]:53", True),
        (["fe80::5%eth0"], 53, "[fe80::5%eth1]:53", False),
    ],
)
async def test_an_upstream_that_is_this_server(facilities, hosts, port, upstream, here) -> None:
    block = Block(facilities, upstream, "192.0.2.1:53", hosts=hosts, port=port)
    name = str(target(upstream))
    probed = await block.look()
    assert block.aside == ([name] if here else [])
    assert probed == (["192.0.2.1:53"] if here else [name, "192.0.2.1:53"])


async def test_looking_goes_on_where_the_system_does_not_say_who_we_are(
    facilities, monkeypatch
) -> None:
    def interfaces():
        raise OSError(errno.EMFILE, "Too many open files")

    block = Block(facilities, "10.0.0.5:53", "127.0.0.1:53")
    with monkeypatch.context() as patch:
        patch.setattr(facilities, "interfaces", interfaces)
        await block.look()
        assert block.aside == ["127.0.0.1:53"]
    await block.look()
    assert set(block.aside) == {"10.0.0.5:53", "127.0.0.1:53"}


async def test_an_upstream_that_leads_back(facilities, caplog) -> None:
    block = Block(facilities, "192.0.2.1:53", "192.0.2.2:53")
    for _ in range(3):
        assert await block.look({"192.0.2.1:53": "round"}) == ["192.0.2.1:53", "192.0.2.2:53"]
    assert set(block.aside) == {"192.0.2.1:53"}
    assert block.gauge("192.0.2.1:53") == 1
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "forward . /etc/resolv.conf leads back to this server by 192.0.2.1:53, which is asked no"
        " more: write there the addresses of other servers"
    )
    assert "\n" not in record.getMessage()


@pytest.mark.parametrize(
    ("said", "aside"),
    [
        (ANSWER, False),
        (Lost("connection refused"), True),
        (Lost("too large", by_tcp=True), False),
        ("round", True),
    ],
    ids=["answered", "not answered", "answered in part", "round again"],
)
async def test_a_loop_that_is_mended(facilities, caplog, said, aside) -> None:
    caplog.set_level("INFO")
    block = Block(facilities, "192.0.2.1:53")
    await block.look({"192.0.2.1:53": "round"})
    await block.look({"192.0.2.1:53": said})
    assert bool(block.aside) == aside
    assert block.gauge("192.0.2.1:53") == aside
    assert len(caplog.records) == (1 if aside else 2)
    await block.look({"192.0.2.1:53": "round"})
    assert block.gauge("192.0.2.1:53") == 1


async def test_a_loop_that_begins_while_it_runs(facilities) -> None:
    block = Block(facilities, "192.0.2.1:53")
    await block.look()
    assert block.aside == []
    await block.look({"192.0.2.1:53": "round"})
    assert block.aside == ["192.0.2.1:53"]


async def test_silence_says_nothing(facilities, monkeypatch) -> None:
    block = Block(facilities, "192.0.2.1:53")

    async def silence():
        with monkeypatch.context() as impatient:
            impatient.setattr(module, "_PATIENCE", 0)
            await block.look({"192.0.2.1:53": "silence"})

    await silence()
    assert block.aside == []
    await block.look({"192.0.2.1:53": "round"})
    await silence()
    assert block.aside


async def test_each_probe_is_another(facilities) -> None:
    block = Block(facilities, "192.0.2.1:53")
    await block.look()
    ((_, question, _),) = block.forwarder.probed
    await block.look()
    ((_, another, _),) = block.forwarder.probed
    assert another.section != question.section


async def test_a_probe_that_comes_to_another_process(facilities, query) -> None:
    """Its answer says that it came round, to the process that sent it."""
    here, there = (Block(facilities, "192.0.2.1:53") for _ in range(2))
    looking = asyncio.create_task(here.loop.look(0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ((_, question, heard),) = here.forwarder.probed
    reply = there.comes_in(question)
    assert (reply.rcode, reply.plugin, reply.lifetime) == (0, "loop", 0)
    heard(message(parse(question.packet(b"id"), "udp"), reply))
    await looking
    assert here.aside == ["192.0.2.1:53"]
    assert there.comes_in(question) == reply


@pytest.mark.parametrize("other", [{"port": 54}, {"zone": "org"}, {"hosts": ["10.0.0.5"]}])
async def test_a_probe_that_comes_to_another_server_block_goes_on(facilities, other) -> None:
    block = Block(facilities, "192.0.2.1:53")
    await block.look()
    ((_, question, _),) = block.forwarder.probed
    assert block.comes_in(question).plugin == "loop"
    assert Block(facilities, "192.0.2.2:53", **other).comes_in(question).plugin == "next"


async def test_what_a_probe_asks(facilities) -> None:
    block = Block(facilities, "192.0.2.1:53", "192.0.2.2:53")
    await block.look()
    names = [question.section[:-4] for _, question, _ in block.forwarder.probed]
    (mark,) = {labels(name)[0] for name in names}
    assert len(mark) == 32
    assert facilities.secret.hex().encode() not in mark
    numbers = [int(labels(name)[1]) for name in names]
    assert len(set(numbers)) == 2
    assert all(0 <= number < 1 << 62 for number in numbers)
    assert max(numbers) > 1 << 32
    for _, question, _ in block.forwarder.probed:
        assert question.section[-4:] == b"\0\x0d\0\1"


@pytest.mark.parametrize(
    ("zone", "origin", "expected"),
    [
        (".", ".", "."),
        ("cluster.local", ".", "cluster.local."),
        (".", "example.org", "example.org."),
        ("a.example.org", "example.org", "a.example.org."),
        ("10.0.0.0/15", ".", "0.10.in-addr.arpa."),
    ],
)
async def test_names_of_probes_come_to_the_forward(facilities, zone, origin, expected) -> None:
    block = Block(facilities, "192.0.2.1:53", zone=zone, origin=from_text(origin))
    await block.look()
    ((_, question, _),) = block.forwarder.probed
    name = to_text(question.section[:-4])
    assert name.partition(".")[2].partition(".")[2] == expected.lstrip(".")


async def test_a_zone_too_long_for_a_probe(facilities) -> None:
    block = Block(facilities, "192.0.2.1:53", zone=".".join(["a" * 60] * 4))
    assert await block.look() == []


async def test_other_queries_go_on(facilities, query) -> None:
    block = Block(facilities, "192.0.2.1:53")
    seen = []

    def next_(asked):
        seen.append(asked.qtype)
        return Reply()

    looking = asyncio.create_task(block.loop.look(0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ((_, question, heard),) = block.forwarder.probed
    name = to_text(question.section[:-4])
    for asked in (query(name, "A"), query("1.2.", "HINFO"), query("www.example.org.")):
        block.loop.handle(asked, next_)
    assert len(seen) == 3
    heard(ANSWER)
    await looking


async def test_probes_are_far_between_and_looks_are_not(facilities) -> None:
    block = Block(facilities, "192.0.2.1:53")
    probes = []
    for turn in range(14):
        block.forwarder.probed.clear()
        looking = asyncio.create_task(block.loop.look(turn))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for _, _, heard in block.forwarder.probed:
            probes.append(turn)
            heard(ANSWER)
        await looking
    assert probes == [0, 6, 12]
    block.forwarder.options = Options((target("127.0.0.53:53"),))
    await block.loop.look(14)
    assert block.aside == ["127.0.0.53:53"]


async def test_an_upstream_that_is_gone(facilities) -> None:
    block = Block(facilities, "127.0.0.53:53")
    await block.look()
    assert block.gauge("127.0.0.53:53") == 1
    block.forwarder.options = Options(())
    await block.look()
    assert block.gauge("127.0.0.53:53") == 0
    assert block.aside == []


async def test_what_was_put_aside_is_called_back_at_the_end(facilities, monkeypatch) -> None:
    block = Block(facilities, "127.0.0.53:53")
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        assert block.aside == ["127.0.0.53:53"] * len(slept)
        if len(slept) == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await block.loop.watch()
    assert block.aside == []
    assert block.gauge("127.0.0.53:53") == 0
    assert slept == [5.0, 5.0]


@pytest.mark.parametrize(
    ("text", "says", "place"),
    [
        (". {\n loop 1\n}", "'1' is one argument too many: take it out", (2, 7)),
        (". {\n loop {\n }\n}", "'loop' takes no braces", (2, 2)),
        (". {\n loop\n loop\n}", "loop is written twice", (3, 2)),
    ],
)
def test_refused(refused, text, says, place) -> None:
    message, found = refused(text)
    assert says in message
    assert found == place


def test_taken(planned) -> None:
    made = planned(". {\n loop\n whoami\n}")
    assert len(made.requests.chores) == 1
    assert made.reply("example.org.", "HINFO").plugin == "whoami"
