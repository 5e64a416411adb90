"""`multisocket [NUM_SOCKETS]`: several processes answer, each on sockets of its own."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Final

from kdns.corefile.arguments import arguments, integer, no_block
from kdns.corefile.parser import Directive
from kdns.plugins.site import Site, only

_log: Final = logging.getLogger("plugin/multisocket")

_MOST: Final = 1024  # CoreDNS
_LIMIT: Final = Path("/sys/fs/cgroup/cpu.max")


def setup(directives: Sequence[Directive], site: Site) -> None:
    """As many as there are processors that this process may use, if nothing is said.

    The kernel shares out what comes to several sockets of one address on Linux alone.
    """
    directive = only(directives)
    given = arguments(directive, "[NUM_SOCKETS]")
    no_block(directive)
    wanted = integer(1, _MOST)(given[0]) if given else _processors()
    if wanted > 1 and sys.platform != "linux":
        _log.warning("multisocket does nothing on %s: one process answers", sys.platform)
        return
    site.sockets = wanted


def _processors() -> int:
    """How many there are for this process, by its affinity and its control group's limit (Go)."""
    there_are = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        there_are = len(os.sched_getaffinity(0))
    try:
        quota, period = _LIMIT.read_text().split()
        return max(1, min(there_are, ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no control groups of version 2, or "max"
        return there_are
