"""The node takes its queries over from the Service, and gives them back without a trace."""

from __future__ import annotations

import pytest

LINK_LOCAL = {4: "169.254.20.10", 6: "fd00:20::10"}
CLUSTER_IP = {4: "10.96.0.10", 6: "fd00:96::10"}
NODE, CENTRAL = "192.0.2.1", "192.0.2.2"
BOTH = [*LINK_LOCAL.values(), *CLUSTER_IP.values()]

# The tables themselves stay once anybody has used them.
EMPTY_TABLES = """\
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
*filter
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
"""

CASES = [
    ("nft", "nft", "nft"),
    ("iptables", "nft", "nft"),
    ("nft", "nft-socket", "nft-socket"),
    ("iptables", "nft-socket", "nft-socket"),
    ("nft", "iptables", "iptables"),
    ("iptables", "iptables", "iptables"),
    ("nft", "iptables-socket", "iptables-socket"),
    ("iptables", "iptables-socket", "iptables-socket"),
    ("nft", "auto", "nft"),
]


@pytest.mark.parametrize(
    ("proxy", "wanted", "used"), CASES, ids=["-under-".join(c[1::-1]) for c in CASES]
)
def test_takes_over_and_gives_back(network, proxy, wanted, used):
    net = network(proxy)
    if used.startswith("iptables"):
        for program in ("iptables-restore", "ip6tables-restore"):
            net.on(net.node, program, "-n", text=EMPTY_TABLES)
    rules, addresses = net.rules(), net.addresses()
    for service in CLUSTER_IP.values():
        net.told_by(CENTRAL, service)

    supervised = net.supervise(addresses=BOTH, filter=wanted)
    for address in BOTH:
        net.told_by(NODE, address)
    assert supervised.end() == 0

    for service in CLUSTER_IP.values():
        net.told_by(CENTRAL, service, 1)
    assert net.rules() == rules
    assert net.addresses() == addresses
    assert "[ERROR]" not in supervised.said()
