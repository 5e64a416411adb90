"""What measures goes before what else runs on its core, where the system lets it."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITER, LOAD = 1, 2
"""Real-time priorities: a write ends when its writer knows, but the load must not wait for that."""

_FIRST = -20
_AUTOGROUP = Path("/proc/self/autogroup")


@contextmanager
def urgent(priority: int = LOAD) -> Iterator[None]:
    """Run this thread in real time for the while, which must sleep now and then.

    Only a privileged process may; others share their core with the API server as they can.
    """
    usual = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(PermissionError):
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    try:
        yield
    finally:
        with suppress(PermissionError):
            os.sched_setscheduler(0, *usual)


def go_first() -> bool:
    """Let this session and what it starts go before the others on their cores, if it may.

    Where sessions are not told apart (autogroups of sched(7)), it is this process and its children.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _FIRST)
        if _AUTOGROUP.exists():
            _AUTOGROUP.write_text(str(_FIRST))
    except OSError:
        return False
    with urgent():
        return os.sched_getscheduler(0) & os.SCHED_FIFO != 0
