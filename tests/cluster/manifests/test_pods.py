"""Pods: those declared, and those that workloads would keep running."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from kdns.cluster.manifests.addresses import Settings
from kdns.cluster.manifests.pods import POD_NAME_LABEL
from kdns.cluster.objects import Pod

if TYPE_CHECKING:
    from collections.abc import Callable

    from kdns.cluster.manifests.controlplane import Filled


def _pods(filled: Filled) -> dict[str, Pod]:
    return {pod.metadata.name: pod for pod in filled.objects.values() if isinstance(pod, Pod)}


def _workload(kind: str, spec: str = "", name: str = "web", more: str = "") -> str:
    version = "v1" if kind == "ReplicationController" else "apps/v1"
    return f"""
apiVersion: {version}
kind: {kind}
metadata: {{name: {name}, namespace: shop, {more}}}
spec:
  {spec}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: c, image: x}}]}}
"""


def _pod(name: str, more: str = "", status: str = "{}") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{app: web}}, {more}}}
spec: {{containers: [{{name: c, image: x}}]}}
status: {status}
"""


NAMES: dict[str, tuple[str, list[str]]] = {
    "deployment": (_workload("Deployment"), ["web-vkt86hb2dr-9xk9b"]),
    "replicas": (_workload("ReplicaSet", "replicas: 2"), ["web-", "web-"]),
    "none": (_workload("Deployment", "replicas: 0"), []),
    "null": (_workload("Deployment", "replicas: null"), ["web-"]),
    "replication controller": (_workload("ReplicationController"), ["web-"]),
    "daemonset": (_workload("DaemonSet"), ["web-"]),
    "daemonset has no replicas": (_workload("DaemonSet", "replicas: 3"), ["web-"]),
    "statefulset": (_workload("StatefulSet", "replicas: 3"), ["web-0", "web-1", "web-2"]),
    "statefulset from 5": (
        _workload("StatefulSet", "ordinals: {start: 5}\n  replicas: 2"),
        ["web-5", "web-6"],
    ),
    "job": ("apiVersion: batch/v1\nkind: Job\nmetadata: {name: web}\n", []),
    "long names are cut": (_workload("Deployment", name="w" * 63), ["w" * 58]),
}


@pytest.mark.parametrize(("manifest", "expected"), NAMES.values(), ids=NAMES.keys())
def test_names(fill: Callable[..., Filled], manifest: str, expected: list[str]) -> None:
    filled = fill(manifest)
    assert filled.errors == []
    names = list(_pods(filled))
    assert len(names) == len(set(names)) == len(expected)
    for name, start in zip(names, expected, strict=True):
        assert name.startswith(start)
        assert len(name) <= 63


def test_a_pod_of_a_workload(fill: Callable[..., Filled]) -> None:
    pod = _pods(fill(_workload("StatefulSet")))["web-0"]
    assert pod.metadata.namespace == "shop"
    assert pod.metadata.labels == {"app": "web", POD_NAME_LABEL: "web-0"}
    assert pod.status.phase == "Running"
    addresses = [ip.ip for ip in pod.status.pod_ips]
    assert addresses[0] == pod.status.pod_ip
    networks = Settings().pod_ranges
    for text, network in zip(addresses, networks, strict=True):
        assert ip_address(text) in network


def test_one_range(fill: Callable[..., Filled]) -> None:
    pod = _pods(fill(_workload("StatefulSet"), settings=Settings.of(["fd00::/112"])))["web-0"]
    assert [ip.ip for ip in pod.status.pod_ips] == [pod.status.pod_ip]
    assert ip_address(pod.status.pod_ip).version == 6


# a declared status to the phase and the addresses that come out: None for one that is made up
STATUS: dict[str, tuple[str, str, list[str] | None]] = {
    "none": ("{}", "Running", None),
    "running": ("{phase: Running}", "Running", None),
    "pending": ("{phase: Pending}", "Pending", []),
    "failed": ("{phase: Failed}", "Failed", []),
    "address": ("{podIP: 10.1.2.3}", "Running", ["10.1.2.3"]),
    "addresses": (
        "{phase: Pending, podIP: 10.1.2.3, podIPs: [{ip: 10.1.2.3}, {ip: 'fd00::3'}]}",
        "Pending",
        ["10.1.2.3", "fd00::3"],
    ),
}


@pytest.mark.parametrize(("status", "phase", "expected"), STATUS.values(), ids=STATUS.keys())
def test_declared_status(
    fill: Callable[..., Filled], status: str, phase: str, expected: list[str] | None
) -> None:
    pod = _pods(fill(_pod("a", status=status)))["a"]
    found = [ip.ip for ip in pod.status.pod_ips]
    assert pod.status.phase == phase
    assert pod.status.pod_ip == (found[0] if found else "")
    assert len(found) == 2 if expected is None else found == expected


def test_a_declared_address_is_given_to_nobody_else(fill: Callable[..., Filled]) -> None:
    taken = _pods(fill(_pod("a")))["a"].status.pod_ip
    pods = _pods(fill(_pod("a"), _pod("b", status=f"{{podIP: {taken}}}")))
    assert pods["b"].status.pod_ip == taken
    assert pods["a"].status.pod_ip != taken


OWNED = "ownerReferences: [{kind: %s, name: web, controller: true}]"


def test_a_dump_of_a_cluster_is_not_run_twice(fill: Callable[..., Filled]) -> None:
    filled = fill(
        _workload("Deployment", "replicas: 3"),
        _workload("ReplicaSet", "replicas: 3", "web-1", OWNED % "Deployment"),
        _workload("ReplicaSet", "replicas: 0", "web-0", OWNED % "Deployment"),
        _pod("web-1-a", (OWNED % "ReplicaSet").replace("name: web", "name: web-1")),
        _pod("web-1-b", (OWNED % "ReplicaSet").replace("name: web", "name: web-1")),
    )
    assert filled.errors == []
    names = list(_pods(filled))
    assert names[:2] == ["web-1-a", "web-1-b"]
    assert len(names) == 3


def test_a_replica_that_is_declared_is_not_made(fill: Callable[..., Filled]) -> None:
    filled = fill(
        _workload("StatefulSet", "replicas: 2"),
        _pod("web-1", OWNED % "StatefulSet", "{podIP: 10.1.2.3}"),
    )
    pods = _pods(filled)
    assert sorted(pods) == ["web-0", "web-1"]
    assert pods["web-1"].status.pod_ip == "10.1.2.3"


def test_a_name_that_is_taken(fill: Callable[..., Filled]) -> None:
    (name,) = _pods(fill(_workload("Deployment")))
    pods = _pods(fill(_workload("Deployment"), _pod(name)))
    assert len(pods) == 2


def test_a_range_that_is_used_up(fill: Callable[..., Filled]) -> None:
    settings = Settings((ip_network("10.96.0.0/16"),), (ip_network("10.244.0.0/28"),))
    filled = fill(_workload("Deployment", "replicas: 20"), _pod("a"), settings=settings)
    (error,) = filled.errors
    assert str(error) == (
        "a.yaml:2: Deployment shop/web: no address is left in 10.244.0.0/28 for 8 of its pods: "
        "give a wider pod range"
    )
    addresses = [pod.status.pod_ip for pod in _pods(filled).values()]
    assert len(set(addresses)) == 13
    assert "10.244.0.1" not in addresses  # the API server's


def test_a_range_that_declared_pods_use_up(fill: Callable[..., Filled]) -> None:
    settings = Settings((ip_network("10.96.0.0/16"),), (ip_network("10.244.0.0/28"),))
    filled = fill(*(_pod(f"p{n:02}") for n in range(14)), settings=settings)
    (error,) = filled.errors
    assert error.subject == "Pod shop/p13"
    assert _pods(filled)["p13"].status.pod_ips == []
