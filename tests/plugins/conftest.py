"""Corefiles set up without sockets, over stores that tests fill."""

from __future__ import annotations

from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from kdns.cluster.feed import Delete, Synced, Upsert
from kdns.cluster.objects import Metadata, Namespace, Service, ServicePort, ServiceSpec
from kdns.corefile import parser
from kdns.corefile.tokens import CorefileError
from kdns.dns.names import from_text, to_text
from kdns.dns.query import Client, Query, parse
from kdns.dns.render import message
from kdns.dns.reply import Reply
from kdns.forwarding.cache import Settings
from kdns.plugins.plan import plan
from kdns.plugins.site import Interface
from kdns.records.store import Store
from kdns.telemetry.series import SeriesRegistry

CLIENT = Client("192.0.2.1", 4711)


class Forwarder:
    """Upstreams that say what a test scripts: `answers` by lower-case name without its last dot."""

    def __init__(self, options):
        self.options = options
        self.answers = {}
        self.asked = []
        self.put_aside = []
        self.probed = []

    def ask(self, query):
        """The reply scripted for the name, which may be an awaitable; SERVFAIL for any other."""
        self.asked.append(query)
        return self.answers.get(to_text(query.name).rstrip("."), Reply(rcode=2, lifetime=0))

    def aside(self, target, reason):
        self.put_aside.append((target, reason))

    def back(self, target):
        self.put_aside = [each for each in self.put_aside if each[0] != target]

    def targets(self):
        return [str(target) for target in self.options.targets]

    def probe(self, target, question, heard):
        self.probed.append((target, question, heard))
        return Given()


class Given:
    """A question that was given up or not."""

    def __init__(self):
        self.given_up = False

    def give_up(self):
        self.given_up = True


class Facilities:
    """A store for each source, empty and not synced; interfaces; a clock that tests move."""

    def __init__(self):
        self.stores = {}
        self.forwarders = {}
        self.series = SeriesRegistry()
        self.secret = bytes(range(16))
        self.cache = Settings()
        self.spawned = []
        self.forgotten = 0
        self.now = 10.0
        self.heard = 0.0
        self.known = [
            Interface("lo", "127.0.0.1"),
            Interface("lo", "::1"),
            Interface("eth0", "10.0.0.5"),
            Interface("eth0", "fd00::5"),
            Interface("eth0", "fe80::5%eth0"),
        ]

    def store(self, source):
        return self.stores.setdefault(source, Store(clock=lambda: 1_000))

    def forwarder(self, options):
        return self.forwarders.setdefault(options, Forwarder(options))

    def spawn(self, answer):
        self.spawned.append(answer)
        return True

    def forget_answers(self):
        self.forgotten += 1

    def age(self, source):
        return self.heard

    def interfaces(self):
        return self.known

    def clock(self):
        return self.now


class Planned:
    """A Corefile at work on one listening address."""

    def __init__(self, corefile, facilities):
        self.plan = plan(parser.parse(corefile, "Corefile", {}), Path("/etc/kdns"), facilities)
        self.requests = self.plan.requests
        self.facilities = facilities

    @property
    def router(self):
        (router,) = self.plan.routers.values()
        return router

    @property
    def store(self):
        (store,) = self.facilities.stores.values()
        return store

    def block(self, name, qtype="A"):
        """The zone of the server block that a name belongs to."""
        found = self.router.route(from_text(name), dns.rdatatype.from_text(qtype))
        return found and found.zone

    def reply(self, name, qtype="A", *, router=None, **options) -> Reply:
        query = asked(name, qtype, **options)
        block = (router or self.router).route(query.name, query.qtype)
        return block.handler(query)

    def ask(self, name, qtype="A", **options):
        """The rcode, and the answer and additional records as text, by way of the wire."""
        reply = self.reply(name, qtype, **options)
        read = dns.message.from_wire(message(asked(name, qtype), reply))
        return (
            dns.rcode.to_text(read.rcode()),
            [line for each in read.answer for line in each.to_text().splitlines()],
            [line for each in read.additional for line in each.to_text().splitlines()],
        )


def asked(name, qtype="A", *, client=CLIENT, transport="udp", **options) -> Query:
    packet = dns.message.make_query(name, qtype, id=1, **options).to_wire()
    query = parse(packet, transport, client)
    assert isinstance(query, Query)
    return query


@pytest.fixture
def facilities():
    """What plugins are lent."""
    return Facilities()


@pytest.fixture
def planned(facilities):
    """planned(corefile) -> Planned."""
    return lambda corefile: Planned(corefile, facilities)


@pytest.fixture
def query():
    """query(name, qtype, client=…, transport=…) -> a Query."""
    return asked


@pytest.fixture
def refused(facilities):
    """refused(corefile) -> what is said against it, and where in it: (line, column)."""

    def made(corefile):
        with pytest.raises(CorefileError) as refusal:
            Planned(corefile, facilities)
        position = refusal.value.position
        assert str(refusal.value).startswith(f"Corefile:{position.line}:{position.column}: ")
        assert "\n" not in str(refusal.value)
        return refusal.value.message, (position.line, position.column)

    return made


@pytest.fixture
def fill():
    """fill(store, "name.namespace=address", …): services, and that it is synced."""

    def filled(store, *services):
        for text in services:
            name, address = text.split("=")
            service, namespace = name.split(".")
            store.apply(Upsert(Namespace(Metadata(namespace))))
            spec = ServiceSpec(
                cluster_ip=address, cluster_ips=[address], ports=[ServicePort(80, "http")]
            )
            store.apply(Upsert(Service(Metadata(service, namespace), spec)))
        store.apply(Synced())

    return filled


@pytest.fixture
def empty():
    """empty(store, "name.namespace"): one service less."""

    def emptied(store, text):
        service, namespace = text.split(".")
        store.apply(Delete("Service", namespace, service))

    return emptied
