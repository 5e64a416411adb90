"""The Corefiles of kubeadm, k3s and NodeLocal DNSCache, started whole on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import aiohttp
import dns.asyncquery
import dns.edns
import dns.message
import dns.rcode
import pytest

from kdns.check import findings
from kdns.cluster.feed import Synced, Upsert
from kdns.cluster.objects import Metadata, Namespace, Service, ServicePort, ServiceSpec
from kdns.corefile import parser
from kdns.forwarding import roster
from kdns.plugins import loop as loop_plugin
from kdns.server import Server
from tests.upstream.messages import answer
from tests.upstream.scripted import Upstreams, sends

FOLDER = Path(__file__).parent / "corefile" / "distributions"
SECONDS = 10.0
WEB = "web.default.svc.cluster.local."
AWAY = "away.default.svc.cluster.local."
ADDRESS = "192.0.2.53"


class Feed:
    """A cluster with a service of each kind that matters here."""

    async def events(self):
        yield Upsert(Namespace(Metadata("default")))
        ports = [ServicePort(80, "http")]
        spec = ServiceSpec(cluster_ip="10.96.0.1", cluster_ips=["10.96.0.1"], ports=ports)
        yield Upsert(Service(Metadata("web", "default"), spec))
        for name, target in (("away", "www.example.org"), ("gone", "gone.example.org")):
            spec = ServiceSpec(type="ExternalName", external_name=target)
            yield Upsert(Service(Metadata(name, "default"), spec))
        yield Synced()
        await asyncio.Event().wait()


@pytest.fixture
def ports():
    """Four ports that are free for TCP and UDP."""
    with contextlib.ExitStack() as stack:
        found = []
        while len(found) < 4:
            tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            udp = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                found.append(tcp.getsockname()[1])
        return found


@pytest.fixture
def upstreams():
    with Upstreams() as opened:
        yield opened


@pytest.fixture
def upstream(upstreams):
    """A server that knows everything but `gone.example.org`."""
    opened = upstreams.open()
    opened.default = sends(answer(f"@ 60 A {ADDRESS}"))
    soa = "example.org. 60 SOA a.example.org. b.example.org. 1 2 3 4 5"
    opened.script("gone.example.org.", sends(answer(authority=[soa], rcode="NXDOMAIN")))
    return opened


@pytest.fixture
async def serve(tmp_path):
    """await serve(corefile) -> a server at work."""
    made = []

    async def started(text):
        path = tmp_path / "Corefile"
        path.write_text(text)
        server = Server(lambda: parser.load(path, {}), tmp_path, lambda _: Feed())
        made.append(server)
        await server.start()
        return server

    yield started
    for server in made:
        await server.close()


async def ask(port, name, qtype="A", host="127.0.0.1"):
    query = dns.message.make_query(name, qtype, use_edns=0)
    return await dns.asyncquery.udp(query, host, port=port, timeout=SECONDS)


def said(reply):
    """rcode, and the data of the answer's records."""
    data = [record.to_text() for rrset in reply.answer for record in rrset]
    return dns.rcode.to_text(reply.rcode()), data


async def metrics(port):
    """The page of metrics as lines."""
    url = f"http://127.0.0.1:{port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return (await response.text()).splitlines()


async def until(holds):
    """Wait for something to hold, for so many seconds at most."""
    async with asyncio.timeout(SECONDS):
        while not await holds():  # noqa: ASYNC110 - another process or loop has to act
            await asyncio.sleep(0.01)


def replaced(name, changes):
    """A distribution's Corefile with other addresses."""
    text = (FOLDER / f"{name}.Corefile").read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("name", ["kubeadm", "k3s", "eks", "nodelocaldns"])
def test_as_they_are_they_are_valid(name) -> None:
    errors, _ = findings(str(FOLDER / f"{name}.Corefile"), 53)
    assert errors == []


CENTRAL = ["kubeadm", "k3s"]


@pytest.mark.parametrize("name", CENTRAL)
async def test_a_central_server(serve, ports, upstream, tmp_path, name) -> None:
    port, health, ready, prometheus = ports
    hosts = tmp_path / "NodeHosts"
    hosts.write_text("192.0.2.9 node-1 node-1.default.svc.cluster.local\n")
    changes = {
        ":53 {": f":{port} {{",
        "    ready": f"    bind 127.0.0.1\n    ready 127.0.0.1:{ready}",
        "    health": f"    health 127.0.0.1:{health}",
        ":9153": f"127.0.0.1:{prometheus}",
        "/etc/resolv.conf": upstream.address,
    }
    if name == "k3s":
        changes["/etc/coredns/NodeHosts"] = str(hosts)
    await serve(replaced(name, changes))
    assert said(await ask(port, WEB)) == ("NOERROR", ["10.96.0.1"])
    assert said(await ask(port, "nobody.default.svc.cluster.local.")) == ("NXDOMAIN", [])
    for _ in range(3):
        assert said(await ask(port, "www.example.org.")) == ("NOERROR", [ADDRESS])
        assert said(await ask(port, AWAY)) == ("NOERROR", ["www.example.org.", ADDRESS])
    assert len(upstream.of("www.example.org.")) == 1
    assert said(await ask(port, AWAY.replace("away", "gone"))) == (
        "NXDOMAIN",
        ["gone.example.org."],
    )
    node = await ask(port, "node-1.default.svc.cluster.local.")
    assert said(node) == (("NOERROR", ["192.0.2.9"]) if name == "k3s" else ("NXDOMAIN", []))
    lines = await metrics(prometheus)
    names = {line.partition("{")[0].partition(" ")[0] for line in lines}
    wanted = {"coredns_cache_entries", "coredns_proxy_request_duration_seconds_count"}
    assert wanted <= names
    assert ("coredns_hosts_entries" in names) == (name == "k3s")
    assert not any(line.startswith("kdns_loop_upstreams{") for line in lines)


async def test_a_node_local_server(serve, ports, upstream, upstreams) -> None:
    port, health, prometheus, _ = ports
    cluster = upstreams.open()
    cluster.default = sends(answer("@ 30 A 10.96.0.1"))
    changes = {
        ":53 {": f":{port} {{",
        "169.254.20.10:8080": f"127.0.0.1:{health}",
        "169.254.20.10 10.96.0.10": "127.0.0.2 127.0.0.3",
        ":9253": f"127.0.0.1:{prometheus}",
        "10.111.22.33": cluster.address,
        "/etc/resolv.conf": upstream.address,
    }
    await serve(replaced("nodelocaldns", changes))
    for host in ("127.0.0.2", "127.0.0.3"):
        for _ in range(2):
            assert said(await ask(port, WEB, host=host)) == ("NOERROR", ["10.96.0.1"])
            assert said(await ask(port, "www.example.org.", host=host)) == ("NOERROR", [ADDRESS])
    assert {asked.transport for asked in cluster.of(WEB)} == {"tcp"}
    assert len(cluster.of(WEB)) == len(upstream.of("www.example.org.")) == 1


LOOPING = """
.:{port} {{
    bind 127.0.0.1
    prometheus 127.0.0.1:{prometheus}
    kubernetes cluster.local
    forward . {upstreams}
    loop
}}
"""


async def test_an_upstream_that_is_the_server_itself(serve, ports, caplog) -> None:
    port, prometheus, _, _ = ports
    itself = f"127.0.0.1:{port}"
    await serve(LOOPING.format(port=port, prometheus=prometheus, upstreams=itself))

    async def put_aside():
        return f'kdns_loop_upstreams{{to="{itself}"}} 1.0' in await metrics(prometheus)

    await until(put_aside)
    reply = await ask(port, "www.example.org.")
    assert said(reply) == ("SERVFAIL", [])
    (error,) = (option for option in reply.options if option.otype == dns.edns.OptionType.EDE)
    assert error.code in (dns.edns.EDECode.NO_REACHABLE_AUTHORITY, dns.edns.EDECode.NETWORK_ERROR)
    assert itself in error.text
    assert said(await ask(port, WEB)) == ("NOERROR", ["10.96.0.1"])
    assert said(await ask(port, AWAY)) == ("SERVFAIL", ["www.example.org."])
    (line,) = (record.getMessage() for record in caplog.records if record.name == "plugin/loop")
    assert line.startswith(f"forward . {itself} leads back to this server by {itself}, which is")


RESOLVED = """
.:53 {{
    bind 127.0.0.53
    prometheus 127.0.0.1:{prometheus}
    kubernetes cluster.local
    forward . {resolv}
    loop
}}
"""


async def test_a_resolv_conf_that_names_the_server_itself(
    serve, ports, tmp_path, caplog, monkeypatch
) -> None:
    """And is mended while it runs: cluster names are answered all the time."""
    here = "127.0.0.53"
    try:
        socket.create_server((here, 53)).close()
    except OSError as error:
        pytest.skip(f"port 53 of {here} cannot be had here: {error}")
    monkeypatch.setattr(loop_plugin, "_TURN", 0.05)
    monkeypatch.setattr(roster, "FILES_EVERY", 0.05)
    prometheus = ports[0]
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(f"search example.org\nnameserver {here}\noptions edns0\n")
    await serve(RESOLVED.format(prometheus=prometheus, resolv=resolv))
    line = f'kdns_loop_upstreams{{to="{here}:53"}} 1.0'

    async def put_aside():
        return line in await metrics(prometheus)

    async def called_back():
        return line not in await metrics(prometheus)

    await until(put_aside)
    assert said(await ask(53, "www.example.org.", host=here)) == ("SERVFAIL", [])
    assert said(await ask(53, WEB, host=here)) == ("NOERROR", ["10.96.0.1"])
    (text,) = (record.getMessage() for record in caplog.records if record.name == "plugin/loop")
    assert text.startswith(f"forward . {resolv} leads back to this server by {here}:53, which is")
    resolv.write_text("nameserver 127.0.0.54\n")
    await until(called_back)
    assert said(await ask(53, WEB, host=here)) == ("NOERROR", ["10.96.0.1"])


async def test_an_upstream_that_asks_back(serve, ports, upstream, upstreams, monkeypatch) -> None:
    """It is found, put aside while the other goes on, and asked again when it is mended."""
    monkeypatch.setattr(loop_plugin, "_TURN", 0.05)
    monkeypatch.setattr(loop_plugin, "_PROBED_EVERY", 1)
    port, prometheus, _, _ = ports

    async def asks_back(asked, way):
        with contextlib.suppress(dns.exception.DNSException):
            reply = await dns.asyncquery.udp(asked.message, "127.0.0.1", port=port, timeout=2)
            reply.id = asked.message.id
            await way.send(reply.to_wire())

    looping = upstreams.open()
    looping.default = asks_back
    both = f"{looping.address} {upstream.address}"
    await serve(LOOPING.format(port=port, prometheus=prometheus, upstreams=both))
    line = f'kdns_loop_upstreams{{to="{looping.address}"}} 1.0'

    async def put_aside():
        return line in await metrics(prometheus)

    async def called_back():
        return line not in await metrics(prometheus)

    await until(put_aside)
    for number in range(20):
        assert said(await ask(port, f"n{number}.example.org.")) == ("NOERROR", [ADDRESS])
    assert looping.of(".n1.example.org.") == looping.of("n1.example.org.") == []
    assert said(await ask(port, WEB)) == ("NOERROR", ["10.96.0.1"])
    looping.default = sends(answer(f"@ 60 A {ADDRESS}"))
    await until(called_back)
