"""kdns as a process of its own over an API server, and the clients that ask it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Self

import dns.edns
import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.resolver
import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from bench.peers.process import ServerProcess, answers, free_ports

PATIENCE = 30.0
TIMEOUT = 5.0
ZONE = "cluster.local"

_COREFILE = """\
. {{
    bind 127.0.0.1
    errors
    ready {{$READY}}
    prometheus {{$METRICS}}
    {around}
    kubernetes {zones} {{
        {options}
    }}
}}
"""


def corefile(
    *options: str, zones: str = f"{ZONE} in-addr.arpa ip6.arpa", around: Sequence[str] = ()
) -> str:
    """One server block for the zones of a cluster; `around` are its other directives."""
    return _COREFILE.format(
        options="\n        ".join(options), zones=zones, around="\n    ".join(around)
    )


class Kdns:
    """`kdns -conf FILE` on loopback, listening; `wrapper` is a command that runs it."""

    def __init__(
        self,
        folder: Path,
        text: str,
        *,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str | Path] = (),
    ) -> None:
        self.port, ready, metrics = free_ports(3)
        self.corefile = folder / "Corefile"
        self.corefile.write_text(text)
        self._ready, self._metrics = ready, metrics
        places = {"READY": f"127.0.0.1:{ready}", "METRICS": f"127.0.0.1:{metrics}"}
        command = [*wrapper, sys.executable, "-m", "kdns", "-conf", self.corefile]
        self._process = ServerProcess(
            [*command, "-dns.port", str(self.port)],
            folder / "kdns.log",
            environment={**places, **(environment or {})},
        )

    def __enter__(self) -> Self:
        try:
            self._process.wait_until(lambda: answers(self.port), PATIENCE)
        except BaseException:
            self._process.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.stop()

    def end(self) -> None:
        """As a kubelet ends it."""
        assert self._process.stop(signal.SIGTERM) == 0, self.log()

    def reload(self, text: str) -> None:
        self.corefile.write_text(text)
        os.kill(self._process.pid, signal.SIGUSR1)

    def log(self, word: str = "") -> list[str]:
        """The lines with a word in them."""
        return [line for line in self._process.log.read_text().splitlines() if word in line]

    def ready(self) -> tuple[int, str]:
        """Status and text of /ready."""
        return page(self._ready, "/ready")

    def metric(self, name: str, **labels: str) -> float | None:
        """The sum of a metric's samples with these labels; None where there is none."""
        found = [
            sample.value
            for family in self._families()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(found) if found else None

    def metric_names(self) -> set[str]:
        """Those of all families, as # TYPE has them."""
        text = page(self._metrics, "/metrics")[1]
        return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}

    def _families(self) -> Iterable[Metric]:
        return text_string_to_metric_families(page(self._metrics, "/metrics")[1])

    def ask(self, name: str, qtype: str = "A", *, tcp: bool = False) -> dns.message.Message:
        """The reply to a name, of the cluster's zone where it does not end in a dot."""
        whole = name if name.endswith(".") else f"{name}.{ZONE}."
        query = dns.message.make_query(whole, qtype, use_edns=0)
        send = dns.query.tcp if tcp else dns.query.udp
        return send(query, "127.0.0.1", TIMEOUT, self.port)

    def found(self, name: str, qtype: str = "A") -> set[str]:
        """The data of an answer's records, CNAME records too."""
        return data_of(self.ask(name, qtype))

    def rcode(self, name: str, qtype: str = "A") -> str:
        return dns.rcode.to_text(self.ask(name, qtype).rcode())

    def error(self, name: str) -> int | None:
        """The code of the extended error of a reply, None where it has none."""
        return extended_error(self.ask(name))

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for what another process makes come true."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail("it did not come to that:\n" + "\n".join(self.log()[-15:]))
            time.sleep(0.01)


def page(port: int, path: str) -> tuple[int, str]:
    """Status and text of a page on loopback."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, TIMEOUT)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def data_of(reply: dns.message.Message) -> set[str]:
    return {data.to_text() for rrset in reply.answer for data in rrset}


def extended_error(reply: dns.message.Message) -> int | None:
    codes = [each.code for each in reply.options if isinstance(each, dns.edns.EDEOption)]
    return int(codes[0]) if codes else None


def stub(port: int, search: Sequence[str] = ()) -> dns.resolver.Resolver:
    """A resolver as pods have it by their resolv.conf."""
    made = dns.resolver.Resolver(configure=False)
    made.nameservers = ["127.0.0.1"]
    made.port = port
    made.search = [dns.name.from_text(each) for each in search]
    made.ndots = 5
    return made


class Hammer:
    """Asks for A records of some names again and again, a thousand times a second at most.

    `expected` are the data a name must have each time; `wrong` what was said otherwise, with None
    for a query that had no answer.
    """

    def __init__(self, port: int, expected: Mapping[str, set[str]]) -> None:
        self.asked = 0
        self.wrong: list[tuple[str, str | None]] = []
        self._port = port
        self._expected = {f"{name}.{ZONE}.": data for name, data in expected.items()}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hammer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(TIMEOUT)
            udp.connect(("127.0.0.1", self._port))
            while not self._stopping.is_set():
                for name, data in self._expected.items():
                    self._ask(udp, name, data)
                    self._stopping.wait(0.001)

    def _ask(self, udp: socket.socket, name: str, data: set[str]) -> None:
        query = dns.message.make_query(name, "A")
        udp.send(query.to_wire())
        self.asked += 1
        try:
            reply = dns.message.from_wire(udp.recv(4096))
        except OSError:
            self.wrong.append((name, None))
            return
        if reply.id != query.id or data_of(reply) != data:
            self.wrong.append((name, reply.to_text()))
