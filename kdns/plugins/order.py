"""The one ordered list of plugins: a query meets them in this order, whatever a Corefile's is."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Final, cast

from kdns.corefile.parser import Directive
from kdns.plugins import any as any_
from kdns.plugins import (
    bind,
    cache,
    endpoints,
    errors,
    forward,
    hosts,
    loadbalance,
    log,
    loop,
    multisocket,
    reload,
    searchpath,
    whoami,
)
from kdns.plugins.plugin import Plugin
from kdns.plugins.site import Setup, Site


def _of_clusters(module: str) -> Setup:
    """The setup of a plugin that is imported when a Corefile has it: a node's cache does without
    the records of clusters and what makes them."""

    def setup(directives: Sequence[Directive], site: Site) -> Plugin | None:
        plugin = import_module(f"kdns.plugins.{module}")
        return cast("Setup", plugin.setup)(directives, site)

    return setup


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
    ("transfer", _of_clusters("transfer")),
    ("hosts", hosts.setup),
    ("k8s_external", _of_clusters("k8s_external")),
    ("kubernetes", _of_clusters("kubernetes")),
    ("loop", loop.setup),
    # In front of upstreams and of nothing else: what has records is never answered from a cache.
    ("cache", cache.setup),
    ("forward", forward.setup),
    ("whoami", whoami.setup),
)
"""Directives and how each is set up, in the order of CoreDNS's plugin.cfg; a name that is here
twice has two parts in the chain."""

NAMES: Final = tuple(dict.fromkeys(name for name, _ in ORDER))
