"""A store that took in any history answers like one that was only told the end of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from kdns.cluster.feed import Delete, Upsert
from kdns.cluster.objects import (
    IMPORT_NAME_LABEL,
    SERVICE_NAME_LABEL,
    SOURCE_CLUSTER_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Ingress,
    LoadBalancerStatus,
    Metadata,
    Namespace,
    Pod,
    PodIP,
    PodStatus,
    Service,
    ServiceImport,
    ServiceImportSpec,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from kdns.dns import codes, names
from kdns.records.external import ExternalOptions, ExternalReverseZone, ExternalZone
from kdns.records.forward import ForwardZone
from kdns.records.listing import all_records
from kdns.records.multicluster import MulticlusterZone
from kdns.records.options import ZoneOptions
from kdns.records.reverse import ReverseZone
from kdns.records.store import Store

ORIGIN = names.from_text("cluster.local.")
NAMESPACES = ["a", "b"]
ADDRESSES = {
    "IPv4": ["10.0.0.1", "10.0.0.2", "10.0.1.1"],
    "IPv6": ["fd00::1", "fd00::"],
    "FQDN": ["www.example.com", "example.com"],
}
FORWARD = [
    names.from_text(text)[:-1] + ORIGIN
    for text in (
        *(".", "svc", "pod", "ns.dns", "x", "a.pod", "10-0-0-1.a.pod", "fd00--1.b.pod"),
        *("a.svc", "b.svc", "s.a.svc", "t.a.svc", "s.b.svc", "_tcp.s.a.svc", "_udp.t.a.svc"),
        *("h.s.a.svc", "h.s.b.svc", "g.t.a.svc", "x.s.a.svc", "10-0-0-1.s.a.svc"),
        *("10-0-0-2.s.a.svc", "fd00--1.s.a.svc", "fd00--0.t.a.svc"),
        *("_http._tcp.s.a.svc", "_http._udp.s.a.svc"),
        *("z.pin._zone.s.a.svc", "z.prefer._zone.s.a.svc", "y.z.pin._zone.t.a.svc"),
        *("pin._zone.s.a.svc", "_zone.s.a.svc", "c.s.a.svc", "h.c.s.a.svc", "h.d.s.a.svc"),
        *("10-0-0-1.c.s.a.svc", "fd00--1.c.t.a.svc"),
    )
]
OUTSIDE = names.from_text("example.com.")
EXTERNAL = [
    names.from_text(text)[:-1] + OUTSIDE
    for text in (
        *(".", "a", "dns", "ns1.dns", "s.a", "t.a", "s.b", "x.a", "h.s.a", "10-0-0-1.s.a"),
        *("_tcp.s.a", "_http._tcp.s.a", "_http._udp.t.a"),
    )
]
V4 = ["1.0.0.10", "2.0.0.10", "1.1.0.10", "1.0.9.10", "0.0.10", "9.0.10", "10", "x"]
V6 = [".".join(["1", *"0" * 27, *"00df"]), ".".join([*"0" * 28, *"00df"]), "0.d.f", "c.f"]
TYPES = [codes.A, codes.AAAA, codes.SRV, codes.ANY]


class Universe:
    """Draws objects that often collide: in name, in service, in address.

    A seeded generator of its own, because the framework's strategies prefer extremes, and histories
    of extremes hardly ever come to a service that has slices.
    """

    def __init__(self, random):
        self._random = random

    def weighted(self, **weights):
        return self._random.choices(list(weights), list(weights.values()))[0]

    def either(self, *choices):
        return self._random.choice(choices)

    def some(self, choices, least, most):
        return self._random.sample(choices, self._random.randint(least, most))

    def object(self):
        kind = self.weighted(slice=6, service=4, service_import=2, pod=1, namespace=1)
        return getattr(self, kind)()

    def namespace(self):
        return Namespace(Metadata(self.either(*NAMESPACES)))

    def service(self):
        ips = self.either(
            *[["None"]] * 4, ["10.0.0.1"], ["10.0.9.1", "fd00::1"], ["fd00::"], [""], ["bad"]
        )
        inside = self.either(
            "s.a.svc.cluster.local", "t.a.svc.cluster.local", "s.b.svc.cluster.local"
        )
        external = self.either(
            *[""] * 7, inside, inside, self.either("www.example.com", "10.0.0.1")
        )
        spec = ServiceSpec(
            "ExternalName" if external else "ClusterIP",
            ips[0],
            ips,
            external,
            [ServicePort(80, name, self.protocol()) for name in self.port_names()],
            self.either(True, False),
            self.either(None, None, ["10.0.0.1"], ["10.0.1.1", "fd00::1"], ["bad"]),
        )
        ingress = self.either(
            None, None, [Ingress("10.0.0.1")], [Ingress(hostname="s.a.example.com")]
        )
        return Service(self.service_name(), spec, ServiceStatus(LoadBalancerStatus(ingress)))

    def service_name(self):
        return Metadata(self.weighted(s=3, t=1), self.weighted(a=3, b=1))

    def service_import(self):
        spec = ServiceImportSpec(
            self.either("Headless", "Headless", "ClusterSetIP"),
            self.either(None, ["10.0.0.2"], ["fd00::1"]),
            [ServicePort(80, name, self.protocol()) for name in self.port_names()],
        )
        return ServiceImport(self.service_name(), spec)

    def slice(self):
        family = self.weighted(IPv4=12, IPv6=3, FQDN=1)
        labels = {
            SERVICE_NAME_LABEL: self.either(*["s"] * 8, *["t"] * 4, "", "-"),
            IMPORT_NAME_LABEL: self.either("s", "t", "", ""),
            SOURCE_CLUSTER_LABEL: self.either("c", "c", "d", "", "no.label"),
        }
        name = f"slice-{self._random.randrange(8)}"
        return EndpointSlice(
            Metadata(
                name,
                self.weighted(a=4, b=1),
                labels={label: value for label, value in labels.items() if value},
            ),
            family,
            [self.endpoint(family) for _ in range(self._random.randint(0, 3))],
            [
                EndpointPort(self.either(80, 80, None), name, self.protocol())
                for name in self.port_names()
            ],
        )

    def endpoint(self, family):
        return Endpoint(
            self.some(ADDRESSES[family], 1, 2),
            EndpointConditions(self.either(None, True, False, False)),
            self.either(None, None, None, "h", "h", "g", "10-0-0-2", "Bad_"),
            zone=self.either(None, "z", "Z", "y.z"),
        )

    def pod(self):
        ips = self.some(["10.0.0.1", "fd00::1"], 0, 2)
        phase = self.either("Running", "Pending", "Failed")
        status = PodStatus(phase, "", [PodIP(ip) for ip in ips])
        return Pod(Metadata(self.either("p", "q"), self.weighted(a=3, b=1)), status)

    def port_names(self):
        return self.some(["http", "http", "grpc", ""], 0, 2)

    def protocol(self):
        return self.either("TCP", "TCP", "UDP")

    def history(self, length):
        """(event, seconds before it) `length` times, and the objects that are left in the end."""
        left = {identity(each): each for each in map(Namespace, map(Metadata, NAMESPACES))}
        events = []
        for _ in range(length):
            fate = self.weighted(drawn=3, replaces=4, deleted=2)
            item = self.object()
            alike = [each for each in left.values() if type(each) is type(item)]
            if alike and fate != "drawn":
                item = renamed(item, self.either(*alike).metadata)
            left.pop(identity(item), None)
            if fate != "deleted":
                left[identity(item)] = item
            event = Delete(*identity(item)) if fate == "deleted" else Upsert(item)
            events.append((event, self.either(*[0.0] * 5, 0.4, 3.0)))
        return events, list(left.values())


def identity(item):
    return type(item).__name__, item.metadata.namespace, item.metadata.name


def renamed(item, other):
    """An object under another's name, with its own labels: a slice may move to another service."""
    metadata = Metadata(other.name, other.namespace, labels=item.metadata.labels)
    return structs.replace(item, metadata=metadata)


class World:
    """A store, and zones over it that differ in every option."""

    def __init__(self):
        self.now = 0.0
        self.store = Store(clock=lambda: self.now, zonal=True, multicluster=True)
        for name in NAMESPACES:
            self.store.apply(Upsert(Namespace(Metadata(name))))
        own = (bytes((10, 0, 0, 1)),)
        hiding = ZoneOptions(
            pods="insecure", namespaces=frozenset({"a"}), ignore_empty_service=True
        )
        self.forward = [
            ForwardZone(self.store, ORIGIN, ZoneOptions(pods="verified", zonal=True), own),
            ForwardZone(self.store, ORIGIN, hiding, own),
            ForwardZone(self.store, ORIGIN, ZoneOptions(noendpoints=True)),
            MulticlusterZone(self.store, ORIGIN, ZoneOptions(), own),
            MulticlusterZone(self.store, ORIGIN, hiding),
        ]
        only, headless = ExternalOptions(), ExternalOptions(headless=True)
        self.external = [
            ExternalZone(self.store, OUTSIDE, ZoneOptions(), only, own),
            ExternalZone(self.store, OUTSIDE, ZoneOptions(), headless, own),
            ExternalZone(self.store, OUTSIDE, hiding, headless),
        ]
        v4, v6 = names.from_text("in-addr.arpa."), names.from_text("ip6.arpa.")
        self.reverse = [
            (ReverseZone(self.store, origin, ORIGIN, options), [t + origin for t in below])
            for options in (ZoneOptions(), hiding)
            for origin, below in ((v4, wires(V4)), (v6, wires(V6)))
        ]
        self.reverse += [
            (
                ExternalReverseZone(self.store, origin, OUTSIDE, hiding, only),
                [t + origin for t in below],
            )
            for origin, below in ((v4, wires(V4)), (v6, wires(V6)))
        ]

    def zones(self):
        """All zones, with names at and below each."""
        yield from ((zone, FORWARD) for zone in self.forward)
        yield from ((zone, EXTERNAL) for zone in self.external)
        yield from self.reverse

    def replies(self):
        """Every question of the universe, with its Reply."""
        for number, (zone, below) in enumerate(self.zones()):
            for qtype in (codes.NS, codes.SOA):
                yield (number, zone.origin, qtype), zone.lookup(zone.origin, qtype)
            for name in below:
                for qtype in (codes.PTR,) if zone.origin.endswith(b"\x04arpa\0") else TYPES:
                    yield (number, name, qtype), zone.lookup(name, qtype)


def wires(texts):
    return [names.from_text(text)[:-1] for text in texts]


def meaning(reply, *, serial=True):
    """A Reply as what it says: sets for record sets, whose order carries no meaning."""

    def sets(section):
        return [
            (each.owner, each.type, each.ttl)
            + ((frozenset(each.rdatas),) if serial or each.type != codes.SOA else ())
            for each in section
        ]

    return (
        reply.rcode,
        sets(reply.answer),
        sets(reply.authority),
        frozenset(sets(reply.additional)),
    )


randoms = st.randoms(use_true_random=True)


@settings(max_examples=80, deadline=None)
@given(randoms, st.integers(1, 40))
def test_history_does_not_matter_and_nothing_is_touched_in_silence(random, length):
    """Answers may be kept until a name that they read is touched; in the end only objects count."""
    history, left = Universe(random).history(length)
    world = World()
    kept = {key: (meaning(reply), reply) for key, reply in world.replies()}
    for event, passed in history:
        world.now += passed
        touched = set(world.store.apply(event))
        assert set(world.store.apply(event)) == set()
        for key, reply in world.replies():
            said, old = kept[key]
            if old.lifetime == 0 or touched.intersection(old.reads):
                kept[key] = (meaning(reply), reply)
            else:
                assert said == meaning(reply), (key, event, old.reads, touched)

    fresh = World()
    for name in NAMESPACES:
        fresh.store.apply(Delete("Namespace", "", name))
    random.shuffle(left)
    for item in left:
        fresh.store.apply(Upsert(item))
    now = dict(world.replies())
    for key, reply in fresh.replies():
        assert meaning(reply, serial=False) == meaning(now[key], serial=False), key


@settings(max_examples=60, deadline=None)
@given(randoms)
def test_denied_names_do_not_exist(random):
    """denies(name) => NXDOMAIN, whatever the type, in every zone."""
    world = World()
    for event, _ in Universe(random).history(20)[0]:
        world.store.apply(event)
    for zone, below in world.zones():
        for name in below:
            if hasattr(zone, "denies") and zone.denies(name):
                assert {zone.lookup(name, qtype).rcode for qtype in TYPES} == {codes.NXDOMAIN}


@settings(max_examples=60, deadline=None)
@given(randoms)
def test_all_records_are_what_questions_get(random):
    """A zone lists each record set once, as it answers it, and all that the universe asks for."""
    world = World()
    for event, _ in Universe(random).history(25)[0]:
        world.store.apply(event)
    for zone, below in world.zones():
        listed = {(each.owner, each.type): each for each in all_records(zone)}
        assert len(listed) == len(list(all_records(zone)))
        for (owner, qtype), each in listed.items():
            found = next(
                rrset for rrset in zone.lookup(owner, qtype).answer if rrset.owner == owner
            )
            assert meaning_of_set(each) == meaning_of_set(found)
        for name in below:
            for qtype in (codes.A, codes.AAAA, codes.SRV, codes.CNAME, codes.PTR):
                for each in zone.lookup(name, qtype).answer:
                    if each.owner == name and not made_up(zone, name, each):
                        assert (name, each.type) in listed


def meaning_of_set(rrset):
    return (rrset.owner, rrset.type, rrset.ttl, frozenset(rrset.rdatas))


def made_up(zone, name, rrset):
    """Whether a name exists because it is asked for, or is an alias that has more than itself."""
    if b"\x05_zone" in name or (b"\x03pod" in name and zone.options.pods == "insecure"):
        return True
    return rrset.type == codes.SRV and bool(zone.lookup(name, codes.CNAME).answer)
