"""TCP over real sockets: pipelines, pieces, and bounds on everything (RFC 7766)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct

import dns.message
import dns.rcode
import pytest

from kdns.dns import codes
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply
from kdns.frontend import tcp
from kdns.frontend.sockets import open_tcp
from kdns.frontend.tcp import Limits, TcpFrontend

WEB = "web.default.svc.cluster.local"


def asked(name: str = WEB, qtype: str = "A", **options) -> bytes:
    return dns.message.make_query(name, qtype, **options).to_wire()


def framed(*packets: bytes) -> bytes:
    return b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets)


def ident(packet: bytes) -> int:
    return int.from_bytes(packet[:2], "big")


class Client:
    """A stream of queries."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def send(self, *packets):
        self.writer.write(framed(*packets))

    async def receive(self):
        async with asyncio.timeout(10):
            size = int.from_bytes(await self.reader.readexactly(2), "big")
            return await self.reader.readexactly(size)

    async def ask(self, packet):
        self.send(packet)
        return await self.receive()

    async def is_closed(self):
        """Whether the server closes, or has closed, the connection; what it sent is discarded."""
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                await self.reader.read(-1)
            return True


class Served:
    """A frontend on a clock that stands still, and connections to it."""

    def __init__(self, frontend, host, port):
        self.frontend = frontend
        self.now = 100.0
        self.clients = []
        self._at = host, port
        frontend.now = lambda: self.now

    async def connect(self, **options):
        client = Client(*await asyncio.open_connection(*self._at, **options))
        self.clients.append(client)
        return client

    def pass_time(self, seconds):
        self.now += seconds
        self.frontend.sweep()

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - looks into the frontend
                await asyncio.sleep(0)

    async def connections(self, count):
        await self.until(lambda: len(self.frontend._connections) == count)


@pytest.fixture
async def serve():
    """await serve(responder, limits, host) -> Served."""
    made = []

    async def serving(responder, limits=Limits(), host="127.0.0.1"):  # noqa: B008 - it is frozen
        sock = open_tcp(host, 0)
        frontend = TcpFrontend(sock, responder, asyncio.get_running_loop(), limits)
        await frontend.start()
        made.append(Served(frontend, host, sock.getsockname()[1]))
        return made[-1]

    yield serving
    for served in made:
        for client in served.clients:
            client.writer.transport.abort()
        served.frontend.close()


class Later:
    """Answers names that begin with `slow` when it is told to, others at once."""

    def __init__(self):
        self.pending = {}
        self.asked = 0

    def __call__(self, query):
        self.asked += 1
        reply = Reply(answer=[RRset(query.name, codes.A, 5, [bytes(4)])], lifetime=0)
        if not query.name.startswith(b"\4slow"):
            return reply
        done = asyncio.get_running_loop().create_future()
        self.pending[query.id] = done, reply
        return done

    def answer(self, number):
        done, reply = self.pending.pop(number)
        done.set_result(reply)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
async def test_answers(serve, cluster, ipv6, host: str) -> None:
    served = await serve(cluster.responder(transport="tcp"), host=host)
    client = await served.connect()
    for number in range(3):
        read = dns.message.from_wire(await client.ask(asked(id=number)))
        assert read.id == number
        assert read.answer[0].to_text() == WEB + ". 5 IN A 10.96.0.10"


async def test_a_pipeline_is_answered_in_order_where_nothing_has_to_wait(serve, cluster) -> None:
    served = await serve(cluster.responder(transport="tcp"))
    client = await served.connect()
    names = [WEB, "no.default.svc.cluster.local", "db.default.svc.cluster.local", "elsewhere."]
    client.send(*[asked(names[number % 4], id=number) for number in range(400)])
    for number in range(400):
        reply = await client.receive()
        assert ident(reply) == number
        if number % 4 == 2:
            assert len(dns.message.from_wire(reply).answer[0]) == 100


async def test_answers_overtake_those_that_come_later(serve, respond) -> None:
    later = Later()
    served = await serve(respond(later, "tcp"))
    client = await served.connect()
    client.send(asked("slow.", id=1), asked("fast.", id=2), asked("slow.", id=3))
    client.send(asked("fast.", id=4))
    assert [ident(await client.receive()) for _ in range(2)] == [2, 4]
    for number in (3, 1):
        later.answer(number)
        assert ident(await client.receive()) == number


async def test_odd_packets(serve, cluster, odd_packets) -> None:
    """All rows, each followed by a query, so that silence is seen."""
    served = await serve(cluster.responder(transport="tcp"))
    client = await served.connect()
    for row in odd_packets:
        client.send(row.packet, asked(id=0xFFFF))
        if row.reply != "silence":
            read = dns.message.from_wire(await client.receive())
            assert dns.rcode.to_text(read.rcode()) == row.reply, row.name
        assert ident(await client.receive()) == 0xFFFF, row.name


class Transport:
    """A transport that takes everything, and notes it."""

    def __init__(self):
        self.written = b""
        self.reading = True
        self.aborted = False

    def get_extra_info(self, name):
        return ("192.0.2.1", 4711)

    def set_write_buffer_limits(self, high):
        self.high = high

    def write(self, data):
        self.written += data

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def is_closing(self):
        return self.aborted

    def abort(self):
        self.aborted = True

    close = abort


@pytest.fixture
async def protocol(serve):
    """await protocol(responder, limits) -> a connection on a fake transport, and its Served."""

    async def made(responder, limits=Limits()):  # noqa: B008 - it is frozen
        served = await serve(responder, limits)
        connection = tcp._Connection(served.frontend)
        transport = Transport()
        connection.connection_made(transport)
        return connection, transport, served

    return made


async def test_queries_in_pieces(protocol, cluster) -> None:
    """Cut in two at every place, and byte by byte."""
    data = framed(asked(id=1), b"", asked("db.default.svc.cluster.local", id=2), asked(id=3))
    responder = cluster.responder(transport="tcp")
    whole = None
    for cut in range(len(data) + 1):
        connection, transport, _ = await protocol(responder)
        connection.data_received(data[:cut])
        connection.data_received(data[cut:])
        lengths = len(transport.written)
        whole = whole or lengths
        assert lengths == whole
        assert connection._rest == b""
    connection, transport, _ = await protocol(responder)
    for at in range(len(data)):
        connection.data_received(data[at : at + 1])
    assert len(transport.written) == whole


async def test_queries_in_segments(serve, cluster) -> None:
    served = await serve(cluster.responder(transport="tcp"))
    client = await served.connect()
    client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in framed(asked(id=1), asked(id=2)):
        client.writer.write(bytes((byte,)))
        await client.writer.drain()
        await asyncio.sleep(0)
    assert [ident(await client.receive()) for _ in range(2)] == [1, 2]


async def test_messages_of_64_kilobytes(serve, cluster) -> None:
    """A query of the largest size there is, and an answer of nearly that."""
    cluster.slice("db-1", "db", *[f"10.{n >> 8}.{n & 255}.1" for n in range(3800)])
    served = await serve(cluster.responder(transport="tcp"))
    client = await served.connect()
    name = "db.default.svc.cluster.local"
    plain = asked(name, use_edns=0)
    room = 65535 - len(plain)
    options = b"".join(struct.pack("!HH", 65001, 1000) + bytes(1000) for _ in range(room // 1004))
    query = plain[:-2] + len(options).to_bytes(2, "big") + options
    for _ in range(3):
        reply = await client.ask(query.ljust(65535, b"\0"))
        assert len(reply) > 60_000
        assert len(dns.message.from_wire(reply).answer[0]) == 3800
        assert not reply[2] & 0x02


@pytest.mark.parametrize("sent", [b"", b"\0", framed(asked())[:-1]], ids=["none", "one", "most"])
async def test_who_does_not_finish_a_query_is_cut_off(serve, cluster, sent: bytes) -> None:
    limits = Limits()
    served = await serve(cluster.responder(transport="tcp"), limits)
    client = await served.connect()
    client.writer.write(sent)
    await served.connections(1)
    (connection,) = served.frontend._connections
    await served.until(lambda: connection._rest == sent)
    limit = limits.read if sent else limits.idle
    served.pass_time(limit - 0.1)
    await asyncio.sleep(0)
    await served.connections(1)
    served.pass_time(0.1)
    assert await client.is_closed()
    await served.connections(0)


async def test_dribbling_does_not_help(protocol, cluster) -> None:
    connection, transport, served = await protocol(cluster.responder(transport="tcp"))
    data = framed(asked())
    for byte in data[:30]:
        connection.data_received(bytes((byte,)))
        served.pass_time(0.09)
    assert not transport.aborted
    served.pass_time(1.0)
    assert transport.aborted


async def test_asking_keeps_a_connection_open(protocol, cluster) -> None:
    connection, transport, served = await protocol(cluster.responder(transport="tcp"))
    for _ in range(20):
        connection.data_received(framed(asked()))
        served.pass_time(9.9)
    assert not transport.aborted
    served.pass_time(0.1)
    assert transport.aborted


async def test_waiting_for_an_answer_is_not_idle(protocol, respond) -> None:
    later = Later()
    connection, transport, served = await protocol(respond(later, "tcp"))
    connection.data_received(framed(asked("slow.", id=1)))
    served.pass_time(60)
    assert not transport.aborted
    await asyncio.sleep(0)
    later.answer(1)
    await served.until(lambda: transport.written and not connection.waiting)
    served.pass_time(9.9)
    assert not transport.aborted
    served.pass_time(0.1)
    assert transport.aborted


async def test_as_many_wait_as_may(serve, respond) -> None:
    later = Later()
    served = await serve(respond(later, "tcp"), Limits(waiting=3))
    client = await served.connect()
    client.send(*[asked("slow.", id=number) for number in range(8)], asked("fast.", id=8))
    await served.until(lambda: later.asked == 3)
    for _ in range(20):
        await asyncio.sleep(0)
    assert later.asked == 3
    for number in range(8):
        await served.until(lambda number=number: number in later.pending)
        assert len(later.pending) <= 3
        later.answer(number)
    assert sorted([ident(await client.receive()) for _ in range(9)]) == list(range(9))


async def test_connections_of_one_client_and_of_all(serve, cluster) -> None:
    limits = Limits(connections=3, connections_per_client=2)
    served = await serve(cluster.responder(transport="tcp"), limits)
    one, two = await served.connect(), await served.connect()
    await served.connections(2)
    over = await served.connect()
    assert await over.is_closed()
    other = await served.connect(local_addr=("127.0.0.2", 0))
    await served.connections(3)
    over = await served.connect(local_addr=("127.0.0.3", 0))
    assert await over.is_closed()
    assert served.frontend.refused == 2
    for client in (one, two, other):
        assert await client.ask(asked())
    one.writer.close()
    await served.connections(2)
    again = await served.connect()
    assert await again.ask(asked())
    assert served.frontend._clients == {"127.0.0.1": 2, "127.0.0.2": 1}
    for client in (two, other, again):
        client.writer.close()
    await served.connections(0)
    assert not served.frontend._clients


def big(name: str = "db.default.svc.cluster.local") -> bytes:
    return asked(name, use_edns=0)


@pytest.fixture
def large(cluster):
    """A responder with an answer of 62 KB."""
    cluster.slice("db-1", "db", *[f"10.{n >> 8}.{n & 255}.1" for n in range(3800)])
    return cluster.responder(transport="tcp")


async def test_who_does_not_read_is_not_read_from(serve, large) -> None:
    """What is kept for a client is bounded, and so is the time for it."""
    served = await serve(large)
    client = await served.connect(limit=1024)
    await served.connections(1)
    (connection,) = served.frontend._connections
    question = framed(big()) * 4000
    client.writer.write(question)
    await served.until(lambda: connection._paused)
    for _ in range(200):
        await asyncio.sleep(0)
    assert connection._transport.get_write_buffer_size() < 1024 * 1024
    assert len(connection._rest) < 512 * 1024
    served.pass_time(4.9)
    await served.connections(1)
    served.pass_time(0.1)
    await served.connections(0)


async def test_who_reads_slowly_gets_all(serve, large) -> None:
    served = await serve(large)
    client = await served.connect(limit=1024)
    count = 300
    for number in range(count):
        client.send(big()[:0] + number.to_bytes(2, "big") + big()[2:])
    for number in range(count):
        reply = await client.receive()
        assert ident(reply) == number
        assert len(reply) > 60_000


async def test_what_is_not_answered_yet_is_bounded_too(protocol, large) -> None:
    """Also for a client that reads as fast as it asks."""
    connection, transport, _ = await protocol(large)
    data = framed(big()) * 5000
    sent = 0
    for _ in range(40):
        if not transport.reading:
            break
        connection.data_received(data)
        sent += 1
    assert sent < 5
    assert len(connection._rest) < 2 * len(data)


@pytest.mark.parametrize("count", [1, 3, 400])
async def test_half_closed_connections_get_all_answers(serve, large, count: int) -> None:
    served = await serve(large)
    client = await served.connect()
    client.send(*[number.to_bytes(2, "big") + big()[2:] for number in range(count)])
    client.writer.write_eof()
    for number in range(count):
        assert ident(await client.receive()) == number
    assert await client.is_closed()
    await served.connections(0)


async def test_half_closed_connections_get_answers_that_come_later(serve, respond) -> None:
    later = Later()
    served = await serve(respond(later, "tcp"), Limits(waiting=2))
    client = await served.connect()
    client.send(*[asked("slow.", id=number) for number in range(5)], asked("fast.", id=5))
    client.writer.write_eof()
    for number in range(5):
        await served.until(lambda number=number: number in later.pending)
        later.answer(number)
    assert sorted([ident(await client.receive()) for _ in range(6)]) == list(range(6))
    assert await client.is_closed()
    await served.connections(0)


async def test_half_a_query_and_the_end(serve, cluster) -> None:
    served = await serve(cluster.responder(transport="tcp"))
    client = await served.connect()
    client.writer.write(framed(asked()) + framed(asked())[:-1])
    client.writer.write_eof()
    assert await client.receive()
    assert await client.is_closed()
    await served.connections(0)


async def test_a_client_that_is_gone_is_not_waited_for(serve, respond) -> None:
    later = Later()
    served = await serve(respond(later, "tcp"))
    client = await served.connect()
    client.send(asked("slow.", id=1))
    await served.until(lambda: later.pending)
    await asyncio.sleep(0)
    # A reset, as what ends in order may be half closed, and is answered.
    linger = struct.pack("ii", 1, 0)
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.writer.transport.abort()
    await served.connections(0)
    done, _ = later.pending[1]
    await served.until(done.cancelled)


async def test_drain_waits_for_answers_and_takes_no_more(serve, respond) -> None:
    later = Later()
    served = await serve(respond(later, "tcp"))
    client = await served.connect()
    client.send(asked("slow.", id=1))
    await served.until(lambda: later.pending)
    draining = asyncio.ensure_future(served.frontend.drain())
    await asyncio.sleep(0)
    with contextlib.suppress(ConnectionError):
        late = await served.connect()
        assert await late.is_closed()
    assert not draining.done()
    later.answer(1)
    await draining
    assert ident(await client.receive()) == 1
    served.frontend.close()
    assert await client.is_closed()


async def test_drain_does_not_wait_without_end(serve, respond, monkeypatch) -> None:
    monkeypatch.setattr(tcp, "_DRAIN", 0.01)
    later = Later()
    served = await serve(respond(later, "tcp"))
    client = await served.connect()
    client.send(asked("slow.", id=1))
    await served.until(lambda: later.pending)
    async with asyncio.timeout(10):
        await served.frontend.drain()
    served.frontend.close()
    assert await client.is_closed()


async def test_durations_are_recorded_by_the_batch(serve, respond) -> None:
    ticks = iter(range(1000))
    responder = respond(lambda query: Reply(), "tcp", clock=lambda: next(ticks))
    served = await serve(responder)
    client = await served.connect()
    await client.ask(asked())
    assert responder.batches.durations.total == 0
    client.send(asked(), asked())
    await client.receive()
    await client.receive()
    assert responder.batches.durations.total == 2


async def test_a_port_cannot_be_had_twice(serve, cluster) -> None:
    served = await serve(cluster.responder(transport="tcp"))
    port = served.frontend._socket.getsockname()[1]
    with pytest.raises(Exception, match="another server has it") as refused:
        open_tcp("127.0.0.1", port)
    assert refused.value.__cause__.errno == errno.EADDRINUSE


def zone(count: int):
    """Records of a zone, counted as they are taken."""
    soa = RRset(b"\3org\0", codes.SOA, 5, [b"\0\0" + bytes(20)])
    taken = []

    def records():
        yield soa
        for number in range(count):
            taken.append(number)
            yield RRset(b"\3web\3org\0", codes.TXT, 5, [b"\xff" + b"%255d" % number])
        yield soa

    return records(), taken


async def test_a_transfer_is_many_messages(serve, respond) -> None:
    records, _ = zone(1000)
    served = await serve(respond(lambda query: Reply(transfer=records, lifetime=0), "tcp"))
    client = await served.connect()
    client.send(asked("org.", "AXFR", id=7))
    found, messages = [], 0
    while len(found) < 1002:
        reply = await client.receive()
        assert ident(reply) == 7
        messages += 1
        for rrset in dns.message.from_wire(reply, one_rr_per_rrset=True).answer:
            found += [each.to_text() for each in rrset]
    assert messages > 10
    assert found[0] == found[-1]
    assert [int(text.strip('"')) for text in found[1:-1]] == list(range(1000))


async def test_a_transfer_waits_for_its_client(serve, respond) -> None:
    """What is sent ahead is bounded, and other queries are answered in between."""
    records, taken = zone(200_000)
    replies = {codes.AXFR: Reply(transfer=records, lifetime=0), codes.A: Reply(lifetime=0)}
    served = await serve(respond(lambda query: replies[query.qtype], "tcp"))
    slow, other = await served.connect(limit=1024), await served.connect()
    slow.send(asked("org.", "AXFR", id=7))
    await served.until(lambda: taken)
    for _ in range(300):
        await asyncio.sleep(0)
        assert await other.ask(asked("web.", "A"))
    (connection,) = [each for each in served.frontend._connections if each.waiting]
    assert connection._transport.get_write_buffer_size() < 1024 * 1024
    assert len(taken) < 100_000
    served.pass_time(5.1)
    await served.connections(1)


async def test_a_transfer_that_breaks_off(serve, respond, caplog) -> None:
    def records():
        yield RRset(b"\3org\0", codes.TXT, 5, [b"\1a"] * 5000)
        raise ValueError("broken")

    served = await serve(respond(lambda query: Reply(transfer=records(), lifetime=0), "tcp"))
    client = await served.connect()
    client.send(asked("org.", "AXFR", id=7))
    assert await client.is_closed()
    await served.connections(0)
    (record,) = caplog.records
    assert record.getMessage() == "a zone transfer to 127.0.0.1 failed"
