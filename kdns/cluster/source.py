"""Where a cluster's objects come from, as a configuration says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ApiServer:
    """An API server, and as whom to ask it; the cluster's own with neither endpoint nor kubeconfig.

    `certificate`, `key` and `ca` are PEM files for `endpoint`. The limits are requests a second, at
    once, and under way; 0 means none.
    """

    endpoint: str = ""
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    kubeconfig: Path | None = None
    context: str = ""
    qps: float = 0.0
    burst: int = 0
    max_inflight: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects are wanted; selectors are as in the API, "" for all."""

    endpoints: bool = True
    pods: bool = False
    service_imports: bool = False
    labels: str = ""
    namespace_labels: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """One feed and the way its objects are kept; equal sources share one store.

    The feed is the folder or file `manifests`, with `service_ranges` the CIDRs that Services
    without an address get theirs from; or, where that is None, `api`. `snapshot` is the file that
    records outlive a restart in. `patience` is how many seconds serving waits for the first sync.
    """

    manifests: Path | None = None
    service_ranges: tuple[str, ...] = ()
    api: ApiServer = field(default_factory=ApiServer)
    selection: Selection = field(default_factory=Selection)
    endpoint_pod_names: bool = False
    zonal: bool = False
    snapshot: Path | None = None
    patience: float = 5.0
