"""The resources of the API that DNS is made from, and the selectors they are asked for with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from kdns.cluster.objects import (
    EndpointSlice,
    Kind,
    Namespace,
    Object,
    Pod,
    Service,
    ServiceImport,
)

_LIVING: Final = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown"


class Resource(NamedTuple):
    """What to list and watch, in all namespaces. A selector is "" where there is none."""

    kind: Kind
    type: type[Object | ServiceImport]
    path: str
    label_selector: str = ""
    field_selector: str = ""

    def selectors(self) -> Mapping[str, str]:
        """As query parameters."""
        selectors = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return {name: value for name, value in selectors.items() if value}


def resources(
    *,
    endpoints: bool = True,
    pods: bool = False,
    service_imports: bool = False,
    labels: str = "",
    namespace_labels: str = "",
) -> tuple[Resource, ...]:
    """What the options of CoreDNS's `kubernetes` make of them.

    `labels` selects Services, EndpointSlices and Pods, `namespace_labels` Namespaces and, as in
    CoreDNS, ServiceImports.
    """
    wanted = [
        Resource("Namespace", Namespace, "/api/v1/namespaces", namespace_labels),
        Resource("Service", Service, "/api/v1/services", labels),
    ]
    if endpoints:
        path = "/apis/discovery.k8s.io/v1/endpointslices"
        wanted.append(Resource("EndpointSlice", EndpointSlice, path, labels))
    if pods:
        wanted.append(Resource("Pod", Pod, "/api/v1/pods", labels, _LIVING))
    if service_imports:
        path = "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports"
        wanted.append(Resource("ServiceImport", ServiceImport, path, namespace_labels))
    return tuple(wanted)
