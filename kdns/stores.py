"""Record stores as a source asks for them."""

from __future__ import annotations

import time
from collections.abc import Callable

from kdns.cluster.source import Source
from kdns.records.store import Store


def new_store(source: Source, clock: Callable[[], float] = time.time) -> Store:
    """An empty store for the objects of a source; `clock` tells the Unix time in seconds."""
    return Store(
        clock=clock,
        endpoint_pod_names=source.endpoint_pod_names,
        zonal=source.zonal,
        multicluster=source.selection.service_imports,
    )
