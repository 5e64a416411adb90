"""`python -m kdns.probe [ADDRESS [PORT]]`: whether a DNS server answers.

For the image's health check. It asks what every server refuses and none passes on.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from typing import Final

_STATUS: Final = b"\x10\0" + bytes(8)  # opcode STATUS, which nobody implements; no question
_TIMEOUT: Final = 2.0


def answers(address: str, port: int, timeout: float = _TIMEOUT) -> bool:
    """Whether a response to a message over UDP came within `timeout` seconds."""
    identity = os.urandom(2)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(timeout)
            sock.connect((address, port))
            sock.send(identity + _STATUS)
            reply = sock.recv(512)
    except OSError:
        return False
    return reply[:2] == identity and len(reply) >= 12 and reply[2] & 0x80 != 0


def main(words: Sequence[str]) -> int:
    """Exit code 0 where there is an answer, else 1."""
    address = words[0] if words else "127.0.0.1"
    port = int(words[1]) if len(words) > 1 else 53
    return 0 if answers(address, port) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
