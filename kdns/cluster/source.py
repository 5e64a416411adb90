"""Where a cluster's objects come from, as a configuration says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    """One feed and the way its objects are named; equal sources share one store.

    `manifests` is a folder or file; `service_ranges` are the CIDRs that Services without an address
    get theirs from. `endpoint_pod_names` names endpoints for their pods.
    """

    manifests: Path
    service_ranges: tuple[str, ...] = ()
    endpoint_pod_names: bool = False
