"""A dataset as records, for the servers that read zones instead of watching a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.dataset import HTTP, ZONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.dataset import Dataset, Service

TTL = 30
SOA = f"ns.dns.{ZONE}. hostmaster.{ZONE}. 1 7200 1800 86400 {TTL}"


def records(dataset: Dataset) -> Iterator[str]:
    """Every record a line, owner TTL class type rdata, all names absolute; SOA and NS first."""
    yield f"{ZONE}. {TTL} IN SOA {SOA}"
    yield f"{ZONE}. {TTL} IN NS ns.dns.{ZONE}."
    yield f"ns.dns.{ZONE}. {TTL} IN A 127.0.0.1"
    for service in dataset.all_services():
        for name, address in addresses(service):
            yield f"{name}. {TTL} IN {'AAAA' if ':' in address else 'A'} {address}"
        for target, port in targets(service):
            weight = 100 if service.addresses else max(1, 100 // len(service.endpoints))
            yield f"{srv_name(service)}. {TTL} IN SRV 0 {weight} {port} {target}."


def addresses(service: Service) -> Iterator[tuple[str, str]]:
    """(name, address) of the service and of each endpoint."""
    for address in service.addresses or service.endpoints:
        yield service.dns_name, address
    for address in service.endpoints:
        yield service.endpoint_name(address), address


def targets(service: Service) -> Iterator[tuple[str, int]]:
    """(name, port) of the SRV records of the port `http`."""
    if service.addresses:
        yield service.dns_name, 80
    else:
        for address in service.endpoints:
            yield service.endpoint_name(address), HTTP


def srv_name(service: Service) -> str:
    return f"_http._tcp.{service.dns_name}"
