"""A million and more packets that are nearly queries: no exception, a bounded time for each."""

from __future__ import annotations

import random
from collections.abc import Iterator

import dns.message
import pytest

from kdns.dns.canonical import canonical
from kdns.dns.query import Client, Query, Rejection, parse
from kdns.frontend.responder import Lane, Responder
from kdns.telemetry.traffic import Traffic

CLIENT = Client("192.0.2.1", 4711)
PARSED = 1_200_000
ASKED = 200_000
CHUNK = 10_000

COREFILE = """. {
    errors
    any
    kubernetes cluster.local in-addr.arpa {
        manifests nowhere
        pods insecure
    }
    whoami
}"""

PAIRS = [b"\0\0", b"\xff\xff", b"\xc0\x0c", b"\0\x0a", b"\0\x29", b"\x3f\0", b"\0\1", b"\0\xfa"]


def mutants(seeds: list[bytes], count: int, salt: str) -> Iterator[bytes]:
    """Packets of `seeds` with up to four things done to each."""
    number = random.Random(salt).random  # noqa: S311 - the same packets each time
    size = len(seeds)
    for _ in range(count):
        packet = bytearray(seeds[int(number() * size)])
        for _ in range(int(number() * 4) + 1):
            at = int(number() * len(packet))
            match int(number() * 7):
                case 0:
                    packet[at : at + 1] = bytes((int(number() * 256),))
                case 1:
                    packet[at : at + 1] = bytes((1 << int(number() * 8),))
                case 2:
                    del packet[at : at + int(number() * 8)]
                case 3:
                    begin = int(number() * len(packet))
                    packet[at:at] = packet[begin : begin + 20]
                case 4:
                    packet[at:] = seeds[int(number() * size)][at:]
                case 5:
                    packet[at : at + 2] = PAIRS[int(number() * len(PAIRS))]
                case _:
                    del packet[at:]
        yield bytes(packet)


@pytest.fixture(scope="module")
def seeds(odd_packets) -> list[bytes]:
    """The odd packets that are not huge, and ordinary ones of all shapes."""
    found = [row.packet for row in odd_packets if len(row.packet) < 3000]
    names = ["web.default.svc.cluster.local", "db-7.db.default.svc.cluster.local"]
    names += ["alias.default.svc.cluster.local", "1.0.1.10.in-addr.arpa", "db.default.svc.local"]
    names += ["db.default.svc.cluster.local", "10-1-2-3.default.pod.cluster.local", "cluster.local"]
    for name in names:
        for qtype in ("A", "AAAA", "SRV", "PTR", "ANY"):
            for edns in (False, 0):
                asked = dns.message.make_query(name, qtype, use_edns=edns, payload=1232)
                found.append(asked.to_wire())
    return found


@pytest.mark.timeout(300)
def test_parser(seeds: list[bytes], cluster) -> None:
    """Also the two steps in front of it: the canonical form and the memory of answers."""
    answers = cluster.responder(COREFILE).answers
    recall = answers.recall
    counts = {Query: 0, Rejection: 0, type(None): 0}
    packets = mutants(seeds, PARSED, "parser")
    for _ in range(PARSED // CHUNK):
        chunk = [next(packets) for _ in range(CHUNK)]
        for packet in chunk:
            canonical(packet)
            recall(packet)
            counts[type(parse(packet, "udp"))] += 1
    assert sum(counts.values()) == PARSED
    assert all(count > PARSED // 50 for count in counts.values())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_responder(seeds: list[bytes], cluster, transport: str) -> None:
    """Each is asked of a responder with a memory, and of one without; now and then of dnspython."""
    remembering = cluster.responder(COREFILE, transport=transport)
    lane = Lane("dns://:53", transport, 4)
    traffic = Traffic()
    forgetful = Responder(lane, cluster.router(COREFILE), traffic, lambda: 0.0)
    hits, silent = 0, 0
    for number, packet in enumerate(mutants(seeds, ASKED, transport)):
        reply = forgetful.ask(packet, CLIENT)
        forgetful.answers.clear()
        remembered = remembering.recall(packet)
        hits += remembered is not None
        assert (remembered or remembering.ask(packet, CLIENT)) == reply
        if reply is None:
            silent += 1
            continue
        found = parse(packet, transport)
        query = found if isinstance(found, Query) else found.query
        assert len(reply) <= (512 if query is None else query.limit)
        assert reply[:2] == packet[:2]
        assert reply[2] & 0x80
        assert reply[2] & 0x79 == packet[2] & 0x79
        if number % 50 == 0:
            read = dns.message.from_wire(reply)
            assert read.rcode() in {0, 1, 3, 4, 5, 9, 16}
    assert hits > ASKED // 50
    assert ASKED // 100 < silent < ASKED // 2
    assert traffic.panics == 0


HEADER = bytes.fromhex("1234 0100 0001 0000 0000 ffff")


@pytest.mark.parametrize(
    "rest",
    {
        "labels": b"\1a" * 32700,
        "labels, ended": b"\1a" * 127 + b"\0\0\1\0\1",
        "records": b"\0\0\1\0\1" + bytes(10) * 6500,
        "records of long names": b"\0\0\1\0\1" + (b"\1a" * 3000 + bytes(11)) * 10,
        "options": b"\0\0\1\0\1" + b"\0\0\x29\0\0\0\0\0\0\xff\xf0" + b"\xfd\xe9\0\0" * 16000,
        "zeros": bytes(65000),
        "ones": b"\xff" * 65000,
        "pointers": b"\xc0\x0c" * 32000,
    }.items(),
    ids=lambda item: item[0],
)
def test_the_largest_packets(cluster, rest: tuple[str, bytes]) -> None:
    packet = (HEADER + rest[1])[:65535]
    responder = cluster.responder(COREFILE, transport="tcp")
    for _ in range(3):
        assert responder.recall(packet) is None
        reply = responder.ask(packet, CLIENT)
        assert reply is not None


def test_seeds_are_not_changed(seeds: list[bytes]) -> None:
    before = list(seeds)
    assert len(set(mutants(seeds, 5000, "salt"))) > 4000
    assert list(mutants(seeds, 50, "salt")) == list(mutants(seeds, 50, "salt"))
    assert seeds == before
