"""`kdns node-cache` as a process of its own, on loopback and without any right."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

PATIENCE = 20.0
POLL = 0.05

TEMPLATE = """\
cluster.local:{dns} {{
    errors
    cache {{
            success 9984 30
            denial 9984 5
    }}
    reload
    loop
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . __PILLAR__CLUSTER__DNS__:{central} {{
            force_tcp
    }}
    prometheus 127.0.0.1:{metrics}
    health 127.0.0.1:{health}
    }}
in-addr.arpa:{dns} {{
    errors
    cache 30
    reload
    loop
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . __PILLAR__CLUSTER__DNS__:{central} {{
            force_tcp
    }}
    prometheus 127.0.0.1:{metrics}
    }}
.:{dns} {{
    errors
    cache 30
    reload
    loop
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . __PILLAR__UPSTREAM__SERVERS__
    prometheus 127.0.0.1:{metrics}
    }}
"""
LAUNCH = f"""
import sys
from kdns import node_cache
node_cache.POLL = {POLL}
raise SystemExit(node_cache.main(sys.argv[1:]))
"""


def until(look: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What `look` finds, once it finds something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it does not come to be"
        time.sleep(0.01)
    return found


class Central(contextlib.AbstractContextManager["Central"]):
    """The cluster's DNS: every name has an address but those with `none` in them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        answered = self.answered
        kept = self._kept = list[socket.socket]()

        class Datagram(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                packet, sock = self.request
                sock.sendto(answered(packet, "udp"), self.client_address)

        class Stream(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                kept.append(self.connection)
                while len(size := self.rfile.read(2)) == 2:
                    reply = answered(self.rfile.read(int.from_bytes(size, "big")), "tcp")
                    self.wfile.write(len(reply).to_bytes(2, "big") + reply)
                    self.wfile.flush()

        self._tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Stream)
        self.port = self._tcp.server_address[1]
        self._udp = socketserver.ThreadingUDPServer(("127.0.0.1", self.port), Datagram)
        for server in (self._udp, self._tcp):
            server.daemon_threads = True
            server.block_on_close = False
            threading.Thread(target=server.serve_forever, args=(0.02,)).start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for server in (self._udp, self._tcp):
            server.shutdown()
            server.server_close()
        for connection in self._kept:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def answered(self, packet: bytes, by: str) -> bytes:
        query = dns.message.from_wire(packet)
        name = query.question[0].name.to_text()
        self.asked.append((name, by))
        reply = dns.message.make_response(query, recursion_available=True)
        if "none" in name:
            reply.set_rcode(dns.rcode.NXDOMAIN)
            soa = "ns. admin. 1 7200 1800 86400 30"
            reply.authority.append(dns.rrset.from_text("cluster.local.", 30, "IN", "SOA", soa))
        elif "large" in name and by == "udp":
            reply.flags |= dns.flags.TC
        else:
            ttl = 1 if "brief" in name else 30
            reply.answer.append(dns.rrset.from_text(name, ttl, "IN", "A", "192.0.2.1"))
        return reply.to_wire()


class NodeCache:
    """One instance; its folders and ports are those that the others of a test have."""

    def __init__(self, folder: Path, ports: dict[str, int], number: int, words: tuple[str, ...]):
        self.folder, self.ports = folder, ports
        self.corefile = folder / f"Corefile-{number}"
        self.pidfile = folder / f"pid-{number}"
        self.log = folder / f"log-{number}"
        flags = ["-localip=127.0.0.1", "-setupinterface=false", "-setupiptables=false"]
        flags += [f"-dns.port={ports['dns']}", f"-metrics-listen-address=127.0.0.1:{ports['own']}"]
        flags += [f"-conf={self.corefile}", f"-basecorefile={folder / 'Corefile.base'}"]
        flags += [f"-kubednscm={folder / 'kube-dns'}", f"-pidfile={self.pidfile}"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, *flags, *words],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"KUBE_DNS_SERVICE_HOST": "127.0.0.1"},
            )

    def said(self) -> str:
        return self.log.read_text()

    def serves(self) -> NodeCache:
        until(lambda: "the node answers on" in self.said())
        return self

    def ask(self, name: str, qtype: str = "A", *, tcp: bool = False) -> dns.message.Message:
        ask = dns.query.tcp if tcp else dns.query.udp
        query = dns.message.make_query(name, qtype)
        return ask(query, "127.0.0.1", port=self.ports["dns"], timeout=PATIENCE)

    def page(self, port: str, path: str = "metrics") -> str:
        with contextlib.suppress(urllib.error.URLError):
            url = f"http://127.0.0.1:{self.ports[port]}/{path}"
            with urllib.request.urlopen(url, timeout=PATIENCE) as response:
                return response.read().decode()
        return ""

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@pytest.fixture
def central() -> Iterator[Central]:
    with Central() as made:
        yield made


@pytest.fixture
def start(tmp_path, central) -> Iterator[Callable[..., NodeCache]]:
    """start(*flags) -> an instance of node-cache, beside those that there are."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    names = ("dns", "metrics", "health", "own")
    ports = {name: sock.getsockname()[1] for name, sock in zip(names, taken, strict=True)}
    for sock in taken:
        sock.close()
    (tmp_path / "kube-dns").mkdir()
    upstreams = tmp_path / "kube-dns" / "upstreamNameservers"
    upstreams.write_text(f'["127.0.0.1:{central.port}"]')
    template = TEMPLATE.format(central=central.port, **ports)
    (tmp_path / "Corefile.base").write_text(template)
    made: list[NodeCache] = []

    def started(*words: str) -> NodeCache:
        made.append(NodeCache(tmp_path, ports, len(made), words))
        return made[-1]

    yield started
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


def test_the_stock_corefile_serves(start, central) -> None:
    node = start().serves()
    for tcp in (False, True):
        (record,) = node.ask("web.shop.svc.cluster.local", tcp=tcp).answer
        assert record[0].to_text() == "192.0.2.1"
        assert node.ask("example.org", tcp=tcp).answer
        assert node.ask("none.cluster.local", tcp=tcp).rcode() == dns.rcode.NXDOMAIN
    assert node.ask("1.2.0.192.in-addr.arpa", "A").answer
    asked = [(name, by) for name, by in central.asked if "." in name.strip(".")]
    assert asked.count(("web.shop.svc.cluster.local.", "tcp")) == 1
    assert asked.count(("example.org.", "udp")) == 1
    assert node.page("health", "health") == "OK"
    text = node.page("metrics")
    for name in ("coredns_dns_requests_total", "coredns_cache_hits_total", "coredns_panics_total"):
        assert name in text
    assert 'errortype="configmap"} 0' in node.page("own")
    assert node.pidfile.read_text().strip() != str(node.process.pid)
    assert node.stop() == 0
    assert not node.pidfile.exists()


def test_what_is_truncated_is_asked_for_over_tcp(start, central) -> None:
    node = start().serves()
    assert node.ask("large.example.org").answer
    name = "large.example.org."
    assert [by for asked, by in central.asked if asked == name] == ["udp", "tcp"]


@pytest.mark.parametrize("name", ["brief.example.org", "brief.cluster.local"])
def test_what_upstream_cannot_tell_is_answered_from_before(start, central, name: str) -> None:
    node = start().serves()
    assert node.ask(name).answer
    central.close()
    reply = until(lambda: (said := node.ask(name)).answer and said.answer[0].ttl == 30 and said)
    assert reply.answer[0][0].to_text() == "192.0.2.1"
    never = name.replace("brief", "other")
    assert node.ask(never).rcode() == dns.rcode.SERVFAIL


def test_a_changed_configmap_is_served_and_a_spoilt_one_counted(start, central) -> None:
    node = start().serves()
    stub = node.folder / "kube-dns" / "stubDomains"
    stub.write_text(f'{{"acme.local": ["127.0.0.1:{central.port}"]}}')
    until(lambda: 'zone="acme.local."' in node.page("metrics") or "acme" in node.said())
    until(lambda: f"acme.local:{node.ports['dns']} {{" in node.corefile.read_text())
    until(lambda: "running configuration SHA512" in node.said())
    stub.write_text("{")
    until(lambda: 'errortype="configmap"} 1' in node.page("own"))
    assert "acme.local" in node.corefile.read_text()
    assert node.ask("a.acme.local").answer


def test_a_template_that_is_mended_later(start) -> None:
    node = start("-basecorefile=/none/Corefile.base")
    until(lambda: "others answer until there is one" in node.said())
    until(lambda: 'errortype="configmap"} 1' in node.page("own"))
    assert node.stop() == 0
    template = node.folder / "Corefile.base"
    whole = template.read_text()
    template.write_text(whole + "__PILLAR__DNS__DOMAIN__:53 {\n}\n")
    node = start()
    until(lambda: "__PILLAR__DNS__DOMAIN__ is not known" in node.said())
    template.write_text(whole)
    node.serves()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["-upstreamsvc=other"], 1, "OTHER_SERVICE_HOST is no address in the environment"),
        (["-localip=nowhere"], 2, "kdns node-cache: -localip 'nowhere' is no address"),
        (["-help"], 0, "usage: kdns node-cache -localip"),
        (["-version"], 0, "kdns-"),
        (["-plugins"], 0, "dns.forward"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_at_once(start, words: list[str], code: int, said: str) -> None:
    node = start(*words)
    assert node.process.wait(PATIENCE) == code
    assert said in node.said()


@pytest.mark.parametrize(
    ("argv0", "words"),
    [
        ("node-cache", ["-help"]),
        ("kdns", ["node-cache", "-help"]),
        ("kdns", ["-localip", "10.0.0.1", "-help"]),
        ("kdns", ["-conf=/etc/Corefile", "--localip=10.0.0.1", "-help"]),
    ],
)
def test_by_name_or_by_arguments(argv0: str, words: list[str]) -> None:
    code = f"import sys; sys.argv[0] = '/{argv0}'; from kdns.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: kdns node-cache")


def test_the_supervisor_stays_small() -> None:
    code = "import sys, kdns.node_cache; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    dear = {"asyncio", "logging", "argparse", "ssl", "pathlib", "subprocess", "prometheus_client"}
    assert not dear & set(done.stdout.split())


def test_the_serving_process_imports_what_it_needs() -> None:
    code = "import sys, kdns.node_serving; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    dear = {"aiohttp", "argparse", "yaml", "kubernetes", "kdns.plugins.kubernetes", "kdns.cli"}
    assert not dear & set(done.stdout.split())


class Load(threading.Thread):
    """A steady stream of queries; each over TCP has a connection of its own."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.answered = {"udp": 0, "tcp": 0}
        self.lost: list[str] = []
        self._port = port
        self._ending = threading.Event()
        self._query = dns.message.make_query("web.shop.svc.cluster.local", "A", id=7).to_wire()

    def run(self) -> None:
        number = 0
        due = time.monotonic()
        while not self._ending.is_set():
            number += 1
            due += 1 / 2000
            if (ahead := due - time.monotonic()) > 0:
                self._ending.wait(ahead)
            self._ask("udp" if number % 8 else "tcp")

    def _ask(self, by: str) -> None:
        kind = socket.SOCK_DGRAM if by == "udp" else socket.SOCK_STREAM
        try:
            with socket.socket(type=kind) as sock:
                sock.settimeout(2.0)
                sock.connect(("127.0.0.1", self._port))
                if by == "udp":
                    sock.send(self._query)
                    reply = sock.recv(4096)
                else:
                    sock.sendall(len(self._query).to_bytes(2, "big") + self._query)
                    reply = sock.recv(4096)[2:]
        except OSError as error:
            self.lost.append(f"{by}: {error!r}")
            return
        if reply[:2] == b"\0\7" and reply[7] == 1:
            self.answered[by] += 1
        else:
            self.lost.append(f"{by}: {reply!r}")

    def runs(self, queries: int) -> None:
        goal = sum(self.answered.values()) + queries
        until(lambda: sum(self.answered.values()) >= goal)

    def stop(self) -> None:
        self._ending.set()
        self.join(PATIENCE)


def test_an_upgrade_loses_nothing(start) -> None:
    old = start().serves()
    load = Load(old.ports["dns"])
    load.start()
    try:
        for _ in range(3):
            load.runs(1000)
            new = start().serves()
            load.runs(1000)
            assert old.stop() == 0
            old = new
        load.runs(1000)
    finally:
        load.stop()
    assert load.lost == []
    assert load.answered["tcp"] > 500
    assert 'errortype="configmap"} 0' in old.page("own")
    assert old.page("health", "health") == "OK"
