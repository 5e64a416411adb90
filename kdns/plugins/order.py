"""The one ordered list of plugins: a query meets them in this order, whatever a Corefile's is."""

from __future__ import annotations

from typing import Final

from kdns.plugins import any as any_
from kdns.plugins import (
    bind,
    cache,
    endpoints,
    errors,
    forward,
    hosts,
    k8s_external,
    kubernetes,
    loadbalance,
    log,
    loop,
    multisocket,
    reload,
    searchpath,
    transfer,
    whoami,
)
from kdns.plugins.site import Setup

ORDER: Final[tuple[tuple[str, Setup], ...]] = (
    ("multisocket", multisocket.setup),
    ("reload", reload.setup),
    ("bind", bind.setup),
    ("ready", endpoints.setup_ready),
    ("health", endpoints.setup_health),
    ("prometheus", endpoints.setup_prometheus),
    ("errors", errors.setup),
    ("log", log.setup),
    ("any", any_.setup),
    ("loadbalance", loadbalance.setup),
    ("cache", cache.setup_counted),
    ("searchpath", searchpath.setup),
    ("transfer", transfer.setup),
    ("hosts", hosts.setup),
    ("k8s_external", k8s_external.setup),
    ("kubernetes", kubernetes.setup),
    ("loop", loop.setup),
    # In front of upstreams and of nothing else: what has records is never answered from a cache.
    ("cache", cache.setup),
    ("forward", forward.setup),
    ("whoami", whoami.setup),
)
"""Directives and how each is set up, in the order of CoreDNS's plugin.cfg; a name that is here
twice has two parts in the chain."""

NAMES: Final = tuple(dict.fromkeys(name for name, _ in ORDER))
