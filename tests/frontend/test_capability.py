"""Low ports for a process that is permitted them but has not switched them on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kdns.frontend.capability import take_low_ports

_CHILD = """
import ctypes, os, socket, sys
from kdns.frontend.sockets import ListenError, open_udp  # while the files can be read
libc = ctypes.CDLL(None)
libc.unshare(0x40000000)  # CLONE_NEWNET, where the sysctl is new
open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "w").write("1024")
libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
os.setresuid(65532, 65532, 65532)
permitted = int(sys.argv[1])
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
assert libc.capset(header, (ctypes.c_uint32 * 6)(0, permitted)) == 0
try:
    print(open_udp("0.0.0.0", 53).getsockname()[1])
except ListenError as error:
    print(error)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only Linux's root can take rights away"
)
@pytest.mark.parametrize(
    ("permitted", "said"),
    [
        pytest.param(1 << 10, "53", id="permitted"),
        pytest.param(0, "need the capability NET_BIND_SERVICE", id="not permitted"),
        pytest.param(1 << 12, "need the capability NET_BIND_SERVICE", id="another is"),
    ],
)
def test_a_low_port(permitted, said) -> None:
    words = [sys.executable, "-c", _CHILD, str(permitted)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert said in done.stdout


def test_nothing_is_taken_twice() -> None:
    take_low_ports()
    assert not take_low_ports()
