"""UDP over real sockets, by both ways of reading and writing them."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct

import dns.message
import dns.rcode
import ifaddr
import pytest

from kdns.dns import codes
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply
from kdns.frontend import mmsg, udp
from kdns.frontend.datagrams import BATCH, RECEIVE, Sender, Singles
from kdns.frontend.mmsg import Mmsg
from kdns.frontend.sockets import is_wildcard, open_udp
from kdns.frontend.udp import UdpFrontend

WEB = "web.default.svc.cluster.local"


def asked(name: str = WEB, qtype: str = "A", **options) -> bytes:
    return dns.message.make_query(name, qtype, **options).to_wire()


@pytest.fixture(params=["mmsg", "singles"])
def calls(request, monkeypatch):
    """The system calls by which datagrams are read and written."""
    if request.param == "singles":
        monkeypatch.setattr(mmsg, "available", lambda: False)
    elif not mmsg.available():
        pytest.skip("this system has no recvmmsg")
    return request.param


class Client:
    """A UDP socket that hears of the address that it is connected to alone."""

    def __init__(self, host, port):
        self.loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.connect(socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM)[0][4])

    def send(self, *packets):
        for packet in packets:
            self.socket.send(packet)

    async def receive(self):
        async with asyncio.timeout(10):
            return await self.loop.sock_recv(self.socket, 65535)

    async def ask(self, packet):
        self.send(packet)
        return await self.receive()


@pytest.fixture
async def served(calls):
    """served(responder, host="127.0.0.1") -> a frontend and a way to make clients of it."""
    frontends, clients = [], []

    def serve(responder, host="127.0.0.1"):
        sock = open_udp(host, 0)
        port = sock.getsockname()[1]
        frontend = UdpFrontend(sock, responder, asyncio.get_running_loop())
        frontends.append(frontend)

        def client(to=host):
            clients.append(Client(to, port))
            return clients[-1]

        return frontend, client

    yield serve
    for client in clients:
        client.socket.close()
    for frontend in frontends:
        if frontend._socket.fileno() != -1:
            frontend.close()


async def test_answers(served, cluster) -> None:
    frontend, client = served(cluster.responder())
    one = client()
    for _ in range(3):
        read = dns.message.from_wire(await one.ask(asked(id=7)))
        assert read.id == 7
        assert read.answer[0].to_text() == WEB + ". 5 IN A 10.96.0.10"
    assert frontend.unsent == 0


async def test_the_kernel_s_batch_is_full_many_times_over(served, cluster) -> None:
    _, client = served(cluster.responder())
    many = [client() for _ in range(3)]
    for one in many:
        one.send(*[asked(id=n) for n in range(3 * BATCH)])
    for one in many:
        found = [await one.receive() for _ in range(3 * BATCH)]
        assert [int.from_bytes(reply[:2], "big") for reply in found] == list(range(3 * BATCH))


async def test_silence_between_answers(served, cluster) -> None:
    _, client = served(cluster.responder())
    one = client()
    response = asked()[:2] + b"\x80\0" + asked()[4:]
    for n in range(BATCH):
        one.send(b"", b"junk", asked(id=n), response, bytes(11))
    for n in range(BATCH):
        assert (await one.receive())[:2] == n.to_bytes(2, "big")


async def test_odd_packets(served, cluster, odd_packets) -> None:
    """All rows, each followed by a query, so that silence is seen."""
    frontend, client = served(cluster.responder())
    one = client()
    for row in odd_packets:
        if row.transport == "tcp":
            continue
        one.send(row.packet, asked(id=0xFFFF))
        reply = await one.receive()
        if row.reply == "silence":
            assert reply[:2] == b"\xff\xff", row.name
            continue
        assert dns.rcode.to_text(dns.message.from_wire(reply).rcode()) == row.reply, row.name
        assert (await one.receive())[:2] == b"\xff\xff", row.name
    assert frontend.unsent == 0


@pytest.mark.parametrize("size", [RECEIVE - 1, RECEIVE, RECEIVE + 1, 65507])
async def test_long_packets(served, cluster, size: int) -> None:
    _, client = served(cluster.responder())
    one = client()
    packet = asked().ljust(size, b"\0")
    read = dns.message.from_wire(await one.ask(packet))
    assert read.rcode() == 0
    padding = size - len(asked()) - 15
    options = asked(use_edns=0)[:-2] + struct.pack("!HHH", padding + 4, 65001, padding)
    read = dns.message.from_wire(await one.ask(options.ljust(size, b"\0")))
    assert read.rcode() == (0 if size <= RECEIVE else codes.FORMERR)


@pytest.mark.parametrize(
    ("host", "to"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.2"),
        ("0.0.0.0", "127.9.8.7"),
    ],
)
async def test_replies_leave_from_the_address_that_was_asked(served, cluster, host, to) -> None:
    _, client = served(cluster.responder(), host)
    one = client(to)
    for _ in range(2):
        assert dns.message.from_wire(await one.ask(asked())).answer


@pytest.mark.parametrize("host", ["::1", "::"])
async def test_ipv6(served, cluster, ipv6, host: str) -> None:
    _, client = served(cluster.responder(), host)
    one = client("::1")
    for _ in range(2):
        assert dns.message.from_wire(await one.ask(asked())).answer


async def test_ipv6_by_every_address_of_this_machine(served, respond, ipv6) -> None:
    """Link-local ones too, whose interface matters on the way back and is not part of the text."""
    clients = []

    def handler(query):
        clients.append(query.client)
        return Reply(lifetime=0)

    _, client = served(respond(handler), "::")
    own = [
        ip.ip[0] + (f"%{adapter.name}" if ip.ip[0].startswith("fe80") else "")
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
        if ip.is_IPv6
    ]
    for host in (*own, "::1"):
        one = client(host)
        assert dns.message.from_wire(await one.ask(asked())).rcode() == 0
        address, port, *_ = one.socket.getsockname()
        assert clients[-1] == (address.partition("%")[0], port)


class Later:
    """Answers when it is told to."""

    def __init__(self):
        self.pending = {}

    def __call__(self, query):
        loop = asyncio.get_running_loop()
        return self.pending.setdefault(query.id, loop.create_future())

    async def asked_for(self, *idents):
        async with asyncio.timeout(10):
            while not self.pending.keys() >= set(idents):  # noqa: ASYNC110 - handlers are many
                await asyncio.sleep(0)

    def answer(self, ident):
        rrset = RRset(b"\3web\0", codes.A, 5, [bytes(4)])
        self.pending.pop(ident).set_result(Reply(answer=[rrset], lifetime=0))


async def test_one_client_does_not_wait_in_the_place_of_others(
    served, respond, monkeypatch
) -> None:
    monkeypatch.setattr(udp, "_MAX_OF_CLIENT", 2)
    later = Later()
    frontend, client = served(respond(later))
    one = client()
    one.send(*(asked("web.", id=ident) for ident in (1, 2, 3)))
    await later.asked_for(1, 2, 3)
    assert frontend.dropped == 1
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.2", 0))
        other.sendto(asked("web.", id=4), frontend._socket.getsockname())
        await later.asked_for(4)
    assert frontend.dropped == 1
    for ident in (1, 2, 4):
        later.answer(ident)
    assert {(await one.receive())[:2] for _ in range(2)} == {b"\0\1", b"\0\2"}
    one.send(asked("web.", id=5))
    await later.asked_for(5)
    later.answer(5)
    assert (await one.receive())[:2] == b"\0\5"
    assert not frontend._of_client


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_answers_that_come_later_go_to_whoever_asked(served, respond, host) -> None:
    later = Later()
    _, client = served(respond(later), host)
    one, two = client("127.0.0.1"), client("127.0.0.2" if host == "0.0.0.0" else host)
    one.send(asked("web.", id=1), asked("web.", id=2))
    two.send(asked("web.", id=3))
    await later.asked_for(1, 2, 3)
    for ident, who in ((3, two), (2, one), (1, one)):
        later.answer(ident)
        assert (await who.receive())[:2] == ident.to_bytes(2, "big")


@pytest.mark.parametrize(
    ("host", "to"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.2"), ("::1", "::1")]
)
async def test_drain_waits_for_answers(served, respond, ipv6, host: str, to: str) -> None:
    later = Later()
    frontend, client = served(respond(later), host)
    one = client(to)
    one.send(asked("web.", id=1))
    await later.asked_for(1)
    one.send(asked("web.", id=2))
    draining = asyncio.ensure_future(frontend.drain())
    await later.asked_for(2)
    assert not draining.done()
    later.answer(1)
    later.answer(2)
    await draining
    assert {(await one.receive())[:2] for _ in range(2)} == {b"\0\1", b"\0\2"}


async def test_what_has_arrived_is_drained_to_the_last(served, cluster) -> None:
    frontend, client = served(cluster.responder())
    one = client()
    count = 20 * BATCH
    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    one.send(*[asked(id=n) for n in range(count)])
    await frontend.drain()
    frontend.close()
    found = [await one.receive() for _ in range(count)]
    assert {int.from_bytes(reply[:2], "big") for reply in found} == set(range(count))


async def test_drain_does_not_wait_without_end(served, respond, monkeypatch) -> None:
    monkeypatch.setattr(udp, "_DRAIN", 0.01)
    later = Later()
    frontend, client = served(respond(later))
    client().send(asked("web.", id=1))
    await later.asked_for(1)
    async with asyncio.timeout(10):
        await frontend.drain()
    assert not later.pending[1].done()


async def test_close_lets_go_of_who_waits(served, respond) -> None:
    later = Later()
    frontend, client = served(respond(later))
    client().send(asked("web.", id=1))
    await later.asked_for(1)
    await asyncio.sleep(0)
    frontend.close()
    await asyncio.wait(later.pending.values(), timeout=10)
    assert later.pending[1].cancelled()


async def test_too_many_that_wait(served, respond, monkeypatch) -> None:
    monkeypatch.setattr(udp, "_MAX_WAITING", 2)
    later = Later()
    frontend, client = served(respond(later))
    one = client()
    one.send(asked("web.", id=1), asked("web.", id=2), asked("web.", id=3))
    await later.asked_for(1, 2, 3)
    assert frontend.dropped == 1
    later.answer(1)
    assert (await one.receive())[:2] == b"\0\1"
    one.send(asked("web.", id=4))
    await later.asked_for(4)
    later.answer(4)
    assert (await one.receive())[:2] == b"\0\4"


async def test_a_client_without_a_port_is_counted_and_no_more(served, cluster) -> None:
    """A raw socket can send from port 0, where no reply can go."""
    frontend, client = served(cluster.responder())
    one = client()
    await one.ask(asked())
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    except PermissionError:
        pytest.skip("raw sockets need root")
    port = one.socket.getpeername()[1]
    datagram = struct.pack("!HHHH", 0, port, 8 + len(asked()), 0) + asked()
    with raw:
        for _ in range(3):
            one.send(asked())
            raw.sendto(datagram, ("127.0.0.1", 0))
            one.send(asked())
    for _ in range(6):
        assert dns.message.from_wire(await one.receive()).answer
    async with asyncio.timeout(10):
        while frontend.unsent < 3:
            await one.ask(asked())
    assert frontend.unsent == 3


async def test_clients_that_are_gone(served, respond) -> None:
    """Whose ICMP errors come back while others ask."""
    later = Later()
    _, client = served(respond(later))
    gone, here = client(), client()
    for ident in range(1, 4):
        gone.send(asked("web.", id=ident))
    await later.asked_for(1, 2, 3)
    gone.socket.close()
    for ident in range(1, 4):
        later.answer(ident)
    here.send(asked("web.", id=9))
    await later.asked_for(9)
    later.answer(9)
    assert (await here.receive())[:2] == b"\0\x09"


@pytest.mark.parametrize(
    "code", [errno.ECONNREFUSED, errno.ENOBUFS, errno.ENOMEM, errno.EHOSTUNREACH]
)
async def test_errors_when_receiving(served, cluster, code: int) -> None:
    frontend, client = served(cluster.responder())
    receive, failures = frontend._batch.receive, 3

    def failing():
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(code, "as from the system")
        return receive()

    frontend._batch.receive = failing
    assert dns.message.from_wire(await client().ask(asked())).answer
    assert not failures


@pytest.fixture
def sockets():
    """A wildcard and a bound socket that receive, and one that sends."""
    made = [open_udp("0.0.0.0", 0), open_udp("127.0.0.1", 0)]
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind(("127.0.0.1", 0))
    yield *made, sender
    for sock in (*made, sender):
        sock.close()


def batch(sock: socket.socket, kind: str):
    return Mmsg(sock, pktinfo=is_wildcard(sock)) if kind == "mmsg" else Singles(sock)


@pytest.mark.parametrize("where", [0, 1], ids=["wildcard", "bound"])
def test_senders(sockets, calls, where: int) -> None:
    receiver, sender = sockets[where], sockets[2]
    port = receiver.getsockname()[1]
    reader = batch(receiver, calls)
    assert reader.receive() == []
    sender.sendto(b"one", ("127.0.0.1", port))
    sender.sendto(b"", ("127.0.0.1", port))
    assert reader.receive() == [b"one", b""]
    for index in range(2):
        found = reader.sender(index)
        assert found.address == sender.getsockname()
    reader.send([b"reply", None])
    reader.send_late([(found, b"%d" % n) for n in range(BATCH + 3)])
    replies = [sender.recvfrom(100) for _ in range(BATCH + 4)]
    assert [reply for reply, _ in replies] == [b"reply", *(b"%d" % n for n in range(BATCH + 3))]
    assert {address for _, address in replies} == {("127.0.0.1", port)}
    assert reader.unsent == 0


def test_a_batch_is_bounded(sockets, calls) -> None:
    receiver, sender = sockets[1], sockets[2]
    for n in range(BATCH + 10):
        sender.sendto(b"%d" % n, receiver.getsockname())
    reader = batch(receiver, calls)
    assert reader.receive() == [b"%d" % n for n in range(BATCH)]
    assert reader.receive() == [b"%d" % n for n in range(BATCH, BATCH + 10)]
    assert reader.receive() == []


def test_what_cannot_be_sent_is_counted(sockets, calls) -> None:
    receiver, sender = sockets[1], sockets[2]
    reader = batch(receiver, calls)
    nobody = Sender(("127.0.0.1", 0), [])
    if calls == "mmsg":
        nobody = nobody._replace(origin=(bytes((2, 0, 0, 0, 127, 0, 0, 1)), b""))
    reader.send_late([(nobody, b"to nobody")])
    assert reader.unsent == 1
    for n in range(3):
        sender.sendto(b"%d" % n, receiver.getsockname())
    assert len(reader.receive()) == 3
    if calls == "mmsg":
        reader._names[1 * mmsg._NAME + 2 : 1 * mmsg._NAME + 4] = b"\0\0"
    else:
        reader._senders[1] = Sender(("127.0.0.1", 0), [])
    reader.send([b"a", b"b", b"c"])
    assert reader.unsent == 2
    assert [sender.recv(10) for _ in range(2)] == [b"a", b"c"]


class Libc:
    """sendmmsg and recvmmsg that do as they are told: a count, or an errno below zero."""

    def __init__(self, *results):
        self.results = list(results)
        self.asked = []

    def __call__(self, fd, address, count, *_):
        self.asked.append(count)
        result = self.results.pop(0)
        if result < 0:
            mmsg.ctypes.set_errno(-result)
            return -1
        return result


@pytest.mark.skipif(not mmsg.available(), reason="this system has no sendmmsg")
@pytest.mark.parametrize(
    ("results", "asked", "unsent"),
    [
        ([5], [5], 0),
        ([2, 3], [5, 3], 0),
        ([2, -errno.EINVAL, 2], [5, 3, 2], 1),
        ([-errno.ENOBUFS] * 5, [5, 4, 3, 2, 1], 5),
        ([1, -errno.EAGAIN], [5, 4], 4),
        ([4, -errno.EPERM], [5, 1], 1),
    ],
    ids=["all", "in two", "one refused", "none taken", "full", "the last"],
)
def test_partial_sends(sockets, results, asked, unsent) -> None:
    writer = Mmsg(sockets[1], pktinfo=False)
    writer._sendmmsg = libc = Libc(*results)
    writer.send([b"x"] * 5)
    assert libc.asked == asked
    assert writer.unsent == unsent


@pytest.mark.skipif(not mmsg.available(), reason="this system has no sendmmsg")
def test_runs_of_replies(sockets) -> None:
    writer = Mmsg(sockets[1], pktinfo=False)
    writer._sendmmsg = libc = Libc(2, 1, 1)
    writer.send([None, b"a", b"b", None, None, b"c", None, b"d"])
    assert libc.asked == [2, 1, 1]
    writer._sendmmsg = libc = Libc()
    writer.send([None] * 3)
    writer.send([])
    assert libc.asked == []


@pytest.mark.skipif(not mmsg.available(), reason="this system has no recvmmsg")
@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EINTR])
def test_nothing_to_receive(sockets, code: int) -> None:
    reader = Mmsg(sockets[1], pktinfo=False)
    reader._recvmmsg = Libc(-code)
    assert reader.receive() == []


@pytest.mark.skipif(not mmsg.available(), reason="this system has no recvmmsg")
def test_receiving_fails(sockets) -> None:
    reader = Mmsg(sockets[1], pktinfo=False)
    reader._recvmmsg = Libc(-errno.ECONNREFUSED)
    with pytest.raises(ConnectionRefusedError):
        reader.receive()


async def test_no_client_keeps_the_loop_to_itself(served, cluster) -> None:
    """However much there is to read, the loop goes on after some batches."""
    frontend, _ = served(cluster.responder())
    rounds = 0

    def endless():
        nonlocal rounds
        rounds += 1
        return [b"junk"] * BATCH

    frontend._batch.receive = endless
    frontend._batch.sender = lambda index: Sender(("127.0.0.1", 53), [])
    frontend._batch.send = lambda replies: None
    frontend._readable()
    assert 1 < rounds <= 8
    del frontend._batch.receive


async def test_durations_are_recorded_by_the_batch(served, respond) -> None:
    ticks = iter(range(1000))
    responder = respond(lambda query: Reply(), clock=lambda: next(ticks))
    _, client = served(responder)
    one = client()
    await one.ask(asked())
    assert responder.batches.durations.total == 0
    await one.ask(asked())
    await one.ask(asked())
    assert responder.batches.durations.total == 2
    assert responder.batches.durations.sum == 2.0
