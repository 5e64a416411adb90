"""Ranges, and addresses handed out by name."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.cluster.manifests.addresses import AddressPool, Settings, digest, static_band, suffix


@pytest.mark.parametrize(
    ("network", "static", "lowest", "highest"),
    [
        ("10.0.0.0/28", 0, "10.0.0.1", "10.0.0.14"),
        ("10.0.0.0/28", 4, "10.0.0.1", "10.0.0.14"),
        ("10.0.0.0/28", 100, "10.0.0.1", "10.0.0.14"),
        ("fd00::/124", 0, "fd00::1", "fd00::f"),
    ],
)
def test_every_address_once(network: str, static: int, lowest: str, highest: str) -> None:
    pool = AddressPool(ip_network(network), static=static)
    size = int(ip_address(highest)) - int(ip_address(lowest)) + 1
    found = [pool.allocate(digest(str(n))) for n in range(size)]
    assert {pool.text(n) for n in found if n is not None} == {
        str(ip_address(lowest) + n) for n in range(size)
    }
    assert pool.allocate(1) is None


def test_the_static_band_comes_last() -> None:
    pool = AddressPool(ip_network("10.0.0.0/24"), static=16)
    found = [pool.text(pool.allocate(digest(str(n))) or 0) for n in range(254)]
    assert min(ip_address(text) for text in found[:238]) == ip_address("10.0.0.17")
    assert {ip_address(text) for text in found[238:]} == {
        ip_address("10.0.0.1") + n for n in range(16)
    }


@pytest.mark.parametrize(
    ("network", "expected"),
    [("10.0.0.0/28", 0), ("10.0.0.0/24", 16), ("10.96.0.0/16", 256), ("fd00::/112", 256)],
)
def test_static_band(network: str, expected: int) -> None:
    assert static_band(ip_network(network)) == expected


def test_reserved() -> None:
    pool = AddressPool(ip_network("10.0.0.0/28"), static=0)
    for address in ("10.0.0.3", "10.0.0.3", "192.0.2.1"):
        pool.reserve(int(ip_address(address)))
    found = [pool.allocate(digest(str(n))) for n in range(14)]
    assert int(ip_address("10.0.0.3")) not in found
    assert found.count(None) == 1


def test_a_range_wider_than_a_machine_word() -> None:
    pool = AddressPool(ip_network("fd00::/48"), static=1)
    number = pool.allocate(digest("a"))
    assert number is not None
    assert ip_address(pool.text(number)) in pool.network


@given(st.sets(st.text(max_size=5), max_size=30), st.data())
def test_a_name_keeps_its_address_whoever_leaves(names: set[str], data: st.DataObject) -> None:
    """But for names that were in each other's way, which `displaced` counts."""
    pool = AddressPool(ip_network("10.0.0.0/22"), static=16)
    before = {name: pool.allocate(digest(name)) for name in sorted(names)}
    left = data.draw(st.sets(st.sampled_from(sorted(names))) if names else st.just(set()))
    pool_after = AddressPool(ip_network("10.0.0.0/22"), static=16)
    after = {name: pool_after.allocate(digest(name)) for name in sorted(left)}
    moved = [name for name in left if before[name] != after[name]]
    assert len(moved) <= pool.displaced
    assert len(set(before.values())) == len(names)


def test_displaced() -> None:
    pool = AddressPool(ip_network("10.0.0.0/24"), static=0)
    assert pool.allocate(7) != pool.allocate(7)
    assert pool.displaced == 1


def test_digest_is_the_same_in_every_process() -> None:
    assert digest("shop/web") == 0xAB6DC376D376CD26
    assert suffix("shop/web", 5) == "vkt86"


@pytest.mark.parametrize(
    ("services", "pods", "problem"),
    [
        ([], ["10.0.0.0/8"], "Service ranges: give one range, or one IPv4 and one IPv6"),
        (["10.0.0.0/8", "11.0.0.0/8"], ["10.0.0.0/8"], "Service ranges: give one range"),
        (["10.0.0.0/8"], ["10.0.0.0/30"], "pod range 10.0.0.0/30 is too small"),
        (["10.0.0.0/8"], ["fd00::/64"], "different families"),
        (["10.0.0.0/8", "fd00::/112"], ["10.0.0.0/8"], "different families"),
    ],
    ids=["none", "one family twice", "small", "other family", "one of two"],
)
def test_ranges_that_do_not_fit(services: list[str], pods: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Settings(tuple(map(ip_network, services)), tuple(map(ip_network, pods)))


@pytest.mark.parametrize(
    ("ranges", "pods"),
    [
        ([], ["10.244.0.0/16", "fd00:10:244::/64"]),
        (["10.43.0.0/16"], ["10.244.0.0/16"]),
        (["fd00::/112"], ["fd00:10:244::/64"]),
        (["fd00::/112", "10.43.0.0/16"], ["fd00:10:244::/64", "10.244.0.0/16"]),
    ],
    ids=str,
)
def test_settings_of_service_ranges(ranges: list[str], pods: list[str]) -> None:
    settings = Settings.of(ranges)
    assert [str(network) for network in settings.pod_ranges] == pods
    assert [str(network) for network in settings.service_ranges] == (
        ranges or ["10.96.0.0/16", "fd00:10:96::/112"]
    )


@pytest.mark.parametrize("text", ["10.0.0.1/8", "x", ""])
def test_settings_of_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError):
        Settings.of([text])
