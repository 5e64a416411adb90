"""The packet-filter rules of an address, whatever holds them.

Packets that are not tracked do not pass the nat tables, so that kube-proxy's translation of the
cluster DNS Service is not applied to them, and they arrive at the local address: NOTRACK is the
switch between the node's cache and the Service.
"""

from __future__ import annotations

from typing import Final, NamedTuple

PROTOCOLS: Final = ("tcp", "udp")

MARK: Final = 53
"""The mark of the probe's packets (SO_MARK). It means nothing beyond this node's rules."""


class Locked(OSError):
    """Somebody else kept the lock that all must have who change rules."""


class Rule(NamedTuple):
    """Packets of a protocol from or to an address and port: untracked (raw) or let in (filter)."""

    table: str
    chain: str
    protocol: str
    source: str = ""
    destination: str = ""
    source_port: int = 0
    destination_port: int = 0
    listening: bool = False
    """Only while a socket on this node is there for the packet."""
    probing: bool = False
    """Only packets that bear the probe's MARK."""

    @property
    def comment(self) -> str:
        """As node-cache marks its rules."""
        if self.table == "raw":
            return "NodeLocal DNS Cache: skip conntrack"
        return "NodeLocal DNS Cache: allow DNS traffic"


def serving(address: str, port: int, health_port: int) -> tuple[Rule, ...]:
    """The twelve rules of node-cache, in its order."""
    into = [Rule("raw", "PREROUTING", each, "", address, 0, port) for each in PROTOCOLS]
    let_in = [Rule("filter", "INPUT", each, "", address, 0, port) for each in PROTOCOLS]
    out = [Rule("raw", "OUTPUT", each, address, "", port) for each in PROTOCOLS]
    let_out = [Rule("filter", "OUTPUT", each, address, "", port) for each in PROTOCOLS]
    of_node = [Rule("raw", "OUTPUT", each, "", address, 0, port) for each in PROTOCOLS]
    health = [
        Rule("raw", "OUTPUT", "tcp", "", address, 0, health_port),
        Rule("raw", "OUTPUT", "tcp", address, "", health_port),
    ]
    return (*into, *let_in, *out, *let_out, *of_node, *health)


def serving_while_listening(address: str, port: int) -> tuple[Rule, ...]:
    """Rules that match only while a socket is bound to the address.

    On the way out the kernel sees the asker's socket instead of the server's, so what the node
    itself asks is left to kube-proxy, but for the probe.
    """
    into = [Rule("raw", "PREROUTING", each, "", address, 0, port, True) for each in PROTOCOLS]
    let_in = [Rule("filter", "INPUT", each, "", address, 0, port) for each in PROTOCOLS]
    out = [Rule("raw", "OUTPUT", each, address, "", port) for each in PROTOCOLS]
    let_out = [Rule("filter", "OUTPUT", each, address, "", port) for each in PROTOCOLS]
    return (*into, *let_in, *out, *let_out, *_probe(address, port))


def waiting(address: str, port: int) -> tuple[Rule, ...]:
    """What lets the probe reach this node while nobody else does."""
    # To an address of its own a node speaks from that address: nobody else gets these answers.
    answers = [Rule("raw", "OUTPUT", each, address, address, port) for each in PROTOCOLS]
    return (*_probe(address, port), *answers)


def _probe(address: str, port: int) -> list[Rule]:
    return [Rule("raw", "OUTPUT", each, "", address, 0, port, probing=True) for each in PROTOCOLS]
