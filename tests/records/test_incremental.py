"""A store that took in any history answers like one that was only told the end of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from kdns.cluster.feed import Delete, Upsert
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
from kdns.dns import codes, names
from kdns.records.forward import ForwardZone
from kdns.records.options import ZoneOptions
from kdns.records.reverse import ReverseZone
from kdns.records.store import Store

ORIGIN = names.from_text("cluster.local.")
NAMESPACES = ["a", "b"]
SERVICES = ["s", "t"]
MOSTLY = [0, 0, 0, 1]
ADDRESSES = {"IPv4": ["10.0.0.1", "10.0.0.2", "10.0.1.1"], "IPv6": ["fd00::1", "fd00::"]}
FORWARD = [
    names.from_text(text)[:-1] + ORIGIN
    for text in (
        *(".", "svc", "pod", "ns.dns", "x", "a.pod", "10-0-0-1.a.pod", "fd00--1.b.pod"),
        *("a.svc", "b.svc", "s.a.svc", "t.a.svc", "s.b.svc", "_tcp.s.a.svc", "_udp.t.a.svc"),
        *("h.s.a.svc", "h.s.b.svc", "g.t.a.svc", "x.s.a.svc", "10-0-0-1.s.a.svc"),
        *("10-0-0-2.s.a.svc", "fd00--1.s.a.svc", "fd00--0.t.a.svc"),
        *("_http._tcp.s.a.svc", "_http._udp.s.a.svc"),
    )
]
V4 = ["1.0.0.10", "2.0.0.10", "1.1.0.10", "1.0.9.10", "0.0.10", "9.0.10", "10", "x"]
V6 = [".".join(["1", *"0" * 27, *"00df"]), ".".join([*"0" * 28, *"00df"]), "0.d.f", "c.f"]
TYPES = [codes.A, codes.AAAA, codes.SRV, codes.ANY]

namespace = st.sampled_from(MOSTLY).map(NAMESPACES.__getitem__)
service = st.sampled_from(MOSTLY).map(SERVICES.__getitem__)
port_names = st.lists(st.sampled_from(["http", "grpc", ""]), max_size=2, unique=True)
protocols = st.sampled_from(["TCP", "UDP"])


@st.composite
def services(draw):
    ips = draw(
        st.sampled_from([["None"]] * 4 + [["10.0.0.1"], ["10.0.9.1", "fd00::1"], ["fd00::"], [""]])
    )
    external = draw(
        st.sampled_from(
            [""] * 9
            + ["s.a.svc.cluster.local", "t.a.svc.cluster.local", "www.example.com", "10.0.0.1"]
        )
    )
    spec = ServiceSpec(
        "ExternalName" if external else "ClusterIP",
        ips[0],
        ips,
        external,
        [ServicePort(80, name, draw(protocols)) for name in draw(port_names)],
        draw(st.booleans()),
    )
    return Service(Metadata(draw(service), draw(namespace)), spec)


@st.composite
def slices(draw):
    family = draw(st.sampled_from(["IPv4"] * 5 + ["IPv6", "FQDN"]))
    endpoint = st.builds(
        Endpoint,
        st.lists(
            st.sampled_from(ADDRESSES.get(family, ["host"])), min_size=1, max_size=2, unique=True
        ),
        st.builds(EndpointConditions, st.sampled_from([None, True, False])),
        st.sampled_from([None, None, None, "h", "h", "g", "10-0-0-2", "Bad_"]),
    )
    label = draw(st.sampled_from(["s"] * 6 + ["t"] * 3 + ["", "-"]))
    return EndpointSlice(
        Metadata(
            draw(st.sampled_from([f"slice-{number}" for number in range(8)])),
            draw(namespace),
            labels={SERVICE_NAME_LABEL: label} if label else {},
        ),
        family,
        draw(st.lists(endpoint, max_size=3)),
        [
            EndpointPort(draw(st.sampled_from([80, None])), name, draw(protocols))
            for name in draw(port_names)
        ],
    )


@st.composite
def pods(draw):
    ips = draw(st.lists(st.sampled_from(["10.0.0.1", "fd00::1"]), max_size=2, unique=True))
    status = PodStatus(
        draw(st.sampled_from(["Running", "Pending", "Failed"])), "", [PodIP(ip) for ip in ips]
    )
    return Pod(Metadata(draw(st.sampled_from(["p", "q"])), draw(namespace)), status)


namespaces = st.builds(Namespace, st.builds(Metadata, namespace))
objects = st.one_of(slices(), slices(), slices(), services(), services(), pods(), namespaces)
seconds = st.sampled_from([0.0] * 5 + [0.4, 3.0])
fate = st.sampled_from(["as drawn", "replaces", "replaces", "deleted"])
steps = st.lists(st.tuples(fate, objects, st.integers(0, 99), seconds), min_size=10, max_size=40)
"""What becomes of an object; which of its kind's it replaces or has deleted; seconds before."""


class World:
    """A store, and zones over it that differ in every option."""

    def __init__(self):
        self.now = 0.0
        self.store = Store(clock=lambda: self.now)
        for name in NAMESPACES:
            self.store.apply(Upsert(Namespace(Metadata(name))))
        own = (bytes((10, 0, 0, 1)),)
        hiding = ZoneOptions(
            pods="insecure", namespaces=frozenset({"a"}), ignore_empty_service=True
        )
        self.forward = [
            ForwardZone(self.store, ORIGIN, ZoneOptions(pods="verified"), own),
            ForwardZone(self.store, ORIGIN, hiding, own),
            ForwardZone(self.store, ORIGIN, ZoneOptions(noendpoints=True)),
        ]
        v4, v6 = names.from_text("in-addr.arpa."), names.from_text("ip6.arpa.")
        self.reverse = [
            (ReverseZone(self.store, origin, ORIGIN, options), [t + origin for t in below])
            for options in (ZoneOptions(), hiding)
            for origin, below in ((v4, wires(V4)), (v6, wires(V6)))
        ]

    def replies(self):
        """Every question of the universe, with its Reply."""
        for number, zone in enumerate(self.forward):
            for qtype in (codes.NS, codes.SOA):
                yield (number, ORIGIN, qtype), zone.lookup(ORIGIN, qtype)
            for name in FORWARD:
                for qtype in TYPES:
                    yield (number, name, qtype), zone.lookup(name, qtype)
        for number, (zone, below) in enumerate(self.reverse):
            for name in below:
                yield (9 + number, name, codes.PTR), zone.lookup(name, codes.PTR)


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


def identity(item):
    return type(item).__name__, item.metadata.namespace, item.metadata.name


@settings(max_examples=60, deadline=None)
@given(steps, st.randoms(use_true_random=False))
def test_history_does_not_matter_and_nothing_is_touched_in_silence(history, random):
    """Answers may be kept until a name that they read is touched; in the end only objects count."""
    world = World()
    left = {("Namespace", "", name): Namespace(Metadata(name)) for name in NAMESPACES}
    kept = {key: (meaning(reply), reply) for key, reply in world.replies()}
    for fate, drawn, which, passed in history:
        world.now += passed
        item = drawn
        alike = [each for each in left.values() if type(each) is type(drawn)]
        if alike and fate != "as drawn":
            item = structs.replace(drawn, metadata=mixed(drawn, alike[which % len(alike)]))
        left.pop(identity(item), None)
        if fate == "deleted":
            event = Delete(*identity(item))
        else:
            event = Upsert(item)
            left[identity(item)] = item
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
    items = list(left.values())
    random.shuffle(items)
    for item in items:
        fresh.store.apply(Upsert(item))
    now = dict(world.replies())
    for key, reply in fresh.replies():
        assert meaning(reply, serial=False) == meaning(now[key], serial=False), key


def mixed(item, other):
    """Another's name, with an object's own labels."""
    mine, its = item.metadata, other.metadata
    return Metadata(its.name, its.namespace, labels=mine.labels)


@settings(max_examples=80, deadline=None)
@given(st.lists(objects, max_size=12))
def test_denied_names_do_not_exist(items):
    """denies(name) => NXDOMAIN, whatever the type, in every zone."""
    world = World()
    for item in items:
        world.store.apply(Upsert(item))
    for zone in world.forward:
        for name in FORWARD:
            if zone.denies(name):
                assert {zone.lookup(name, qtype).rcode for qtype in TYPES} == {codes.NXDOMAIN}
