"""The examples: without errors, and with the names that their README promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdns.cluster.manifests import load
from kdns.cluster.manifests.folder import Loaded
from kdns.cluster.objects import EndpointSlice, Namespace, Service

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def shop() -> Loaded:
    return load(EXAMPLES)


def test_no_errors(shop: Loaded) -> None:
    assert shop.errors == []
    assert sorted(i.metadata.name for i in shop.objects if isinstance(i, Namespace)) == [
        "data",
        "default",
        "kube-system",
        "payments",
        "shop",
    ]


def test_every_service_is_in_the_readme(shop: Loaded) -> None:
    readme = (EXAMPLES / "README.md").read_text()
    for item in shop.objects:
        if isinstance(item, Service):
            name = f"{item.metadata.name}.{item.metadata.namespace}.svc"
            assert name in readme or name == "kubernetes.default.svc"


SERVICES = {
    "kube-system/kube-dns": ["10.96.0.10"],
    "data/db": ["None"],
    "shop/mail": [],
}


@pytest.mark.parametrize(("name", "addresses"), SERVICES.items(), ids=SERVICES.keys())
def test_addresses(shop: Loaded, name: str, addresses: list[str]) -> None:
    (found,) = (
        item.spec.cluster_ips
        for item in shop.objects
        if isinstance(item, Service) and f"{item.metadata.namespace}/{item.metadata.name}" == name
    )
    assert found == addresses


# of a Service: hostnames and readiness of its endpoints, and its ports, by address family
ENDPOINTS: dict[str, dict[str, tuple[list[tuple[str, bool]], set[tuple[str, int, str]]]]] = {
    "shop/storefront": {
        "IPv4": ([("", True)] * 3, {("http", 8080, "TCP"), ("metrics", 9464, "TCP")}),
        "IPv6": ([("", True)] * 3, {("http", 8080, "TCP"), ("metrics", 9464, "TCP")}),
    },
    "shop/gift-cards": {"IPv4": ([], set())},
    "shop/tracing": {"IPv4": ([("", True)], {("spans", 6831, "UDP"), ("http", 16686, "TCP")})},
    "payments/signalling": {"IPv4": ([("", True)], {("m3ua", 2905, "SCTP")})},
    "payments/bank": {
        "IPv4": ([("primary", True), ("standby", False)], {("https", 443, "TCP")}),
    },
    "data/db": {"IPv4": ([("db-0", True), ("db-1", True)], {("postgres", 5432, "TCP")})},
    "data/db-primary": {"IPv4": ([("", True)], {("postgres", 5432, "TCP")})},
    "data/importer": {"IPv4": ([("nightly", True)], {("http", 8080, "TCP")})},
    "shop/database": {},
}


@pytest.mark.parametrize(("name", "expected"), ENDPOINTS.items(), ids=ENDPOINTS.keys())
def test_endpoints(
    shop: Loaded,
    name: str,
    expected: dict[str, tuple[list[tuple[str, bool]], set[tuple[str, int, str]]]],
) -> None:
    found = {
        item.address_type: (
            [(e.hostname or "", e.conditions.ready is not False) for e in item.endpoints or ()],
            {(p.name or "", p.port or 0, p.protocol or "") for p in item.ports or ()},
        )
        for item in shop.objects
        if isinstance(item, EndpointSlice) and f"{item.metadata.namespace}/{item.service}" == name
    }
    assert found == expected
