"""EndpointSlices as the endpointslice and the endpointslicemirroring controller make them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from operator import is_
from typing import NamedTuple, TypeAlias

from kdns.cluster.manifests.addresses import suffix
from kdns.cluster.manifests.kinds import DeclaredService, Endpoints, GivenSlice, PodSpec
from kdns.cluster.manifests.pods import Group
from kdns.cluster.manifests.services import Served
from kdns.cluster.manifests.turns import Turns
from kdns.cluster.manifests.validation import family
from kdns.cluster.objects import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Metadata,
)

MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
SKIP_MIRROR_LABEL = "endpointslice.kubernetes.io/skip-mirror"
HEADLESS_LABEL = "service.kubernetes.io/headless"
SELECTING = "endpointslice-controller.k8s.io"
MIRRORING = "endpointslicemirroring-controller.k8s.io"

_MOST_ENDPOINTS = 100
_READY = EndpointConditions(ready=True)
_NOT_READY = EndpointConditions(ready=False)

Ports: TypeAlias = tuple[EndpointPort, ...]
Names: TypeAlias = set[tuple[str, str]]


class PodIndex:
    """Groups of pods by label, so that a selector looks at the fewest that could match."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self._groups: defaultdict[tuple[str, str, str], list[Group]] = defaultdict(list)
        for group in groups:
            for key, value in group.labels.items():
                self._groups[group.namespace, key, value].append(group)

    def select(self, namespace: str, selector: dict[str, str]) -> list[Group]:
        """Those that carry every label of `selector`, which is not empty; in the order given."""
        lists = [self._groups.get((namespace, key, value), []) for key, value in selector.items()]
        wanted = selector.items()
        return [group for group in min(lists, key=len) if wanted <= group.labels.items()]


class _Selected(NamedTuple):
    """Slices made for a Service with a selector, and what they were made of."""

    service: DeclaredService
    groups: list[Group]
    slices: list[EndpointSlice]

    def holds(self, service: DeclaredService, groups: list[Group], names: Names) -> bool:
        """Whether they would be made the same."""
        return (
            self.service is service
            and len(self.groups) == len(groups)
            and all(map(is_, self.groups, groups))
            and names.isdisjoint(_names(self.slices))
        )


class Slices:
    """Makes the slices of one set of manifests after the other, and keeps what would come out the
    same."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._selected: dict[tuple[str, str], _Selected] = {}
        self._given: Names = set()

    def make(
        self,
        given: Sequence[GivenSlice],
        endpoints: Iterable[Endpoints],
        served: dict[tuple[str, str], Served],
        groups: Iterable[Group],
    ) -> list[EndpointSlice | GivenSlice]:
        """Those given, and those that the controllers would add.

        Given ones that a controller is said to manage, as in a dump of a live cluster, stand for
        all that it would make for their Service.
        """
        each = self._turns.each
        names = set(_names(each(given)))
        before = self._selected if names == self._given else {}
        if names != self._given:
            self._given = set(names)
        self._selected = {}
        managed = {
            (one.metadata.namespace, one.service, one.metadata.labels.get(MANAGED_BY_LABEL))
            for one in each(given)
        }
        slices: list[EndpointSlice | GivenSlice] = list(given)
        index = PodIndex(groups)
        for (namespace, name), service in each(served.items()):
            selector = service.declared.spec.selector
            if selector and (namespace, name, SELECTING) not in managed:
                found = index.select(namespace, selector)
                selected = before.get((namespace, name))
                if selected is None or not selected.holds(service.declared, found, names):
                    made = list(select(service, found, names))
                    selected = _Selected(service.declared, found, made)
                names.update(_names(selected.slices))
                self._selected[namespace, name] = selected
                slices += selected.slices
        for one in endpoints:
            namespace, name = one.metadata.namespace, one.metadata.name
            target = served.get((namespace, name))
            wanted = target is not None and not target.declared.spec.selector
            skipped = one.metadata.labels.get(SKIP_MIRROR_LABEL) == "true"
            if wanted and not skipped and (namespace, name, MIRRORING) not in managed:
                slices += mirror(one, names)
        return slices


def select(served: Served, groups: Sequence[Group], names: Names) -> Iterator[EndpointSlice]:
    """Slices of a Service whose selector finds `groups`: one set a family and set of port numbers.

    Where there is no pod there is a slice without endpoints. `names` are the (namespace, name) of
    slices that exist; the new ones are added to it.
    """
    service = served.declared
    metadata = service.metadata
    labels = {**metadata.labels, SERVICE_NAME_LABEL: metadata.name, MANAGED_BY_LABEL: SELECTING}
    if service.headless:
        labels[HEADLESS_LABEL] = ""
    for address_type in served.families:
        by_ports: defaultdict[Ports, list[Endpoint]] = defaultdict(list)
        for group in groups:
            found = list(_endpoints(service, group, address_type))
            if found:
                by_ports[_ports(service, group.spec)] += found
        for ports, endpoints in (by_ports or {(): []}).items():
            yield from _slices(metadata, labels, address_type, ports, endpoints, names)


def mirror(endpoints: Endpoints, names: Names) -> Iterator[EndpointSlice]:
    """Slices of an Endpoints object, one for each family and set of ports; as `select` for `names`.

    An address that is given twice is ready only where it is never given as not ready.
    """
    metadata = endpoints.metadata
    labels = {**metadata.labels, SERVICE_NAME_LABEL: metadata.name, MANAGED_BY_LABEL: MIRRORING}
    groups: defaultdict[tuple[str, Ports], dict[str, Endpoint]] = defaultdict(dict)
    for conditions in (_READY, _NOT_READY):
        for subset in endpoints.subsets:
            ready = conditions is _READY
            ports = tuple(
                EndpointPort(port.port, port.name, port.protocol) for port in subset.ports
            )
            for address in subset.addresses if ready else subset.not_ready_addresses:
                groups[family(address.ip), ports][address.ip] = Endpoint(
                    [address.ip], conditions, address.hostname or None, address.target_ref
                )
    for (address_type, ports), group in groups.items():
        yield from _slices(metadata, labels, address_type, ports, list(group.values()), names)


def _names(slices: Iterable[EndpointSlice | GivenSlice]) -> Iterator[tuple[str, str]]:
    return ((one.metadata.namespace, one.metadata.name) for one in slices)


def _endpoints(service: DeclaredService, group: Group, address_type: str) -> Iterator[Endpoint]:
    early = service.spec.publish_not_ready_addresses
    for pod in group.pods:
        status = pod.object.status
        if status.phase in ("Succeeded", "Failed"):
            continue
        hostname = pod.hostname if pod.subdomain == service.metadata.name else ""
        conditions = _READY if pod.ready or early else _NOT_READY
        for address in status.pod_ips:
            if (":" in address.ip) == (address_type == "IPv6"):
                yield Endpoint([address.ip], conditions, hostname or None, pod.reference)


def _ports(service: DeclaredService, spec: PodSpec) -> Ports:
    """The Service's ports as numbers on a pod; one that the pod does not name is left out."""
    found = []
    for port in service.spec.ports:
        number = port.target_port or port.port
        if isinstance(number, str):
            number = _named_port(spec, number, port.protocol)
        if number:
            found.append(EndpointPort(number, port.name, port.protocol))
    return tuple(found)


def _named_port(spec: PodSpec, name: str, protocol: str) -> int:
    sidecars = (init for init in spec.init_containers if init.restart_policy == "Always")
    for container in (*spec.containers, *sidecars):
        for port in container.ports:
            if port.name == name and port.protocol == protocol:
                return port.container_port
    return 0


def _slices(
    metadata: Metadata,
    labels: dict[str, str],
    address_type: str,
    ports: Ports,
    endpoints: Sequence[Endpoint],
    names: Names,
) -> Iterator[EndpointSlice]:
    numbers = ",".join(str(port.port) for port in ports)
    identity = f"{metadata.namespace}/{metadata.name}/{address_type}/{numbers}"
    for index, some in enumerate(_chunks(endpoints)):
        attempt = f"{identity}/{index}"
        base = f"{metadata.name}-"[:58]
        while (metadata.namespace, name := base + suffix(attempt, 5)) in names:
            attempt += "+"
        names.add((metadata.namespace, name))
        made = Metadata(name=name, namespace=metadata.namespace, labels=labels)
        yield EndpointSlice(made, address_type, list(some), list(ports))


def _chunks(endpoints: Sequence[Endpoint]) -> Iterator[Sequence[Endpoint]]:
    for start in range(0, max(len(endpoints), 1), _MOST_ENDPOINTS):
        yield endpoints[start : start + _MOST_ENDPOINTS]
