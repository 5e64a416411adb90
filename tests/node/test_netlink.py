"""Netlink's attributes, and questions that take no rights."""

from __future__ import annotations

import errno

import pytest

from kdns.node import netlink
from kdns.node.links import Links
from kdns.node.netlink import Refused


def test_attributes_come_back():
    body = netlink.text(1, "lo") + netlink.nested(2, netlink.attribute(3, b"abc"))
    assert len(body) % 4 == 0
    found = netlink.attributes(body)
    assert found[1] == b"lo\0"
    assert netlink.attributes(found[2]) == {3: b"abc"}


@pytest.mark.parametrize(
    "body", [b"\1", b"\0\0\1\0", b"\2\0\1\0", b"\xff\0\1\0abcd"], ids=lambda body: body.hex()
)
def test_attributes_that_are_cut_short_are_left_out(body):
    good = netlink.attribute(7, b"good")
    assert netlink.attributes(good + body) == {7: b"good"}


@pytest.fixture
def links():
    made = Links()
    yield made
    made.close()


def test_loopback(links):
    lo = links.find("lo")
    assert (lo.number, lo.name, lo.kind) == (1, "lo", "")
    assert links.name_of(1) == "lo"
    assert "127.0.0.1" in [each.text for each in links.addresses() if each.device == 1]


def test_no_such_device(links):
    assert links.find("none-such") is None
    assert links.name_of(99999) == "device 99999"


def test_the_kernel_says_why(links):
    with pytest.raises(Refused) as caught:
        links.find("a-name-of-more-than-15")
    assert caught.value.errno == errno.ERANGE
