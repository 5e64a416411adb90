"""Upstreams that lie, break and stall, a row each, and what a forwarder owes its clients then.

A row scripts its upstreams, asks through the server, and asserts. Each has a zone and upstreams of
its own, so that all can run at once against one server.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import dns.edns
import dns.flags
import dns.message

from tests.upstream.messages import (
    Asked,
    Packet,
    answer,
    cut,
    header_only,
    longer,
    with_flags,
    with_number,
    with_question,
    words,
)
from tests.upstream.scripted import (
    Step,
    by_edns,
    by_transport,
    closes,
    dribbles,
    held,
    later,
    sends,
    sends_elsewhere,
    silent,
    streams,
    until,
)
from tests.wire.talk import Heard, Talk

PATIENCE_OF_CLIENTS = 5.0
"""Seconds; glibc's resolver waits so long (resolv.conf(5), timeout)."""

TRIES = 3
"""The most questions that one server is sent for one (RFC 9520 §2.1 and §3.1)."""

GOOD_ADDRESS, EVIL_ADDRESS = "192.0.2.1", "203.0.113.66"
_EVIL_BYTES = bytes((203, 0, 113, 66))

GOOD = answer(f"@ 60 A {GOOD_ADDRESS}")
EVIL = answer(f"@ 60 A {EVIL_ADDRESS}")
_SOA = "% 60 SOA ns.% hostmaster.% 1 7200 1800 86400 60"

Play = Callable[[Talk], None]


class Row(NamedTuple):
    """A name, where it is written what to do, the talk itself, and how many upstreams it takes.

    One that is `timed` asserts how long something takes, which a busy machine can spoil.
    """

    name: str
    source: str
    play: Play
    upstreams: int = 1
    timed: bool = False

    def __str__(self) -> str:
        return self.name


def good(heard: Heard) -> None:
    """The right address, nothing evil beside it, and in time."""
    assert heard.rcode == "NOERROR", heard
    assert heard.addresses == {GOOD_ADDRESS}, heard
    unharmed(heard)


def unharmed(heard: Heard) -> None:
    """Nothing evil, and in time."""
    assert _EVIL_BYTES not in heard.wire, heard
    assert heard.seconds < PATIENCE_OF_CLIENTS, heard


def failed(heard: Heard) -> None:
    """SERVFAIL that says why, in time."""
    unharmed(heard)
    assert heard.rcode == "SERVFAIL", heard
    assert heard.errors, f"{heard}: no extended error"


def _good_after(step: Step) -> Play:
    def play(talk: Talk) -> None:
        talk.script(step)
        good(talk.ask())

    return play


def _ignored(*packets: Packet) -> Play:
    """What comes first is no answer; the right one comes 40 ms later, and is the client's."""
    return _good_after(sends(*packets, GOOD))


def _record(rest: str) -> Packet:
    """A response with one answer record: `rest` behind the question, `here` its own offset."""

    def packet(asked: Asked) -> bytes:
        here = 0xC000 | 12 + len(asked.section)
        text = f"{rest} "
        for place in range(0, 20, 2):
            text = text.replace(f"here+{place} ", f"{here + place:04x} ")
        return words(f"id 8180 0001 0001 0000 0000 question {text}")(asked)

    return packet


_MANY = answer(*(f"@ 60 A 192.0.2.{n}" for n in range(1, 201)))
_HUGE = answer(*(f"@ 60 A 198.18.{n >> 8}.{n & 255}" for n in range(4000)))
_SOON = 0.18
"""Seconds in which no server asks again yet what it had no answer to."""

_OF_AN_ANSWER = "c00c 0001 0001 0000003c"

IGNORED: dict[str, tuple[str, Packet]] = {
    "another ID": ("RFC 5452 9.1", with_number(EVIL)),
    "another name": ("RFC 5452 9.1", answer(f"@ 60 A {EVIL_ADDRESS}", name="other.example.")),
    "another type": ("RFC 5452 9.1", with_question(EVIL, qtype=28)),
    "another class": ("RFC 5452 9.1", with_question(EVIL, qclass=3)),
    "a query": ("RFC 5452 9.1", with_flags(EVIL, off=0x8000)),
    "another opcode": ("RFC 5452 9.1", with_flags(EVIL, on=0x1000)),
    "no byte": ("RFC 1035 4.1.1", cut(GOOD, 0)),
    "two bytes": ("RFC 1035 4.1.1", cut(GOOD, 2)),
    "eleven bytes": ("RFC 1035 4.1.1", cut(GOOD, 11)),
    "a header alone: NOERROR": ("RFC 9267 7", header_only(0x8180)),
    "a header alone: SERVFAIL": ("RFC 5452 9.1", header_only(0x8182)),
    "a header alone: NXDOMAIN": ("RFC 5452 9.1", header_only(0x8183)),
    "a header alone: FORMERR": ("RFC 6891 7", header_only(0x8181)),
    "a header that promises a question": (
        "RFC 9267 7",
        words("id 8180 0001 0000 0000 0000"),
    ),
    "two questions": ("RFC 9619 4", words("id 8180 0002 0000 0000 0000 question question")),
    "junk in the place of records": (
        "RFC 9267 6",
        words("id 8180 0001 0001 0000 0000 question ff*40"),
    ),
    "65535 records promised": ("RFC 9267 7", words("id 8180 0001 ffff ffff ffff question")),
    "a record cut short": ("RFC 9267 6", cut(answer(f"@ 60 A {EVIL_ADDRESS}", edns=False), -2)),
    "a record that is longer than the message": (
        "RFC 9267 6",
        _record(f"{_OF_AN_ANSWER} 0100 cb007142"),
    ),
    "an address of three bytes": ("RFC 1035 3.4.1", _record(f"{_OF_AN_ANSWER} 0003 cb0071")),
    "an address of five bytes": ("RFC 1035 3.4.1", _record(f"{_OF_AN_ANSWER} 0005 cb00714200")),
    "an owner that points at itself": (
        "RFC 9267 2",
        _record("here+0 0001 0001 0000003c 0004 cb007142"),
    ),
    "an alias that points at itself": (
        "RFC 9267 2",
        _record("c00c 0005 0001 0000003c 0002 here+12"),
    ),
    "an alias that points ahead": (
        "RFC 1035 4.1.4",
        _record("c00c 0005 0001 0000003c 0002 here+14 00"),
    ),
    "an alias with a label of a kind that is not": (
        "RFC 1035 4.1.4",
        _record("c00c 0005 0001 0000003c 0003 816100"),
    ),
    "an alias with a name that is too long": (
        "RFC 1035 2.3.4",
        _record(f"c00c 0005 0001 0000003c 0101 {'3f' + 63 * '61'}*4 00"),
    ),
    "an alias that ends before its rdata": (
        "RFC 1035 3.3.1",
        _record("c00c 0005 0001 0000003c 0004 0161 00ff"),
    ),
    "64 KB of junk": ("none, a datagram can be as large", longer(cut(GOOD, 2), bytes(60000))),
    "64 KB that nobody made room for": (
        "RFC 6891 6.2.3",
        longer(answer(f"@ 60 A {EVIL_ADDRESS}"), bytes(40000)),
    ),
}
"""Packets that are no answer to what was asked: the waiting goes on."""


def _elsewhere(talk: Talk) -> None:
    talk.script(sends_elsewhere(EVIL, sends(GOOD)))
    good(talk.ask())


def _flood(talk: Talk) -> None:
    wrong = [with_number(EVIL, n) for n in range(1, 101)]
    talk.script(sends(*wrong, GOOD, apart=0.0))
    good(talk.ask())


def _spoofed_again_and_again(talk: Talk) -> None:
    """Packets that anybody can send say nothing of the upstream's health."""
    for number in range(12):
        talk.script(sends(with_question(EVIL, qtype=28), GOOD), label=f"n{number}")
        heard = talk.ask(f"n{number}")
        good(heard)
        assert heard.seconds < 1.0, heard


def _twice(talk: Talk) -> None:
    talk.script(sends(GOOD, GOOD, EVIL, apart=0.0))
    talk.script(sends(GOOD), label="next")
    good(talk.ask())
    good(talk.ask("next"))
    good(talk.ask())


def _reordered(talk: Talk) -> None:
    """Ten questions whose answers come in the other order."""
    packets = []
    gates = [talk.network.gate() for _ in range(10)]
    for number, gate in enumerate(gates):
        own = answer(f"@ 60 A 192.0.2.{100 + number}")
        talk.script(held(gate, sends(own)), label=f"n{number}")
        packets.append(_question(talk, f"n{number}"))

    def release() -> None:
        talk.upstream.wait(lambda: len(talk.upstream.of(f".{talk.zone}")) >= 10, 3.0)
        for gate in reversed(gates):
            gate.open()

    for number, heard in enumerate(talk.ask_at_once(packets, release)):
        assert heard.addresses == {f"192.0.2.{100 + number}"}, heard


def _question(talk: Talk, label: str, **edns: object) -> bytes:
    query = dns.message.make_query(talk.name(label), "A", **edns)
    query.id = secrets.randbits(16)
    return query.to_wire()


def _truncated(talk: Talk) -> None:
    talk.script(by_transport(udp=sends(with_flags(EVIL, on=0x0200)), tcp=sends(GOOD)))
    heard = talk.ask()
    good(heard)
    assert not heard.message.flags & dns.flags.TC, heard


def _truncated_without_tcp(talk: Talk) -> None:
    """What was cut is for nobody's use, and there is nothing else."""
    talk.script(by_transport(udp=sends(with_flags(EVIL, on=0x0200)), tcp=closes))
    heard = talk.ask()
    unharmed(heard)
    assert heard.rcode == "SERVFAIL", heard


def _other_owner(talk: Talk) -> None:
    talk.script(sends(answer(f"other.% 60 A {EVIL_ADDRESS}")))
    heard = talk.ask()
    unharmed(heard)
    assert heard.rcode == "SERVFAIL", heard


def _unrelated(section: str) -> Play:
    """Records of a victim beside the answer: neither passed on nor remembered."""

    def play(talk: Talk) -> None:
        evil = f"victim.% 60 A {EVIL_ADDRESS}"
        own = [f"@ 60 A {GOOD_ADDRESS}"]
        lie = {
            "answer": answer(*own, evil),
            "authority": answer(*own, authority=["% 60 NS victim.%"], additional=[evil]),
            "additional": answer(*own, additional=[evil]),
        }[section]
        talk.script(sends(lie))
        talk.script(sends(GOOD), label="victim")
        good(talk.ask())
        good(talk.ask("victim"))
        good(talk.ask())

    return play


def _chain_to_victim(talk: Talk) -> None:
    """A chain answers its own question alone."""
    talk.script(sends(answer("@ 60 CNAME victim.%", f"victim.% 60 A {EVIL_ADDRESS}")))
    talk.script(sends(GOOD), label="victim")
    heard = talk.ask()
    assert heard.rcode == "NOERROR", heard
    good(talk.ask("victim"))


def _chain_in_any_order(talk: Talk) -> None:
    lines = [f"c.% 60 A {GOOD_ADDRESS}", "b.% 60 CNAME c.%", "@ 60 CNAME b.%"]
    talk.script(sends(answer(*lines)))
    heard = talk.ask()
    good(heard)
    assert heard.owners == [talk.name(), talk.name("b"), talk.name("c")], heard


def _bounded(*lines: str) -> Play:
    """Whatever is made of these aliases, it is made in time, of few questions, and is not much."""

    def play(talk: Talk) -> None:
        talk.script(sends(answer(*lines)))
        heard = talk.ask()
        unharmed(heard)
        assert heard.rcode in {"NOERROR", "SERVFAIL"}, heard
        assert len(heard.data) <= 12, heard
        assert talk.asked() <= TRIES, talk.asked()

    return play


def _ttl_of_a_negative_number(talk: Talk) -> None:
    """RFC 2181 §8: as 0; RFC 8767 §4 allows a cap."""
    talk.script(sends(answer(f"@ 0x80000001 A {GOOD_ADDRESS}")))
    heard = talk.ask()
    good(heard)
    assert b"\x80\0\0\1\0\4" not in heard.wire, heard
    assert heard.ttls[0] <= 604800, heard


def _ttl_zero(talk: Talk) -> None:
    talk.script(sends(answer(f"@ 0 A {EVIL_ADDRESS}")), sends(answer(f"@ 0 A {GOOD_ADDRESS}")))
    assert talk.ask().ttls == [0]
    heard = talk.ask()
    good(heard)
    assert heard.ttls == [0], heard


def _ttl_counts_down(talk: Talk) -> None:
    """And comes to its end, whoever asks in between."""
    talk.script(sends(answer(f"@ 6 A {EVIL_ADDRESS}")), sends(answer(f"@ 6 A {GOOD_ADDRESS}")))
    seen = talk.ask().ttls
    start = time.monotonic()

    def fresh() -> bool:
        heard = talk.ask()
        seen.extend(heard.ttls)
        return heard.addresses == {GOOD_ADDRESS}

    assert until(fresh, 8.0, every=0.1), seen
    assert time.monotonic() - start > 4.5
    first = seen[:-1]
    assert first == sorted(first, reverse=True), seen
    assert set(first) >= {6, 5, 4, 3, 2}, seen


def _denied(talk: Talk) -> None:
    talk.script(sends(answer(authority=[_SOA], rcode="NXDOMAIN")))
    before = 0
    for _ in range(5):
        heard = talk.ask()
        assert heard.rcode == "NXDOMAIN", heard
        assert len(heard.message.authority) == 1, heard
        before = before or talk.asked()
    assert talk.asked() == before


def _denied_without_soa(talk: Talk) -> None:
    """RFC 2308 §5: not kept as other denials are; some seconds are no harm."""
    talk.script(sends(answer(rcode="NXDOMAIN")))
    for _ in range(5):
        assert talk.ask().rcode == "NXDOMAIN"
    before = talk.asked()
    assert until(lambda: talk.ask() and talk.asked() > before, 7.0, every=0.1)


def _failure_is_kept(rcode: str) -> Play:
    """RFC 9520 §3.2: for a second at least, and few tries before."""

    def play(talk: Talk) -> None:
        talk.script(sends(answer(rcode=rcode)))
        for _ in range(5):
            assert talk.ask().rcode in {rcode, "SERVFAIL"}
        assert talk.asked() <= TRIES, f"{talk.asked()} questions"

    return play


def _failure_has_an_end(talk: Talk) -> None:
    """RFC 9520 §3.2: for five minutes at most; here, for the five seconds of `cache`."""
    talk.script(*[sends(answer(rcode="SERVFAIL"))] * 2, sends(GOOD))
    assert until(lambda: talk.ask().addresses == {GOOD_ADDRESS}, 12.0, every=0.2)


def _next_server(rcode: str) -> Play:
    """A server that does not answer the question costs no client its answer, if another does."""

    def play(talk: Talk) -> None:
        talk.upstreams[0].default = sends(answer(rcode=rcode))
        talk.upstreams[1].default = sends(GOOD)
        for number in range(8):
            good(talk.ask(f"n{number}"))

    return play


def _coalesced(**variations: bool) -> Play:
    """Identical questions under way are one: else each is a chance more for a forger."""

    def play(talk: Talk) -> None:
        gate = talk.network.gate()
        talk.script(held(gate, sends(GOOD)))
        talk.script(sends(GOOD), label="last")
        packets = []
        for number in range(30):
            label = "wWw" if variations.get("case") and number % 2 else "www"
            options: list[dns.edns.Option] = []
            if variations.get("options"):
                options.append(dns.edns.ECSOption(f"198.51.{number}.0"))
                options.append(dns.edns.GenericOption(10, secrets.token_bytes(8)))
            packets.append(_question(talk, label, use_edns=0, options=options))

        def release() -> None:
            talk.ask("last")  # who answers this has seen the thirty
            gate.open()

        for heard in talk.ask_at_once(packets, release):
            good(heard)
        asked = talk.upstream.of(talk.name())
        at_once = [each for each in asked if each.at - asked[0].at < _SOON]
        assert len(at_once) == 1, f"{len(at_once)} questions"

    return play


def _ports(talk: Talk) -> None:
    """Sixty questions, one after the other, each from its own port and with its own ID.

    Two may meet by chance, among the 28,000 ports there are (one run in 17); four hardly ever do.
    """
    talk.upstream.default = sends(GOOD)
    for number in range(60):
        good(talk.ask(f"n{number}"))
    asked = talk.upstream.of(f".{talk.zone}")
    ports = len({each.source[1] for each in asked})
    assert ports >= len(asked) - 2, f"{ports} ports in {len(asked)} questions"
    assert len({each.number for each in asked}) >= len(asked) - 2
    steps = {after.source[1] - before.source[1] for before, after in pairwise(asked)}
    assert len(steps) > 40, "ports in a row"


def _silent(talk: Talk) -> None:
    talk.script(silent)
    failed(talk.ask())
    assert talk.asked() <= TRIES, f"{talk.asked()} questions"


def _nobody_there(talk: Talk) -> None:
    talk.network.close(talk.upstream)
    failed(talk.ask())


def _one_of_two(death: str) -> Play:
    """The first question may take a moment; those after it feel nothing."""

    def play(talk: Talk) -> None:
        if death == "silent":
            talk.upstreams[0].default = silent
        else:
            talk.network.close(talk.upstreams[0])
        talk.upstreams[1].default = sends(GOOD)
        for number in range(30):
            heard = talk.ask(f"n{number}")
            good(heard)
            assert heard.seconds < (2.5 if number < 3 else 0.7), f"n{number}: {heard}"

    return play


def _slow_one_of_two(talk: Talk) -> None:
    """An upstream that gets slow is not waited for, once there is another."""
    for upstream in talk.upstreams:
        upstream.default = sends(GOOD)
    for number in range(20):
        good(talk.ask(f"before{number}"))
    talk.upstreams[0].default = later(1.5, sends(GOOD))
    taken = []
    for number in range(8):
        heard = talk.ask(f"n{number}")
        good(heard)
        taken.append(heard.seconds)
    assert sorted(taken)[len(taken) // 2] < 0.7, taken
    assert max(taken) < 2.5, taken


def _comes_back(talk: Talk) -> None:
    """An upstream that was dead is asked again once it lives."""
    talk.upstream.default = silent
    assert talk.ask("n").rcode == "SERVFAIL"
    talk.upstream.default = sends(GOOD)
    start = time.monotonic()
    number = iter(range(1000))
    assert until(lambda: talk.ask(f"n{next(number)}").rcode == "NOERROR", 5.0, every=0.1)
    assert time.monotonic() - start < 4.0


def _old_server(packet: Packet) -> Play:
    """RFC 6891 §7: without EDNS it answers."""

    def play(talk: Talk) -> None:
        talk.script(by_edns(sends(packet), sends(answer(f"@ 60 A {GOOD_ADDRESS}", edns=False))))
        good(talk.ask())

    return play


def _formerr_to_all(talk: Talk) -> None:
    talk.script(sends(header_only(0x8181)))
    heard = talk.ask()
    unharmed(heard)
    assert heard.rcode in {"SERVFAIL", "FORMERR"}, heard
    assert talk.asked() <= 2 * TRIES, f"{talk.asked()} questions"


def _case_is_echoed(talk: Talk) -> None:
    talk.script(sends(GOOD))
    for label in ("www", "WWW", "wWw"):
        heard = talk.ask(label)
        good(heard)
        assert heard.message.question[0].name.to_text().startswith(label), heard
    assert talk.asked() == 1


def _case_is_folded(talk: Talk) -> None:
    """Names are equal whatever their case (RFC 4343); some servers do not echo it."""
    talk.script(sends(with_question(GOOD, fold=True)))
    good(talk.ask("wWw"))


def _options_stay(talk: Talk) -> None:
    """Client cookies, client subnet and what nobody knows are between client and server alone."""
    talk.script(sends(GOOD))
    options = [
        dns.edns.GenericOption(10, b"\1\2\3\4\5\6\7\x08"),
        dns.edns.ECSOption("198.51.100.0", 24),
        dns.edns.GenericOption(65001, b"secret"),
    ]
    good(talk.ask(options=options))
    for asked in talk.upstream.of(talk.name()):
        assert not set(asked.options) & {8, 65001}, asked.options
        assert b"\1\2\3\4\5\6\7\x08" not in asked.packet


def _payload(talk: Talk) -> None:
    """RFC 9715 §3: what is asked for is what comes whole, whatever the client can take."""
    talk.script(sends(GOOD))
    good(talk.ask(payload=4096))
    asked, *_ = talk.upstream.of(talk.name())
    assert asked.message.edns == 0
    assert asked.message.payload == 1232, asked.message.payload


def _foreign_options(talk: Talk) -> None:
    """Options are hop by hop (RFC 6891 §6.1.1)."""
    options = [
        dns.edns.GenericOption(10, 16 * b"c"),
        dns.edns.ECSOption("198.51.100.0", 24, 24),
        dns.edns.GenericOption(65001, b"secret"),
    ]
    talk.script(sends(answer(f"@ 60 A {GOOD_ADDRESS}", options=options)))
    heard = talk.ask()
    good(heard)
    assert b"secret" not in heard.wire
    assert {int(each.otype) for each in heard.message.options} <= {15}


def _apart(first: dict[str, object], second: dict[str, object]) -> Play:
    """What one asked with is not for one who asks otherwise."""

    def play(talk: Talk) -> None:
        talk.script(sends(EVIL), sends(GOOD))
        talk.ask(**first)  # type: ignore[arg-type]
        good(talk.ask(**second))  # type: ignore[arg-type]

    return play


def _other_class(talk: Talk) -> None:
    talk.script(sends(answer("@ 60 TXT internet")), sends(answer("@ 60 TXT chaos")))
    assert talk.ask(qtype="TXT").data == ['"internet"']
    assert '"internet"' not in talk.ask(qtype="TXT", qclass="CH").data


def _authentic(talk: Talk) -> None:
    """RFC 6840 §5.8: AD is for who asked for it."""
    talk.script(sends(answer(f"@ 60 A {GOOD_ADDRESS}", flags="QR RD RA AD")))
    for _ in range(2):
        heard = talk.ask()
        good(heard)
        assert not heard.message.flags & dns.flags.AD


def _signatures(talk: Talk) -> None:
    """Signatures are for who asked for them (RFC 4035 §3.2.1)."""
    signature = "@ 60 RRSIG A 8 3 60 20380101000000 20200101000000 1 example. AAAA"
    with_it = answer(f"@ 60 A {GOOD_ADDRESS}", signature)

    async def step(asked: Asked, way: object) -> None:
        wanted = asked.message.ednsflags & dns.flags.DO
        await way.send((with_it if wanted else GOOD)(asked))  # type: ignore[attr-defined]

    talk.script(step)
    assert len(talk.ask(dnssec_ok=True).data) == 2
    assert len(talk.ask().data) == 1
    assert len(talk.ask(dnssec_ok=True).data) == 2


def _unknown_type(talk: Talk) -> None:
    """RFC 3597 §3: as bytes."""
    talk.script(sends(answer(r"@ 60 TYPE65280 \# 5 c00c00ff01")))
    for _ in range(2):
        heard = talk.ask(qtype="TYPE65280")
        assert heard.data == [r"\# 5 c00c00ff01"], heard


def _large(talk: Talk) -> None:
    """64 KB: whole over TCP, TC over UDP, and the server none the worse."""
    talk.script(by_transport(udp=sends(with_flags(answer(), on=0x0200)), tcp=sends(_HUGE)))
    heard = talk.ask(tcp=True)
    assert len(heard.addresses) == 4000, heard.rcode
    over_udp = talk.ask()
    assert over_udp.message.flags & dns.flags.TC
    assert len(over_udp.wire) <= 4096


def _too_large_for_udp(talk: Talk) -> None:
    """A client that offers no room gets TC, and the rest over TCP."""
    talk.script(by_transport(udp=sends(with_flags(answer(), on=0x0200)), tcp=sends(_MANY)))
    heard = talk.ask(edns=False)
    assert heard.message.flags & dns.flags.TC, heard
    assert len(heard.wire) <= 512
    assert len(talk.ask(edns=False, tcp=True).data) == 200


def _over_tcp(*steps: Step) -> Play:
    """Steps of a stream, for a client that asks over one."""

    def play(talk: Talk) -> None:
        talk.script(*(by_transport(udp=sends(GOOD), tcp=step) for step in steps))
        good(talk.ask(tcp=True))

    return play


def _dribbles_for_ever(talk: Talk) -> None:
    talk.script(by_transport(udp=sends(EVIL), tcp=dribbles(_MANY, apart=0.7)))
    failed(talk.ask(tcp=True))


def _stream_is_cut(talk: Talk) -> None:
    """A kept connection may have gone; that is no reason to fail."""
    talk.upstream.default = sends(GOOD)
    for number in range(4):
        good(talk.ask(f"n{number}", tcp=True))
        talk.network.cut(talk.upstream)


def _pipelined(talk: Talk) -> None:
    """RFC 7766 §6.2.1.1 and §7: several on their way, answered in any order."""
    gates = [talk.network.gate() for _ in range(5)]
    packets = []
    for number, gate in enumerate(gates):
        own = sends(answer(f"@ 60 A 192.0.2.{100 + number}"))
        talk.script(by_transport(udp=own, tcp=held(gate, own)), label=f"n{number}")
        packets.append(_question(talk, f"n{number}"))

    def release() -> None:
        talk.upstream.wait(lambda: len(talk.upstream.of(f".{talk.zone}")) >= 5, 3.0)
        for gate in reversed(gates):
            gate.open()

    for number, heard in enumerate(talk.ask_at_once(packets, release, tcp=True)):
        assert heard.addresses == {f"192.0.2.{100 + number}"}, heard


def _frames(*packets: Packet) -> Packet:
    """Messages of a stream, each behind its length."""

    def content(asked: Asked) -> bytes:
        made = [packet(asked) for packet in packets]
        return b"".join(len(each).to_bytes(2, "big") + each for each in made)

    return content


ROWS = [
    *(
        Row(f"first: {name}", source, _ignored(packet))
        for name, (source, packet) in IGNORED.items()
    ),
    Row("first: from another port", "RFC 5452 9.2", _elsewhere),
    Row("first: a hundred IDs", "RFC 5452 9.1", _flood),
    Row("first: another type, twelve times", "RFC 5452 9.1", _spoofed_again_and_again, timed=True),
    Row("answered three times", "RFC 5452 9.1", _twice),
    Row("answered in another order", "RFC 7766 7", _reordered),
    # Truncation
    Row("TC with an answer", "RFC 2181 9", _truncated),
    Row("TC, and no TCP", "RFC 2181 9", _truncated_without_tcp),
    # What is in an answer
    Row("an answer of another owner", "RFC 2181 5.4.1", _other_owner),
    Row("unrelated: answer", "RFC 2181 5.4.1", _unrelated("answer")),
    Row("unrelated: authority", "RFC 2181 5.4.1", _unrelated("authority")),
    Row("unrelated: additional", "RFC 2181 5.4.1", _unrelated("additional")),
    Row("an alias for a victim", "RFC 5452 6", _chain_to_victim),
    Row("aliases in another order", "RFC 1034 3.6.2", _chain_in_any_order),
    Row("an alias for itself", "RFC 1034 3.6.2", _bounded("@ 60 CNAME @")),
    Row("aliases in a circle", "RFC 1034 3.6.2", _bounded("@ 60 CNAME b.%", "b.% 60 CNAME @")),
    Row(
        "thirty aliases",
        "RFC 1034 3.6.2",
        _bounded("@ 60 CNAME a0.%", *(f"a{n}.% 60 CNAME a{n + 1}.%" for n in range(30))),
    ),
    Row("a type that nobody knows", "RFC 3597 3", _unknown_type),
    # TTLs
    Row("TTL 0x80000001", "RFC 2181 8", _ttl_of_a_negative_number),
    Row("TTL 0", "RFC 1035 3.2.1", _ttl_zero),
    Row("TTL counts down", "RFC 1035 3.2.1", _ttl_counts_down, timed=True),
    # Denials and failures
    Row("NXDOMAIN, five times", "RFC 2308 5", _denied),
    Row("NXDOMAIN without SOA, five times", "RFC 2308 5", _denied_without_soa),
    Row("SERVFAIL, five times", "RFC 9520 3.2", _failure_is_kept("SERVFAIL")),
    Row("REFUSED, five times", "RFC 9520 3.2", _failure_is_kept("REFUSED")),
    Row("SERVFAIL, then none", "RFC 9520 3.2", _failure_has_an_end),
    Row("one of two says REFUSED", "RFC 9520 2.2", _next_server("REFUSED"), upstreams=2),
    Row("one of two says SERVFAIL", "RFC 9520 2.2", _next_server("SERVFAIL"), upstreams=2),
    # Chances for forgers
    Row("thirty at once", "RFC 5452 5", _coalesced(), timed=True),
    Row("thirty at once, in two cases", "RFC 5452 5", _coalesced(case=True), timed=True),
    Row("thirty at once, with other options", "RFC 5452 5", _coalesced(options=True), timed=True),
    Row("sixty ports", "RFC 5452 9.2", _ports),
    # Silence and death
    Row("silence", "RFC 9520 3.1", _silent, timed=True),
    Row("nobody there", "RFC 8914 4.23", _nobody_there, timed=True),
    Row("one of two is silent", "none, clients wait", _one_of_two("silent"), 2, timed=True),
    Row("one of two is not there", "none, clients wait", _one_of_two("closed"), 2, timed=True),
    Row("one of two gets slow", "none, clients wait", _slow_one_of_two, 2, timed=True),
    Row("back from the dead", "none, clients wait", _comes_back, timed=True),
    # EDNS
    Row("an old server: FORMERR alone", "RFC 6891 7", _old_server(header_only(0x8181))),
    Row("an old server: NOTIMP alone", "RFC 6891 7", _old_server(header_only(0x8184))),
    Row(
        "an old server: FORMERR",
        "RFC 6891 7",
        _old_server(answer(rcode="FORMERR", edns=False)),
    ),
    Row("FORMERR to all", "RFC 6891 7", _formerr_to_all),
    Row("options of a client", "RFC 7871 11.1", _options_stay),
    Row("options of an upstream", "RFC 6891 6.1.1", _foreign_options),
    Row("the size that is offered", "RFC 9715 3", _payload),
    Row("the case of the question", "RFC 4343 3", _case_is_echoed),
    Row("a question in lower case", "RFC 4343 3", _case_is_folded),
    # Who asks how
    Row("CD, and not", "RFC 4035 4.7", _apart({"flags": "RD CD"}, {})),
    Row("not CD, and CD", "RFC 4035 4.7", _apart({}, {"flags": "RD CD"})),
    Row("another class", "RFC 1035 3.2.4", _other_class),
    Row("AD for who did not ask", "RFC 6840 5.8", _authentic),
    Row("signatures for who did not ask", "RFC 4035 3.2.1", _signatures),
    # Streams
    Row("64 KB over TCP", "RFC 1035 4.2.2", _large),
    Row("more than UDP takes", "RFC 2181 9", _too_large_for_udp),
    Row("TCP: byte by byte", "RFC 7766 8", _over_tcp(dribbles(GOOD, apart=0.01)), timed=True),
    Row("TCP: byte by byte, for ever", "RFC 7766 6.2.3", _dribbles_for_ever, timed=True),
    Row("TCP: closed at once", "RFC 7766 6.2.4", _over_tcp(closes, sends(GOOD))),
    Row(
        "TCP: closed half-way",
        "RFC 7766 6.2.4",
        _over_tcp(streams(words("0040 id 8180"), closes), sends(GOOD)),
    ),
    Row(
        "TCP: a message of no bytes, and no more",
        "RFC 7766 8",
        _over_tcp(streams(_frames(cut(GOOD, 0))), sends(GOOD)),
    ),
    Row(
        "TCP: another ID first",
        "RFC 7766 7",
        _over_tcp(streams(_frames(with_number(EVIL)), sends(GOOD))),
    ),
    Row("TCP: cut between questions", "RFC 7766 6.2.4", _stream_is_cut),
    Row("TCP: answered in another order", "RFC 7766 7", _pipelined),
]
