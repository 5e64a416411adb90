"""From packet to reply without sockets."""

from __future__ import annotations

import asyncio
import logging

import dns.flags
import dns.message
import dns.rcode
import pytest

from kdns.dns import codes
from kdns.dns.query import Client
from kdns.dns.rdata import RRset
from kdns.dns.reply import EPOCH, Reply
from kdns.frontend.responder import Lane, Responder
from kdns.plugins.chain import Block, Router
from kdns.telemetry.traffic import Traffic

CLIENT = Client("192.0.2.1", 4711)
WEB = dns.message.make_query("web.default.svc.cluster.local", "A").to_wire()


def asked(name: str, qtype: str = "A", **options) -> bytes:
    return dns.message.make_query(name, qtype, **options).to_wire()


def rcode(reply: bytes | None) -> str:
    assert reply is not None
    return dns.rcode.to_text(dns.message.from_wire(reply).rcode())


class Handler:
    """Answers with one reply, or raises it, and counts how often it was asked."""

    def __init__(self, answer=None):
        self.answer = answer
        self.asked = 0

    def __call__(self, query):
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            return Reply(answer=[RRset(query.name, codes.A, 5, [bytes(4)])], reads=(b"read",))
        return self.answer


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_odd_packets(odd, cluster, transport: str) -> None:
    responder = cluster.responder(transport=transport)
    packet = odd.packet if transport == "tcp" else odd.packet[:4096]
    if odd.transport == "tcp" and transport == "udp":
        assert rcode(responder.ask(packet, CLIENT)) == "FORMERR"
        return
    for _ in range(2):
        reply = responder.recall(packet) or responder.ask(packet, CLIENT)
        if odd.reply == "silence":
            assert reply is None
            continue
        assert rcode(reply) == odd.reply
        read = dns.message.from_wire(reply)
        assert sum(map(len, read.answer)) == odd.records
        assert read.id == 0x1234
        assert read.flags & (dns.flags.QR | dns.flags.RA) == dns.flags.QR
        assert read.flags & dns.flags.RD == int.from_bytes(packet[2:4], "big") & dns.flags.RD
        if odd.parse == "query":
            assert reply[12:].startswith(packet[12 : 12 + len(read.question[0].name.to_wire()) + 4])


def test_what_is_known_is_not_asked_again(respond) -> None:
    handler = Handler()
    responder = respond(handler)
    first = responder.ask(WEB, CLIENT)
    assert responder.recall(WEB) == first
    assert responder.answers.lasting[WEB[2:]].whole() == first[2:]
    assert handler.asked == 1
    responder.forget([b"read"])
    assert responder.recall(WEB) is None


@pytest.mark.parametrize(
    "reply",
    [Reply(lifetime=0), Reply(lifetime=30.0), Reply(reads=(b"read",), lifetime=0)],
    ids=["none", "seconds", "none, with reads"],
)
def test_what_has_a_lifetime_is_not_kept(respond, reply: Reply) -> None:
    responder = respond(Handler(reply))
    responder.ask(WEB, CLIENT)
    assert responder.recall(WEB) is None


@pytest.mark.parametrize(
    "packet",
    [
        asked("web.", rdclass="CH"),
        WEB[:2] + b"\5\0" + WEB[4:],
        WEB + b"\0",
        asked("web.", use_edns=1),
        asked("web.", "TKEY"),
        WEB[:-1],
    ],
    ids=["class", "flag", "junk", "version", "meta type", "malformed"],
)
def test_what_is_not_ordinary_is_not_kept(respond, packet: bytes) -> None:
    responder = respond(Handler())
    responder.ask(packet, CLIENT)
    assert not responder.answers.lasting
    assert not responder.answers.epochal


def test_a_name_with_a_zero_byte_is_not_kept(respond) -> None:
    responder = respond(Handler())
    packet = WEB[:12] + b"\3a\0b\0" + WEB[-4:]
    assert rcode(responder.ask(packet, CLIENT)) == "NOERROR"
    assert not responder.answers.lasting


def test_other_blocks_after_a_reload(respond) -> None:
    responder = respond(Handler())
    responder.ask(WEB, CLIENT)
    other = Handler(Reply(rcode=codes.NXDOMAIN, reads=(b"a", EPOCH + b"serial")))
    responder.reroute(Router([Block(".", b"\0", other)]))
    assert responder.recall(WEB) is None
    assert rcode(responder.ask(WEB, CLIENT)) == "NXDOMAIN"
    assert rcode(responder.recall(WEB)) == "NXDOMAIN"
    responder.reroute(Router())
    assert responder.recall(WEB) is None
    assert rcode(responder.ask(WEB, CLIENT)) == "REFUSED"


@pytest.mark.parametrize(
    ("router", "packet"),
    [
        (Router(), WEB),
        (Router([Block("example.org.", b"\7example\3org\0", Handler())]), WEB),
        (Router([Block(".", b"\0", None, metrics=True)]), WEB),
        (Router([Block(".", b"\0", Handler())]), asked("web.", rdclass="CH")),
    ],
    ids=["no block", "another zone", "no plugin", "class CH"],
)
def test_refused(router: Router, packet: bytes) -> None:
    responder = Responder(Lane("dns://:53", "udp", 4), router, Traffic(), lambda: 0.0)
    for _ in range(2):
        assert rcode(responder.recall(packet) or responder.ask(packet, CLIENT)) == "REFUSED"


def test_response_codes_that_nobody_knows_are_counted_as_one(respond) -> None:
    traffic = Traffic()
    for number in (14, 15, 3841):
        reply = Reply(rcode=number, lifetime=0)
        respond(Handler(reply), traffic=traffic).ask(asked("web.", use_edns=0), CLIENT)
    assert {tally.labels.rcode for tally in traffic.tallies()} == {"other"}


def test_a_plugin_that_raises(respond, caplog) -> None:
    handler = Handler(ValueError("broken\nline"))
    traffic = Traffic()
    responder = respond(handler, traffic=traffic)
    with caplog.at_level(logging.ERROR):
        assert rcode(responder.ask(WEB, CLIENT)) == "SERVFAIL"
    assert responder.recall(WEB) is None
    assert traffic.panics == 1
    (record,) = caplog.records
    assert "web.default.svc.cluster.local. A" in record.getMessage()
    assert record.exc_info[1] is handler.answer


async def test_a_plugin_that_raises_later(respond, caplog) -> None:
    async def answer():
        await asyncio.sleep(0)
        raise ValueError("broken")

    traffic = Traffic()
    responder = respond(lambda _: answer(), traffic=traffic)
    assert rcode(await responder.ask(WEB, CLIENT)) == "SERVFAIL"
    assert responder.recall(WEB) is None
    assert traffic.panics == 1


async def test_an_answer_that_comes_later_is_kept(respond) -> None:
    done = asyncio.get_running_loop().create_future()
    handler = Handler(done)
    responder = respond(handler)
    pending = responder.ask(WEB, CLIENT)
    assert not isinstance(pending, bytes)
    assert responder.recall(WEB) is None
    done.set_result(Reply(rcode=codes.NXDOMAIN))
    reply = await pending
    assert rcode(reply) == "NXDOMAIN"
    assert responder.recall(WEB) == reply


def test_the_chain_is_asked_once_for_many_names_that_do_not_exist(cluster) -> None:
    traffic = Traffic()
    responder = cluster.responder(traffic=traffic)
    first = responder.ask(asked("host-000.example.com.default.svc.cluster.local"), CLIENT)
    assert rcode(first) == "NXDOMAIN"
    for n in range(1, 500):
        packet = asked(f"host-{n:03}.example.com.default.svc.cluster.local")
        reply = responder.recall(packet)
        assert reply[12:] == packet[12:] + first[len(packet) :]
    (tally,) = [tally for tally in traffic.tallies() if tally.count]
    assert tally.count == 500
    cluster.service("com", "None")
    cluster.slice("com-1", "com", "10.0.0.1=example")
    assert responder.recall(asked("host-000.example.com.default.svc.cluster.local")) is None


def test_a_change_is_seen_at_once(cluster) -> None:
    responder = cluster.responder()
    fresh = asked("new.default.svc.cluster.local")
    assert rcode(responder.ask(fresh, CLIENT)) == "NXDOMAIN"
    cluster.service("new", "10.96.0.99")
    assert responder.recall(fresh) is None
    assert rcode(responder.ask(fresh, CLIENT)) == "NOERROR"
    assert rcode(responder.recall(fresh)) == "NOERROR"
    cluster.delete("Service", "new")
    assert rcode(responder.recall(fresh) or responder.ask(fresh, CLIENT)) == "NXDOMAIN"


def test_rotation_goes_on_from_the_chain_into_memory(cluster) -> None:
    responder = cluster.responder()
    packet = asked("db.default.svc.cluster.local", use_edns=0, payload=1232)
    firsts = []
    for _ in range(100):
        reply = responder.recall(packet) or responder.ask(packet, CLIENT)
        firsts.append(dns.message.from_wire(reply).answer[0][0].address)
    assert len(set(firsts[1:])) == 99


def test_durations_are_by_the_clock(respond) -> None:
    now = iter(range(100))
    traffic = Traffic()
    responder = respond(Handler(), traffic=traffic, clock=lambda: next(now))
    responder.ask(WEB, CLIENT)
    (histogram,) = traffic.durations().values()
    assert (histogram.total, histogram.sum) == (1, 1.0)


async def test_an_answer_that_comes_later_is_not_kept_if_something_changed_meanwhile(
    respond,
) -> None:
    done = asyncio.get_running_loop().create_future()
    responder = respond(Handler(done))
    pending = responder.ask(WEB, CLIENT)
    responder.forget([b"anything"])
    done.set_result(Reply(reads=(b"anything",)))
    assert rcode(await pending) == "NOERROR"
    assert responder.recall(WEB) is None


@pytest.mark.parametrize(
    "wrong",
    [
        Reply(answer=[RRset(b"\3web\0", codes.A, -1, [bytes(4)])]),
        Reply(answer=[RRset(b"\3web\0", codes.A, 5, [bytes(70_000)])]),
        Reply(answer=[RRset(b"\3web", codes.CNAME, 5, [b"\3web"])]),
        Reply(extended_error=(-1, "")),
        None,
    ],
    ids=["TTL", "data", "name", "error", "nothing"],
)
@pytest.mark.parametrize("later", [False, True])
async def test_a_reply_that_cannot_be_rendered(respond, wrong, later: bool) -> None:
    async def answer():
        await asyncio.sleep(0)
        return wrong

    traffic = Traffic()
    responder = respond(lambda _: answer() if later else wrong, "tcp", traffic=traffic)
    packet = asked("web.", use_edns=0)
    reply = responder.ask(packet, CLIENT)
    assert rcode(reply if isinstance(reply, bytes) else await reply) == "SERVFAIL"
    assert traffic.panics == 1
    assert responder.recall(packet) is None
