"""A cluster as its API server keeps it in etcd, to be written there behind its back.

An API server takes several milliseconds for each Service with a cluster IP that it creates, the
more the more there are. Written to etcd, the whole cluster is there in seconds; the API server has
it once it is started.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from bench.dataset import namespace_manifest
from bench.live.writing import Writer, fill, stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.dataset import Dataset
    from bench.peers.controlplane import ControlPlane
    from bench.peers.storage import Manifest

_ROOTS = {
    "Service": "services/specs",
    "EndpointSlice": "endpointslices",
    "IPAddress": "ipaddresses",
}
_CREATED = "2026-01-01T00:00:00Z"


def store(plane: ControlPlane, dataset: Dataset) -> None:
    """Fill a cluster and leave its API server killed.

    Namespaces and one Service are created by the API, and the others written as that one is, with
    its managed fields: all that reads the cluster pays for those too. Raises Refused.
    """
    [first, *_] = dataset.services
    made = [first.manifest(), first.slice_manifest()]
    fill(plane.kubeconfig, [*map(namespace_manifest, dataset.namespaces), *made])
    with Writer(plane.kubeconfig) as api:
        like = {manifest["kind"]: api.get(manifest) for manifest in made}
    plane.kill_apiserver()
    names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in made}
    plane.store(
        (key(manifest), kept(manifest, like.get(manifest["kind"], {})))
        for manifest in _objects(dataset)
        if (manifest["kind"], manifest["metadata"]["name"]) not in names
    )


def _objects(dataset: Dataset) -> Iterator[Manifest]:
    for service in dataset.all_services():
        yield service.manifest()
        yield service.slice_manifest()
        for address in service.addresses:
            yield ip_address(address, service.namespace, service.name)


def key(manifest: Manifest) -> str:
    """Where etcd has an object. Raises KeyError for a kind that is not written there."""
    metadata = manifest["metadata"]
    within = [metadata["namespace"]] if "namespace" in metadata else []
    return "/".join(["/registry", _ROOTS[manifest["kind"]], *within, metadata["name"]])


def kept(manifest: Manifest, like: Mapping[str, Any]) -> Manifest:
    """An object as an API server keeps it that has kept another one of its kind as `like`."""
    model = like.get("metadata", {})
    metadata = {
        "uid": str(uuid.uuid5(uuid.NAMESPACE_URL, key(manifest))),
        "creationTimestamp": _CREATED,
        **{name: model[name] for name in ("generation", "managedFields") if name in model},
        **manifest["metadata"],
    }
    found = {**like, **stored(manifest), "metadata": metadata}
    if "spec" in found:
        found["spec"] = {**like.get("spec", {}), **found["spec"]}
    return found


def ip_address(address: str, namespace: str, name: str) -> Manifest:
    """Who has a cluster IP: without it the API server would repair what it takes for a leak."""
    family = "IPv6" if ":" in address else "IPv4"
    labels = {
        "ipaddress.kubernetes.io/ip-family": family,
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    parent = {"resource": "services", "namespace": namespace, "name": name}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {"name": address, "labels": labels},
        "spec": {"parentRef": parent},
    }
