"""The capability to bind low ports, where a file gave it and nobody has switched it on.

A file with the capability effective cannot be run at all in a container that may not have it, so
that of the image has it permitted, and it is taken up here when a port is refused. Linux alone.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_VERSION_3: Final = 0x20080522  # linux/capability.h: two sets of 32
_NET_BIND_SERVICE: Final = 1 << 10


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def take_low_ports() -> bool:
    """Let this thread bind ports below 1024, if it may allow itself to; whether that is new."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    header = _Header(_VERSION_3, 0)
    sets = (_Set * 2)()
    if libc.capget(ctypes.byref(header), sets) != 0:
        return False
    low = sets[0]
    if low.effective & _NET_BIND_SERVICE or not low.permitted & _NET_BIND_SERVICE:
        return False
    low.effective |= _NET_BIND_SERVICE
    return bool(libc.capset(ctypes.byref(header), sets) == 0)
