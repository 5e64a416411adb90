"""Names as pods ask for them: the search list of their resolv.conf, by two clients.

These are the DNS cases of Kubernetes' own end-to-end tests that need no kubelet.
"""

from __future__ import annotations

import shutil
import subprocess

import dns.resolver
import pytest

from tests.wire.exchange import TIMEOUT
from tests.wire.servers import INSECURE

ZONE = "cluster.local"
NDOTS = 5


def search_of(namespace):
    return [f"{namespace}.svc.{ZONE}", f"svc.{ZONE}", ZONE]


LONG = [f"{letter * 45}.{ZONE}" for letter in "abcdef"]
ODD = [f"_sip._tcp.abc_d.{ZONE}"]

DB = {"10.244.4.10", "10.244.4.11"}

SEARCHES = {
    "services, the whole name": (
        search_of("default"),
        "db.prod.svc.cluster.local",
        "A",
        DB,
    ),
    "partial: the service": (search_of("prod"), "db", "A", DB),
    "partial: with its namespace": (
        search_of("default"),
        "db.prod",
        "A",
        DB,
    ),
    "partial: as far as svc": (search_of("default"), "db.prod.svc", "A", DB),
    "partial: the same in one's own namespace": (search_of("staging"), "web", "A", {"10.96.0.40"}),
    "partial: another namespace's": (search_of("staging"), "web.default", "A", {"10.96.0.20"}),
    "partial: AAAA": (search_of("default"), "dual", "AAAA", {"fd00:10:96::21"}),
    "partial: A of the same": (search_of("default"), "dual", "A", {"10.96.0.21"}),
    "SRV of a headless service": (
        search_of("default"),
        "_postgres._tcp.db.prod.svc",
        "SRV",
        {f"0 50 5432 db-{n}.db.prod.svc.{ZONE}." for n in (0, 1)},
    ),
    "SRV of a service": (
        search_of("prod"),
        "_http._tcp.web.default.svc",
        "SRV",
        {f"0 100 80 web.default.svc.{ZONE}."},
    ),
    "PTR of a service": (
        search_of("default"),
        "20.0.96.10.in-addr.arpa.",
        "PTR",
        {f"web.default.svc.{ZONE}."},
    ),
    "hostname and subdomain of a pod": (search_of("prod"), "db-0.db", "A", {"10.244.4.10"}),
    "the cluster itself": (search_of("default"), "kubernetes", "A", {"10.96.0.1"}),
    "the cluster, partial": (search_of("prod"), "kubernetes.default", "A", {"10.96.0.1"}),
    "the cluster, to svc": (search_of("prod"), "kubernetes.default.svc", "A", {"10.96.0.1"}),
    "a name that begins with a digit": (search_of("default"), "1kubernetes", "A", {"10.96.0.2"}),
    "an external name": (search_of("default"), "outside", "CNAME", {"www.example.com."}),
    "many and long search paths": (
        [*LONG, *search_of("prod")],
        "kubernetes.default",
        "A",
        {"10.96.0.1"},
    ),
    "search paths with underscores": (
        [*ODD, *search_of("prod")],
        "kubernetes.default.svc",
        "A",
        {"10.96.0.1"},
    ),
    "a pod": (search_of("default"), "10-244-1-20.default.pod", "A", {"10.244.1.20"}),
}


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize(("search", "name", "qtype", "found"), SEARCHES.values(), ids=SEARCHES)
def test_stub_resolver(kdns_port, host, tcp, search, name, qtype, found):
    stub = dns.resolver.Resolver(configure=False)
    stub.nameservers = [host]
    stub.port = kdns_port(INSECURE)
    stub.search = [dns.name.from_text(each) for each in search]
    stub.ndots = NDOTS
    answer = stub.resolve(name, qtype, tcp=tcp, search=True, lifetime=TIMEOUT)
    assert {each.to_text() for each in answer} == found


@pytest.fixture(scope="module")
def dig():
    """dig(resolv.conf, arguments) -> dig's end, with that file in the place of the machine's."""
    path, unshare = shutil.which("dig"), shutil.which("unshare")
    if path is None:
        pytest.skip("dig is not on PATH")
    if unshare is None:
        pytest.skip("unshare, which gives dig a resolv.conf of its own, is not on PATH")
    own = [unshare, "--map-root-user", "--mount", "sh", "-c"]
    own.append('mount --bind "$1" /etc/resolv.conf && shift && exec "$@"')

    def ask(resolv_conf, *arguments):
        command = [*own, "dig", resolv_conf, path, *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)

    if ask("/etc/hosts", "-v").returncode:
        pytest.skip("no mount namespace can be made here, for which dig's resolv.conf needs leave")
    return ask


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize(("search", "name", "qtype", "found"), SEARCHES.values(), ids=SEARCHES)
def test_dig(kdns_port, dig, tmp_path, transport, search, name, qtype, found):
    resolv_conf = tmp_path / "resolv.conf"
    lines = ["nameserver 127.0.0.1", f"search {' '.join(search)}", f"options ndots:{NDOTS}"]
    resolv_conf.write_text("\n".join(lines) + "\n")
    port = str(kdns_port(INSECURE))
    asked = ["@127.0.0.1", "-p", port, "+noall", "+answer", "+search", transport, name, qtype]
    said = dig(str(resolv_conf), *asked)
    assert said.returncode == 0, said.stderr
    records = [line.split(None, 4) for line in said.stdout.splitlines() if not line.startswith(";")]
    assert {record[4] for record in records if record[3] == qtype} == found
