"""A change in the cluster is in the next answer, whatever was answered and kept before."""

from __future__ import annotations

import time

import dns.message
import dns.query
import dns.rcode
import pytest

from kdns.cluster.feed import Delete, Upsert
from tests.wire.cluster import MemoryFeed, decoded, external, objects, service, slice_of
from tests.wire.exchange import TIMEOUT, answer_of
from tests.wire.servers import INSECURE, VARIANTS, kdns

FORMS = {
    str: {},
    str.lower: {"use_edns": 0},
    str.upper: {"use_edns": 0, "payload": 512},
    str.title: {"use_edns": 0, "want_dnssec": True},
}
"""Ways to ask the same; each is kept on its own."""

ASK = {"udp": dns.query.udp, "tcp": dns.query.tcp}


def put(manifest):
    return Upsert(decoded([manifest])[0])


FOO = external("moving", "foo.example.com")
BAR = external("moving", "bar.example.com")
MOVED = service("moving", "10.96.1.1", ports=["http:80"])
PEER = ["http:80"]

STEPS = {
    "an ExternalName, then another, then a cluster IP": (
        ("moving.default.svc", "A"),
        (put(FOO), {"foo.example.com."}),
        (put(BAR), {"bar.example.com."}),
        (put(MOVED), {"10.96.1.1"}),
        (Delete("Service", "default", "moving"), None),
    ),
    "an alias sees its target's changes": (
        ("inside.default.svc", "A"),
        (put(service("web", "10.96.1.2")), {"web.default.svc.cluster.local.", "10.96.1.2"}),
        (Delete("Service", "default", "web"), {"web.default.svc.cluster.local."}),
    ),
    "endpoints come, go and come back": (
        ("none.prod.svc", "A"),
        (put(slice_of("none", "10.9.0.1", ports=PEER, namespace="prod")), {"10.9.0.1"}),
        (put(slice_of("none", "10.9.0.1", "10.9.0.2", namespace="prod")), {"10.9.0.1", "10.9.0.2"}),
        (put(slice_of("none", "!10.9.0.1", "10.9.0.2", namespace="prod")), {"10.9.0.2"}),
        (put(slice_of("none", "!10.9.0.2", namespace="prod")), None),
        (put(slice_of("none", "10.9.0.2", namespace="prod")), {"10.9.0.2"}),
        (Delete("EndpointSlice", "prod", "none"), None),
    ),
    "a reverse name": (
        ("1.1.96.10.in-addr.arpa.", "PTR"),
        (put(MOVED), {"moving.default.svc.cluster.local."}),
        (Delete("Service", "default", "moving"), None),
    ),
    "a namespace ends, with all in it": (
        ("db.prod.svc", "A"),
        (Delete("Namespace", "", "prod"), None),
        (put(objects()[3]), {"10.244.4.10", "10.244.4.11"}),
    ),
    "a name that was denied": (
        ("later.default.svc", "A"),
        (put(service("later", "10.96.1.3")), {"10.96.1.3"}),
    ),
}


@pytest.fixture
def cluster():
    """(feed, port) of a server of its own."""
    feed = MemoryFeed(decoded())
    with kdns(VARIANTS[INSECURE], feed) as port:
        yield feed, port


@pytest.mark.parametrize("transport", ASK)
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_change(cluster, transport, steps):
    feed, port = cluster
    (name, qtype), *changes = steps
    name = name if name.endswith(".") else f"{name}.cluster.local."

    def ask(form):
        query = dns.message.make_query(form(name), qtype, **FORMS[form])
        return said(answer_of(ASK[transport](query, "127.0.0.1", TIMEOUT, port)))

    for form in FORMS:
        assert ask(form) == ask(form)
    for event, expected in changes:
        feed.push(event)
        deadline = time.monotonic() + TIMEOUT
        while ask(str) != expected:
            assert time.monotonic() < deadline, f"{ask(str)}, not {expected}, after {event}"
        assert [ask(form) for form in FORMS] == [expected] * len(FORMS)


def said(answer):
    """Record data of an answer; None for NXDOMAIN without any."""
    if answer.rcode == "NXDOMAIN" and not answer.answer:
        return None
    return {record.data for record in answer.answer}
