"""A feed of a real API server tells what happens in the cluster."""

from __future__ import annotations

import pytest

from kdns.cluster.api.feed import ApiFeed
from kdns.cluster.api.resources import resources
from tests.apiserver.conftest import DEFINITIONS, IMPORTS, IMPORTS_DEFINITION

SERVICES = "/api/v1/namespaces/{}/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
PODS = "/api/v1/namespaces/{}/pods"
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"


def service(name, **labels):
    spec = {"ports": [{"name": "http", "port": 80}]}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


async def test_changes_arrive(cluster, read_world):
    async with read_world(ApiFeed(cluster.access, resources())) as world:
        assert world.has("Namespace", "default")
        assert world.has("Service", "kubernetes") or world.has("Namespace", "kube-system")
        namespace = await cluster.namespace()
        await cluster.create(SERVICES.format(namespace), service("web"))
        labels = {"kubernetes.io/service-name": "web"}
        endpoints = [{"addresses": ["10.1.0.1"], "conditions": {"ready": True}, "hostname": "a"}]
        slice_ = {
            "metadata": {"name": "web-1", "labels": labels},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080}],
        }
        await cluster.create(SLICES.format(namespace), slice_)
        await world.until(lambda: world.get("EndpointSlice", namespace, "web-1"))
        await world.until(lambda: world.get("Service", namespace, "web"))

        assert world.get("Service", namespace, "web").spec.cluster_ip
        found = world.get("EndpointSlice", namespace, "web-1")
        assert (found.service, found.endpoints[0].addresses) == ("web", ["10.1.0.1"])

        endpoints.append({"addresses": ["10.1.0.2"], "conditions": {"ready": False}})
        await cluster.patch(SLICES.format(namespace) + "/web-1", {"endpoints": endpoints})
        await world.until(
            lambda: len(world.get("EndpointSlice", namespace, "web-1").endpoints) == 2
        )
        await cluster.delete(SERVICES.format(namespace) + "/web")
        await world.until(lambda: not world.get("Service", namespace, "web"))
        await cluster.delete(f"/api/v1/namespaces/{namespace}")
        await world.until(lambda: not world.has("Namespace", namespace))
        assert not world.get("EndpointSlice", namespace, "web-1")


async def test_pods_until_they_end(cluster, read_world):
    async with read_world(ApiFeed(cluster.access, resources(pods=True))) as world:
        namespace = await cluster.namespace()
        containers = [{"name": "c", "image": "none"}]
        spec = {"containers": containers, "automountServiceAccountToken": False, "nodeName": "n"}
        await cluster.create(
            f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "runner"}}
        )
        body = {"metadata": {"name": "one"}, "spec": {**spec, "serviceAccountName": "runner"}}
        await cluster.create(PODS.format(namespace), body)
        status = {"phase": "Running", "podIP": "10.1.0.9", "podIPs": [{"ip": "10.1.0.9"}]}
        path = PODS.format(namespace) + "/one/status"
        await cluster.patch(path, {"status": status})
        await world.until(
            lambda: (pod := world.get("Pod", namespace, "one")) and pod.status.pod_ip == "10.1.0.9"
        )
        await cluster.patch(path, {"status": {"phase": "Succeeded"}})
        await world.until(lambda: not world.get("Pod", namespace, "one"))


async def test_selectors_are_the_servers_work(cluster, read_world):
    wanted = resources(labels="dns=yes", namespace_labels="team in (a,b)", endpoints=False)
    chosen = await cluster.namespace(team="a")
    await cluster.namespace(team="c")
    for name, label in (("shown", "yes"), ("hidden", "no")):
        await cluster.create(SERVICES.format(chosen), service(name, dns=label))
    async with read_world(ApiFeed(cluster.access, wanted)) as world:
        assert world.get("Service", chosen, "shown")
        assert not world.get("Service", chosen, "hidden")
        assert {kind for kind, _, _ in world.objects} == {"Namespace", "Service"}
        assert all(
            item.metadata.labels["team"] in "ab"
            for (kind, _, _), item in world.objects.items()
            if kind == "Namespace"
        )
        await cluster.patch(
            SERVICES.format(chosen) + "/shown", {"metadata": {"labels": {"dns": None}}}
        )
        await world.until(lambda: not world.get("Service", chosen, "shown"))


async def test_slices_that_controllers_make_say_since_when(cluster, read_world):
    async with read_world(ApiFeed(cluster.access, resources())) as world:
        namespace = await cluster.namespace()
        body = service("picks")
        body["spec"]["selector"] = {"app": "picked"}
        await cluster.create(SERVICES.format(namespace), body)

        def made():
            return [
                item
                for (kind, within, _), item in world.objects.items()
                if kind == "EndpointSlice" and within == namespace
            ]

        await world.until(made)
        assert made()[0].service == "picks"
        assert made()[0].metadata.annotations[TRIGGER_TIME].startswith("2")


@pytest.fixture
async def no_imports(cluster):
    """Takes the CRD away after the test."""
    yield
    await cluster.delete(f"{DEFINITIONS}/{IMPORTS}")


async def test_service_imports_come_with_their_crd(cluster, read_world, no_imports):
    feed = ApiFeed(cluster.access, resources(service_imports=True))
    async with read_world(feed, synced=False) as world:
        await world.until(lambda: feed.stats.resources["ServiceImport"].errors["not_found"])
        assert not world.synced
        await cluster.create(DEFINITIONS, IMPORTS_DEFINITION)
        await world.until(lambda: world.synced)
        namespace = await cluster.namespace()
        body = {
            "apiVersion": "multicluster.x-k8s.io/v1alpha1",
            "kind": "ServiceImport",
            "metadata": {"name": "far"},
            "spec": {"type": "ClusterSetIP", "ips": ["10.9.9.9"], "ports": [{"port": 80}]},
        }
        path = f"/apis/multicluster.x-k8s.io/v1alpha1/namespaces/{namespace}/serviceimports"
        await cluster.create(path, body)
        await world.until(lambda: world.get("ServiceImport", namespace, "far"))

        assert world.get("ServiceImport", namespace, "far").spec.ips == ["10.9.9.9"]
