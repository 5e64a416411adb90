"""`kdns node-cache` in a node's network."""

from __future__ import annotations

import os
import signal
import sys

import pytest

LINK_LOCAL, CLUSTER_IP, CLUSTER_IPV6 = "169.254.20.10", "10.96.0.10", "fd00:96::10"
ADDRESSES = [LINK_LOCAL, CLUSTER_IP, CLUSTER_IPV6]
NODE, CENTRAL = "192.0.2.1", "192.0.2.2"

TEMPLATE = """\
.:53 {
    bind __PILLAR__LOCAL__DNS__
    errors
    cache 30
    hosts {
        192.0.2.1 who.test
        fallthrough
    }
    forward . __PILLAR__CLUSTER__DNS__ {
        force_tcp
    }
    health 169.254.20.10:8080
}
"""


@pytest.fixture
def node_cache(network, tmp_path):
    """A network, and what starts a node cache in it."""
    net = network("nft")
    template = tmp_path / "Corefile.base"
    template.write_text(TEMPLATE)

    def start(instance="0"):
        command = (
            *(sys.executable, "-m", "kdns", "node-cache", "-localip", ",".join(ADDRESSES)),
            *("-conf", str(tmp_path / f"Corefile-{instance}"), "-basecorefile", str(template)),
            *("-upstreamsvc", "kube-dns-upstream", "-kubednscm", str(tmp_path / "none")),
        )
        return net.launch(*command, environment={"KUBE_DNS_UPSTREAM_SERVICE_HOST": "10.244.1.2"})

    return net, start


def test_takes_over_falls_back_and_returns(node_cache):
    net, start = node_cache
    rules, addresses = net.rules(), net.addresses()
    supervised = start()
    for address in ADDRESSES:
        net.told_by(NODE, address)
    assert net.ask(LINK_LOCAL, name="other.test", patience=1.0) == CENTRAL

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


def test_is_killed_with_its_supervisor(node_cache):
    net, start = node_cache
    supervised = start()
    net.told_by(NODE, CLUSTER_IP)
    os.kill(supervised.process.pid, signal.SIGKILL)
    net.told_by(CENTRAL, CLUSTER_IP, 1.0)
    start()
    net.told_by(NODE, CLUSTER_IP)


def test_central_servers_are_dead(node_cache):
    net, start = node_cache
    net.stop_central()
    supervised = start()
    for address in ADDRESSES:
        net.told_by(NODE, address)
    assert net.ask(CLUSTER_IP, name="other.test") is None
    assert net.ask(CLUSTER_IP) == NODE
    assert supervised.end() == 0


def test_reload_is_passed_on(node_cache, tmp_path):
    net, start = node_cache
    supervised = start()
    net.told_by(NODE, CLUSTER_IP)
    corefile = tmp_path / "Corefile-0"
    corefile.write_text(corefile.read_text().replace(NODE, "192.0.2.3"))
    supervised.process.send_signal(signal.SIGUSR1)
    net.told_by("192.0.2.3", CLUSTER_IP)


def test_corefile_that_cannot_be_served_leaves_the_service_alone(node_cache, tmp_path):
    net, start = node_cache
    (tmp_path / "Corefile.base").write_text(".:53 {\n    nonsense\n}\n")
    supervised = start()
    supervised.settled("the serving process ended (exit code 1)")
    assert net.ask(CLUSTER_IP) == CENTRAL


def test_upgrade_loses_no_query(node_cache):
    net, start = node_cache
    old = start("old")
    net.told_by(NODE, CLUSTER_IP)
    with net.asking(CLUSTER_IP) as asked:
        new = start("new")
        new.settled(f"the node answers on {CLUSTER_IP}")
        assert old.end() == 0
        asked.more(200)
    assert asked.lost == 0
    assert set(asked.answers) == {NODE}
    assert new.end() == 0
