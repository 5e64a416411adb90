"""What a whole set of manifests makes."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from kdns.cluster.manifests.addresses import Settings
from kdns.cluster.manifests.controlplane import ControlPlane, Filled
from kdns.cluster.manifests.declarations import read
from kdns.cluster.manifests.kinds import Declared
from kdns.cluster.objects import EndpointSlice, Namespace, Pod, Service

if TYPE_CHECKING:
    from collections.abc import Callable


def _namespaces(filled: Filled) -> dict[str, dict[str, str]]:
    return {
        item.metadata.name: item.metadata.labels
        for item in filled.objects.values()
        if isinstance(item, Namespace)
    }


SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s}
spec: {ports: [{port: 1}]}
"""


def test_namespaces(fill: Callable[..., Filled]) -> None:
    filled = fill(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: empty, labels: {team: a}}\n",
        SERVICE % ("web", "shop"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: unseen}\n",
    )
    label = "kubernetes.io/metadata.name"
    assert _namespaces(filled) == {
        "default": {label: "default"},
        "empty": {"team": "a", label: "empty"},
        "kube-system": {label: "kube-system"},
        "shop": {label: "shop"},
    }


def test_the_kubernetes_service(fill: Callable[..., Filled]) -> None:
    filled = fill()
    assert filled.errors == []
    assert [key for key in filled.objects if key[0] != "Namespace"] == [
        ("Service", "default", "kubernetes"),
        ("EndpointSlice", "default", "kubernetes"),
    ]
    service = filled.objects["Service", "default", "kubernetes"]
    made = filled.objects["EndpointSlice", "default", "kubernetes"]
    assert isinstance(service, Service)
    assert isinstance(made, EndpointSlice)
    assert service.spec.cluster_ips == ["10.96.0.1"]
    assert [(port.name, port.port) for port in service.spec.ports] == [("https", 443)]
    assert made.service == "kubernetes"
    assert [(port.name, port.port) for port in made.ports or ()] == [("https", 6443)]


def test_the_kubernetes_service_by_hand(fill: Callable[..., Filled]) -> None:
    filled = fill(
        "apiVersion: v1\nkind: Service\nmetadata: {name: kubernetes}\n"
        "spec: {clusterIP: 10.43.0.1, ports: [{port: 443}]}\n",
        "apiVersion: v1\nkind: Endpoints\nmetadata: {name: kubernetes}\n"
        "subsets: [{addresses: [{ip: 192.0.2.1}]}]\n",
    )
    assert filled.errors == []
    service = filled.objects["Service", "default", "kubernetes"]
    assert isinstance(service, Service)
    assert service.spec.cluster_ip == "10.43.0.1"
    slices = [item for item in filled.objects.values() if isinstance(item, EndpointSlice)]
    assert [made.service for made in slices] == ["kubernetes"]
    assert ("EndpointSlice", "default", "kubernetes") not in filled.objects


def test_the_first_of_two_holds(fill: Callable[..., Filled]) -> None:
    one, two = SERVICE % ("web", "shop"), SERVICE.replace("port: 1", "port: 2") % ("web", "shop")
    filled = fill(f"{one}---\n{two}", two)
    service = filled.objects["Service", "shop", "web"]
    assert isinstance(service, Service)
    assert service.spec.ports[0].port == 1
    problem = "declared before in a.yaml:1, which holds: take one of the two out"
    assert [str(error) for error in filled.errors] == [
        f"a.yaml:6: Service shop/web: {problem}",
        f"b.yaml:1: Service shop/web: {problem}",
    ]


_names = st.sampled_from(["a", "b", "c", "web", "db"])
_labels = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from("xyz"), min_size=1)
_namespaces_of = st.sampled_from(["shop", "data"])
_ports = st.sampled_from([80, "http", "admin"])


def _manifest(kind: str, name: str, namespace: str, **fields: Any) -> dict[str, Any]:
    version = {"Pod": "v1", "Service": "v1"}.get(kind, "apps/v1")
    metadata = {"name": name, "namespace": namespace, "labels": fields.pop("labels", {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


@st.composite
def _pod_specs(draw: st.DrawFn) -> dict[str, Any]:
    ports = draw(st.dictionaries(st.sampled_from(["http", "admin"]), st.integers(1, 65535)))
    container = {"ports": [{"name": name, "containerPort": n} for name, n in ports.items()]}
    return {"containers": [container]}


@st.composite
def _manifests(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["Service", "Pod", "Deployment", "StatefulSet", "DaemonSet"]))
    name, namespace, labels = draw(_names), draw(_namespaces_of), draw(_labels)
    if kind == "Service":
        ports = [{"name": "p", "port": 80, "targetPort": draw(_ports)}]
        spec: dict[str, Any] = {"selector": labels, "ports": ports}
        spec |= draw(st.sampled_from([{}, {"clusterIP": "None"}, {"ipFamilies": ["IPv6"]}]))
        return _manifest(kind, name, namespace, spec=spec)
    pod = draw(_pod_specs())
    if kind == "Pod":
        return _manifest(kind, name, namespace, labels=labels, spec=pod)
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"template": template, "serviceName": "db", "replicas": draw(st.integers(0, 3))}
    return _manifest(kind, name, namespace, spec=spec)


def _identity(manifest: dict[str, Any]) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata["namespace"], metadata["name"]


_sets = st.lists(_manifests(), max_size=12, unique_by=_identity)


def _declared(files: list[list[dict[str, Any]]]) -> list[Declared]:
    declared: list[Declared] = []
    for number, manifests in enumerate(files):
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}, indent=1)
        content = read(f"{number:02}.json", text.encode())
        assert content.errors == []
        declared += content.declared
    return declared


@given(_sets, st.data())
def test_any_arrangement_in_files_makes_the_same(
    manifests: list[dict[str, Any]], data: st.DataObject
) -> None:
    expected = ControlPlane(Settings()).fill(_declared([manifests]))
    files: list[list[dict[str, Any]]] = [[], [], []]
    for manifest in data.draw(st.permutations(manifests)):
        files[data.draw(st.integers(0, 2))].append(manifest)
    found = ControlPlane(Settings()).fill(_declared(files))
    assert found.errors == expected.errors == []
    assert list(found.objects.items()) == list(expected.objects.items())


def _addresses(filled: Filled) -> dict[tuple[str, str, str], list[str]]:
    found: dict[tuple[str, str, str], list[str]] = {}
    for key, item in filled.objects.items():
        if isinstance(item, Service):
            found[key] = item.spec.cluster_ips
        elif isinstance(item, Pod):
            found[key] = [ip.ip for ip in item.status.pod_ips]
    return found


@given(_sets, st.data())
def test_one_less_moves_no_other_address(
    manifests: list[dict[str, Any]], data: st.DataObject
) -> None:
    assume(manifests)
    before = _addresses(ControlPlane(Settings()).fill(_declared([manifests])))
    manifests.remove(data.draw(st.sampled_from(manifests)))
    after = _addresses(ControlPlane(Settings()).fill(_declared([manifests])))
    assert after == {key: before[key] for key in after}


def _text(item: Declared) -> str:
    return f"{item.kind} {item.object}"


TINY = Settings((ip_network("10.96.0.0/27"),), (ip_network("10.244.0.0/27"),))


@given(st.lists(_sets, min_size=2, max_size=4), st.sampled_from([Settings(), TINY]))
def test_the_time_before_does_not_show(
    sets: list[list[dict[str, Any]]], settings: Settings
) -> None:
    """A control plane that has seen other sets makes what a new one would, in ranges so small
    that addresses are in each other's way, too; what stays the same stays the same object."""
    old = ControlPlane(settings)
    known: dict[str, Declared] = {}
    for manifests in sets:
        fresh = _declared([manifests])
        # as with files: what has not changed stays the object that it was
        kept = [
            replace(known.get(_text(item), item), path=item.path, line=item.line) for item in fresh
        ]
        known = {_text(item): item for item in kept}
        found, expected = old.fill(kept), ControlPlane(settings).fill(fresh)
        assert list(found.objects.items()) == list(expected.objects.items())
        assert list(map(str, found.errors)) == list(map(str, expected.errors))


def test_what_stays_the_same_is_the_same_object() -> None:
    spec = {"selector": {"app": "x"}, "ports": [{"port": 80}]}
    service = _manifest("Service", "web", "shop", spec=spec)
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {}}
    workload = _manifest("Deployment", "web", "shop", spec={"template": template, "replicas": 3})
    other = _manifest("Service", "other", "shop", spec={"ports": [{"port": 80}]})
    plane = ControlPlane(Settings())
    declared = _declared([[service, workload]])
    before = plane.fill(declared).objects
    after = plane.fill([*declared, *_declared([[], [other]])]).objects
    kept = [key for key in before if key[0] in ("EndpointSlice", "Pod") and key[1] == "shop"]
    assert len(kept) == 4
    assert all(before[key] is after[key] for key in kept)
