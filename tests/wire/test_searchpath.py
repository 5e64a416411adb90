"""`searchpath` over sockets: a node's server between a cluster's and one outside, and glibc."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import dns.resolver
import pytest

from bench.peers.coredns import CorefileServer
from bench.servers import kdns_executable
from tests.upstream.messages import answer
from tests.upstream.scripted import Upstreams, sends
from tests.wire import glibc

ROOT = Path(__file__).parents[2]
TIMEOUT = 5.0

COREFILE = """\
cluster.local {{
    bind 127.0.0.1
    ready {{$READY}}
    errors
    cache {{
        success 9984 30
        denial 9984 5
    }}
    searchpath
    forward . 127.0.0.1:{cluster} {{
        force_tcp
    }}
}}
. {{
    bind 127.0.0.1
    errors
    cache 30
    forward . 127.0.0.1:{outside}
}}
"""

SOA = "cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5"


@pytest.fixture(scope="module")
def node():
    """A node's server: (its port, the cluster's upstream, the one outside)."""
    with Upstreams() as upstreams:
        cluster, outside = upstreams.open(), upstreams.open()
        cluster.default = sends(answer(authority=[SOA], rcode="NXDOMAIN"))
        for there in ("default", "prod"):
            cluster.script(f"{there}.svc.cluster.local.", sends(answer(authority=[SOA])))
        web = sends(answer("@ 5 A 10.96.0.20"))
        cluster.script("web.prod.svc.cluster.local.", web, type="A")
        cluster.script("web.prod.svc.cluster.local.", sends(answer(authority=[SOA])), type="AAAA")
        glibc.script(outside)
        corefile = COREFILE.format(cluster=cluster.port, outside=outside.port)
        with CorefileServer(str(kdns_executable()), corefile) as running:
            yield running.port, cluster, outside


@pytest.mark.parametrize("transport", [dns.query.udp, dns.query.tcp], ids=["udp", "tcp"])
@pytest.mark.parametrize(
    ("bare", "qtype", "records"),
    [
        ("www.example.com", "A", ["CNAME www.example.com.", "A 192.0.2.1"]),
        ("www.example.com", "AAAA", ["CNAME www.example.com.", "AAAA 2001:db8::1"]),
        (
            "alias.example.com",
            "A",
            ["CNAME alias.example.com.", "CNAME www.example.com.", "A 192.0.2.1"],
        ),
        ("alias.example.com", "AAAA", ["CNAME alias.example.com."]),
        ("web.prod", "A", ["CNAME web.prod.svc.cluster.local.", "A 10.96.0.20"]),
        ("web.prod", "AAAA", ["CNAME web.prod.svc.cluster.local."]),
        ("nobody.example.com", "A", []),
        ("broken.example.com", "A", []),
    ],
)
def test_one_round_trip(node, transport, bare, qtype, records):
    port, _, _ = node
    asked = dns.message.make_query(f"{bare}.default.svc.cluster.local.", qtype)
    for _ in range(3):
        said = transport(asked, "127.0.0.1", TIMEOUT, port)
        assert said.rcode() == (dns.rcode.NOERROR if records else dns.rcode.NXDOMAIN)
        assert [
            f"{dns.rdatatype.to_text(each.rdtype)} {rdata}"
            for each in said.answer
            for rdata in each
        ] == records


def test_a_stub_resolver_asks_once(node):
    port, cluster, outside = node
    stub = dns.resolver.Resolver(configure=False)
    stub.nameservers, stub.port, stub.ndots = ["127.0.0.1"], port, 5
    stub.search = [
        dns.name.from_text(each)
        for each in ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")
    ]
    found = stub.resolve("www.example.com", "A", search=True, lifetime=TIMEOUT)
    assert [each.to_text() for each in found] == ["192.0.2.1"]
    assert found.qname == dns.name.from_text("www.example.com.default.svc.cluster.local")
    # What is asked of a namespace is asked of its own upstream alone.
    assert not [each for each in outside.asked if "cluster.local" in each.name]
    assert {each.transport for each in cluster.asked} == {"tcp"}


RESOLV_CONF = f"""\
nameserver 127.0.0.1
search {glibc.NAMESPACE}.svc.cluster.local svc.cluster.local cluster.local
options ndots:5
"""
NSSWITCH_CONF = "hosts: files dns\n"

ENTER = """
ip link set lo up || exit 99
mount --bind "$1/resolv.conf" /etc/resolv.conf || exit 99
mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf || exit 99
exec "$2" -m tests.wire.search "$1"
"""


@pytest.fixture(scope="module")
def resolved(tmp_path_factory):
    """What search.py prints, in a mount and network namespace of its own: without and with."""
    folder = tmp_path_factory.mktemp("search")
    missing = [name for name in ("unshare", "ip", "mount") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not on PATH")
    if not Path("/etc/nsswitch.conf").exists():
        pytest.skip("this system's resolver is not glibc's: it has no /etc/nsswitch.conf")
    (folder / "resolv.conf").write_text(RESOLV_CONF)
    (folder / "nsswitch.conf").write_text(NSSWITCH_CONF)
    apart = ["unshare", "--map-root-user", "--mount", "--net", "sh", "-c", ENTER, "sh"]
    done = subprocess.run(
        [*apart, folder, sys.executable], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode == 99 or done.stderr.startswith("unshare"):
        pytest.skip(f"no mount and network namespace can be made here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()[-2:]]


@pytest.mark.parametrize("what", glibc.NAMES)
def test_glibc_finds_the_same(resolved, what):
    without, with_it = resolved
    assert with_it["addresses"][what] == without["addresses"][what]


@pytest.mark.parametrize(
    ("what", "without", "with_it"),
    [
        ("a service of one's own namespace", 2, 2),
        ("a service of another namespace", 4, 2),
        ("a service, as far as svc", 6, 2),
        ("a name outside", 8, 2),
        ("a name outside, absolute", 2, 2),
        ("a name that nobody has", 8, 8),
    ],
)
def test_how_often_glibc_asks(resolved, what, without, with_it):
    assert [each["queries"][what] for each in resolved] == [without, with_it]
