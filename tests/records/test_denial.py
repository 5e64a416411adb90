"""`ForwardZone.denies`: the answer to floods of names that do not exist, well-formed or not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.cluster.feed import Upsert
from kdns.cluster.objects import Metadata, Namespace, Service, ServiceSpec
from kdns.dns import codes, names
from kdns.records.forward import ForwardZone
from kdns.records.options import ZoneOptions
from kdns.records.store import Store

ORIGIN = names.from_text("cluster.local.")
TYPES = (codes.A, codes.SRV, codes.ANY, codes.SOA, 65280)
LABELS = [b"svc", b"pod", b"dns", b"dns-version", b"a", b"s", b"ns", b"x", b"\0", b"z" * 63]
label = st.one_of(st.sampled_from(LABELS), st.binary(min_size=1, max_size=9)).map(bytes.lower)
relative = st.lists(label, max_size=8)


def filled():
    store = Store(clock=lambda: 1.0)
    store.apply(Upsert(Namespace(Metadata("a"))))
    store.apply(Upsert(Service(Metadata("s", "a"), ServiceSpec(cluster_ip="10.0.0.1"))))
    return ForwardZone(store, ORIGIN, ZoneOptions())


@given(relative)
def test_denial_of_any_name(parts):
    """What is denied does not exist, and what does not exist at these levels is denied."""
    zone = filled()
    name = b"".join(map(names.label, parts)) + ORIGIN
    if len(name) > names.MAX_NAME:
        assert not zone.denies(name)
        return
    top, below = parts[-1:], parts[-3:-1]
    may_exist = {
        b"svc": below in ([], [b"a"], [b"s", b"a"]),
        b"pod": True,
        b"dns": True,
        b"dns-version": True,
    }
    assert zone.denies(name) == bool(top and not may_exist.get(top[0], False))
    if zone.denies(name):
        assert {zone.lookup(name, qtype).rcode for qtype in TYPES} == {codes.NXDOMAIN}


@pytest.mark.parametrize(
    "prefix",
    [
        b"",
        b"\x00",
        b"\x01x\x00\x01x",
        b"\x02x",
        b"\x03x",
        b"\x3f" + b"x" * 62,
        b"\x40" + b"x" * 64,
        b"\xc0\x0c",
        b"\xff" + b"x" * 16,
        (b"\x3f" + b"x" * 63) * 4,
    ],
    ids=repr,
)
def test_malformed_names_are_not_denied(prefix):
    assert not filled().denies(prefix + ORIGIN)
    assert filled().denies(b"\x3f" + b"x" * 63 + ORIGIN)


@given(relative, st.binary(max_size=3), st.integers(0, 300))
def test_denial_of_malformed_names(parts, junk, at):
    """Any bytes may stand before the origin; only those that are labels can be denied."""
    prefix = b"".join(map(names.label, parts))
    prefix = prefix[:at] + junk + prefix[at + len(junk) :]
    assert not filled().denies(prefix + ORIGIN) or are_labels(prefix)


def are_labels(wire):
    at = 0
    while at < len(wire):
        if not 0 < wire[at] < 64:
            return False
        at += 1 + wire[at]
    return 0 < at == len(wire)
