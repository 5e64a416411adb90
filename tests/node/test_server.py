"""kdns itself under the supervisor."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from kdns.node.probe import server_block

LINK_LOCAL, CLUSTER_IP, CLUSTER_IPV6 = "169.254.20.10", "10.96.0.10", "fd00:96::10"
ADDRESSES = [LINK_LOCAL, CLUSTER_IP, CLUSTER_IPV6]
NODE, CENTRAL = "192.0.2.1", "192.0.2.2"

COREFILE = """\
.:53 {{
    bind {addresses}
    errors
    hosts {{
        192.0.2.1 who.test
    }}
    health {link_local}:8080
    reload
}}
{probe}"""


@pytest.fixture
def kdns(network, tmp_path):
    """A network whose node runs kdns under a supervisor, which is started by the call."""
    net = network("nft")
    corefile = tmp_path / "Corefile"
    corefile.write_text(
        COREFILE.format(
            addresses=" ".join(ADDRESSES),
            link_local=LINK_LOCAL,
            probe=server_block(ADDRESSES),
        )
    )

    def start(**settings):
        command = (sys.executable, "-m", "kdns", "-conf", str(corefile))
        return net.supervise(*command, addresses=ADDRESSES, **settings)

    return net, start


def test_kdns_takes_over_falls_back_and_returns(kdns):
    net, start = kdns
    rules, addresses = net.rules(), net.addresses()
    supervised = start()
    for address in ADDRESSES:
        net.told_by(NODE, address)

    os.kill(supervised.child(), signal.SIGSTOP)
    for service in (CLUSTER_IP, CLUSTER_IPV6):
        net.told_by(CENTRAL, service, 1.0)
    net.told_by(NODE, CLUSTER_IPV6)

    os.kill(supervised.child(), signal.SIGKILL)
    net.told_by(CENTRAL, CLUSTER_IP, 1.0)
    net.told_by(NODE, CLUSTER_IP)

    assert supervised.end() == 0
    for service in (CLUSTER_IP, CLUSTER_IPV6):
        net.told_by(CENTRAL, service, 1.0)
    assert net.rules() == rules
    assert net.addresses() == addresses


def test_kdns_is_killed_with_its_supervisor(kdns):
    net, start = kdns
    supervised = start()
    net.told_by(NODE, CLUSTER_IP)
    os.kill(supervised.process.pid, signal.SIGKILL)
    net.told_by(CENTRAL, CLUSTER_IP, 1.0)
    start()
    net.told_by(NODE, CLUSTER_IP)


def test_reload_is_passed_on(kdns, tmp_path):
    net, start = kdns
    supervised = start()
    net.told_by(NODE, CLUSTER_IP)
    corefile = tmp_path / "Corefile"
    corefile.write_text(corefile.read_text().replace(NODE, "192.0.2.3"))
    supervised.process.send_signal(signal.SIGUSR1)
    net.told_by("192.0.2.3", CLUSTER_IP)


def test_kdns_that_cannot_start_leaves_the_service_alone(kdns, tmp_path):
    net, start = kdns
    corefile = tmp_path / "Corefile"
    corefile.write_text(".:53 {\n    nonsense\n}\n")
    supervised = start()
    supervised.settled("the serving process ended (exit code 1)")
    assert net.ask(CLUSTER_IP) == CENTRAL
