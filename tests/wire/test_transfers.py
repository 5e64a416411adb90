"""Zone transfers over sockets: by dnspython, by dig, to a real secondary, and beside CoreDNS."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import time

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.xfr
import dns.zone
import pytest

from bench.peers import coredns
from bench.peers.apiserver import ApiServer
from bench.peers.process import ServerProcess, free_ports
from kdns.cluster.feed import Delete
from tests.wire.cluster import MemoryFeed, service, slice_of
from tests.wire.cluster import decoded as decode
from tests.wire.exchange import TIMEOUT
from tests.wire.servers import kdns, sourced
from tests.wire.views import APICES, COREFILES, decoded, objects

LOCAL = "127.0.0.1"
PLAIN = COREFILES["plain"]
DIG, NSD = shutil.which("dig"), shutil.which("nsd")
VERSION = "CoreDNS-1.14.7"


@pytest.fixture(scope="module")
def port():
    """Where all views of the cluster are served, and may be transferred by anybody."""
    with kdns(PLAIN, MemoryFeed(decoded())) as port:
        yield port


class Frames:
    """The messages of one TCP connection, one at a time."""

    def __init__(self, port, *queries):
        self.socket = socket.create_connection((LOCAL, port), TIMEOUT)
        self._file = self.socket.makefile("rb")
        for query in queries:
            wire = query.to_wire()
            self.socket.sendall(len(wire).to_bytes(2, "big") + wire)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
        self.socket.close()

    def next(self):
        return dns.message.from_wire(self.wire(), one_rr_per_rrset=True)

    def wire(self):
        size = int.from_bytes(self._file.read(2), "big")
        return self._file.read(size)

    def rest(self, message):
        """The other messages of a transfer as bytes; `message` is the first, without its last."""
        soa = message.answer[0][0].to_wire()
        found = []
        while not found or not found[-1].endswith(soa[-20:]):
            found.append(self.wire())
        return found


def transferred(port, zone):
    """All records of a zone, as (owner, type, TTL, data), in the order in which they come."""
    found = []
    with Frames(port, dns.message.make_query(zone, "AXFR")) as frames:
        while len(found) < 2 or found[-1] != found[0]:
            message = frames.next()
            assert message.rcode() == 0, message
            found += records(message.answer)
    return found


def records(section):
    return [
        (each.name.to_text(), dns.rdatatype.to_text(each.rdtype), each.ttl, data.to_text())
        for each in section
        for data in each
    ]


@pytest.mark.parametrize("zone", APICES)
def test_what_is_transferred_is_what_is_answered(port, zone):
    """Every record once, and each record set whole (RFC 5936 2.2, RFC 2181 5)."""
    found = transferred(port, zone)
    assert found[0][:2] == found[-1][:2] == (zone, "SOA")
    assert len(set(found)) == len(found) - 1
    sets = {}
    for owner, qtype, ttl, data in found[:-1]:
        sets.setdefault((owner, qtype), set()).add((owner, qtype, ttl, data))
    assert len(sets) >= 4
    for (owner, qtype), expected in sets.items():
        reply = dns.query.tcp(dns.message.make_query(owner, qtype), LOCAL, TIMEOUT, port)
        assert set(records(reply.answer)) == expected
    aliases = {owner for owner, qtype in sets if qtype == "CNAME"}
    assert not [key for key in sets if key[0] in aliases and key[1] != "CNAME"]


@pytest.mark.parametrize("options", [{}, {"use_edns": 0}])
@pytest.mark.parametrize("zone", APICES)
def test_dnspython_takes_it_for_a_zone(port, zone, options):
    made = dns.zone.Zone(zone, relativize=False)
    query, _ = dns.xfr.make_query(made, **options)
    dns.query.inbound_xfr(LOCAL, made, query, port, TIMEOUT)
    made.check_origin()
    assert len(made.nodes) >= 3


def test_ixfr(port):
    """RFC 1995 2: nothing is newer, or all of the zone instead of what is."""
    made = dns.zone.Zone("cluster.local.", relativize=False)
    dns.query.inbound_xfr(LOCAL, made, dns.xfr.make_query(made)[0], port, TIMEOUT)
    names = len(made.nodes)
    query, serial = dns.xfr.make_query(made)
    assert dns.rdatatype.to_text(query.question[0].rdtype) == "IXFR"
    with Frames(port, query) as frames:
        (alone,) = frames.next().answer
    assert alone[0].serial == serial
    older = dns.message.from_wire(query.to_wire())
    older.authority[0] = dns.rrset.from_rdata(
        "cluster.local.", 5, alone[0].replace(serial=serial - 1)
    )
    again = dns.zone.Zone("cluster.local.", relativize=False)
    with (
        Frames(port, older) as frames,
        dns.xfr.Inbound(again, dns.rdatatype.IXFR, serial - 1) as inbound,
    ):
        while not inbound.process_message(frames.next()):
            pass
    assert len(again.nodes) == names


def test_beside_other_queries_of_one_connection(port):
    """RFC 7766 6.2.1: replies may come in any order, and tell by their ID which they are."""
    transfer = dns.message.make_query("cluster.local.", "AXFR")
    other = dns.message.make_query("web.default.svc.cluster.local.", "A")
    with Frames(port, transfer, other, transfer) as frames:
        seen = [frames.next() for _ in range(3)]
    assert sorted(each.id for each in seen) == sorted([transfer.id, other.id, transfer.id])


REFUSED = {
    "UDP": (dns.query.udp, "cluster.local.", "AXFR"),
    "UDP, IXFR": (dns.query.udp, "cluster.local.", "IXFR"),
    "no zone": (dns.query.tcp, "default.svc.cluster.local.", "AXFR"),
    "elsewhere": (dns.query.tcp, "example.org.", "AXFR"),
}


@pytest.mark.parametrize(("send", "name", "qtype"), REFUSED.values(), ids=REFUSED)
def test_refused(port, send, name, qtype):
    reply = send(dns.message.make_query(name, qtype), LOCAL, TIMEOUT, port)
    expected = dns.rcode.SERVFAIL if name == "example.org." else dns.rcode.REFUSED
    assert (reply.rcode(), reply.answer) == (expected, [])


def test_clients_that_may_not():
    text = PLAIN.replace("to *", "to 192.0.2.1 ::1")
    with kdns(text, MemoryFeed(decoded())) as port:
        query = dns.message.make_query("cluster.local.", "AXFR")
        for _ in range(2):
            reply = dns.query.tcp(query, LOCAL, TIMEOUT, port)
            assert (reply.rcode(), reply.answer) == (dns.rcode.REFUSED, [])


def test_a_cluster_that_is_not_known_yet():
    feed = MemoryFeed(decoded(), syncs=False)
    text = PLAIN.replace("zonal", "zonal\n        startup_timeout 10ms")
    with kdns(text, feed) as port:
        query = dns.message.make_query("cluster.local.", "AXFR", use_edns=0)
        reply = dns.query.tcp(query, LOCAL, TIMEOUT, port)
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert [each.code for each in reply.options] == [dns.edns.EDECode.NOT_READY]


@pytest.fixture
def large():
    """(feed, port) of 10,000 services and 20,000 endpoints."""
    made = [*decode(objects()[:2]), *decode(list(many()))]
    feed = MemoryFeed(made)
    with kdns(PLAIN, feed) as port:
        yield feed, port


def many():
    for number in range(5000):
        high, low = divmod(number, 250)
        yield service(f"web-{number}", f"10.96.{high}.{low}", ports=["http:80"])
        yield service(f"db-{number}", "None", ports=["pg:5432"])
        hosts = [f"10.{128 + part}.{high}.{low}" for part in range(4)]
        yield slice_of(f"db-{number}", *hosts, ports=["pg:5432"])


def test_others_are_answered_while_a_large_zone_is_sent(large):
    _, port = large
    query = dns.message.make_query("web-7.default.svc.cluster.local.", "A")
    counts = []

    def transfer():
        with Frames(port, dns.message.make_query("cluster.local.", "AXFR")) as frames:
            first = frames.next()
            counts.append(len(first.answer))
            counts.extend(int.from_bytes(wire[6:8], "big") for wire in frames.rest(first))

    thread = threading.Thread(target=transfer)
    thread.start()
    answered = 0
    while thread.is_alive():
        assert dns.query.udp(query, LOCAL, TIMEOUT, port).answer
        answered += 1
    assert len(counts) > 100
    # Of cluster IPs A and two SRV, of endpoints A and three SRV, and A once more at the service.
    assert sum(counts) == 5000 * 3 + 20_000 * 5 + LISTED_BESIDE
    # One at least while the last thousands of records were on their way; a blocked loop has none.
    assert answered > 2


LISTED_BESIDE = 6
"""SOA twice, NS, the addresses of `ns.dns`, and `dns-version`."""


def test_a_change_while_a_zone_is_sent_is_in_the_next_one(large):
    """RFC 5936 6: what is sent is one version. The sender waits for its reader meanwhile."""
    feed, port = large
    query = dns.message.make_query("cluster.local.", "AXFR")
    gone = "web-4999.default.svc.cluster.local."
    with Frames(port, query) as frames:
        first = frames.next()
        feed.push(Delete("Service", "default", "web-4999"))
        deadline = time.monotonic() + TIMEOUT
        while dns.query.udp(dns.message.make_query(gone, "A"), LOCAL, TIMEOUT, port).answer:
            assert time.monotonic() < deadline, "the change is not seen"
        assert any(b"\x08web-4999" in wire for wire in frames.rest(first))
    with Frames(port, query) as frames:
        again = frames.next()
        assert not any(b"\x08web-4999" in wire for wire in frames.rest(again))
    assert again.answer[0][0].serial > first.answer[0][0].serial


def serial(found):
    return int(found[0][3].split()[2])


@pytest.mark.skipif(DIG is None, reason="dig is not on PATH")
@pytest.mark.parametrize("zone", APICES)
def test_dig(port, zone):
    said = dig(port, zone, "AXFR")
    size = re.search(r"XFR size: (\d+) records", said)
    assert size
    assert int(size[1]) == len(transferred(port, zone))


@pytest.mark.skipif(DIG is None, reason="dig is not on PATH")
def test_dig_ixfr(port):
    now = serial(transferred(port, "cluster.local."))
    assert "XFR size: 1 records" in dig(port, "cluster.local.", f"IXFR={now}")
    assert "XFR size: 1 records" not in dig(port, "cluster.local.", f"IXFR={now - 1}")


def dig(port, *words):
    ask = [DIG, f"@{LOCAL}", "-p", str(port), "+tcp", *words]
    return subprocess.run(ask, check=True, capture_output=True, text=True, timeout=20).stdout


_NSD = """\
server:
    ip-address: 127.0.0.1@{port}
    server-count: 1
    username: ""
    chroot: ""
    zonesdir: "{folder}"
    pidfile: "{folder}/pid"
    database: ""
    xfrdfile: "{folder}/xfrd.state"
    zonelistfile: "{folder}/zone.list"
    xfrdir: "{folder}"
remote-control:
    control-enable: no
zone:
    name: {zone}
    zonefile: "{folder}/zone"
    request-xfr: AXFR 127.0.0.1@{primary} NOKEY
"""


@pytest.mark.skipif(NSD is None, reason="nsd is not on PATH")
@pytest.mark.parametrize(
    "zone", ["cluster.local.", "clusterset.local.", "example.com.", "in-addr.arpa."]
)
def test_a_real_secondary(port, zone, tmp_path):
    """NSD takes the zone over, and answers each of its record sets as kdns does."""
    [own] = free_ports(1)
    config = tmp_path / "nsd.conf"
    config.write_text(_NSD.format(port=own, primary=port, folder=tmp_path, zone=zone))
    expected = {}
    for each in transferred(port, zone):
        expected.setdefault(each[:2], set()).add(each)

    def held(owner, qtype):
        reply = dns.query.tcp(dns.message.make_query(owner, qtype), LOCAL, TIMEOUT, own)
        return set(records(reply.answer)) if reply.flags & dns.flags.AA else None

    def holds_all():
        try:
            return all(held(*key) == wanted for key, wanted in expected.items())
        except OSError:  # its processes change when a zone is new
            return False

    with ServerProcess([NSD, "-d", "-c", config], tmp_path / "log") as process:
        process.wait_until(holds_all, 30)
    assert len(expected) > 8


@pytest.fixture(scope="module")
def both(port):
    """The ports of CoreDNS and kdns."""
    path = coredns.executable()
    if path is None:
        pytest.skip(coredns.MISSING)
    if coredns.version(path) != VERSION:
        pytest.skip(f"{path} is {coredns.version(path)}; the differences are those to {VERSION}")
    with (
        ApiServer(objects()) as api,
        coredns.CoreDNS(sourced(PLAIN, f"endpoint {api.url}")) as server,
    ):
        yield server.port, port


def unweighted(found):
    """Records without the weights of SRV, which CoreDNS makes otherwise in transfers."""
    return {
        (owner, qtype, ttl, re.sub(r"^0 \d+ ", "0 * ", data) if qtype == "SRV" else data)
        for owner, qtype, ttl, data in found
        if qtype not in ("SOA", "NS")
    }


def test_content(both):
    """CONTENT: what CoreDNS sends and kdns does not is nothing that CoreDNS answers."""
    theirs, ours = (unweighted(transferred(each, "cluster.local.")) for each in both)
    no_port = "portless.prod.svc.cluster.local."
    assert theirs - ours == {(no_port, "SRV", 5, f"0 * 65535 {no_port}")}
    assert len(theirs & ours) > 50
    assert ("dns-version.cluster.local.", "TXT", 28800, '"1.1.0"') in ours - theirs
    theirs, ours = (unweighted(transferred(each, "clusterset.local.")) for each in both)
    lost = theirs - ours
    assert {said(both[0], name_of(each)) for each in lost if "loose" not in each[0]} == {"NXDOMAIN"}
    assert len(theirs & ours) > 15
    theirs, ours = (unweighted(transferred(each, "example.com.")) for each in both)
    assert sorted(each for each in theirs - ours if "gone.ghost" not in each[0]) == [
        ("_._tcp.unnamed.prod.example.com.", "SRV", 5, "0 * 80 unnamed.prod.example.com."),
        ("_http._tcp.named.prod.example.com.", "SRV", 5, "0 * 80 net."),
        ("named.prod.example.com.", "SRV", 5, "0 * 80 lb.example.net."),
    ]
    theirs, ours = (unweighted(transferred(each, "in-addr.arpa.")) for each in both)
    assert {qtype for _, qtype, _, _ in ours} == {"PTR"}
    assert "PTR" not in {qtype for _, qtype, _, _ in theirs}


def name_of(record):
    """The name of an endpoint in a record: an SRV record's target, or else its owner."""
    return record[3].split()[-1] if record[1] == "SRV" else record[0]


def said(port, name):
    reply = dns.query.udp(dns.message.make_query(name, "A"), LOCAL, TIMEOUT, port)
    return dns.rcode.to_text(reply.rcode())


def test_zone_names(both):
    """ZONE_NAMES: CoreDNS sends a zone of this name, with an SOA, for any name in its zone."""
    query = dns.message.make_query("default.svc.cluster.local.", "AXFR")
    theirs, ours = (dns.query.tcp(query, LOCAL, TIMEOUT, each) for each in both)
    assert theirs.answer[0].name.to_text() == "default.svc.cluster.local."
    assert (ours.rcode(), ours.answer) == (dns.rcode.REFUSED, [])


def test_serials(both):
    """SERIALS: CoreDNS sends all to a secondary that is ahead, kdns says that nothing is newer."""
    theirs, ours = (ixfr(each, serial(transferred(each, "cluster.local.")) + 1) for each in both)
    assert len(theirs.answer) > 1
    assert len(ours.answer) == 1


def test_no_serial(both):
    """NO_SERIAL: it is the query that is wrong, not the server."""
    query = dns.message.make_query("cluster.local.", "IXFR")
    theirs, ours = (dns.query.tcp(query, LOCAL, TIMEOUT, each) for each in both)
    assert (theirs.rcode(), ours.rcode()) == (dns.rcode.SERVFAIL, dns.rcode.FORMERR)


def ixfr(port, serial):
    query = dns.message.make_query("cluster.local.", "IXFR")
    text = f"ns.dns.cluster.local. hostmaster.cluster.local. {serial} 7200 1800 86400 5"
    query.authority.append(dns.rrset.from_text("cluster.local.", 5, "IN", "SOA", text))
    with Frames(port, query) as frames:
        return frames.next()
