"""Every odd packet of `packets.yaml`, over UDP and TCP, and what else a socket can be sent."""

from __future__ import annotations

import socket
import struct

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import pytest

from bench.peers import coredns
from bench.peers.apiserver import ApiServer
from bench.peers.process import NotStarted
from tests.wire.cluster import MemoryFeed, decoded, objects
from tests.wire.exchange import TIMEOUT
from tests.wire.packets import ASK, SENTINEL, rcode_of, rows
from tests.wire.servers import ZONE_COREFILE, kdns, nsd, sourced

ROWS = rows()

_PAYLOAD = 1232
_PATIENCE = 0.1
_IPV4_UDP = struct.Struct("!BBHHHBBH4s4sHHHH")


@pytest.fixture(scope="module")
def port():
    """Where kdns answers for the cluster's zones and no others."""
    with kdns(ZONE_COREFILE, MemoryFeed(decoded())) as listening:
        yield listening


@pytest.mark.parametrize("transport", ASK)
@pytest.mark.parametrize("row", ROWS, ids=map(str, ROWS))
def test_row(port, host, transport, row):
    reply = ASK[transport](row.packet, host, port)
    outcome = row.expected[transport]
    assert outcome.allows(reply), f"{row.source}: {reply and rcode_of(reply)}, not {outcome}"
    if reply is not None:
        check(row.packet, reply, transport)


def check(packet, reply, transport):
    """What holds for every reply, whatever was asked."""
    message = dns.message.from_wire(reply, raise_on_truncation=False)  # raises on junk behind it
    flags = int.from_bytes(packet[2:4], "big")
    assert message.id == int.from_bytes(packet[:2], "big")
    assert message.flags & dns.flags.QR
    assert message.opcode() == dns.opcode.from_flags(flags)
    assert not message.flags & (dns.flags.RA | dns.flags.AD | 0x40)
    assert message.flags & dns.flags.RD == flags & dns.flags.RD
    for question in message.question:
        name = question.name.to_wire()
        assert packet[12:].startswith(name + struct.pack("!HH", question.rdtype, question.rdclass))
    if message.opt is not None:
        assert (message.edns, message.payload) == (0, _PAYLOAD)
        assert all(option.otype == dns.edns.OptionType.EDE for option in message.options)
    if transport == "udp":
        assert len(reply) <= (512 if message.opt is None else _PAYLOAD)


def test_asker_that_is_gone(port):
    """ICMP says that nobody takes the reply (the socket's next call may raise it)."""
    for _ in range(3):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(SENTINEL, ("127.0.0.1", port))
    assert answers(port)


@pytest.mark.parametrize("source", ["port 0", "the server itself"])
def test_source_that_cannot_be_answered(port, source):
    """RFC 6335 §6: port 0 is reserved; a server that answers itself would never end."""
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    except PermissionError:
        pytest.skip("raw sockets need the capability NET_RAW")
    with raw:
        for packet in (SENTINEL, ROWS[0].packet, bytes(12)):
            raw.sendto(datagram(packet, 0 if source == "port 0" else port, port), ("127.0.0.1", 0))
    assert answers(port)


def datagram(payload, source, target):
    """An IPv4 packet with a UDP datagram from one port of 127.0.0.1 to another."""
    local = socket.inet_aton("127.0.0.1")
    size = 8 + len(payload)
    header = _IPV4_UDP.pack(
        0x45, 0, 20 + size, 0, 0, 64, socket.IPPROTO_UDP, 0, local, local, source, target, size, 0
    )
    return header + payload


def answers(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.sendto(SENTINEL, ("127.0.0.1", port))
        return sock.recv(512)[:2] == SENTINEL[:2]


def test_rows_of_coredns(capsys):
    """How many rows CoreDNS gets right; for the reader, not for the result."""
    if coredns.executable() is None:
        pytest.skip(coredns.MISSING)
    with (
        ApiServer(objects()) as api,
        coredns.CoreDNS(sourced(ZONE_COREFILE, f"endpoint {api.url}")) as server,
    ):
        report("CoreDNS", server.port, capsys)


def test_rows_of_nsd(capsys, tmp_path):
    """The same of NSD, which knows one zone."""
    try:
        with nsd(tmp_path) as listening:
            report("NSD", listening, capsys)
    except (FileNotFoundError, NotStarted) as error:
        pytest.skip(str(error))


def report(name, port, capsys):
    right = 0
    for row in ROWS:
        for transport, ask in ASK.items():
            try:
                reply = ask(row.packet, "127.0.0.1", port, _PATIENCE)
            except OSError:
                continue  # no reply to the good query either
            right += row.expected[transport].allows(reply)
    with capsys.disabled():
        print(f"\n{name}: {right} of {len(ROWS) * len(ASK)} rows of packets.yaml")
    assert right
