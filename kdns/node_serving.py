"""The serving process of the node-local mode.

The supervisor starts it: `python -m kdns.node_serving COREFILE PORT PIDFILE [quiet]`. Apart from
`kdns.cli` because it is to be small: no argument parser, and nothing of clusters that its Corefile
does not ask for.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace
from typing import Final

from kdns.corefile import parser
from kdns.corefile.parser import Corefile, Directive
from kdns.forwarding.cache import Prefetch, Settings, Stale
from kdns.forwarding.retention import Bounds
from kdns.node.probe import PROBE_ZONE
from kdns.server import Role
from kdns.serving import serve
from kdns.telemetry import logs

CACHE: Final = Settings(
    success=Bounds(30),
    denial=Bounds(5),
    max_bytes=8 << 20,
    prefetch=Prefetch(3, percentage=20),
    # RFC 8767 §5, but for the recheck: a cluster's DNS is back sooner than in its 30 seconds, and
    # names that did not exist may exist by now.
    stale=Stale(window=86400, verify=True, timeout=1.8, ttl=30, recheck=5.0),
    jitter=0.1,
)
"""What a node's caches do where the Corefile says nothing else. The TTLs are NodeLocal's."""


def probed(corefile: Corefile, port: int) -> Corefile:
    """A Corefile and the zone that the supervisor asks for, wherever this port is served.

    A socket of one address gets all that is sent there: the zone must be where other zones are.
    """
    (zone,) = parser.parse(f"{PROBE_ZONE}:{port} {{\n whoami\n}}", PROBE_ZONE, {}).blocks
    binds = [
        each
        for block in corefile.blocks
        for each in block.directives
        if each.name.text == "bind" and any(key.port == port for key in block.keys)
    ]
    if binds:
        words = {word.text: word for each in binds for word in each.args}
        except_ = tuple(line for each in binds for line in each.block or ())
        bind = Directive(binds[0].name, tuple(words.values()), except_ or None)
        zone = replace(zone, directives=(bind, *zone.directives))
    # An empty Corefile stands for something else, or is being written.
    return replace(corefile, blocks=(*corefile.blocks, zone)) if corefile.blocks else corefile


def main(words: list[str]) -> int:
    """Serve until SIGTERM; the exit code."""
    path, port, pidfile = words[0], int(words[1]), words[2]
    logs.configure()
    if "quiet" in words[3:]:
        logging.getLogger("kdns").setLevel(logging.WARNING)

    def read() -> Corefile:
        return probed(parser.load(path, os.environ, port), port)

    return serve(read, None, pidfile or None, Role(CACHE, beside=True, small=True))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
