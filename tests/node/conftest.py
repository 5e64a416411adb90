"""A node in namespaces of its own: a client beside it, and a cluster DNS Service behind it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kdns.node.probe import PROBE_ZONE

_HERE = Path(__file__).parent
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)

LINK_LOCAL = {4: "169.254.20.10", 6: "fd00:20::10"}
CLUSTER_IP = {4: "10.96.0.10", 6: "fd00:96::10"}
_CENTRAL = {4: "10.244.1.2", 6: "fd00:1::2"}
NODE, CENTRAL = "192.0.2.1", "192.0.2.2"

_NFT_PROXY = """
table inet kube-proxy {
  chain services {
    ip daddr 10.96.0.10 udp dport 53 dnat ip to 10.244.1.2
    ip daddr 10.96.0.10 tcp dport 53 dnat ip to 10.244.1.2
    ip6 daddr fd00:96::10 udp dport 53 dnat ip6 to fd00:1::2
    ip6 daddr fd00:96::10 tcp dport 53 dnat ip6 to fd00:1::2
  }
  chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
  chain nat-output { type nat hook output priority -100; jump services; }
  chain nat-postrouting { type nat hook postrouting priority srcnat; ct status dnat masquerade; }
}
"""
_IPTABLES_PROXY = """
*raw
COMMIT
*filter
COMMIT
*nat
:KUBE-SERVICES - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -d {service} -p udp --dport 53 -j DNAT --to-destination {central}
-A KUBE-SERVICES -d {service} -p tcp --dport 53 -j DNAT --to-destination {central}
-A POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE
COMMIT
"""


def _unfit() -> str | None:
    """Why namespaces cannot be had here."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    for program in ("ip", "nft"):
        if shutil.which(program) is None:
            return f"needs {program} on PATH"
    return None


def run(*words: str, text: str | None = None) -> str:
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


def poll(look: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What `look` sees once it is something, within the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        if seen := look():
            return seen
        assert time.monotonic() < deadline, f"not within {seconds} s: {look}"
        time.sleep(0.01)


class Supervised:
    """A supervisor in the node's namespace, with its child."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log

    def child(self) -> int:
        """The serving process, once there is one."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(poll(lambda: path.read_text().split())[0])

    def said(self) -> str:
        return self.log.read_text()

    def settled(self, words: str = "the node answers on 10.96.0.10") -> None:
        """Return once it has said so."""
        poll(lambda: words in self.said())

    def end(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


class Asking(threading.Thread):
    """Queries one after another, with what they came to."""

    def __init__(self, network: Network, server: str) -> None:
        super().__init__()
        self._network = network
        self._server = server
        self.ended = False
        self.answers: Counter[str | None] = Counter()

    @property
    def lost(self) -> int:
        return self.answers[None]

    def run(self) -> None:
        while not self.ended:
            stream = self.answers.total() % 10 == 0
            self.answers[self._network.ask(self._server, stream, patience=1.0)] += 1

    def more(self, queries: int) -> None:
        """Return after so many more queries."""
        until = self.answers.total() + queries
        poll(lambda: self.answers.total() >= until)


class Network:
    """Namespaces of a node, of a client, and of the cluster's DNS servers, joined through the node.

    The Service's address is translated on the node as kube-proxy does it in nftables or iptables.
    """

    def __init__(self, folder: Path) -> None:
        stem = f"kdns-{os.getpid()}"
        self.node, self.client, self.central = (f"{stem}-{n}" for n in ("node", "client", "dns"))
        self._folder = folder
        self._running: list[subprocess.Popen[str]] = []
        self._central_server: subprocess.Popen[str] | None = None

    def make(self, proxy: str | None) -> None:
        for name in (self.node, self.client, self.central):
            run("ip", "netns", "add", name)
            self.on(name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
            self.on(name, "ip", "link", "set", "lo", "up")
        for number, peer in enumerate((self.client, self.central)):
            near, far = f"to-{number}", "eth0"
            pair = ("link", "add", near, "netns", self.node, "type", "veth", "peer", "name", far)
            run("ip", *pair, "netns", peer)
            for place, link, last in ((self.node, near, 1), (peer, far, 2)):
                self.on(place, "ip", "link", "set", link, "up")
                ipv4, ipv6 = f"10.244.{number}.{last}/24", f"fd00:{number}::{last}/64"
                self.on(place, "ip", "addr", "add", ipv4, "dev", link)
                self.on(place, "ip", "addr", "add", ipv6, "dev", link, "nodad")
            self.on(peer, "ip", "route", "add", "default", "via", f"10.244.{number}.1")
            self.on(peer, "ip", "-6", "route", "add", "default", "via", f"fd00:{number}::1")
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.on(self.node, "sysctl", "-qw", f"{key}=1")
        if proxy == "nft":
            self.on(self.node, "nft", "-f", "-", text=_NFT_PROXY)
        elif proxy == "iptables":
            for family, program in ((4, "iptables-restore"), (6, "ip6tables-restore")):
                text = _IPTABLES_PROXY.format(service=CLUSTER_IP[family], central=_CENTRAL[family])
                self.on(self.node, program, text=text)
        self._serve_centrally()

    def on(self, place: str, *words: str, text: str | None = None) -> str:
        """What a program says that runs in one of the namespaces."""
        return run("ip", "netns", "exec", place, *words, text=text)

    def start(
        self,
        place: str,
        *words: str,
        log: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """A program in one of the namespaces; it ends with the test."""
        environment = (
            os.environ
            | (environment or {})
            | {
                "PYTHONPATH": str(_HERE.parent.parent),
                "ANSWER": NODE if place == self.node else CENTRAL,
            }
        )
        with (log or Path(os.devnull)).open("a") as output:
            process = subprocess.Popen(
                ("ip", "netns", "exec", place, *words),
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._running.append(process)
        return process

    def has_dummy(self) -> bool:
        """Whether the kernel has dummy links."""
        try:
            self.on(self.client, "ip", "link", "add", "trial", "type", "dummy")
        except AssertionError:
            return False
        return True

    def supervise(
        self,
        *command: str,
        before: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        **settings: Any,
    ) -> Supervised:
        """A supervisor on the node; of the stand-in server where no command is given.

        `before` is a program that runs it.
        """
        told: dict[str, Any] = {"addresses": [LINK_LOCAL[4], CLUSTER_IP[4]], **settings}
        child = command or self.responder(told["addresses"])
        words = (*before, sys.executable, str(_HERE / "supervise.py"), json.dumps(told), *child)
        return self.launch(*words, environment=environment)

    def launch(self, *words: str, environment: dict[str, str] | None = None) -> Supervised:
        """A program on the node that is a supervisor."""
        log = self._folder / f"supervisor-{len(self._running)}"
        return Supervised(self.start(self.node, *words, log=log, environment=environment), log)

    def responder(self, addresses: list[str]) -> tuple[str, ...]:
        """The command of a stand-in server."""
        words = (sys.executable, "-S", "-E", str(_HERE / "responder.py"))
        return (*words, *addresses, "--owns", PROBE_ZONE)

    def ask(
        self,
        server: str,
        stream: bool = False,
        name: str = "who.test",
        patience: float = 0.1,
        place: str | None = None,
    ) -> str | None:
        """The address that the client is told, None where nobody tells it any.

        `place` is the namespace to ask from, the client's by default.
        """
        asker = self._socket(server, stream, patience, place or self.client)
        with contextlib.suppress(OSError), asker as sock:
            wire = b"".join(bytes((len(each),)) + each.encode() for each in name.split("."))
            query = os.urandom(2) + b"\1\0\0\1\0\0\0\0\0\0" + wire + b"\0\0\1\0\1"
            if stream:
                sock.sendall(len(query).to_bytes(2, "big") + query)
                length = int.from_bytes(sock.recv(2, socket.MSG_WAITALL), "big")
                answer = sock.recv(length, socket.MSG_WAITALL)
            else:
                sock.send(query)
                answer = sock.recv(4096)
            if answer[:2] == query[:2] and answer[7]:
                return socket.inet_ntoa(answer[-4:])
        return None

    def told_by(
        self, who: str, server: str, seconds: float = 10.0, place: str | None = None
    ) -> float:
        """Seconds until `who` has answered the client over UDP and over TCP."""
        start = time.monotonic()
        for stream in (False, True):
            left = start + seconds - time.monotonic()
            poll(lambda stream=stream: self.ask(server, stream, place=place) == who, left)
        return time.monotonic() - start

    def stop_central(self) -> None:
        """Take the cluster's DNS servers away."""
        assert self._central_server is not None
        self._central_server.kill()
        self._central_server.wait()

    @contextlib.contextmanager
    def asking(self, server: str) -> Iterator[Asking]:
        """The client asks without pause, by UDP and TCP in turn, until the end of the context."""
        asking = Asking(self, server)
        asking.start()
        try:
            yield asking
        finally:
            asking.ended = True
            asking.join(10)

    def rules(self) -> str:
        """All rules of the node."""
        return self.on(self.node, "nft", "-s", "list", "ruleset")

    def addresses(self) -> list[tuple[str, str]]:
        """All devices of the node with their addresses."""
        said = json.loads(self.on(self.node, "ip", "-json", "addr"))
        return sorted((d["ifname"], a.get("local", "")) for d in said for a in d["addr_info"])

    def close(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()
        for name in (self.node, self.client, self.central):
            with contextlib.suppress(AssertionError):
                run("ip", "netns", "del", name)

    def _serve_centrally(self) -> None:
        words = (sys.executable, "-S", "-E", str(_HERE / "responder.py"), *_CENTRAL.values())
        self._central_server = self.start(self.central, *words)
        for address in _CENTRAL.values():
            self.told_by(CENTRAL, address)

    @contextlib.contextmanager
    def _socket(
        self, server: str, stream: bool, patience: float, place: str
    ) -> Iterator[socket.socket]:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
        with _within(place):
            sock = socket.socket(family, kind)
        with sock:
            sock.settimeout(patience)
            sock.connect((server, 53))
            yield sock


@contextlib.contextmanager
def _within(namespace: str) -> Iterator[None]:
    """This thread in that network namespace: sockets stay in the one they are made in."""
    with Path("/proc/self/ns/net").open() as own, Path(f"/run/netns/{namespace}").open() as other:
        assert _LIBC.setns(other.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert _LIBC.setns(own.fileno(), _CLONE_NEWNET) == 0


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Callable[[str | None], Network]]:
    """Makes the network, with a kube-proxy of "nft" or "iptables", or without one."""
    if reason := _unfit():
        pytest.skip(reason)
    made = Network(tmp_path)

    def make(proxy: str | None = "nft") -> Network:
        if proxy == "iptables" and shutil.which("iptables") is None:
            pytest.skip("needs iptables on PATH")
        made.make(proxy)
        return made

    try:
        yield make
    finally:
        made.close()
