"""Several worker processes behind one port: started, fed, killed, reloaded, counted, stopped."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.peers.process import ServerProcess, free_ports

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the kernel shares out packets to several sockets on Linux"
)

PATIENCE = 20.0
RATE = 2_000  # queries a second
CLIENTS = 40
BATCH = 64  # datagrams that a worker reads at once

SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{clusterIP: {address}, ports: [{{name: http, port: 80}}]}}
"""
COREFILE = """\
.:{port} {{
    bind 127.0.0.1
    multisocket {size}
    ready 127.0.0.1:{ready}
    prometheus 127.0.0.1:{metrics}
    kubernetes cluster.local {{
        manifests {manifests}
    }}
    {more}
}}
"""
UNSYNCED = """}}
a.example:{port} {{
    bind 127.0.0.1
    kubernetes a.example {{
        endpoint http://127.0.0.1:9
        startup_timeout 10ms
    }}"""
WEB = "web.shop.svc.cluster.local."


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """Seconds until it holds."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, "it did not come about in time"
        time.sleep(0.002)
    return time.monotonic() - begin


class Running:
    """kdns with a folder of manifests, its own process and its workers'."""

    def __init__(self, folder: Path, size: int | str) -> None:
        self.folder = folder
        self.port, self.ready, self.metrics = free_ports(3)
        (folder / "manifests").mkdir()
        self.put("web", "10.96.0.10")
        self.write(size)
        command = [sys.executable, "-m", "kdns", "-conf", str(folder / "Corefile")]
        self.log = folder / "log"
        # Relative paths in a Corefile begin at the folder that a server is started in.
        with contextlib.chdir(folder):
            self.process = ServerProcess(
                command, self.log, environment={"PYTHONPATH": str(Path(__file__).parents[2])}
            )
        try:
            self.process.wait_until(lambda: self.is_ready() == 200, PATIENCE)
        except BaseException:
            self.process.stop()
            raise

    def write(self, size: int | str, **changes: str | int) -> None:
        ports = {"port": self.port, "ready": self.ready, "metrics": self.metrics}
        others = {"manifests": "manifests", "more": ""}
        text = COREFILE.format_map({"size": size, **ports, **others, **changes})
        (self.folder / "Corefile").write_text(text)

    def reload(self, size: int | str, **changes: str | int) -> None:
        """Write a Corefile, ask for a reload, and wait until the log tells how it went."""
        before = self.said("plugin/reload")
        self.write(size, **changes)
        os.kill(self.process.pid, signal.SIGUSR1)
        until(lambda: self.said("plugin/reload") > before)

    def put(self, name: str, address: str, folder: str = "manifests") -> None:
        aside = self.folder / "aside"
        aside.write_text(SERVICE.format(name=name, address=address))
        aside.replace(self.folder / folder / f"{name}.yaml")

    def workers(self) -> list[int]:
        return self.process.pids()[1:]

    def said(self, text: str) -> int:
        return self.log.read_text().count(text)

    def is_ready(self) -> int:
        return self.page(self.ready, "/ready")[0]

    def page(self, port: int, path: str) -> tuple[int, str]:
        """Status and body; status 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def scrape(self) -> dict[str, float]:
        """Samples by name, those of all labels added up."""
        status, text = self.page(self.metrics, "/metrics")
        assert status == 200
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
        return found

    def ask(self, name: str = WEB, *, tcp: bool = False) -> list[str]:
        """Addresses, from a client port of its own."""
        exchange = dns.query.tcp if tcp else dns.query.udp
        reply = exchange(dns.message.make_query(name, "A"), "127.0.0.1", port=self.port, timeout=10)
        return [each.to_text() for rrset in reply.answer for each in rrset]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int | str], Running]]:
    """start(size) -> Running."""
    made: list[Running] = []

    def started(size: int | str) -> Running:
        made.append(Running(tmp_path, size))
        return made[-1]

    yield started
    for running in made:
        running.process.stop()


class Clients:
    """Sockets that ask for the same, and hear whether the answers are right."""

    def __init__(self, port: int, count: int = CLIENTS) -> None:
        self.sockets = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(count)]
        self.waiting: dict[tuple[int, bytes], float] = {}
        self.answered = 0
        self.slowest = 0.0
        self.wrong: list[bytes] = []
        self._question = dns.message.make_query(WEB, "A", id=0).to_wire()[2:]
        self._selector = selectors.DefaultSelector()
        self._number = 0
        for each in self.sockets:
            each.connect(("127.0.0.1", port))
            each.setblocking(False)
            self._selector.register(each, selectors.EVENT_READ)

    def close(self) -> None:
        self._selector.close()
        for each in self.sockets:
            each.close()

    def ask(self) -> None:
        """One query, from the next socket."""
        self._number += 1
        one = self.sockets[self._number % len(self.sockets)]
        number = (self._number & 0xFFFF).to_bytes(2, "big")
        with contextlib.suppress(ConnectionError):  # a port that was closed for a moment
            one.send(number + self._question)
        self.waiting[one.fileno(), number] = time.monotonic()

    def listen(self, seconds: float) -> bool:
        """Take what has come, or comes within so many seconds; whether anything did."""
        ready = self._selector.select(seconds)
        for key, _ in ready:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                while True:
                    reply = key.fileobj.recv(4096)  # type: ignore[union-attr]
                    asked = self.waiting.pop((key.fd, reply[:2]), None)
                    if asked is None or reply[3] & 0xF or reply[6:8] != b"\0\1":
                        self.wrong.append(reply)
                        continue
                    self.answered += 1
                    self.slowest = max(self.slowest, time.monotonic() - asked)
        return bool(ready)

    def finish(self, seconds: float = 2.0) -> int:
        """Take what comes until all did or nothing has for so long; queries without an answer."""
        while self.waiting and self.listen(seconds):
            pass
        assert not self.wrong
        return len(self.waiting)


class Load:
    """A steady stream of queries while the context lasts."""

    def __init__(self, port: int) -> None:
        self.clients = Clients(port)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        self.runs(500)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.clients.close()

    def runs(self, answers: int) -> None:
        """Wait for so many answers more."""
        goal = self.clients.answered + answers
        until(lambda: self.clients.answered >= goal)

    def lost(self) -> int:
        """End the load; queries without an answer."""
        self._stop.set()
        self._thread.join()
        return self.clients.finish()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            due += 1 / RATE
            self.clients.ask()
            self.clients.listen(max(0.0, due - time.monotonic()))


def test_every_worker_answers_and_follows(start) -> None:
    running = start(2)
    first, second = running.workers()
    clients = Clients(running.port, 64)
    os.kill(first, signal.SIGSTOP)
    for _ in clients.sockets:
        clients.ask()
    left = clients.finish(0.25)
    assert 0 < left < 64
    os.kill(first, signal.SIGCONT)
    assert clients.finish() == 0
    clients.close()
    running.put("new", "10.96.0.20")
    until(lambda: running.ask("new.shop.svc.cluster.local.") == ["10.96.0.20"])
    until(lambda: all(running.ask("new.shop.svc.cluster.local.") for _ in range(30)))
    running.put("web", "10.96.0.30")
    until(lambda: all(running.ask() == ["10.96.0.30"] for _ in range(30)))
    assert all(running.ask(tcp=True) == ["10.96.0.30"] for _ in range(30))
    assert running.workers() == [first, second]


@pytest.mark.parametrize(("size", "workers"), [(1, 0), (3, 3)])
def test_as_many_processes_as_asked_for(start, size: int, workers: int) -> None:
    running = start(size)
    assert len(running.workers()) == workers
    assert running.ask() == ["10.96.0.10"]
    assert ("kdns_workers" in running.scrape()) == bool(workers)


def test_a_worker_that_is_killed(start, capsys) -> None:
    running = start(2)
    victim, other = running.workers()
    with Load(running.port) as load:
        os.kill(victim, signal.SIGKILL)
        stalled = _stalled()
        replaced = until(lambda: running.said("serves again") == 1)
        stalled = _stalled() - stalled
        load.runs(1000)
        lost = load.lost()
        answered, slowest = load.clients.answered, load.clients.slowest
    with capsys.disabled():
        print(
            f"\nkilled under {RATE}/s: {lost} of {answered + lost} queries lost,"
            f" slowest answer {slowest * 1e3:.0f} ms, replaced after {replaced:.2f} s"
        )
    # What it had read, and what was in its socket in the time that the system takes to close it.
    assert lost <= BATCH
    # Others may have had the processors meanwhile.
    assert replaced - min(stalled, 2) < 1
    assert other in running.workers()
    assert len(running.workers()) == 2
    assert running.said(f"(process {victim}) was killed by SIGKILL") == 1
    assert running.scrape()["kdns_workers_replaced_total"] == 1


def test_a_worker_that_hangs(start) -> None:
    running = start(2)
    victim, _ = running.workers()
    os.kill(victim, signal.SIGSTOP)
    until(lambda: running.said("serves again") == 1)
    assert running.said(f"(process {victim}) did not answer for 3 seconds and was killed") == 1
    assert victim not in running.workers()
    assert all(running.ask() == ["10.96.0.10"] for _ in range(20))


def test_no_worker_is_left_for_a_moment(start) -> None:
    running = start(2)
    for victim in running.workers():
        os.kill(victim, signal.SIGKILL)
    until(lambda: running.page(running.ready, "/ready") == (503, "multisocket"))
    until(lambda: running.is_ready() == 200)
    assert running.ask() == ["10.96.0.10"]


def test_reloads_lose_nothing(start) -> None:
    running = start(2)
    with Load(running.port) as load:
        for size, more in ((2, "loadbalance"), (3, ""), (1, ""), (2, "errors"), (2, "")):
            running.reload(size, more=more)
            assert len(running.workers()) == (size if size > 1 else 0)
            load.runs(500)
        assert load.lost() == 0
    assert running.said("running configuration") == 5
    assert running.said("[ERROR]") == 0


def test_a_reload_to_another_source(start) -> None:
    running = start(2)
    workers = running.workers()
    (running.folder / "others").mkdir()
    running.put("web", "10.96.0.40", "others")
    running.reload(2, manifests="others")
    assert all(running.ask() == ["10.96.0.40"] for _ in range(30))
    running.put("web", "10.96.0.50")
    running.put("web", "10.96.0.41", "others")
    until(lambda: all(running.ask() == ["10.96.0.41"] for _ in range(30)))
    running.reload(2)
    assert all(running.ask() == ["10.96.0.50"] for _ in range(30))
    assert running.workers() == workers


REFUSALS = {
    "nonsense": "there is no plugin 'nonsense'",
    "taken": "Address already in use",
    "unsynced": "was not synced within its startup_timeout",
}


@pytest.mark.parametrize("wrong", REFUSALS)
def test_a_corefile_that_is_refused(start, wrong: str) -> None:
    running = start(2)
    workers = running.workers()
    with Load(running.port) as load, socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        match wrong:
            case "nonsense":
                running.reload(2, more="nonsense")
            case "taken":
                running.reload(2, port=taken.getsockname()[1])
            case "unsynced":
                running.reload(2, more=UNSYNCED.format(port=running.port))
        load.runs(200)
        assert load.lost() == 0
    assert running.workers() == workers
    assert running.said("was not taken over") == 1
    assert running.said(REFUSALS[wrong]) == 1
    samples = running.scrape()
    assert samples["coredns_reload_failed_total"] == 1
    assert samples["kdns_workers"] == 2


def test_metrics_are_of_the_whole(start) -> None:
    running = start(2)
    asked = 0
    seen = 0.0
    for victim in (*running.workers(), None):
        for _ in range(50):
            running.ask()
            running.ask(tcp=True)
        asked += 100
        samples = running.scrape()
        assert samples["coredns_dns_requests_total"] == asked
        assert samples["coredns_dns_responses_total"] == asked
        assert samples["coredns_dns_request_duration_seconds_count"] == asked
        assert samples["coredns_build_info"] == 1
        assert samples["coredns_plugin_enabled"] == 5
        assert samples["process_resident_memory_bytes"] > 0.9 * sum(
            map(_resident, running.process.pids())
        )
        assert samples["process_cpu_seconds_total"] >= seen
        seen = samples["process_cpu_seconds_total"]
        if victim is not None:
            replaced = running.said("serves again")
            os.kill(victim, signal.SIGKILL)
            until(lambda before=replaced: running.said("serves again") > before)


def test_the_way_down_answers_what_has_arrived(start) -> None:
    running = start(2)
    workers = running.workers()
    clients = Clients(running.port)
    for _ in range(400):
        clients.ask()
    os.kill(running.process.pid, signal.SIGTERM)
    assert clients.finish() == 0
    clients.close()
    until(lambda: not any(map(_lives, [running.process.pid, *workers])))
    assert running.process.stop() == 0
    assert running.said("ERROR") == 0


def test_workers_do_not_outlive_their_parent(start) -> None:
    running = start(2)
    workers = running.workers()
    os.kill(running.process.pid, signal.SIGKILL)
    until(lambda: not any(map(_lives, workers)))


def test_signals_for_all_are_the_parents_affair(start) -> None:
    """A terminal sends SIGINT, and a service manager SIGTERM, to every process."""
    running = start(2)
    workers = running.workers()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        for each in workers:
            os.kill(each, number)
    assert all(running.ask() == ["10.96.0.10"] for _ in range(20))
    assert running.workers() == workers


def test_another_program_does_not_get_the_port(start) -> None:
    """Not even while no worker has it."""
    running = start(2)
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        for victim in running.workers():
            os.kill(victim, signal.SIGKILL)
        with socket.socket(type=kind) as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", running.port))
        until(lambda: len(running.workers()) == 2 and running.is_ready() == 200)


def _lives(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return re.search(r"^State:\s+Z", status, re.MULTILINE) is None


def _stalled() -> float:
    """Seconds since boot in which somebody waited for a processor; 0 where nobody counts them."""
    try:
        return int(Path("/proc/pressure/cpu").read_text().split()[4].partition("=")[2]) / 1e6
    except OSError:
        return 0.0


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (kilobytes,) = re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(kilobytes) * 1024
