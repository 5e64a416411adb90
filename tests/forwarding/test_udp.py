"""Over UDP: every question from a port of its own, and nothing heard but its answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import dns.message
import dns.rrset
import pytest
import uvloop

from kdns.dns.names import from_text
from kdns.dns.response import read
from kdns.forwarding.exchange import Lost, Question
from kdns.forwarding.options import Options, Target
from kdns.forwarding.ports import Ports
from kdns.forwarding.udp import UdpTransport

PATIENCE = 5.0
LOCAL = "127.0.0.1"
NAME = "www.Example.com."
QUESTION = Question(from_text(NAME) + b"\0\1\0\1", 0x0100, dnssec_ok=False)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """run(coroutine) on one of the loops."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner.run


class Upstream:
    """A socket that hears questions and says what it is told."""

    def __init__(self, host=LOCAL, family=socket.AF_INET):
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sock.settimeout(PATIENCE)
        self.target = Target("dns", *self.sock.getsockname()[:2])

    def hear(self) -> tuple[bytes, tuple]:
        return self.sock.recvfrom(4096)

    def say(self, packet: bytes, to: tuple) -> None:
        self.sock.sendto(packet, to)

    def nothing(self) -> bool:
        self.sock.setblocking(False)
        try:
            self.sock.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.sock.settimeout(PATIENCE)
        return False


@pytest.fixture
def upstream():
    it = Upstream()
    yield it
    it.sock.close()


class Ear:
    """Hears what comes of a question."""

    def __init__(self):
        self.all: list[bytes | Lost] = []
        self._changed = asyncio.Event()

    def __call__(self, what: bytes | Lost) -> bool:
        self.all.append(what)
        self._changed.set()
        return isinstance(what, Lost) or read(what) is not None

    async def times(self, count: int) -> list[bytes | Lost]:
        async with asyncio.timeout(PATIENCE):
            while len(self.all) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.all

    async def what(self) -> bytes | Lost:
        return (await self.times(1))[-1]


def transport(upstream, bits=None, **options) -> UdpTransport:
    loop = asyncio.get_running_loop()
    more = {} if bits is None else {"bits": bits}
    return UdpTransport(upstream.target, Options((upstream.target,), **options), loop, **more)


def good(asked: bytes, address="192.0.2.1", **changes) -> bytes:
    message = dns.message.make_response(dns.message.from_wire(asked))
    message.answer.append(dns.rrset.from_text(NAME, 60, "IN", "A", address))
    return message.to_wire()


def renamed(asked: bytes) -> bytes:
    return good(asked).replace(b"\3www", b"\3wwx")


def pointing_at_itself(asked: bytes) -> bytes:
    """A CNAME whose target is a pointer to itself."""
    end = 12 + len(QUESTION.section)
    record = b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\2" + bytes((0xC0, end + 12))
    return asked[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + asked[12:end] + record


BAD: dict[str, Callable[[bytes], bytes]] = {
    "wrong ID": lambda asked: bytes((asked[0] ^ 1,)) + good(asked)[1:],
    "wrong name": renamed,
    "other case": lambda asked: good(asked).replace(b"\7Example", b"\7eXAMPLE"),
    "wrong type": lambda asked: good(asked).replace(b"\3com\0\0\1", b"\3com\0\0\x1c", 1),
    "wrong class": lambda asked: good(asked).replace(b"\3com\0\0\1\0\1", b"\3com\0\0\1\0\3", 1),
    "no response": lambda asked: asked,
    "wrong opcode": lambda asked: asked[:2] + b"\xa8" + good(asked)[3:],
    "two bytes": lambda asked: asked[:2],
    "nothing": lambda _: b"",
    "header alone": lambda asked: asked[:2] + b"\x81\x80" + bytes(8),
    "two questions": lambda asked: asked[:2] + b"\x81\x80\0\2" + good(asked)[6:],
    "cut in a record": lambda asked: good(asked)[:-20],
    "garbage": lambda asked: good(asked)[:40] + b"\xff" * 40,
    "loop in rdata": pointing_at_itself,
    "too long": lambda asked: good(asked) + bytes(1300),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_what_is_no_answer_is_ignored_while_the_waiting_goes_on(run, upstream, bad):
    async def test():
        ear, way = Ear(), transport(upstream)
        way.send(QUESTION, ear)
        asked, who = upstream.hear()
        for packet in (bad(asked), bad(asked), good(asked)):
            upstream.say(packet, who)
        while (await ear.what()) != good(asked):
            await ear.times(len(ear.all) + 1)
        assert not any(isinstance(each, Lost) for each in ear.all)
        way.close()

    run(test())


def test_what_comes_from_elsewhere_is_not_heard(run, upstream):
    async def test():
        ear, way = Ear(), transport(upstream)
        way.send(QUESTION, ear)
        asked, who = upstream.hear()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(good(asked, "192.0.2.66"), who)
        upstream.say(good(asked), who)
        assert await ear.what() == good(asked)
        way.close()

    run(test())


def test_a_question_says_nothing_of_the_client(run, upstream):
    async def test():
        way = transport(upstream)
        way.send(QUESTION, Ear())
        message = dns.message.from_wire(upstream.hear()[0])
        assert (message.edns, message.payload, message.options) == (0, 1232, ())
        way.close()

    run(test())


@pytest.mark.parametrize("source", ["", LOCAL, "127.0.0.9"])
def test_sixty_questions_have_sixty_ports_and_ids(run, upstream, source):
    async def test():
        way = transport(upstream, source_address=source)
        ports, numbers = set(), set()
        for _ in range(60):
            ear = Ear()
            way.send(QUESTION, ear)
            asked, who = upstream.hear()
            assert who[0] == (source or LOCAL)
            upstream.say(good(asked), who)
            assert await ear.what() == good(asked)
            ports.add(who[1])
            numbers.add(asked[:2])
        # Of some 28,000 two may be the same by chance.
        assert len(ports) >= 57
        assert len(numbers) >= 59
        way.close()

    run(test())


def test_ipv6(run):
    async def test():
        try:
            upstream = Upstream("::1", socket.AF_INET6)
        except OSError:
            pytest.skip("this machine has no IPv6")
        way = transport(upstream)
        ports = set()
        for _ in range(5):
            ear = Ear()
            way.send(QUESTION, ear)
            asked, who = upstream.hear()
            upstream.say(good(asked), who)
            assert await ear.what() == good(asked)
            ports.add(who[1])
        assert len(ports) == 5
        way.close()
        upstream.sock.close()

    run(test())


def test_a_late_answer_is_not_heard_by_the_next_question(run, upstream):
    async def test():
        # The worst of luck: all IDs are the same.
        way = transport(upstream, lambda size: b"\x11" * size)
        first, second = Ear(), Ear()
        way.send(QUESTION, first)
        asked, who = upstream.hear()
        for address in ("192.0.2.1", "192.0.2.66", "192.0.2.67"):
            upstream.say(good(asked, address), who)
        await first.what()
        way.send(QUESTION, second)
        again, other = upstream.hear()
        assert again[:2] == asked[:2]
        assert other[1] != who[1]
        upstream.say(good(asked, "192.0.2.66"), who)
        upstream.say(good(again, "192.0.2.2"), other)
        assert await second.what() == good(again, "192.0.2.2")
        assert first.all == [good(asked)]
        way.close()

    run(test())


def test_nothing_is_heard_of_what_was_given_up(run, upstream):
    async def test():
        way = transport(upstream)
        given_up, ear = Ear(), Ear()
        pending = way.send(QUESTION, given_up)
        asked, who = upstream.hear()
        upstream.say(good(asked), who)
        pending.give_up()
        pending.give_up()
        way.send(QUESTION, ear)
        again, other = upstream.hear()
        upstream.say(good(again), other)
        await ear.what()
        assert given_up.all == []
        way.close()

    run(test())


def test_a_refusal_of_the_system_is_heard_at_once_each_time(run):
    async def test():
        nobody = Upstream()
        nobody.sock.close()
        way = transport(nobody)
        for _ in range(5):
            ear = Ear()
            way.send(QUESTION, ear)
            assert ear.all == []
            assert await ear.what() == Lost("connection refused")
        way.close()

    run(test())


def test_what_cannot_be_sent_is_heard_as_lost_later(run, upstream):
    async def test():
        # Our own address is there; the upstream's is not to be reached from it.
        upstream.target = Target("dns", "192.0.2.1", 53)
        ear, way = Ear(), transport(upstream, source_address=LOCAL)
        way.send(QUESTION, ear)
        assert ear.all == []
        assert isinstance(await ear.what(), Lost)
        way.close()

    run(test())


def test_a_machine_without_sockets_says_nothing_of_the_upstream(run, upstream, monkeypatch):
    async def test():
        way = transport(upstream)
        ear = Ear()
        monkeypatch.setattr(way.ports, "_limit", 0)
        way.send(QUESTION, ear)
        assert await ear.what() == Lost("all of its 0 udp ports are taken", local=True)
        way.close()

    run(test())


def test_truncated_is_for_tcp(run, upstream):
    async def test():
        ear, way = Ear(), transport(upstream)
        way.send(QUESTION, ear)
        asked, who = upstream.hear()
        packet = good(asked)
        upstream.say(packet[:2] + bytes((packet[2] | 2,)) + packet[3:], who)
        lost = await ear.what()
        assert isinstance(lost, Lost)
        assert lost.by_tcp
        way.close()

    run(test())


NO_EDNS = {
    "header alone, FORMERR": lambda asked: asked[:2] + b"\x81\x81" + bytes(8),
    "header alone, NOTIMP": lambda asked: asked[:2] + b"\x81\x84" + bytes(8),
    "with the question": lambda asked: asked[:2] + b"\x81\x81\0\1" + bytes(6) + QUESTION.section,
}


@pytest.mark.parametrize("refusal", NO_EDNS.values(), ids=NO_EDNS.keys())
def test_a_server_without_edns_is_asked_without(run, upstream, refusal):
    async def test():
        ear, way = Ear(), transport(upstream)
        way.send(QUESTION, ear)
        asked, who = upstream.hear()
        upstream.say(refusal(asked), who)
        await asyncio.to_thread(upstream.hear)
        plain = asked[:11] + b"\0" + QUESTION.section
        upstream.say(good(plain), who)
        while (await ear.what()) != good(plain):
            await ear.times(len(ear.all) + 1)
        way.send(QUESTION, Ear())
        assert dns.message.from_wire(upstream.hear()[0]).edns == -1
        way.close()

    run(test())


@pytest.mark.parametrize("code", [1, 4], ids=["FORMERR", "NOTIMP"])
def test_who_refuses_one_question_is_asked_the_next_with_edns(run, upstream, code):
    """Else one client could have the DNSSEC records of all others left out."""

    async def test():
        ear, way = Ear(), transport(upstream)
        way.send(QUESTION, ear)
        for _ in range(2):
            asked, who = await asyncio.to_thread(upstream.hear)
            refused = asked[:2] + bytes((0x81, 0x80 | code, 0, 1)) + bytes(6) + QUESTION.section
            upstream.say(refused, who)
        assert dns.message.from_wire(asked).edns == -1
        assert await ear.what() == refused
        way.send(QUESTION, Ear())
        assert dns.message.from_wire(upstream.hear()[0]).edns == 0
        way.close()

    run(test())


def test_a_forged_refusal_of_edns_changes_nothing(run, upstream):
    async def test():
        ear, way = Ear(), transport(upstream)
        way.send(QUESTION, ear)
        asked, who = upstream.hear()
        upstream.say(NO_EDNS["header alone, FORMERR"](asked), who)
        upstream.say(good(asked), who)
        assert await ear.what() == good(asked)
        while not upstream.nothing():
            pass
        way.send(QUESTION, Ear())
        assert dns.message.from_wire(upstream.hear()[0]).edns == 0
        way.close()

    run(test())


def test_mixed_case_is_a_secret_that_must_come_back(run, upstream):
    async def test():
        way = transport(upstream, mixed_case=True)
        spellings = set()
        for _ in range(10):
            ear = Ear()
            way.send(QUESTION, ear)
            asked, who = upstream.hear()
            name = asked[12 : 12 + len(QUESTION.section) - 4]
            assert name.lower() == QUESTION.section[:-4].lower()
            spellings.add(name)
            upstream.say(good(asked), who)
            assert await ear.what() == good(asked)
        assert len(spellings) > 5
        way.close()

    run(test())


def test_without_mixed_case_a_name_goes_out_as_it_came(run, upstream):
    async def test():
        way = transport(upstream)
        way.send(QUESTION, Ear())
        assert QUESTION.section in upstream.hear()[0]
        way.close()

    run(test())


def test_an_upstream_that_does_not_keep_the_case_is_asked_by_tcp_then_in_one_case(
    run, upstream, caplog
):
    async def test():
        way = transport(upstream, lambda size: b"\1" * size, mixed_case=True)
        for _ in range(3):
            ear = Ear()
            way.send(QUESTION, ear)
            asked, who = upstream.hear()
            end = 12 + len(QUESTION.section)
            upstream.say(good(asked[:12] + asked[12 : end - 4].lower() + asked[end - 4 :]), who)
            lost = await ear.what()
            assert isinstance(lost, Lost)
            assert lost.by_tcp
        way.send(QUESTION, Ear())
        assert QUESTION.section in upstream.hear()[0]
        way.close()

    run(test())
    assert [record.getMessage() for record in caplog.records] == [
        f"upstream {upstream.target} does not keep the case of names: it is asked in one"
    ]


def test_what_is_on_its_way_when_it_closes_is_lost(run, upstream):
    async def test():
        way = transport(upstream)
        ears = [Ear() for _ in range(3)]
        for ear in ears:
            way.send(QUESTION, ear)
        way.close()
        late = Ear()
        way.send(QUESTION, late)
        for ear in (*ears, late):
            assert await ear.what() == Lost("is asked no more")

    run(test())


class Reader:
    def arrived(self, packet: bytes) -> None:
        raise AssertionError(packet)

    def failed(self, error: OSError) -> None:
        raise AssertionError(error)


def test_there_are_so_many_ports_and_no_more(run, upstream):
    async def test():
        ports = Ports(*upstream.target[1:3], "", asyncio.get_running_loop(), 3)
        taken = [ports.take(Reader()) for _ in range(3)]
        with pytest.raises(OSError, match="all of its 3 UDP ports are taken"):
            ports.take(Reader())
        ports.release(taken[0])
        ports.take(Reader())
        ports.close()

    run(test())


@pytest.mark.parametrize("renews", [True, False], ids=["renewed", "new each time"])
def test_a_port_that_was_released_is_closed(run, upstream, renews):
    async def test():
        ports = Ports(*upstream.target[1:3], "", asyncio.get_running_loop(), 3)
        ports._renews = ports._renews and renews
        seen = set()
        for _ in range(20):
            port = ports.take(Reader())
            number = port.sock.getsockname()[1]
            ports.release(port)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.bind((LOCAL, number))
            seen.add(number)
        assert len(seen) >= 19
        ports.close()

    run(test())


def test_forgeries_that_wait_are_not_read_as_the_next_ones_answer(run, upstream):
    async def test():
        ports = Ports(*upstream.target[1:3], "", asyncio.get_running_loop(), 1)
        port = ports.take(Reader())
        upstream.sock.sendto(b"late", port.sock.getsockname())
        ports.release(port)
        again = ports.take(Reader())
        with pytest.raises(BlockingIOError):
            again.sock.recv(1)
        ports.close()

    run(test())
