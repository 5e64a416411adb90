"""Services with their address families and ClusterIPs."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from kdns.cluster.manifests.addresses import Settings
from kdns.cluster.objects import Service, ServicePort, ServiceSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from kdns.cluster.manifests.controlplane import Filled

BOTH = Settings()
IPV4 = Settings.of(["10.96.0.0/16"])
IPV6_FIRST = Settings.of(["fd00:10:96::/112", "10.96.0.0/16"])


def _service(spec: str, name: str = "web") -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{ports: [{{port: 80}}], {spec}}}
"""


def _spec(filled: Filled, name: str = "web") -> ServiceSpec:
    service = filled.objects["Service", "shop", name]
    assert isinstance(service, Service)
    return service.spec


# what the manifest says and the ranges, to the families of clusterIPs in order
FAMILIES: dict[str, tuple[str, Settings, list[str]]] = {
    "default": ("", BOTH, ["4"]),
    "default, IPv6 first": ("", IPV6_FIRST, ["6"]),
    "single": ("ipFamilyPolicy: SingleStack", BOTH, ["4"]),
    "single IPv6": ("ipFamilies: [IPv6]", BOTH, ["6"]),
    "prefer dual": ("ipFamilyPolicy: PreferDualStack", BOTH, ["4", "6"]),
    "prefer dual, IPv6 first": ("ipFamilyPolicy: PreferDualStack", IPV6_FIRST, ["6", "4"]),
    "prefer dual, one range": ("ipFamilyPolicy: PreferDualStack", IPV4, ["4"]),
    "require dual": ("ipFamilyPolicy: RequireDualStack", BOTH, ["4", "6"]),
    "require dual, IPv6 named": (
        "ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6]",
        BOTH,
        ["6", "4"],
    ),
    "both named": (
        "ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6, IPv4]",
        BOTH,
        ["6", "4"],
    ),
    "IPv6 by its address": ('clusterIP: "fd00:10:96::77"', BOTH, ["6"]),
    "one address given of two": (
        'ipFamilyPolicy: PreferDualStack, clusterIP: "fd00:10:96::77"',
        BOTH,
        ["6", "4"],
    ),
}


@pytest.mark.parametrize(("spec", "settings", "expected"), FAMILIES.values(), ids=FAMILIES.keys())
def test_families(
    fill: Callable[..., Filled], spec: str, settings: Settings, expected: list[str]
) -> None:
    filled = fill(_service(spec), settings=settings)
    assert filled.errors == []
    found = _spec(filled)
    addresses = [ip_address(text) for text in found.cluster_ips]
    assert [str(address.version) for address in addresses] == expected
    assert found.cluster_ip == found.cluster_ips[0]
    for address in addresses:
        assert any(address in network for network in settings.service_ranges)


@pytest.mark.parametrize(
    ("spec", "settings", "problem"),
    [
        ("ipFamilies: [IPv6]", IPV4, "IPv6 is asked for, and the Service range is IPv4 alone"),
        ('clusterIP: "fd00::1"', IPV4, "IPv6 is asked for"),
        ("ipFamilyPolicy: RequireDualStack", IPV4, "RequireDualStack is asked for"),
        (
            "clusterIP: 10.96.0.1",
            BOTH,
            "clusterIP 10.96.0.1 is taken by Service default/",
        ),
    ],
)
def test_refused(fill: Callable[..., Filled], spec: str, settings: Settings, problem: str) -> None:
    filled = fill(_service(spec), settings=settings)
    (error,) = filled.errors
    assert (error.path, error.line, error.subject) == ("a.yaml", 2, "Service shop/web")
    assert error.problem.startswith(problem)
    assert ("Service", "shop", "web") not in filled.objects


def test_given_addresses_are_kept_wherever_they_lie(fill: Callable[..., Filled]) -> None:
    filled = fill(_service("clusterIP: 10.43.0.10, clusterIPs: [10.43.0.10]"))
    assert filled.errors == []
    assert _spec(filled).cluster_ips == ["10.43.0.10"]


def test_a_given_address_comes_before_one_by_name(fill: Callable[..., Filled]) -> None:
    free = _spec(fill(_service("")))
    filled = fill(_service(""), _service(f"clusterIP: {free.cluster_ip}", "other"))
    assert filled.errors == []
    assert _spec(filled, "other").cluster_ip == free.cluster_ip
    assert _spec(filled).cluster_ip != free.cluster_ip


def test_an_address_twice(fill: Callable[..., Filled]) -> None:
    dual = "ipFamilyPolicy: PreferDualStack, clusterIP: {0}, clusterIPs: [{0}, '{1}']"
    filled = fill(
        _service("clusterIP: 10.96.7.7", "z"),
        _service(dual.format("10.96.7.8", "fd00:10:96::8"), "y"),
        _service(dual.format("10.96.7.9", "fd00:10:96:0::8"), "x"),
        _service("clusterIP: 10.96.7.7", "a"),
        _service("clusterIP: 10.96.7.9", "b"),
    )
    cure = "choose another, or leave it out"
    taken = f"clusterIP fd00:10:96::8 is taken by Service shop/y (b.yaml:2): {cure}"
    taken_too = f"clusterIP 10.96.7.7 is taken by Service shop/z (a.yaml:2): {cure}"
    assert [str(error) for error in filled.errors] == [
        f"c.yaml:2: Service shop/x: {taken}",
        f"d.yaml:2: Service shop/a: {taken_too}",
    ]
    served = [key[2] for key in filled.objects if key[:2] == ("Service", "shop")]
    assert served == ["b", "y", "z"]


def test_a_range_that_is_used_up(fill: Callable[..., Filled]) -> None:
    settings = Settings((ip_network("10.96.0.0/28"),), (ip_network("10.244.0.0/16"),))
    filled = fill(*(_service("", f"s{n}") for n in range(15)), settings=settings)
    assert [error.subject for error in filled.errors] == ["Service shop/s8", "Service shop/s9"]
    assert "no address is left in 10.96.0.0/28: give a wider" in filled.errors[0].problem


def test_headless_and_external(fill: Callable[..., Filled]) -> None:
    filled = fill(
        _service("clusterIP: None", "headless"),
        _service("type: ExternalName, externalName: db.example.com.", "external"),
    )
    assert filled.errors == []
    headless = _spec(filled, "headless")
    assert (headless.cluster_ip, headless.cluster_ips) == ("None", ["None"])
    external = _spec(filled, "external")
    assert (external.cluster_ip, external.cluster_ips) == ("", [])
    assert (external.type, external.external_name) == ("ExternalName", "db.example.com.")


def test_what_else_comes_out(fill: Callable[..., Filled]) -> None:
    filled = fill("""
        apiVersion: v1
        kind: Service
        metadata: {name: web, uid: u1, labels: {a: b}}
        spec:
          type: NodePort
          publishNotReadyAddresses: true
          ports:
            - {name: dns, port: 53, protocol: UDP, targetPort: 5353, nodePort: 30053}
            - {name: m3ua, port: 2905, protocol: SCTP}
        """)
    service = filled.objects["Service", "default", "web"]
    assert isinstance(service, Service)
    assert (service.metadata.uid, service.metadata.labels) == ("u1", {"a": "b"})
    assert (service.spec.type, service.spec.publish_not_ready_addresses) == ("NodePort", True)
    assert service.spec.ports == [ServicePort(53, "dns", "UDP"), ServicePort(2905, "m3ua", "SCTP")]
