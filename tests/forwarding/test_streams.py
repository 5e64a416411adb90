"""Upstreams over TCP that pipeline, dribble, lie, flood and close."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace

import dns.message
import pytest

from kdns.dns.query import HEADER
from kdns.forwarding import streams
from kdns.forwarding.dialing import Patience
from kdns.forwarding.exchange import Lost
from kdns.forwarding.streams import CONNECTIONS, DEPTH, TcpTransport
from tests.forwarding.peers import LOCAL, Ear, Line, Peer, question, response, until

MakeLine = Callable[..., Line]


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    """An upstream."""
    opened = await Peer().open()
    yield opened
    await opened.close()


@pytest.fixture
async def make(peer: Peer) -> AsyncIterator[MakeLine]:
    """make(**options) -> a line to the peer."""
    made: list[Line] = []

    def build(**options: object) -> Line:
        made.append(Line(peer, TcpTransport, **options))
        return made[-1]

    yield build
    for line in made:
        line.transport.close()
    await asyncio.sleep(0)


@pytest.fixture
async def line(make: MakeLine) -> Line:
    """A line with the options that a `forward` has which says nothing."""
    return make()


async def test_a_question_and_its_answer(line: Line) -> None:
    ear, caller, packet = await line.asked("Www.Example.")
    assert not ear.all
    read = dns.message.from_wire(packet)
    assert str(read.question[0]) == "Www.Example. IN A"
    assert (read.edns, read.payload, read.options) == (0, 1232, ())
    caller.say(response(packet))
    assert await ear.what() == response(packet)


async def test_questions_share_a_connection_and_are_answered_in_any_order(line: Line) -> None:
    names = [f"n{number}." for number in range(5)]
    ears = line.ask(*names)
    caller = await line.peer.caller()
    packets = [await caller.question() for _ in names]
    caller.say(*map(response, reversed(packets)))
    assert [await ear.what() for ear in ears] == list(map(response, packets))
    assert len(line.peer.accepted) == 1
    assert (line.transport.hits, line.transport.misses) == (4, 1)


async def test_questions_of_one_turn_are_one_segment(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = await line.settled()
    (connection,) = line.transport._connections
    written = []
    monkeypatch.setattr(connection, "transport", SimpleNamespace(write=written.append))
    line.ask("a.", "b.", "c.")
    await until(lambda: written)
    monkeypatch.undo()
    (segment,) = written
    connection.transport.write(segment)
    assert [
        dns.message.from_wire(await caller.question()).question[0].name.to_text() for _ in "abc"
    ] == ["a.", "b.", "c."]


async def test_ids_are_drawn_at_random_and_differ_on_a_connection(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter([b"aa", b"aa", b"aa", b"bb", b"bb", b"cc"])
    monkeypatch.setattr(streams.secrets, "token_bytes", lambda _: next(drawn))
    line.ask("a.", "b.", "c.")
    caller = await line.peer.caller()
    assert [(await caller.question())[:2] for _ in range(3)] == [b"aa", b"bb", b"cc"]


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(lambda good: bytes([good[0] ^ 1]) + good[1:], id="another ID"),
        pytest.param(lambda good: good.replace(b"\3www", b"\3xxx"), id="another name"),
        pytest.param(lambda good: good[:-3] + b"\x1c\0\1", id="another type"),
        pytest.param(lambda good: good[:-1] + b"\3", id="another class"),
        pytest.param(lambda good: good[:2] + b"\1" + good[3:], id="a query"),
        pytest.param(lambda good: good[:2] + b"\xa1" + good[3:], id="another opcode"),
        pytest.param(lambda good: good[:HEADER], id="no question"),
        pytest.param(lambda good: bytes(HEADER), id="zeros"),
    ],
)
async def test_what_answers_something_else_is_ignored(
    line: Line, lie: Callable[[bytes], bytes]
) -> None:
    ear, caller, packet = await line.asked()
    good = response(packet)
    caller.say(lie(good), good, good)
    assert await ear.what() == good
    again, *_ = line.ask("again.")
    packet = await caller.question()
    caller.say(response(packet))
    assert await again.what() == response(packet)


async def test_an_answer_of_64_kb(line: Line) -> None:
    ear, caller, packet = await line.asked()
    whole = response(packet, size=65300)
    assert len(whole) > 65000
    caller.say(whole)
    assert await ear.what() == whole


@pytest.mark.parametrize("step", [1, 2, 3, 50, 70000])
async def test_messages_cut_anywhere(line: Line, step: int) -> None:
    ears = line.ask("a.", "b.", "c.")
    caller = await line.peer.caller()
    said = [response(await caller.question(), size=size) for size in (0, 5000, 0)]
    stream = b"".join(len(packet).to_bytes(2, "big") + packet for packet in said)
    (connection,) = line.transport._connections
    for at in range(0, len(stream), step):
        connection.data_received(stream[at : at + step])
        assert len(connection._rest) < 5100
    assert [await ear.what() for ear in ears] == said


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"\0\0", "sent what is no DNS message", id="no length"),
        pytest.param(b"\0\x0bHTTP/1.1 400", "sent what is no DNS message", id="shorter than any"),
        pytest.param(b"", "closed the connection", id="nothing"),
        pytest.param(b"\0", "closed the connection", id="half a length"),
        pytest.param(b"\0\x30" + bytes(20), "closed the connection", id="half a message"),
    ],
)
async def test_a_stream_that_is_of_no_use(line: Line, content: bytes, reason: str) -> None:
    ear, caller, _ = await line.asked()
    caller.raw(content)
    caller.close()
    assert await ear.what() == Lost(reason)


async def test_a_flood_of_answers_that_nobody_asked_for(line: Line) -> None:
    ear, caller, packet = await line.asked()
    other = bytes([packet[0] ^ 1]) + response(packet)[1:]
    caller.say(*[other] * 1100)
    assert await ear.what() == Lost("sent answers that nobody asked for")
    assert await caller.gone() == b""


async def test_a_truncated_answer_is_none(line: Line) -> None:
    ear, caller, packet = await line.asked()
    caller.say(response(packet, flags=0x8380))
    assert await ear.what() == Lost("sent a truncated answer over TCP")


@pytest.mark.parametrize("rcode", [1, 4])
async def test_who_knows_no_edns_is_asked_without(line: Line, rcode: int) -> None:
    ear, caller, packet = await line.asked()
    caller.say(packet[:2] + bytes([0x80, rcode]) + bytes(8))
    plain = await caller.question()
    assert dns.message.from_wire(plain).edns == -1
    caller.say(response(plain))
    assert await ear.what() == response(plain)
    line.ask("next.")
    assert dns.message.from_wire(await caller.question()).edns == -1


@pytest.mark.parametrize("rcode", [1, 4])
async def test_who_refuses_one_question_is_asked_the_next_with_edns(line: Line, rcode: int) -> None:
    ear, caller, packet = await line.asked()
    caller.say(response(packet, flags=0x8180 | rcode))
    refusal = response(await caller.question(), flags=0x8180 | rcode)
    caller.say(refusal)
    assert await ear.what() == refusal
    line.ask("next.")
    assert dns.message.from_wire(await caller.question()).edns == 0


async def test_who_does_not_keep_the_case_is_believed_on_a_stream(line: Line) -> None:
    ear, caller, packet = await line.asked("wWw.Example.")
    good = response(packet.lower())
    caller.say(packet[:2] + good[2:])
    assert await ear.what() == packet[:2] + good[2:]


async def test_an_answer_that_cannot_be_read(line: Line) -> None:
    ear, caller, packet = await line.asked()
    ear.refuses = True
    caller.say(response(packet))
    await until(lambda: len(ear.all) == 2)
    assert ear.all == [response(packet), Lost("sent an answer that cannot be read")]


async def test_a_connection_is_kept(line: Line) -> None:
    caller = await line.settled()
    (ear,) = line.ask("second.")
    packet = await caller.question()
    caller.say(response(packet))
    assert await ear.what() == response(packet)
    assert len(line.peer.accepted) == 1


async def test_a_kept_connection_that_dies_is_not_felt(line: Line) -> None:
    old = await line.settled()
    (ear,) = line.ask("second.")
    await old.question()
    old.cut()
    new = await line.peer.caller()
    packet = await new.question()
    new.say(response(packet))
    assert await ear.what() == response(packet)


async def test_a_kept_connection_that_dies_is_replaced_once(line: Line) -> None:
    old = await line.settled()
    (ear,) = line.ask("second.")
    await old.question()
    old.cut()
    (await line.peer.caller()).cut()
    assert await ear.what() == Lost("closed the connection")
    assert len(line.peer.accepted) == 2


async def test_who_answers_one_question_a_connection_is_not_felt(line: Line) -> None:
    names = [f"n{number}." for number in range(6)]
    ears = line.ask(*names)
    for _ in names:
        caller = await line.peer.caller()
        caller.say(response(await caller.question()))
        caller.close()
    assert all([isinstance(await ear.what(), bytes) for ear in ears])


async def test_a_new_connection_that_closes_is_the_upstreams_failure(line: Line) -> None:
    ears = line.ask("a.", "b.")
    (await line.peer.caller()).close()
    assert [await ear.what() for ear in ears] == [Lost("closed the connection")] * 2
    assert len(line.peer.accepted) == 1


@pytest.mark.parametrize(
    ("options", "after", "kept"),
    [
        pytest.param({}, 9.9, True, id="10 s by default"),
        pytest.param({}, 10.0, False, id="idle for 10 s"),
        pytest.param({"expire": 30.0}, 29.0, True, id="longer"),
        pytest.param({"expire": 0.0}, 0.0, False, id="not at all"),
        pytest.param({"expire": 60.0, "max_age": 60.0}, 53.0, True, id="young enough"),
        pytest.param({"expire": 60.0, "max_age": 60.0}, 60.0, False, id="too old"),
    ],
)
async def test_how_long_a_connection_is_kept(
    make: MakeLine, options: dict[str, float], after: float, kept: bool
) -> None:
    line = make(**options)
    old = await line.settled()
    line.at += after
    line.ask("second.")
    if kept:
        await old.question()
        return
    new = await line.peer.caller()
    await new.question()
    line.transport.sweep()
    assert await old.gone() == b""


async def test_an_old_connection_takes_no_more_and_ends_with_its_last_answer(
    make: MakeLine,
) -> None:
    line = make(max_age=60.0)
    ear, old, packet = await line.asked("first.")
    line.at += 60
    line.transport.sweep()
    line.ask("second.")
    new = await line.peer.caller()
    await new.question()
    old.say(response(packet))
    assert await ear.what() == response(packet)
    assert await old.gone() == b""


async def test_connections_do_not_all_end_at_once(make: MakeLine) -> None:
    line = make(max_age=100.0)
    ends = {line.transport._open()._ends for _ in range(8)}
    assert len(ends) == 8
    assert all(190 <= end <= 200 for end in ends)


async def test_so_many_idle_connections_are_kept(make: MakeLine) -> None:
    line = make(max_idle_conns=1)
    line.transport.crowd = 1
    ears = line.ask("a.", "b.", "c.")
    callers = [await line.peer.caller() for _ in ears]
    for caller in callers:
        caller.say(response(await caller.question()))
    assert all([isinstance(await ear.what(), bytes) for ear in ears])
    await until(lambda: len(line.transport._connections) == 1)


async def test_more_connections_are_made_as_questions_wait(line: Line) -> None:
    line.ask(*[f"n{number}." for number in range(21)])
    assert [len(each.asked) for each in line.transport._connections] == [10, 10, 1]


async def test_questions_are_bounded(line: Line) -> None:
    most = CONNECTIONS * DEPTH
    pendings = [line.transport.send(question(f"n{n}."), Ear()) for n in range(most)]
    ear = Ear()
    line.transport.send(question("more."), ear)
    assert not ear.all
    assert await ear.what() == Lost("has 1600 questions on their way over TCP")
    for pending in pendings[:3]:
        pending.give_up()
        pending.give_up()
    assert sum(len(each.asked) for each in line.transport._connections) == most - 3
    line.ask("more.", "still.")
    assert sum(len(each.asked) for each in line.transport._connections) == most - 1


async def test_nothing_is_heard_once_given_up(line: Line) -> None:
    ear = Ear()
    pending = line.transport.send(question("first."), ear)
    caller = await line.peer.caller()
    packet = await caller.question()
    pending.give_up()
    (second,) = line.ask("second.")
    caller.say(response(packet), response(await caller.question()))
    assert isinstance(await second.what(), bytes)
    assert not ear.all
    pending.give_up()


@pytest.mark.parametrize(
    ("waited", "asked_again"), [(0.9, True), (1.0, False)], ids=["for a while", "for too long"]
)
async def test_a_connection_that_went_silent(line: Line, waited: float, asked_again: bool) -> None:
    old = await line.settled()
    pending = line.transport.send(question("second."), Ear())
    await old.question()
    line.at += waited
    pending.give_up()
    line.ask("third.")
    if asked_again:
        assert b"third" in await old.question()
        return
    assert await old.gone() == b""
    assert b"third" in await (await line.peer.caller()).question()


async def test_a_connection_that_answers_others_is_not_silent(line: Line) -> None:
    caller = await line.settled()
    pending = line.transport.send(question("never."), Ear())
    await caller.question()
    line.at += 0.8
    (ear,) = line.ask("soon.")
    caller.say(response(await caller.question()))
    await ear.what()
    line.at += 0.8
    pending.give_up()
    line.ask("more.")
    assert b"more" in await caller.question()


async def test_nobody_listens(make: MakeLine, free_port: int) -> None:
    (ear,) = make(port=free_port).ask("www.")
    assert await ear.what() == Lost("connection refused")


async def test_nobody_accepts(make: MakeLine) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind((LOCAL, 0))
        full.listen(0)
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        line = make(port=full.getsockname()[1])
        line.transport._patience = Patience(0.01, 0.02)
        (ear,) = line.ask("www.")
        assert await ear.what() == Lost("timed out while connecting")


@pytest.mark.parametrize(
    ("host", "options", "reason"),
    [
        pytest.param("dns.example", {}, "has no IP address", id="a name"),
        pytest.param(
            LOCAL,
            {"source_address": "192.0.2.1"},
            "cannot assign requested address",
            id="from an address that is not here",
        ),
        pytest.param(
            LOCAL,
            {"source_address": "::1"},
            "address family not supported by protocol",
            id="from IPv6 to IPv4",
        ),
    ],
)
async def test_no_way_there(
    make: MakeLine, host: str, options: dict[str, str], reason: str
) -> None:
    (ear,) = make(host=host, **options).ask("www.")
    assert await ear.what() == Lost(reason)


async def test_the_socket(make: MakeLine) -> None:
    line = make(source_address="127.0.0.9")
    caller = await line.settled()
    assert caller.info("peername")[0] == "127.0.0.9"
    (connection,) = line.transport._connections
    sock = connection.transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_an_upstream_that_reads_nothing(line: Line) -> None:
    caller = await line.settled()
    caller.writer.transport.pause_reading()
    (connection,) = line.transport._connections
    for number in range(100_000):
        line.transport.send(question(f"n{number}." + "long." * 40), Ear()).give_up()
        if number % 100 == 0:
            await asyncio.sleep(0)
        if connection not in line.transport._connections:
            break
    else:
        pytest.fail("an upstream that reads nothing is asked on and on")


async def test_closing(line: Line) -> None:
    caller = await line.settled()
    ears = line.ask("second.")
    await caller.question()
    line.transport.close()
    ears += line.ask("third.")
    assert [await ear.what() for ear in ears] == [Lost("is asked no more")] * 2
    assert await caller.gone() == b""
    line.transport.close()


async def test_closing_before_there_is_a_connection(line: Line) -> None:
    (ear,) = line.ask("www.")
    (connection,) = line.transport._connections
    dial = connection.dial
    line.transport.close()
    assert await ear.what() == Lost("is asked no more")
    await until(dial.done)


async def test_a_reset_in_the_middle_of_an_answer(line: Line) -> None:
    ear, caller, packet = await line.asked()
    caller.raw(b"\xff\xff" + response(packet))
    linger = struct.pack("ii", 1, 0)
    caller.info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    await asyncio.sleep(0)
    caller.cut()
    assert await ear.what() == Lost("closed the connection")


@pytest.mark.parametrize(
    ("times", "seconds"),
    [([], 5.0), ([0.01] * 20, 1.0), ([0.6] * 40, 1.2), ([30.0], 5.0)],
    ids=["at first", "fast", "slow", "never made"],
)
def test_patience(times: list[float], seconds: float) -> None:
    patience = Patience()
    for each in times:
        patience.took(each)
    assert patience.seconds == pytest.approx(seconds, abs=0.01)
