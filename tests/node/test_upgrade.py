"""Two instances on one node: the old one leaves the network to the new one."""

from __future__ import annotations

import os
import signal

import pytest

CLUSTER_IP = "10.96.0.10"
NODE, CENTRAL = "192.0.2.1", "192.0.2.2"
FILTERS = ["nft", "nft-socket", "iptables", "iptables-socket"]
LINKS = [("nodelocaldns", "auto"), ("lo", "existing")]


def _answers(net, who):
    """Rounds of queries, each by another socket and so by chance to either instance."""
    for stream in (False, True) * 10:
        assert net.ask(CLUSTER_IP, stream, patience=1.0) == who


@pytest.mark.parametrize("filter_", FILTERS)
@pytest.mark.parametrize(("interface", "link"), LINKS, ids=[each for _, each in LINKS])
def test_old_instance_takes_nothing_from_the_new(network, filter_, interface, link):
    net = network("nft")
    before = net.addresses()
    settings = {"filter": filter_, "interface": interface, "link": link}
    old = net.supervise(**settings)
    net.told_by(NODE, CLUSTER_IP)
    new = net.supervise(**settings)
    new.settled()
    assert old.end() == 0
    _answers(net, NODE)
    assert f"{interface} is left to another kdns" in old.said()

    assert new.end() == 0
    _answers(net, CENTRAL)
    assert net.addresses() == before


@pytest.mark.parametrize("filter_", ["nft", "iptables-socket"])
def test_old_instance_is_killed(network, filter_):
    net = network("nft")
    old = net.supervise(filter=filter_)
    net.told_by(NODE, CLUSTER_IP)
    new = net.supervise(filter=filter_)
    new.settled()
    os.kill(old.process.pid, signal.SIGKILL)
    old.process.wait(5)
    net.told_by(NODE, CLUSTER_IP, 1.0)
    _answers(net, NODE)
    assert new.end() == 0
    _answers(net, CENTRAL)


def test_new_instance_that_does_not_serve_takes_nothing_from_the_old(network):
    net = network("nft")
    old = net.supervise(filter="iptables")
    old.settled()
    new = net.supervise("/bin/false", filter="iptables")
    new.settled("the serving process ended")
    _answers(net, NODE)
    assert new.end() == 0
    _answers(net, NODE)
    assert old.end() == 0
    _answers(net, CENTRAL)
