"""What a control plane makes of a set of manifests: every object that DNS would be told of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple, TypeAlias, TypeVar, cast

from kdns.cluster.manifests.addresses import Settings
from kdns.cluster.manifests.controllers import Slices
from kdns.cluster.manifests.documents import ManifestError
from kdns.cluster.manifests.kinds import (
    Declaration,
    Declared,
    DeclaredService,
    DeclaredServicePort,
    DeclaredServiceSpec,
    Endpoints,
    GivenSlice,
    Workload,
    by_name,
)
from kdns.cluster.manifests.pods import Made, Pods
from kdns.cluster.manifests.services import ByName, serve
from kdns.cluster.manifests.turns import Turns
from kdns.cluster.objects import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Kind,
    Metadata,
    Namespace,
    Object,
    Pod,
    Service,
)

Key: TypeAlias = tuple[Kind, str, str]
Item: TypeAlias = Object | GivenSlice

NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"

_SELF = "the embedded control plane"
_API_SERVER_PORT = 6443
_KINDS: dict[type[Item], Kind] = {
    Namespace: "Namespace",
    Service: "Service",
    EndpointSlice: "EndpointSlice",
    GivenSlice: "EndpointSlice",
    Pod: "Pod",
}

T = TypeVar("T", bound=Declaration)


class Filled(NamedTuple):
    """Every object by kind, namespace and name; what was refused is in `errors` instead."""

    objects: dict[Key, Item]
    errors: list[ManifestError]


def key(item: Item) -> Key:
    """What an object is known by in a feed; `namespace` is "" for a Namespace."""
    return _KINDS[type(item)], item.metadata.namespace, item.metadata.name


class ControlPlane:
    """Fills in what manifests leave to an API server and its controllers.

    What comes out depends on the manifests alone. Of the time before, objects that would be made
    the same again are kept, so that a change costs little in a large folder.
    """

    def __init__(self, settings: Settings, turns: Turns | None = None) -> None:
        self._settings = settings
        self._turns = turns or Turns()
        self._served: ByName = {}
        self._pods: dict[tuple[str, str, str], Made] = {}
        self._slices = Slices(self._turns)

    def fill(self, declared: Iterable[Declared]) -> Filled:
        """Every object, in a lasting order, whatever file holds what.

        `declared` comes in the order of places, which decides between two that claim the same
        thing: the first has it.
        """
        each = self._turns.each
        found, errors = _without_duplicates(each(declared))
        services = [item for item in each(found) if item.kind == "Service"]
        if not any(map(_is_kubernetes, each(services))):
            services.insert(0, _kubernetes(self._settings))
        served, refused = serve(services, self._settings, self._served, self._turns)
        self._served = served
        items = list(by_name(found, self._turns))
        pods = Pods(self._settings, self._pods, self._turns)
        declared_pods = [item for item in each(items) if item.kind == "Pod"]
        workloads = [item for item in each(items) if isinstance(item.object, Workload)]
        pods.declare(declared_pods)
        pods.run(workloads, declared_pods)
        self._pods = pods.made
        slices = self._slices.make(
            list(_objects(each(items), GivenSlice)),
            list(_objects(each(items), Endpoints)),
            served,
            pods.groups,
        )
        if not any(map(_of_kubernetes, each(slices))):
            slices.append(_kubernetes_slice(pods))
        objects: chain[Item] = chain(
            _namespaces(each(items)),
            (service.object for service in served.values()),
            slices,
            (pod.object for group in pods.groups for pod in group.pods),
        )
        return Filled({key(item): item for item in each(objects)}, errors + refused + pods.errors)


def _without_duplicates(
    declared: Iterable[Declared],
) -> tuple[list[Declared], list[ManifestError]]:
    first: dict[tuple[str, str, str], Declared] = {}
    errors = []
    for item in declared:
        holder = first.setdefault((item.kind, item.namespace, item.name), item)
        if holder is not item:
            problem = f"declared before in {holder.place}, which holds: take one of the two out"
            errors.append(item.refused(problem))
    return list(first.values()), errors


def _objects(items: Iterable[Declared], of: type[T]) -> Iterator[T]:
    return (cast("T", item.object) for item in items if isinstance(item.object, of))


def _namespaces(items: Iterable[Declared]) -> Iterator[Namespace]:
    given: dict[str, Metadata] = {}
    used: set[str] = set()
    for item in items:
        used.add(item.namespace or item.name)  # a Namespace has none, and is one
        if item.kind == "Namespace":
            given[item.name] = item.object.metadata
    for name in sorted(used | {"default", "kube-system"}):
        metadata = given.get(name) or Metadata(name=name)
        yield Namespace(
            Metadata(
                name=name,
                uid=metadata.uid,
                labels={**metadata.labels, NAMESPACE_NAME_LABEL: name},
                annotations=metadata.annotations,
            )
        )


def _kubernetes(settings: Settings) -> Declared:
    """The API server's own Service, at the first address of the primary range."""
    labels = {"component": "apiserver", "provider": "kubernetes"}
    address = str(settings.service_ranges[0].network_address + 1)
    ports = [DeclaredServicePort(443, "https", target_port=_API_SERVER_PORT)]
    spec = DeclaredServiceSpec(cluster_ip=address, cluster_ips=[address], ports=ports)
    metadata = Metadata(name="kubernetes", namespace="default", labels=labels)
    return Declared(_SELF, 0, "Service", DeclaredService(metadata, spec))


def _is_kubernetes(service: Declared) -> bool:
    return service.name == "kubernetes" and service.namespace == "default"


def _of_kubernetes(made: EndpointSlice | GivenSlice) -> bool:
    return made.metadata.namespace == "default" and "kubernetes" in (
        made.service,
        made.metadata.name,
    )


def _kubernetes_slice(pods: Pods) -> EndpointSlice:
    """The API server has no pod here: its endpoint is the first address of the pod range."""
    labels = {SERVICE_NAME_LABEL: "kubernetes"}
    pool = pods.pools[0]
    return EndpointSlice(
        Metadata(name="kubernetes", namespace="default", labels=labels),
        f"IPv{pool.network.version}",
        [Endpoint([str(pool.first)], EndpointConditions(ready=True))],
        [EndpointPort(_API_SERVER_PORT, "https", "TCP")],
    )
