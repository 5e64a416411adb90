"""A server block over a small cluster, without sockets."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from kdns.cluster.feed import Delete, Synced, Upsert
from kdns.cluster.objects import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Metadata,
    Namespace,
    Pod,
    PodIP,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
)
from kdns.corefile import parser
from kdns.dns.query import Client
from kdns.forwarding.cache import Settings
from kdns.frontend.responder import Lane, Responder
from kdns.plugins.chain import Block, Router
from kdns.plugins.plan import plan
from kdns.plugins.site import Interface
from kdns.records.store import Store
from kdns.telemetry.series import SeriesRegistry
from kdns.telemetry.traffic import Traffic

try:
    import uvloop
except ImportError:  # Linux alone has it
    uvloop = None

CLIENT = Client("192.0.2.1", 4711)
COREFILE = """
cluster.local in-addr.arpa ip6.arpa {
  any
  loadbalance
  prometheus
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    manifests nowhere
    pods insecure
  }
}
"""


class Cluster:
    """A store with a clock of its own, and what changes it in few words.

    Endpoints are `address`, `address=hostname`, with `!` in front where they are not ready.
    """

    def __init__(self, *, synced=True):
        self.now = 1_000
        self.store = Store(clock=lambda: self.now)
        self.listeners = []
        if synced:
            self.sync()

    def sync(self):
        return self.apply(Synced())

    def apply(self, event):
        touched = self.store.apply(event)
        for forget in self.listeners:
            forget(touched)
        return touched

    def namespace(self, name):
        return self.apply(Upsert(Namespace(Metadata(name))))

    def service(self, name, *ips, external="", ports=("http:80",), namespace="default"):
        spec = ServiceSpec(
            type="ExternalName" if external else "ClusterIP",
            cluster_ip=ips[0] if ips else "",
            cluster_ips=list(ips),
            external_name=external,
            ports=[
                ServicePort(int(number), label)
                for label, number in (port.split(":") for port in ports)
            ],
        )
        return self.apply(Upsert(Service(Metadata(name, namespace), spec)))

    def slice(self, name, service, *endpoints, ports=("http:80",), namespace="default"):
        family = "IPv6" if endpoints and ":" in endpoints[0] else "IPv4"
        made = [
            Endpoint(
                [text.removeprefix("!").partition("=")[0]],
                EndpointConditions(not text.startswith("!")),
                text.partition("=")[2] or None,
            )
            for text in endpoints
        ]
        numbered = [
            EndpointPort(int(number), label, "TCP")
            for label, number in (port.split(":") for port in ports)
        ]
        labels = {SERVICE_NAME_LABEL: service}
        meta = Metadata(name, namespace, labels=labels)
        return self.apply(Upsert(EndpointSlice(meta, family, made, numbered)))

    def pod(self, name, ip, namespace="default"):
        status = PodStatus("Running", ip, [PodIP(ip)])
        return self.apply(Upsert(Pod(Metadata(name, namespace), status)))

    def delete(self, kind, name, namespace="default"):
        return self.apply(Delete(kind, "" if kind == "Namespace" else namespace, name))

    # What a Corefile is lent; every source is this cluster.

    def facilities(self):
        return _Facilities(self.store)

    def plan(self, corefile=COREFILE):
        return plan(parser.parse(corefile, "Corefile", {}), Path(), self.facilities())

    def router(self, corefile=COREFILE):
        (router,) = self.plan(corefile).routers.values()
        return router

    def responder(self, corefile=COREFILE, *, transport="udp", traffic=None, clock=None):
        """A responder that forgets what changes."""
        lane = Lane("dns://:53", transport, 4)
        made = Responder(lane, self.router(corefile), traffic or Traffic(), clock or (lambda: 0.0))
        self.listeners.append(made.forget)
        return made


class _Facilities:
    def __init__(self, store):
        self._store = store
        self.cache = Settings()
        self.series = SeriesRegistry()

    def store(self, source):
        return self._store

    def age(self, source):
        return 0.0

    def interfaces(self):
        return [Interface("eth0", "10.9.9.9")]

    def clock(self):
        return 0.0


@pytest.fixture
def make_cluster():
    """make_cluster() -> a cluster with nothing in it, `synced` or not."""
    return Cluster


@pytest.fixture
def empty_cluster():
    """A synced cluster with nothing in it."""
    return Cluster()


@pytest.fixture
def cluster():
    """web (one address), pair (two), db (headless, 100 endpoints), alias and away in `default`."""
    made = Cluster()
    made.namespace("default")
    made.service("web", "10.96.0.10")
    made.service("pair", "10.96.0.11", "fd00::11")
    made.service("db", "None")
    made.slice("db-1", "db", *[f"10.1.0.{n}=db-{n}" for n in range(100)])
    made.service("alias", external="web.default.svc.cluster.local")
    made.service("away", external="example.org")
    return made


def pytest_asyncio_loop_factories(config, item):
    """Each test that awaits is run on every loop that the program may run on."""
    factories = {"asyncio": asyncio.new_event_loop}
    if uvloop is not None:
        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture
def respond():
    """respond(handler, transport="udp") -> a responder whose one server block has this handler."""

    def made(handler, transport="udp", *, traffic=None, clock=None):
        router = Router([Block(".", b"\0", handler, metrics=True)])
        lane = Lane("dns://:53", transport, 4)
        return Responder(lane, router, traffic or Traffic(), clock or (lambda: 0.0))

    return made


@pytest.fixture
def ipv6():
    """Skips where this machine has no IPv6 on its loopback."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"no IPv6 on the loopback: {error}")
