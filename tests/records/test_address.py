from __future__ import annotations

import ipaddress

import dns.name
import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.dns import names
from kdns.records import address

ADDRESSES = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("10.0.0.1", b"\x0a\x00\x00\x01"),
        ("255.255.255.255", b"\xff" * 4),
        ("::", bytes(16)),
        ("FD00::1", b"\xfd" + bytes(14) + b"\x01"),
        ("::ffff:1.2.3.4", bytes(10) + b"\xff\xff\x01\x02\x03\x04"),
        ("", None),
        ("10.0.0", None),
        ("10.0.0.1.1", None),
        ("10.0.0.01", None),
        ("10.0.0.256", None),
        ("10.0.0.+1", None),
        ("10.0.0.1 ", None),
        ("10.0.0.\u0661", None),
        ("fe80::1%eth0", None),
        ("1:2:3", None),
        ("None", None),
    ],
)
def test_parse(text, packed):
    assert address.parse(text) == packed


@given(ADDRESSES)
def test_text_of_every_address_parses(packed):
    assert address.parse(str(ipaddress.ip_address(packed))) == packed


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("10.0.0.1", b"10-0-0-1"),
        ("5678:abcd::1", b"5678-abcd--1"),
        ("fd00::", b"fd00--0"),
        ("::1", b"--1"),
        ("::", b"--0"),
        ("1:2:3:4:5:6:7:8", b"1-2-3-4-5-6-7-8"),
    ],
)
def test_dashed(text, label):
    """CoreDNS 1.4."""
    assert address.dashed(address.parse(text)) == bytes([len(label)]) + label


@given(ADDRESSES)
def test_dashed_label_spells_its_address(packed):
    label = address.dashed(packed)
    assert not label.endswith(b"-")
    assert address.from_dashed(label[1:]) == packed


@given(st.binary(max_size=63))
def test_from_dashed_takes_anything(content):
    found = address.from_dashed(content)
    assert found is None or len(found) in (4, 16)


@given(ADDRESSES)
def test_reverse_name_is_that_of_the_rfcs(packed):
    text = str(ipaddress.ip_address(packed))
    wire = address.reverse_name(packed)
    assert dns.name.from_wire(wire, 0)[0] == dns.reversename.from_address(text)
    parts = names.labels(wire)[:-2]
    assert bytes.fromhex(address.from_reverse(parts, len(packed))) == packed


@pytest.mark.parametrize(
    ("parts", "family", "digits"),
    [
        ([], 4, ""),
        ([b"0", b"10"], 4, "0a00"),
        ([b"f", b"d"], 16, "df"),
        ([b"01"], 4, None),
        ([b"256"], 4, None),
        ([b"1"] * 5, 4, None),
        ([b"0"] * 33, 16, None),
        ([b"10"], 16, None),
        ([b"g"], 16, None),
        ([b"0-25"], 4, None),
    ],
)
def test_from_reverse(parts, family, digits):
    assert address.from_reverse(parts, family) == digits
