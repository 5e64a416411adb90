"""EndpointSlices of selectors and of Endpoints, as the controllers of a real cluster make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest

from kdns.cluster.manifests.kinds import GivenSlice
from kdns.cluster.objects import EndpointSlice

if TYPE_CHECKING:
    from collections.abc import Callable

    from kdns.cluster.manifests.controlplane import Filled

# address type, ports as (name, number, protocol), endpoints as (pod or address, hostname, ready)
Shape: TypeAlias = tuple[str, set[tuple[str, int, str]], set[tuple[str, str, bool]]]


def _slices(filled: Filled, service: str, namespace: str = "shop") -> list[EndpointSlice]:
    slices = [
        item.whole() if isinstance(item, GivenSlice) else item
        for item in filled.objects.values()
        if isinstance(item, EndpointSlice | GivenSlice)
    ]
    return [
        item for item in slices if (item.metadata.namespace, item.service) == (namespace, service)
    ]


def _shape(made: EndpointSlice) -> Shape:
    return (
        made.address_type,
        {(port.name or "", port.port or 0, port.protocol or "") for port in made.ports or ()},
        {
            (
                endpoint.target_ref.name if endpoint.target_ref else endpoint.addresses[0],
                endpoint.hostname or "",
                endpoint.conditions.ready is not False,
            )
            for endpoint in made.endpoints or ()
        },
    )


def _service(spec: str, selector: str = "app: web") -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop, labels: {{team: a}}}}
spec: {{selector: {{{selector}}}, {spec}}}
"""


def _pod(name: str, spec: str = "", status: str = "", labels: str = "app: web") -> str:
    ports = "{name: http, containerPort: 8080}, {name: http, containerPort: 5353, protocol: UDP}"
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{{labels}}}}}
spec: {{containers: [{{name: c, image: x, ports: [{ports}]}}], {spec}}}
status: {{{status}}}
"""


HTTP = "ports: [{name: http, port: 80, targetPort: http}]"
NOT_READY = "phase: Running, podIP: 10.1.1.1, conditions: [{type: Ready, status: 'False'}]"
SIDECAR = "initContainers: [{%s, ports: [{name: admin, containerPort: 9000}]}]"
V4, WEB = "IPv4", ("http", 8080, "TCP")

CASES: dict[str, tuple[list[str], list[Shape]]] = {
    "no pods": ([_service(HTTP)], [(V4, set(), set())]),
    "no selector": ([_service(HTTP, ""), _pod("a")], []),
    "other labels": ([_service(HTTP), _pod("a", labels="app: db")], [(V4, set(), set())]),
    "a pod": ([_service(HTTP), _pod("a")], [(V4, {WEB}, {("a", "", True)})]),
    "every label is needed": (
        [
            _service(HTTP, "app: web, tier: x"),
            _pod("a"),
            _pod("b", labels="app: web, tier: x"),
            _pod("c", labels="tier: x"),
        ],
        [(V4, {WEB}, {("b", "", True)})],
    ),
    "number": (
        [_service("ports: [{port: 80, targetPort: 99}]"), _pod("a")],
        [(V4, {("", 99, "TCP")}, {("a", "", True)})],
    ),
    "the port itself": (
        [_service("ports: [{port: 80}]"), _pod("a")],
        [(V4, {("", 80, "TCP")}, {("a", "", True)})],
    ),
    "by protocol": (
        [_service("ports: [{name: dns, port: 53, protocol: UDP, targetPort: http}]"), _pod("a")],
        [(V4, {("dns", 5353, "UDP")}, {("a", "", True)})],
    ),
    "sctp": (
        [_service("ports: [{name: m3ua, port: 2905, protocol: SCTP}]"), _pod("a")],
        [(V4, {("m3ua", 2905, "SCTP")}, {("a", "", True)})],
    ),
    "port that no container names": (
        [_service("ports: [{name: x, port: 1, targetPort: x}, {name: y, port: 2}]"), _pod("a")],
        [(V4, {("y", 2, "TCP")}, {("a", "", True)})],
    ),
    "port of a sidecar": (
        [
            _service("ports: [{port: 1, targetPort: admin}]"),
            _pod("a", SIDECAR % "name: s, image: x, restartPolicy: Always"),
            _pod("b", SIDECAR % "name: s, image: x"),
        ],
        [(V4, {("", 9000, "TCP")}, {("a", "", True)}), (V4, set(), {("b", "", True)})],
    ),
    "headless without ports": (
        [_service("clusterIP: None"), _pod("a")],
        [(V4, set(), {("a", "", True)})],
    ),
    "hostname of the service named by subdomain": (
        [_service("clusterIP: None"), _pod("a", "hostname: x, subdomain: web")],
        [(V4, set(), {("a", "x", True)})],
    ),
    "hostname of another service": (
        [_service("clusterIP: None"), _pod("a", "hostname: x, subdomain: other")],
        [(V4, set(), {("a", "", True)})],
    ),
    "hostname of a service with an address": (
        [_service(HTTP), _pod("a", "hostname: x, subdomain: web")],
        [(V4, {WEB}, {("a", "x", True)})],
    ),
    "not ready": ([_service(HTTP), _pod("a", status=NOT_READY)], [(V4, {WEB}, {("a", "", False)})]),
    "not ready, published": (
        [_service(HTTP + ", publishNotReadyAddresses: true"), _pod("a", status=NOT_READY)],
        [(V4, {WEB}, {("a", "", True)})],
    ),
    "pending with an address": (
        [_service(HTTP), _pod("a", status="phase: Pending, podIP: 10.1.1.1")],
        [(V4, {WEB}, {("a", "", False)})],
    ),
    "pending without an address": (
        [_service(HTTP), _pod("a", status="phase: Pending")],
        [(V4, set(), set())],
    ),
    "succeeded": (
        [_service(HTTP), _pod("a", status="phase: Succeeded, podIP: 10.1.1.1")],
        [(V4, set(), set())],
    ),
    "both families": (
        [_service(HTTP + ", ipFamilyPolicy: PreferDualStack"), _pod("a")],
        [(V4, {WEB}, {("a", "", True)}), ("IPv6", {WEB}, {("a", "", True)})],
    ),
    "a family that a pod lacks": (
        [
            _service(HTTP + ", ipFamilyPolicy: PreferDualStack"),
            _pod("a", status="podIP: 10.1.1.1"),
        ],
        [(V4, {WEB}, {("a", "", True)}), ("IPv6", set(), set())],
    ),
    "external name": (
        [_service("type: ExternalName, externalName: a.example.com"), _pod("a")],
        [],
    ),
}


@pytest.mark.parametrize(("manifests", "expected"), CASES.values(), ids=CASES.keys())
def test_selected(fill: Callable[..., Filled], manifests: list[str], expected: list[Shape]) -> None:
    filled = fill("---".join(manifests))
    assert filled.errors == []
    found = [_shape(made) for made in _slices(filled, "web")]
    assert sorted(found, key=str) == sorted(expected, key=str)


def test_what_a_slice_carries(fill: Callable[..., Filled]) -> None:
    (made,) = _slices(fill(_service("clusterIP: None, " + HTTP), _pod("a")), "web")
    assert made.metadata.name.startswith("web-")
    assert made.metadata.labels == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "service.kubernetes.io/headless": "",
    }
    (endpoint,) = made.endpoints or []
    assert endpoint.target_ref is not None
    assert (endpoint.target_ref.kind, endpoint.target_ref.name) == ("Pod", "a")


def test_a_statefulset(fill: Callable[..., Filled]) -> None:
    filled = fill(
        _service("clusterIP: None"),
        _service(HTTP, "statefulset.kubernetes.io/pod-name: db-1").replace("web,", "one,"),
        _service(HTTP).replace("name: web,", "name: all,"),
        """
        apiVersion: apps/v1
        kind: StatefulSet
        metadata: {name: db, namespace: shop}
        spec:
          serviceName: web
          replicas: 2
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec: {containers: [{name: c, image: x}]}
        """,
    )
    shapes = {
        name: [_shape(made)[2] for made in _slices(filled, name)] for name in ("web", "one", "all")
    }
    assert shapes == {
        "web": [{("db-0", "db-0", True), ("db-1", "db-1", True)}],
        "one": [{("db-1", "", True)}],
        "all": [{("db-0", "", True), ("db-1", "", True)}],
    }


def test_many_endpoints_are_split(fill: Callable[..., Filled]) -> None:
    filled = fill(
        _service(HTTP),
        """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web, namespace: shop}
        spec:
          replicas: 230
          selector: {matchLabels: {app: web}}
          template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: x}]}}
        """,
    )
    slices = _slices(filled, "web")
    assert [len(made.endpoints or ()) for made in slices] == [100, 100, 30]
    assert len({made.metadata.name for made in slices}) == 3
    addresses = {one.addresses[0] for made in slices for one in made.endpoints or ()}
    assert len(addresses) == 230


def _given(name: str, labels: str, service: str = "web") -> str:
    return f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}
  namespace: shop
  labels: {{kubernetes.io/service-name: {service}, {labels}}}
addressType: IPv4
endpoints: [{{addresses: [192.0.2.1], hostname: h, conditions: {{ready: false}}}}]
ports: [{{name: x, port: 7}}]
"""


GIVEN: Shape = (V4, {("x", 7, "")}, {("192.0.2.1", "h", False)})
MANAGED = "endpointslice.kubernetes.io/managed-by: "


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("", [GIVEN, (V4, {WEB}, {("a", "", True)})]),
        (MANAGED + "somebody", [GIVEN, (V4, {WEB}, {("a", "", True)})]),
        (MANAGED + "endpointslice-controller.k8s.io", [GIVEN]),
    ],
    ids=["nobody's", "somebody's", "the controller's, from a dump"],
)
def test_given_slices_are_kept(
    fill: Callable[..., Filled], labels: str, expected: list[Shape]
) -> None:
    filled = fill(_service(HTTP), _pod("a"), _given("web-x", labels))
    assert [_shape(made) for made in _slices(filled, "web")] == expected


def test_a_given_slice_keeps_its_name(fill: Callable[..., Filled]) -> None:
    (made,) = _slices(fill(_service(HTTP), _pod("a")), "web")
    filled = fill(_service(HTTP), _pod("a"), _given(made.metadata.name, "", "other"))
    assert [_shape(one) for one in _slices(filled, "other")] == [GIVEN]
    assert [_shape(one) for one in _slices(filled, "web")] == [_shape(made)]


def _endpoints(subsets: str, labels: str = "") -> str:
    return f"""
apiVersion: v1
kind: Endpoints
metadata: {{name: web, namespace: shop, labels: {{{labels}}}}}
subsets: {subsets}
"""


ONE = "[{addresses: [{ip: 192.0.2.1, hostname: h}], ports: [{name: x, port: 7}]}]"
TWO = "addresses: [{ip: 192.0.2.2}]"
MIRRORED: Shape = (V4, {("x", 7, "TCP")}, {("192.0.2.1", "h", True)})

ENDPOINTS: dict[str, tuple[list[str], list[Shape]]] = {
    "mirrored": ([_service(HTTP, ""), _endpoints(ONE)], [MIRRORED]),
    "no service": ([_endpoints(ONE)], []),
    "service with a selector": ([_service(HTTP), _endpoints(ONE)], [(V4, set(), set())]),
    "not to be mirrored": (
        [
            _service(HTTP, ""),
            _endpoints(ONE, "endpointslice.kubernetes.io/skip-mirror: 'true'"),
        ],
        [],
    ),
    "mirrored before, from a dump": (
        [
            _service(HTTP, ""),
            _endpoints(ONE),
            _given("web-x", MANAGED + "endpointslicemirroring-controller.k8s.io"),
        ],
        [GIVEN],
    ),
    "empty": ([_service(HTTP, ""), _endpoints("[]")], []),
    "families": (
        [
            _service(HTTP, ""),
            _endpoints("[{addresses: [{ip: 192.0.2.1}, {ip: '2001:db8::1'}], ports: [{port: 7}]}]"),
        ],
        [
            (V4, {("", 7, "TCP")}, {("192.0.2.1", "", True)}),
            ("IPv6", {("", 7, "TCP")}, {("2001:db8::1", "", True)}),
        ],
    ),
    "not ready": (
        [_service(HTTP, ""), _endpoints("[{notReadyAddresses: [{ip: 192.0.2.1}]}]")],
        [(V4, set(), {("192.0.2.1", "", False)})],
    ),
    "subsets": (
        [
            _service(HTTP, ""),
            _endpoints("[{addresses: [{ip: 192.0.2.1}]}, {ports: [{port: 7}], " + TWO + "}]"),
        ],
        [
            (V4, set(), {("192.0.2.1", "", True)}),
            (V4, {("", 7, "TCP")}, {("192.0.2.2", "", True)}),
        ],
    ),
    "address that is ready and is not": (
        [
            _service(HTTP, ""),
            _endpoints("[{notReadyAddresses: [{ip: 192.0.2.1}]}, {addresses: [{ip: 192.0.2.1}]}]"),
        ],
        [(V4, set(), {("192.0.2.1", "", False)})],
    ),
}


@pytest.mark.parametrize(("manifests", "expected"), ENDPOINTS.values(), ids=ENDPOINTS.keys())
def test_endpoints(
    fill: Callable[..., Filled], manifests: list[str], expected: list[Shape]
) -> None:
    filled = fill("---".join(manifests))
    assert filled.errors == []
    assert [_shape(made) for made in _slices(filled, "web")] == expected
