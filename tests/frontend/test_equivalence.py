"""For every packet: what is answered from memory is what the chain answers."""

from __future__ import annotations

import random

import dns.edns
import dns.flags
import dns.message
import dns.name
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdns.dns import codes
from kdns.dns.query import Client
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply
from kdns.frontend.responder import Lane, Responder
from kdns.plugins.chain import Block, Router
from kdns.telemetry.traffic import Traffic

CLIENT = Client("192.0.2.1", 4711)

COREFILES = {
    "as shipped": """. {
        any
        loadbalance
        kubernetes cluster.local in-addr.arpa ip6.arpa { manifests m
            pods insecure
        }
    }""",
    "in order": """. {
        kubernetes cluster.local 10.in-addr.arpa { manifests m
            pods verified
            ttl 0
        }
    }""",
    "narrow": """. {
        loadbalance
        kubernetes cluster.local in-addr.arpa { manifests m
            namespaces a
            noendpoints
            ignore empty_service
        }
    }""",
    "falls through": """. {
        loadbalance
        kubernetes cluster.local in-addr.arpa { manifests m
            fallthrough in-addr.arpa s2.a.svc.cluster.local
        }
        whoami
    }""",
    "hosts in front": """. {
        loadbalance
        hosts /nonexistent/hosts {
            10.9.9.1 s2.a.svc.cluster.local example.org
            10.9.9.2 example.org
            10.9.9.3 *.c.svc.cluster.local
            10.1.0.2 s3.b.svc.cluster.local
            fallthrough svc.cluster.local in-addr.arpa foo.org
        }
        kubernetes cluster.local in-addr.arpa { manifests m
            pods insecure
        }
        whoami
    }""",
    "logged in part": """. {
        log a.svc.cluster.local {
            class denial
        }
        kubernetes cluster.local in-addr.arpa { manifests m
        }
    }""",
    "root": """. {
        kubernetes . { manifests m
        }
    }
    example.org {
        whoami
    }
    org {
        any
        kubernetes org { manifests m
        }
    }""",
    "zones in zones": """. {
        kubernetes cluster.local b.svc.cluster.local { manifests m
        }
    }
    a.svc.cluster.local {
        kubernetes cluster.local { manifests m
            pods insecure
        }
    }
    x.cluster.local {
        whoami
    }""",
}

SERVICES = ["s1", "s2", "s3"]
NAMESPACES = ["a", "b"]
PARTIAL = ["0.1.10.in-addr.arpa.", "96.10.in-addr.arpa.", "10.in-addr.arpa.", "x.10.in-addr.arpa."]
NAMES = [
    *(
        f"{left}{service}.{namespace}.svc.cluster.local."
        for service in SERVICES
        for namespace in (*NAMESPACES, "c")
        for left in ("", "h1.", "10-1-0-1.", "_http._tcp.", "_tcp.", "x.y.z.")
    ),
    *(f"{left}.{namespace}.pod.cluster.local." for left in ("10-1-0-1", "z") for namespace in "ac"),
    *("cluster.local.", "svc.cluster.local.", "a.svc.cluster.local.", "c.svc.cluster.local."),
    *("pod.cluster.local.", "a.pod.cluster.local.", "dns.cluster.local.", "ns.dns.cluster.local."),
    *("dns-version.cluster.local.", "nothing.cluster.local.", "s1.a.cluster.local.", "local."),
    *("a.x.cluster.local.", "b.x.cluster.local.", "xcluster.local.", r"x\007cluster.local."),
    *(r"s1\000.a.svc.cluster.local.", r"s1.a.svc\003cluster.local.", r"\000.cluster.local."),
    *("example.org.", "www.example.org.", "foo.org.", "s1.a.svc.org.", "s1.a.svc.", "foo.", "."),
    *("1.0.1.10.in-addr.arpa.", "2.0.1.10.in-addr.arpa.", "1.0.96.10.in-addr.arpa."),
    *PARTIAL,
    *("in-addr.arpa.", "9.9.9.9.in-addr.arpa.", "256.0.1.10.in-addr.arpa."),
    "1." + "0." * 29 + "d.f.ip6.arpa.",
    "d.f.ip6.arpa.",
]
APEXES = ["cluster.local.", "example.org.", "org.", "x.cluster.local.", "10.in-addr.arpa."]
APEXES += ["svc.cluster.local.", "a.svc.cluster.local.", "b.svc.cluster.local.", "xcluster.local."]
APEXES += [
    "pod.cluster.local.",
    "hostmaster.cluster.local.",
    "s1.a.svc.cluster.local.",
    "svc.",
    ".",
]
# Names that do not exist, of one length, as what is denied of one may be denied of all.
NAMES += [
    f"{letter * (40 - len(apex))}.{apex}".replace("..", "x.") for apex in APEXES for letter in "no"
]
TYPES = [1, 1, 1, 28, 33, 12, 16, 255, 6, 2, 5, 15, 43, 251, 252, 65, 97, 65280]
EDNS = [None, None, 0, 512, 700, 1232, 4096]
OPTIONS = [b"", b"", b"8", b"16", b"9", b"other"]

SERVICE_CHANGES = [
    *("cluster_ip", "dual", "headless", "alias", "away", "loop", "gone"),
    *("one", "many", "hostnames", "unready", "ipv6", "no_slice"),
]
NAMESPACE_CHANGES = ["namespace", "namespace", "no_namespace", "pod", "no_pod"]


def changes(service, namespace):
    """What can happen to one service, around it, and to time."""
    return [
        *[(what, service, namespace) for what in SERVICE_CHANGES],
        *[(what, namespace) for what in NAMESPACE_CHANGES],
        ("tick",),
    ]


CHANGES = [
    one for service in SERVICES for namespace in NAMESPACES for one in changes(service, namespace)
]


def change(cluster, what, *args):
    """One change of the cluster, in a word."""
    if what == "tick":
        cluster.now += 1
    elif what == "namespace":
        cluster.namespace(*args)
    elif what == "no_namespace":
        cluster.delete("Namespace", *args)
    elif what == "pod":
        cluster.pod("p", "10.1.0.1", namespace=args[0])
    elif what == "no_pod":
        cluster.delete("Pod", "p", namespace=args[0])
    else:
        change_service(cluster, what, *args)


def change_service(cluster, what, service, namespace):
    number = SERVICES.index(service) + 1
    address = f"10.96.{NAMESPACES.index(namespace)}.{number}"
    external = {
        "alias": f"s1.{namespace}.svc.cluster.local",
        "loop": f"{service}.{namespace}.svc.cluster.local",
        "away": "example.org",
    }
    ips = {"cluster_ip": [address], "dual": [address, f"fd00::{number}"], "headless": ["None"]}
    endpoints = {
        "one": ["10.1.0.1"],
        "many": [f"10.1.0.{n}" for n in range(60)],
        "hostnames": ["10.1.0.1=h1", "10.1.0.2=h1", "10.1.0.3=h2"],
        "unready": ["!10.1.0.1", "10.1.0.2"],
        "ipv6": ["fd00::1=h1", "fd00::2"],
    }
    if what in external:
        cluster.service(service, external=external[what], namespace=namespace)
    elif what in ips:
        cluster.service(service, *ips[what], namespace=namespace)
    elif what in endpoints:
        cluster.slice(f"{service}-1", service, *endpoints[what], namespace=namespace)
    elif what == "gone":
        cluster.delete("Service", service, namespace)
    else:
        cluster.delete("EndpointSlice", f"{service}-1", namespace)


def packet(choose: random.Random, names=NAMES, types=TYPES) -> bytes:
    """A query, ordinary or nearly so."""
    name = dns.name.from_text(choose.choice(names)).to_wire()
    if choose.random() < 0.3:
        name = bytes(
            byte ^ 0x20 if chr(byte).isalpha() and byte > 64 and choose.random() < 0.5 else byte
            for byte in name
        )
    flags = choose.choice([0x0100] * 6 + [0, 0x0110, 0x0130, 0x0500, 0x0140])
    qclass = choose.choice([1] * 20 + [3, 255])
    payload = choose.choice(EDNS)
    opt = b""
    if payload is not None:
        option = choose.choice(OPTIONS)
        if option.isdigit():
            option = b"\0\x0a\0" + bytes((int(option),)) + choose.randbytes(int(option))
        elif option:
            option = b"\xfd\xe9\0\x01x"
        dnssec_ok = choose.choice([0, 0, 0x8000])
        opt = b"\0\0\x29" + payload.to_bytes(2, "big") + b"\0\0" + dnssec_ok.to_bytes(2, "big")
        opt += len(option).to_bytes(2, "big") + option
    return (
        choose.randbytes(2)
        + flags.to_bytes(2, "big")
        + b"\0\1\0\0\0\0"
        + (b"\0\1" if opt else b"\0\0")
        + name
        + choose.choice(types).to_bytes(2, "big")
        + qclass.to_bytes(2, "big")
        + opt
    )


class Pair:
    """A responder with a memory beside one without, over the same chain."""

    def __init__(self, corefile, remembering, router, transport="udp", clock=lambda: 0.0):
        self.corefile = corefile
        self.remembering = remembering
        self.router = router
        self.transport = transport
        self.clock = clock
        self.hits = 0
        self.packets = 0

    @classmethod
    def of(cls, cluster, corefile, transport="udp"):
        remembering = cluster.responder(corefile, transport=transport)
        return cls(corefile, remembering, cluster.router(corefile), transport)

    def fresh(self, asked, transport=None):
        lane = Lane("dns://:53", transport or self.transport, 4)
        return Responder(lane, self.router, Traffic(), self.clock).ask(asked, CLIENT)

    def check(self, asked):
        """Ask both, the first one in the way that frontends do."""
        self.packets += 1
        answers = self.remembering.answers
        if self.clock() >= answers.until:
            answers.tick(self.clock())
        key = asked[2:]
        kept = answers.lasting.get(key) or answers.epochal.get(key) or answers.fleeting.get(key)
        reply = asked[:2] + kept.whole() if kept else self.remembering.recall(asked)
        if reply is None:
            reply = self.remembering.ask(asked, CLIENT)
        else:
            self.hits += 1
        expected = self.fresh(asked)
        if reply != expected:
            self.compare(reply, expected, asked)

    def compare(self, reply, expected, asked):
        """The replies may differ in the order of their last address set, and in which part of it
        is there where it is cut off."""
        assert len(reply) == len(expected)
        ours = dns.message.from_wire(reply, one_rr_per_rrset=True)
        chain = dns.message.from_wire(expected, one_rr_per_rrset=True)
        assert ours.to_wire()[:12] == chain.to_wire()[:12]
        assert ours.question == chain.question
        # In text, as record sets that differ in their TTLs alone are equal.
        assert list(map(str, ours.authority)) == list(map(str, chain.authority))
        assert list(map(str, ours.additional)) == list(map(str, chain.additional))
        assert (ours.edns, ours.ednsflags) == (chain.edns, chain.ednsflags)
        assert (ours.payload, ours.options) == (chain.payload, chain.options)
        assert {each.rdtype for each in ours.answer} & {1, 28}
        assert "loadbalance" in self.corefile
        whole = chain
        if chain.flags & dns.flags.TC:
            whole = dns.message.from_wire(self.fresh(asked, "tcp"), one_rr_per_rrset=True)
        known = {each.to_text() for each in whole.answer}
        found = [each.to_text() for each in ours.answer]
        assert len(found) == len(chain.answer) == len(set(found))
        assert known.issuperset(found)
        if whole is chain:
            assert known == set(found)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("which", COREFILES)
def test_a_long_random_run(make_cluster, which: str, transport: str) -> None:
    choose = random.Random(f"{which} {transport}")  # noqa: S311 - the same run each time
    cluster = make_cluster(synced=False)
    pair = Pair.of(cluster, COREFILES[which], transport)
    for turn in range(400):
        if turn == 5:
            cluster.sync()
        if turn % 20 == 0:
            # A few at a time, so that the same is asked before and after a change.
            focus = choose.choice(SERVICES), choose.choice(NAMESPACES)
            names = [name for name in NAMES if ".".join(focus) in name]
            names += [*choose.sample(NAMES, len(names)), *PARTIAL]
            types = [*choose.sample(TYPES, 3), 1]
        for one in choose.choices(CHANGES + changes(*focus) * 6, k=choose.choice([1, 1, 4])):
            change(cluster, *one)
        asked = [packet(choose, names, types) for _ in range(8)]
        for one in (*asked, *asked):
            pair.check(choose.randbytes(2) + one[2:])
    assert pair.hits > pair.packets // 10


STEPS = st.lists(st.sampled_from(CHANGES) | st.integers(0, 2**16), max_size=60)


@pytest.mark.parametrize("which", COREFILES)
@given(steps=STEPS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_random_sequences(make_cluster, which: str, steps) -> None:
    cluster = make_cluster()
    pair = Pair.of(cluster, COREFILES[which])
    for step in steps:
        if isinstance(step, tuple):
            change(cluster, *step)
        else:
            asked = packet(random.Random(step))  # noqa: S311 - hypothesis has chosen
            pair.check(asked)
            pair.check(asked)


class Countdown:
    """What a cache says of names: addresses and denials that end and come anew, or are others from
    one moment to the next."""

    def __init__(self):
        self.now = 1_000.0
        self.changes = 0

    def __call__(self, query):
        second = int(self.now)
        span = 3 + query.name[1] % 4
        left = span - second % span
        turn = second // span + self.changes
        proof = RRset(b"\3org\0", codes.SOA, left + 3, [b"\0\0" + bytes(20)])
        fields = {"lifetime": left, "counted": second, "reads": (query.name,)}
        if query.qtype == codes.MX:
            return Reply(codes.SERVFAIL, lifetime=0)
        if query.qtype != codes.A:
            late = (codes.EDE_STALE, "late") if query.qtype == codes.SRV else None
            return Reply(codes.NXDOMAIN, authority=[proof], extended_error=late, **fields)
        owner = query.name
        answer = []
        steady = turn % 2
        if turn % 3:
            owner = b"\1x" + query.name
            answer = [RRset(query.name, codes.CNAME, 77 if steady else left, [owner])]
        addresses = [bytes((10, turn % 256, 0, n)) for n in range(1 + turn % 50)]
        answer.append(RRset(owner, codes.A, left + 1, addresses))
        steady = steady if len(answer) > 1 else 0
        return Reply(answer=answer, authority=[proof], rotate=True, steady=steady, **fields)


COUNTED_NAMES = ["example.org.", "www.a."]
COUNTED_TYPES = [codes.A, codes.A, codes.AAAA, codes.SRV, codes.MX]


@given(
    steps=st.lists(
        st.integers(0, 9) | st.floats(0, 1.5) | st.sampled_from(COUNTED_NAMES), min_size=20
    )
)
@settings(max_examples=100, deadline=None)
def test_answers_that_count_down(steps) -> None:
    chain = Countdown()
    router = Router([Block(".", b"\0", chain)])
    lane = Lane("dns://:53", "udp", 4)
    remembering = Responder(lane, router, Traffic(), lambda: chain.now)
    made = Pair("loadbalance", remembering, router, clock=lambda: chain.now)
    for step in steps:
        if isinstance(step, float):
            chain.now += step
        elif isinstance(step, str):
            chain.changes += 1
            remembering.forget([dns.name.from_text(name).to_wire() for name in COUNTED_NAMES])
        else:
            choose = random.Random(step)  # noqa: S311 - a handful of packets, again and again
            asked = packet(choose, COUNTED_NAMES, COUNTED_TYPES)
            for _ in range(2):
                made.check(asked)
