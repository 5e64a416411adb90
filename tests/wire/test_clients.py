"""Real clients through kdns, to the cluster and outside: dig, kdig, and glibc's own resolver."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from bench.peers.coredns import CorefileServer
from bench.servers import kdns_executable
from tests.upstream.messages import answer, with_flags
from tests.upstream.scripted import Upstreams, by_transport, sends
from tests.wire import glibc

ROOT = Path(__file__).parents[2]
NAME = "upstream.example"

COREFILE = """\
. {{
    bind 127.0.0.1
    ready {{$READY}}
    errors
    cache 30
    kubernetes cluster.local {{
        manifests {manifests}
    }}
    forward secret.example tls://127.0.0.1:{tls_port} {{
        tls {ca}
        tls_servername {name}
    }}
    forward . 127.0.0.1:{port}
}}
"""

DIG, KDIG = shutil.which("dig"), shutil.which("kdig")

CLIENTS = {
    "dig by UDP": (DIG, "+notcp"),
    "dig by TCP": (DIG, "+tcp"),
    "kdig by UDP": (KDIG, "+noignore"),
    "kdig by TCP": (KDIG, "+tcp"),
}
"""Those by UDP ask again over TCP what did not fit."""

ANSWERS = {
    "a service": ("web.default.svc.cluster.local", "A", {"10.96.0.20"}),
    "a name outside": ("www.example.com", "A", {"192.0.2.1"}),
    "a name outside, AAAA": ("www.example.com", "AAAA", {"2001:db8::1"}),
    "an alias outside": ("alias.example.com", "A", {"www.example.com.", "192.0.2.1"}),
    "an external name": (
        "outside.default.svc.cluster.local",
        "A",
        {"www.example.com.", "192.0.2.1"},
    ),
    "text outside": ("www.example.com", "TXT", {'"some text"'}),
    "what does not fit over UDP": (
        "many.example.com",
        "A",
        {f"198.51.100.{number}" for number in range(glibc.MANY)},
    ),
    "by an upstream over TLS": ("www.secret.example", "A", {"192.0.2.2"}),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """kdns with a cluster, a scripted upstream, and another one over TLS."""
    folder = tmp_path_factory.mktemp("clients")
    manifests = glibc.write_cluster(folder)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(NAME).configure_cert(context)
    with Upstreams() as upstreams:
        plain, secret = upstreams.open(), upstreams.open(tls=context)
        glibc.script(plain)
        plain.script("www.example.com.", sends(answer('@ 60 TXT "some text"')), type="TXT")
        on_udp = sends(with_flags(answer(), on=0x0200))
        many = sends(answer(*(f"@ 60 A 198.51.100.{n}" for n in range(glibc.MANY))))
        plain.script("many.example.com.", by_transport(udp=on_udp, tcp=many))
        secret.script("www.secret.example.", by_transport(tls=sends(answer("@ 60 A 192.0.2.2"))))
        corefile = COREFILE.format(
            manifests=manifests,
            tls_port=secret.tls_port,
            ca=folder / "ca.crt",
            name=NAME,
            port=plain.port,
        )
        with CorefileServer(str(kdns_executable()), corefile) as running:
            yield running.port
        assert not [each for each in secret.asked if each.transport != "tls"]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("name", "qtype", "data"), ANSWERS.values(), ids=ANSWERS)
def test_answers(server, client, name, qtype, data):
    path, transport = CLIENTS[client]
    if path is None:
        pytest.skip(f"{client.split()[0]} is not on PATH")
    asked = [path, "@127.0.0.1", "-p", str(server), "+short", transport, name, qtype]
    said = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=10).stdout
    assert set(filter(None, said.splitlines())) == data


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("name", "status"), [("nobody.example.com", "NXDOMAIN"), ("broken.example.com", "SERVFAIL")]
)
def test_status(server, client, name, status):
    path, transport = CLIENTS[client]
    if path is None:
        pytest.skip(f"{client.split()[0]} is not on PATH")
    asked = [path, "@127.0.0.1", "-p", str(server), transport, name]
    said = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=10).stdout
    assert f"status: {status}" in said


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
exec "$2" -m tests.wire.glibc "$1"
"""


@pytest.fixture(scope="module")
def resolved(tmp_path_factory):
    """What glibc.py prints, in a mount and network namespace of its own."""
    folder = tmp_path_factory.mktemp("glibc")
    missing = [name for name in ("unshare", "ip", "mount", "getent") if shutil.which(name) is None]
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
    return json.loads(done.stdout.splitlines()[-1])


_WWW = ["192.0.2.1", "2001:db8::1"]

LED_TO = {
    "a service of one's own namespace": ["10.96.0.1"],
    "a service of another namespace": ["10.244.4.10", "10.244.4.11"],
    "a service, as far as svc": ["10.244.4.10", "10.244.4.11"],
    "a service, its whole name": ["10.96.0.21", "fd00:10:96::21"],
    "a name outside": _WWW,
    "a name outside, absolute": _WWW,
    "a name outside with an alias": ["192.0.2.1"],
    "an external name": _WWW,
    "a name with many addresses": sorted(f"198.51.100.{n}" for n in range(glibc.MANY)),
    "a name that nobody has": ["EAI_NONAME"],
    "a name that cannot be had": ["EAI_AGAIN"],
}


@pytest.mark.parametrize("what", glibc.NAMES)
def test_glibc(resolved, what):
    assert resolved["addresses"][what] == LED_TO[what]
    there = [each for each in LED_TO[what] if not each.startswith("EAI")]
    assert resolved["getent"][what] == there


def test_the_cluster_stays_inside(resolved):
    """Of the names that the search list makes, none goes to the upstream."""
    assert not [each for each in resolved["asked"] if "cluster.local" in each]
    assert "www.example.com. A" in resolved["asked"]
