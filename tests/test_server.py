"""The whole server in one process: start, reload, and the way down, over loopback sockets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import threading
import weakref
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.rcode
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kdns.cluster.feed import Delete, Synced, Upsert
from kdns.cluster.objects import Metadata, Namespace, Service, ServicePort, ServiceSpec
from kdns.corefile import parser
from kdns.corefile.tokens import CorefileError
from kdns.forwarding.names import Unresolved
from kdns.plugins import forward
from kdns.plugins.site import Reload
from kdns.server import Server, StartError

WEB = "web.default.svc.cluster.local."
KUBERNETES = "kubernetes cluster.local {{\n manifests {source}\n}}"
IMPATIENT = KUBERNETES.replace("{source}", "{source}\n startup_timeout 20ms")


class Feed:
    """Events that a test puts in; `closed` once nobody follows them any more."""

    def __init__(self, *events):
        self.queue = asyncio.Queue()
        self.closed = False
        for event in events:
            self.queue.put_nowait(event)

    async def events(self):
        try:
            while True:
                yield await self.queue.get()
        finally:
            self.closed = True


def service(name, address, namespace="default"):
    spec = ServiceSpec(cluster_ip=address, cluster_ips=[address], ports=[ServicePort(80, "http")])
    return Upsert(Service(Metadata(name, namespace), spec))


def filled(address="10.96.0.1"):
    return Feed(Upsert(Namespace(Metadata("default"))), service("web", address), Synced())


class Running:
    """A server, its Corefile, the feeds it opened by source, and how to ask it."""

    def __init__(self, corefile, feeds):
        self.corefile = corefile
        self.feeds = feeds
        self.opened = []
        self.server = Server(self.read, Path("/"), self.open_feed)

    def read(self):
        return parser.parse(self.corefile, "Corefile", {})

    def open_feed(self, source):
        name = source.manifests.name
        self.opened.append(name)
        if name not in self.feeds:
            raise ValueError(f"{name}: there is no such folder: write one that exists")
        return self.feeds[name]

    async def reload(self, corefile):
        self.corefile = corefile
        await self.server.reload()


@pytest.fixture
async def start():
    """await start(corefile, source=Feed, …) -> Running."""
    made = []

    async def started(corefile, **feeds):
        running = Running(corefile, feeds)
        made.append(running)
        await running.server.start()
        return running

    yield started
    for running in made:
        await running.server.close()


@pytest.fixture
def ports():
    """Four ports that are free."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        return [each.getsockname()[1] for each in found]


async def ask(port, name=WEB, qtype="A", *, host="127.0.0.1"):
    """rcode and answer, the same over UDP and TCP."""
    query = dns.message.make_query(name, qtype)
    over_udp = await dns.asyncquery.udp(query, host, port=port, timeout=10)
    over_tcp = await dns.asyncquery.tcp(query, host, port=port, timeout=10)
    assert over_udp.answer == over_tcp.answer
    assert over_udp.rcode() == over_tcp.rcode()
    answers = [each.to_text() for rrset in over_udp.answer for each in rrset]
    return dns.rcode.to_text(over_udp.rcode()), answers


async def fetch(port, path):
    """Status and body of a page."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    async with asyncio.timeout(10):
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body.decode()


async def scrape(port):
    """Samples by (name, sorted labels)."""
    status, text = await fetch(port, "/metrics")
    assert status == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def is_free(port, host="127.0.0.1"):
    with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((host, port))
        return True
    return False


async def until(condition):
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - asks over the wire
            await asyncio.sleep(0.002)


def block(port, *lines, zone="."):
    return f"{zone}:{port} {{\n bind 127.0.0.1\n" + "\n".join(lines) + "\n}\n"


async def test_serves_the_cluster(start, free_port) -> None:
    feed = filled()
    await start(block(free_port, KUBERNETES.format(source="a")), a=feed)
    assert await ask(free_port) == ("NOERROR", ["10.96.0.1"])
    assert (await ask(free_port, "new.default.svc.cluster.local."))[0] == "NXDOMAIN"
    feed.queue.put_nowait(service("new", "10.96.0.2"))
    feed.queue.put_nowait(Delete("Service", "default", "web"))

    async def changed():
        return (await ask(free_port))[0] == "NXDOMAIN"

    await until(changed)
    assert await ask(free_port, "new.default.svc.cluster.local.") == ("NOERROR", ["10.96.0.2"])


async def test_pages_and_metrics(start, ports) -> None:
    dns_port, health, ready, metrics = ports
    lines = [f"health 127.0.0.1:{health}", f"ready 127.0.0.1:{ready}"]
    lines += [f"prometheus 127.0.0.1:{metrics}", KUBERNETES.format(source="a"), "loadbalance"]
    await start(block(dns_port, *lines, zone="cluster.local"), a=filled())
    for _ in range(3):
        await ask(dns_port)
    await ask(dns_port, "elsewhere.")
    assert await fetch(health, "/health") == (200, "OK")
    assert await fetch(ready, "/ready") == (200, "OK")
    assert (await fetch(metrics, "/health"))[0] == 404
    samples = await scrape(metrics)
    server = f"dns://127.0.0.1:{dns_port}"
    place = {"server": server, "zone": "cluster.local.", "view": ""}

    def sample(name, /, **labels):
        return samples[name, tuple(sorted(labels.items()))]

    for proto in ("udp", "tcp"):
        asked = {**place, "proto": proto, "family": "1", "type": "A"}
        assert sample("coredns_dns_requests_total", **asked) == 3
        dropped = {**asked, "zone": "dropped"}
        assert sample("coredns_dns_requests_total", **dropped) == 1
    answered = {**place, "rcode": "NOERROR", "plugin": "kubernetes"}
    assert sample("coredns_dns_responses_total", **answered) == 6
    assert sample("coredns_dns_request_duration_seconds_count", **place) == 6
    for plugin in ("kubernetes", "loadbalance", "health", "ready", "prometheus", "bind"):
        assert sample("coredns_plugin_enabled", **place, name=plugin) == 1
    names = {name for name, _ in samples}
    assert {"coredns_panics_total", "coredns_build_info", "coredns_reload_failed_total"} <= names
    assert {"coredns_reload_version_info", "coredns_health_request_failures_total"} <= names
    assert "coredns_health_request_duration_seconds_bucket" in names
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes"} <= names
    for counter in ("kdns_udp_unsent_total", "kdns_udp_dropped_total", "kdns_tcp_refused_total"):
        assert sample(counter) == 0


async def test_not_synced(start, ports) -> None:
    dns_port, ready, *_ = ports
    feed = Feed()
    lines = [f"ready 127.0.0.1:{ready}", IMPATIENT.format(source="a")]
    await start(block(dns_port, *lines), a=feed)
    assert (await ask(dns_port))[0] == "SERVFAIL"
    assert await fetch(ready, "/ready") == (503, "kubernetes")
    for event in (Upsert(Namespace(Metadata("default"))), service("web", "10.96.0.1"), Synced()):
        feed.queue.put_nowait(event)

    async def synced():
        return (await fetch(ready, "/ready")) == (200, "OK")

    await until(synced)
    assert await ask(dns_port) == ("NOERROR", ["10.96.0.1"])


@pytest.mark.parametrize(
    ("corefile", "says"),
    [
        (". {\n nonsense\n}", "Corefile:2:2: there is no plugin 'nonsense'"),
        (". {", "Corefile:1:3: "),
        (block(1, KUBERNETES.format(source="b")), "b: there is no such folder"),
    ],
    ids=["unknown plugin", "syntax", "feed"],
)
async def test_what_cannot_be_started(start, free_port, corefile, says) -> None:
    with pytest.raises(StartError) as refused:
        await start(corefile.replace(":1 ", f":{free_port} "))
    assert str(refused.value).startswith(says)
    assert "\n" not in str(refused.value)
    assert is_free(free_port)


async def test_an_upstream_that_does_not_exist(start, free_port, monkeypatch, caplog) -> None:
    async def lookup(*_):
        raise Unresolved("there is no such name", absent=True)

    monkeypatch.setattr(forward, "lookup", lookup)
    named = block(free_port, "forward . dns.example")
    says = "Corefile:3:11: 'dns.example' has no address (there is no such name): "
    with pytest.raises(StartError) as refused:
        await start(named)
    assert str(refused.value).startswith(says)
    assert is_free(free_port)
    running = await start(block(free_port, "forward . 127.0.0.1:1"))
    before = set(running.server._forwarders._forwarders)
    await running.reload(named)
    assert says in caplog.messages[-1]
    assert set(running.server._forwarders._forwarders) == before


async def test_a_port_in_use(start, ports) -> None:
    dns_port, health, *_ = ports
    with socket.create_server(("127.0.0.1", health)):
        corefile = block(dns_port, "whoami", f"health 127.0.0.1:{health}")
        with pytest.raises(
            StartError, match=f"cannot listen on 127.0.0.1:{health}: Address already"
        ):
            await start(corefile)
    assert is_free(dns_port)


async def test_reload(start, ports, caplog) -> None:
    caplog.set_level(logging.INFO)
    one, two, ready, metrics = ports
    pages = [f"ready 127.0.0.1:{ready}", f"prometheus 127.0.0.1:{metrics}"]
    kubernetes = KUBERNETES.format(source="a")
    running = await start(block(one, kubernetes, *pages), a=filled())
    assert await ask(one) == ("NOERROR", ["10.96.0.1"])
    before = dict(running.server._frontends._serving)
    await running.reload(block(one, kubernetes, "any", *pages) + block(two, "any", zone="org"))
    assert await ask(one) == ("NOERROR", ["10.96.0.1"])
    assert await ask(one, qtype="ANY") == ("NOERROR", ['"ANY obsoleted" "See RFC 8482"'])
    assert (await ask(two, "x.org.", "ANY"))[0] == "NOERROR"
    assert before.items() <= running.server._frontends._serving.items()
    assert running.opened == ["a"]
    (line,) = [r.getMessage() for r in caplog.records if r.name == "plugin/reload"]
    assert line.startswith("running configuration SHA512 = ")
    await running.reload(block(one, "whoami", f"prometheus 127.0.0.1:{metrics}"))
    assert await ask(one) == ("NOERROR", [])
    assert is_free(two)
    assert running.feeds["a"].closed
    with pytest.raises(ConnectionError):
        await fetch(ready, "/ready")
    samples = await scrape(metrics)
    assert samples["coredns_reload_failed_total", ()] == 0
    (version,) = [dict(labels) for name, labels in samples if name.startswith("coredns_reload_v")]
    assert version == {"hash": line.split()[-1], "value": "sha512"} or len(version["value"]) == 128


async def test_reloads_let_go_of_old_records(start, free_port) -> None:
    """Also of those that were kept out of the collector's sight."""
    feeds = {name: filled() for name in "abc"}
    running = await start(block(free_port, KUBERNETES.format(source="a")), **feeds)
    left = []
    for name in "bc":
        (source,) = running.server._clusters.sources()
        left.append(weakref.ref(running.server._clusters.store(source)))
        await running.reload(block(free_port, KUBERNETES.format(source=name)))
        assert await ask(free_port) == ("NOERROR", ["10.96.0.1"])
    assert [ref() for ref in left] == [None, None]


async def test_two_clusters_do_not_share_a_file(start, ports) -> None:
    running = await start(block(ports[0], KUBERNETES.format(source="a")), a=filled())
    cluster = "kubernetes cluster.local {{\n endpoint http://{}\n snapshot /tmp/gone/records\n}}"
    await running.reload("".join(block(ports[n], cluster.format(n)) for n in (1, 2)))
    assert running.server._failed_reloads == 1
    assert await ask(ports[0]) == ("NOERROR", ["10.96.0.1"])


async def test_reload_of_what_has_not_changed(start, free_port, caplog) -> None:
    caplog.set_level(logging.INFO)
    running = await start(block(free_port, "whoami"))
    await running.reload("# a comment\n" + block(free_port, "", "whoami  "))
    assert not [record for record in caplog.records if record.name == "plugin/reload"]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (lambda good, taken: "\n. {", "Corefile:2:3: "),
        (lambda good, taken: good.replace("any", "nonsense"), "there is no plugin 'nonsense'"),
        (lambda good, taken: good + block(taken, "whoami"), "Address already in use"),
        (
            lambda good, taken: good.replace("any", f"health 127.0.0.1:{taken}"),
            "Address already in",
        ),
        (lambda good, taken: good.replace("manifests a", "manifests b"), "there is no such folder"),
        (
            lambda good, taken: good.replace(
                "manifests a", "manifests slow\n startup_timeout 50ms"
            ),
            "was not synced within",
        ),
        (
            lambda good, taken: good.replace("any", "bind 198.51.100.1"),
            "no interface of this machine",
        ),
        (
            lambda good, taken: good.replace("manifests a", "manifests a\n namespaces " + "x" * 64),
            "",
        ),
        (lambda good, taken: CorefileError, "gone"),
    ],
    ids=["syntax", "plugin", "port", "page", "feed", "sync", "address", "namespace", "unreadable"],
)
async def test_a_bad_corefile_is_refused_whole(
    start, ports, caplog, monkeypatch, bad, says
) -> None:
    one, two, metrics, _ = ports
    lines = [KUBERNETES.format(source="a"), "any", f"prometheus 127.0.0.1:{metrics}"]
    good = block(one, *lines) + block(two, "whoami", zone="org")
    slow = Feed()
    running = await start(good, a=filled(), slow=slow)
    serving = dict(running.server._frontends._serving)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = bad(good, taken.getsockname()[1])
        if isinstance(wanted, str):
            await running.reload(wanted)
        else:
            monkeypatch.setattr(running, "read", lambda: parser.load("/gone", {}, 53))
            running.server._read = running.read
            await running.server.reload()
    (record,) = [record for record in caplog.records if record.name == "plugin/reload"]
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("the Corefile was not taken over, what ran goes on: ")
    assert says in record.getMessage()
    assert "\n" not in record.getMessage()
    assert running.server._frontends._serving == serving
    assert await ask(one) == ("NOERROR", ["10.96.0.1"])
    assert (await ask(two, "x.org."))[0] == "NOERROR"
    assert not running.feeds["a"].closed
    assert slow.closed == ("slow" in running.opened)
    assert (await scrape(metrics))["coredns_reload_failed_total", ()] == 1
    running.server._read = lambda: parser.parse(good.replace("any", "errors"), "Corefile", {})
    await running.server.reload()
    assert (await scrape(metrics))["coredns_reload_failed_total", ()] == 1
    assert (await ask(one, qtype="ANY"))[1] != ['"ANY obsoleted" "See RFC 8482"']


async def test_a_port_refused_to_listeners_changes_nothing(start, ports, monkeypatch) -> None:
    one, two, health, _ = ports
    running = await start(block(one, "any"))
    serving = dict(running.server._frontends._serving)
    for more in (block(two, "whoami"), block(one, f"health 127.0.0.1:{health}", zone="org")):
        with monkeypatch.context() as patch:

            def listen(*_):
                raise OSError(errno.EADDRINUSE, "Address already in use")

            patch.setattr(socket.socket, "listen", listen)
            await running.reload(block(one, "whoami") + more)
        assert running.server._frontends._serving == serving
        assert (await ask(one, qtype="ANY"))[1] == ['"ANY obsoleted" "See RFC 8482"']
        assert is_free(two)
    await running.reload(block(one, "whoami") + block(two, "whoami"))
    assert not is_free(two)


async def test_a_refusal_is_counted_and_logged_once(start, ports, caplog) -> None:
    one, two, metrics, _ = ports
    page = f"prometheus 127.0.0.1:{metrics}"
    good = block(one, "whoami", page)

    async def refused():
        logged = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert (await scrape(metrics))["coredns_reload_failed_total", ()] == len(logged)
        return len(logged)

    running = await start(good)
    for corefile, count in (
        (block(one, "nonsense"), 1),
        (block(one, "other"), 2),
        ("", 3),
        (good, 3),
        ("", 4),
    ):
        for _ in range(3):
            await running.reload(corefile)
            assert await refused() == count
    with socket.create_server(("127.0.0.1", two)):
        for more, count in (("any", 5), ("errors", 6)):
            wanted = good + block(two, more)
            for _ in range(3):
                await running.reload(wanted)
                assert await refused() == count
        await running.server.reload(asked=True)
        assert await refused() == 7
    await running.reload(wanted)
    assert await refused() == 7
    assert not is_free(two)


class Hammer(threading.Thread):
    """A client that asks without a pause, beside the server's loop, and notes what is lost."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.asked = 0
        self.wrong = []
        self.stopping = False
        self.start()

    def run(self):
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.settimeout(2)
            sock.connect(("127.0.0.1", self.port))
            while not self.stopping:
                ident = (self.asked & 0xFFFF).to_bytes(2, "big")
                try:
                    sock.send(ident + QUERY[2:])
                    reply = sock.recv(512)
                except OSError as error:
                    self.wrong.append(repr(error))
                else:
                    if reply[:2] != ident or reply[3] & 15:
                        self.wrong.append(reply)
                self.asked += 1


QUERY = dns.message.make_query(WEB, "A").to_wire()


async def test_no_query_is_lost_in_reloads(start, ports) -> None:
    one, two, three, _ = ports
    kubernetes = KUBERNETES.format(source="a")
    variants = [
        block(one, kubernetes),
        block(one, kubernetes, "any") + block(two, "whoami"),
        block(one, kubernetes, "any") + block(three, "whoami"),
        f".:{one} {{\n{kubernetes}\n}}",
        block(one, kubernetes.replace("manifests a", "manifests b")),
        "nonsense {",
        block(one, kubernetes, "any", "loadbalance"),
    ]
    running = await start(variants[0], a=filled(), b=filled())
    hammers = [Hammer(one) for _ in range(2)]
    for turn in range(1, 60):
        running.feeds = {"a": filled(), "b": filled()}
        await running.reload(variants[turn % len(variants)])
        before = [hammer.asked for hammer in hammers]
        async with asyncio.timeout(10):
            while any(h.asked < n + 3 for h, n in zip(hammers, before, strict=True)):  # noqa: ASYNC110
                await asyncio.sleep(0)
    for hammer in hammers:
        hammer.stopping = True
    for hammer in hammers:
        while hammer.is_alive():  # noqa: ASYNC110 - a thread
            await asyncio.sleep(0)
        assert hammer.asked > 150
        assert hammer.wrong == []


async def test_requests_to_reload_take_turns(start, free_port) -> None:
    running = await start(block(free_port, "whoami"))
    for line in ("any", "errors", "loadbalance"):
        running.corefile = block(free_port, "whoami", line)
        running.server.request_reload()
    await running.reload(block(free_port, "any"))
    assert await ask(free_port, qtype="ANY") == ("NOERROR", ['"ANY obsoleted" "See RFC 8482"'])


async def test_a_changed_corefile_is_noticed(start, free_port) -> None:
    running = await start(block(free_port, "whoami", "reload 2s 1s"))
    running.server._plan.requests.reload = Reload(0.001, 0.0)
    running.corefile = "broken {"
    failed = running.server

    async def refused():
        return failed._failed_reloads > 0

    await until(refused)
    running.corefile = block(free_port, "any", "reload 2s 1s")

    async def served():
        return running.server._digest == parser.parse(running.corefile, "Corefile", {}).digest()

    await until(served)
    assert (await ask(free_port, qtype="ANY"))[1] != []


async def test_the_way_down(start, ports) -> None:
    """Not ready from the first moment, answering to the last."""
    dns_port, health, ready, _ = ports
    lines = [f"health 127.0.0.1:{health} {{\n lameduck 300ms\n}}", f"ready 127.0.0.1:{ready}"]
    running = await start(block(dns_port, KUBERNETES.format(source="a"), *lines), a=filled())
    going = asyncio.create_task(running.server.run())
    await asyncio.sleep(0)
    assert (await fetch(ready, "/ready"))[0] == 200
    running.server.stop()
    await asyncio.sleep(0)
    assert (await fetch(ready, "/ready"))[0] == 503
    assert (await fetch(health, "/health"))[0] == 200
    assert await ask(dns_port) == ("NOERROR", ["10.96.0.1"])
    await running.reload(running.corefile.replace("any", "errors") + block(ports[3], "whoami"))
    assert (await fetch(ready, "/ready"))[0] == 503
    assert not going.done()
    async with asyncio.timeout(10):
        await going
    assert all(map(is_free, (dns_port, health, ready)))
    assert running.feeds["a"].closed


async def test_the_own_health_page_is_asked_wherever_it_is(start, ports) -> None:
    dns_port, one, two, metrics = ports
    lines = [f"prometheus 127.0.0.1:{metrics}", "whoami"]
    running = await start(block(dns_port, *lines, f"health 127.0.0.1:{one}"))
    await running.reload(block(dns_port, *lines, f"health 127.0.0.1:{two}"))
    await running.server._probe.probe()
    assert (await scrape(metrics))["coredns_health_request_failures_total", ()] == 0
    assert (await scrape(metrics))["coredns_health_request_duration_seconds_count", ()] == 1
    await running.reload(block(dns_port, *lines))
    assert ("coredns_health_request_failures_total", ()) not in await scrape(metrics)
