"""Whatever ends or stops on the node, its clients have an answer within a second."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

LINK_LOCAL, CLUSTER_IP, CLUSTER_IPV6 = "169.254.20.10", "10.96.0.10", "fd00:96::10"
NODE, CENTRAL = "192.0.2.1", "192.0.2.2"
A_SECOND = 1.0
FILTERS = ["nft", "nft-socket", "iptables-socket"]
EVERY_FILTER = [*FILTERS, "iptables"]


@pytest.fixture
def running(network):
    """A network, and a supervisor on its node that has taken over, by filter."""

    def start(filter_, proxy="nft", **settings):
        net = network(proxy)
        supervised = net.supervise(filter=filter_, **settings)
        net.told_by(NODE, CLUSTER_IP)
        return net, supervised

    return start


@pytest.mark.parametrize("filter_", FILTERS)
@pytest.mark.parametrize("whom", ["supervisor", "child", "both"])
def test_killed(running, filter_, whom):
    net, supervised = running(filter_)
    child = supervised.child()
    victims = {"supervisor": [supervised.process.pid], "child": [child]}
    for victim in victims.get(whom, [child, supervised.process.pid]):
        os.kill(victim, signal.SIGKILL)
    net.told_by(CENTRAL, CLUSTER_IP, A_SECOND)

    if whom != "child":
        supervised.process.wait(5)
        assert not _lives(child)
        supervised = net.supervise(filter=filter_)
    net.told_by(NODE, CLUSTER_IP)
    assert supervised.child() != child


def _lives(process):
    """Whether it is there and no zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("filter_", EVERY_FILTER)
def test_child_hangs(running, filter_):
    net, supervised = running(filter_)
    child = supervised.child()
    os.kill(child, signal.SIGSTOP)
    net.told_by(CENTRAL, CLUSTER_IP, A_SECOND)
    net.told_by(CENTRAL, CLUSTER_IP, A_SECOND, place=net.node)

    net.told_by(NODE, CLUSTER_IP)
    assert supervised.child() != child
    assert "the serving process is killed" in supervised.said()


def test_child_hangs_for_a_while(running):
    net, supervised = running("nft")
    child = supervised.child()
    os.kill(child, signal.SIGSTOP)
    net.told_by(CENTRAL, CLUSTER_IP, A_SECOND)
    os.kill(child, signal.SIGCONT)
    net.told_by(NODE, CLUSTER_IP)
    assert supervised.child() == child


def test_supervisor_hangs(running):
    net, supervised = running("nft")
    os.kill(supervised.process.pid, signal.SIGSTOP)
    deadline = time.monotonic() + A_SECOND
    while time.monotonic() < deadline:
        assert net.ask(CLUSTER_IP) == NODE
    os.kill(supervised.process.pid, signal.SIGCONT)
    assert supervised.end() == 0


def test_iptables_rules_of_a_killed_supervisor_go_with_the_next(running):
    net, supervised = running("iptables")
    os.kill(supervised.process.pid, signal.SIGKILL)
    supervised.process.wait(5)
    assert "NodeLocal DNS Cache" in net.on(net.node, "iptables-save")

    again = net.supervise(filter="iptables")
    net.told_by(NODE, CLUSTER_IP)
    assert again.end() == 0
    net.told_by(CENTRAL, CLUSTER_IP, A_SECOND)
    assert "NodeLocal DNS Cache" not in net.on(net.node, "iptables-save")


def test_out_of_memory(running, tmp_path):
    groups = Path("/sys/fs/cgroup/memory")
    if not os.access(groups / "cgroup.procs", os.W_OK):
        pytest.skip("needs a memory cgroup (version 1) that can be written")
    net, supervised = running("nft")
    group = groups / f"kdns-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(64 << 20))
        child = supervised.child()
        for process in (supervised.process.pid, child):
            (group / "cgroup.procs").write_text(str(process))
        net.ask(CLUSTER_IP, name="eat.test")
        net.told_by(CENTRAL, CLUSTER_IP, A_SECOND)

        net.told_by(NODE, CLUSTER_IP)
        assert supervised.child() != child
        assert "SIGKILL" in supervised.said()
    finally:
        supervised.end()
        group.rmdir()


def test_ipv6_falls_back(running):
    net, supervised = running("nft", addresses=["fd00:20::10", CLUSTER_IPV6, CLUSTER_IP])
    net.told_by(NODE, CLUSTER_IPV6)
    os.kill(supervised.process.pid, signal.SIGKILL)
    net.told_by(CENTRAL, CLUSTER_IPV6, A_SECOND)


def test_child_that_never_serves_is_tried_again_and_leaves_the_service_alone(network):
    net = network("nft")
    supervised = net.supervise("/bin/false")
    deadline = time.monotonic() + A_SECOND
    while time.monotonic() < deadline:
        assert net.ask(CLUSTER_IP) == CENTRAL
    assert supervised.said().count("the serving process ended (exit code 1)") in (1, 2)
    assert supervised.end() == 0


def test_addresses_and_tun_device_that_somebody_deletes_come_back(running):
    net, supervised = running("nft")
    net.on(net.node, "ip", "link", "del", "nodelocaldns")
    net.told_by(CENTRAL, CLUSTER_IP, A_SECOND)
    net.told_by(NODE, CLUSTER_IP)
    net.on(net.node, "ip", "addr", "del", f"{CLUSTER_IP}/32", "dev", "nodelocaldns")
    net.told_by(NODE, LINK_LOCAL, A_SECOND)
    net.told_by(NODE, CLUSTER_IP)
    assert supervised.end() == 0


def test_iptables_rules_that_somebody_flushes_come_back(running):
    net, supervised = running("iptables", "iptables", sync_interval=0.5)
    net.on(net.node, "iptables", "-t", "raw", "-F")
    net.told_by(NODE, CLUSTER_IP)
    assert supervised.end() == 0
