"""From a source as a configuration says it to its feed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kdns.cluster.feed import Feed
from kdns.cluster.source import ApiServer, Source

if TYPE_CHECKING:
    from kdns.cluster.api.access import Access


def open_feed(source: Source) -> Feed:
    """The feed of a source. Raises FeedError or ValueError where there can be none."""
    if source.manifests is not None:
        from kdns.cluster.manifests import (  # noqa: PLC0415 - brings in PyYAML
            ManifestFolder,
            Settings,
        )

        return ManifestFolder(source.manifests, Settings.of(source.service_ranges))
    from kdns.cluster.api.feed import ApiFeed  # noqa: PLC0415 - brings in aiohttp's client
    from kdns.cluster.api.limits import Limits  # noqa: PLC0415
    from kdns.cluster.api.resources import resources  # noqa: PLC0415

    api, selection = source.api, source.selection
    wanted = resources(
        endpoints=selection.endpoints,
        pods=selection.pods,
        service_imports=selection.service_imports,
        labels=selection.labels,
        namespace_labels=selection.namespace_labels,
    )
    limits = Limits(api.qps, api.burst, api.max_inflight)
    return ApiFeed(_access(api), wanted, limits=limits)


def _access(api: ApiServer) -> Access:
    """A kubeconfig file comes before an endpoint, and that before the cluster's own (CoreDNS)."""
    from kdns.cluster.api.access import FileAccess, Files, in_cluster  # noqa: PLC0415

    if api.kubeconfig is not None:
        from kdns.cluster.api.kubeconfig import Kubeconfig  # noqa: PLC0415

        return Kubeconfig(api.kubeconfig, api.context)
    if api.endpoint:
        return FileAccess(api.endpoint, Files(None, api.ca, api.certificate, api.key))
    return in_cluster(os.environ)
