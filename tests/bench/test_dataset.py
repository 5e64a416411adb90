from ipaddress import ip_address

import msgspec
import pytest

from bench import zone
from bench.dataset import FULL, Size, generate
from kdns.cluster.objects import EndpointSlice, Service

SMALL = Size(namespaces=3, services=20, headless=2, headless_endpoints=100, srv=2, endpoints=300)


def test_the_full_size_is_what_is_promised() -> None:
    cluster = generate()
    services = list(cluster.all_services())
    endpoints = [address for service in services for address in service.endpoints]
    assert len(cluster.namespaces) == 50
    assert len(services) == 10_000
    assert len(endpoints) == len(set(endpoints)) == FULL.endpoints == 125_000
    assert [len(service.endpoints) for service in cluster.headless] == [100] * 100
    assert {len(service.endpoints) for service in cluster.srv} == {20}


def test_the_same_seed_makes_the_same_cluster_and_another_makes_another() -> None:
    assert generate(SMALL, 5) == generate(SMALL, 5)
    assert generate(SMALL, 5) != generate(SMALL, 6)


def test_sizes_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="no room left"):
        generate(SMALL._replace(endpoints=100))


def test_objects_decode_as_the_types_a_feed_yields() -> None:
    cluster = generate(SMALL)
    decoded = {"Service": 0, "EndpointSlice": 0, "Namespace": 0}
    for manifest in cluster.objects():
        decoded[manifest["kind"]] += 1
        if manifest["kind"] == "Service":
            service = msgspec.convert(manifest, Service)
            assert service.spec.cluster_ips[0] == service.spec.cluster_ip
        elif manifest["kind"] == "EndpointSlice":
            assert msgspec.convert(manifest, EndpointSlice).service
    assert decoded == {"Service": 20, "EndpointSlice": 20, "Namespace": 3}


def test_cluster_ips_are_unique_and_some_services_have_both_families() -> None:
    addresses = [address for service in generate().services for address in service.addresses]
    assert len(addresses) == len(set(addresses))
    assert {ip_address(address).version for address in addresses} == {4, 6}


def test_records_hold_every_name_once_for_each_address() -> None:
    cluster = generate(SMALL)
    records = list(zone.records(cluster))
    assert len(records) == len(set(records))
    [wide, _] = cluster.headless
    assert sum(record.startswith(f"{wide.dns_name}. 30 IN A ") for record in records) == 100
    assert sum(record.startswith(f"{zone.srv_name(wide)}. 30 IN SRV ") for record in records) == 100
    service = cluster.services[1]
    assert f"{service.dns_name}. 30 IN A {service.addresses[0]}" in records
    assert f"{zone.srv_name(service)}. 30 IN SRV 0 100 80 {service.dns_name}." in records
