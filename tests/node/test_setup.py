"""What the supervisor sets up, is told to leave alone, or cannot have."""

from __future__ import annotations

import fcntl
import os
import shutil

import pytest

LINK_LOCAL, CLUSTER_IP, CLUSTER_IPV6 = "169.254.20.10", "10.96.0.10", "fd00:96::10"
NODE, CENTRAL = "192.0.2.1", "192.0.2.2"

NODE_CACHE_RULES = """
-A PREROUTING -d {ip} -p udp -m udp --dport 53 -m comment --comment "{skip}" -j NOTRACK
-A PREROUTING -d {ip} -p tcp -m tcp --dport 53 -m comment --comment "{skip}" -j NOTRACK
-A OUTPUT -s {ip} -p tcp -m tcp --sport 8080 -m comment --comment "{skip}" -j NOTRACK
-A OUTPUT -d {ip} -p tcp -m tcp --dport 8080 -m comment --comment "{skip}" -j NOTRACK
-A OUTPUT -d {ip} -p udp -m udp --dport 53 -m comment --comment "{skip}" -j NOTRACK
-A OUTPUT -d {ip} -p tcp -m tcp --dport 53 -m comment --comment "{skip}" -j NOTRACK
-A OUTPUT -s {ip} -p udp -m udp --sport 53 -m comment --comment "{skip}" -j NOTRACK
-A OUTPUT -s {ip} -p tcp -m tcp --sport 53 -m comment --comment "{skip}" -j NOTRACK
-A INPUT -d {ip} -p udp -m udp --dport 53 -m comment --comment "{allow}" -j ACCEPT
-A INPUT -d {ip} -p tcp -m tcp --dport 53 -m comment --comment "{allow}" -j ACCEPT
-A OUTPUT -s {ip} -p udp -m udp --sport 53 -m comment --comment "{allow}" -j ACCEPT
-A OUTPUT -s {ip} -p tcp -m tcp --sport 53 -m comment --comment "{allow}" -j ACCEPT
"""

NO_RIGHT = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")


@pytest.mark.parametrize(
    ("program", "address", "bits"),
    [("iptables-save", CLUSTER_IP, 32), ("ip6tables-save", CLUSTER_IPV6, 128)],
    ids=["ipv4", "ipv6"],
)
def test_rules_of_iptables_are_those_of_node_cache(network, program, address, bits):
    net = network("iptables")
    supervised = net.supervise(filter="iptables", addresses=[address])
    supervised.settled(f"the node answers on {address}")
    said = net.on(net.node, program).replace("-j CT --notrack", "-j NOTRACK").splitlines()
    expected = NODE_CACHE_RULES.format(
        ip=f"{address}/{bits}",
        skip="NodeLocal DNS Cache: skip conntrack",
        allow="NodeLocal DNS Cache: allow DNS traffic",
    )
    assert sorted(line for line in said if "NodeLocal" in line) == sorted(
        expected.split("\n")[1:-1]
    )
    assert supervised.end() == 0


@pytest.mark.parametrize(
    ("filter_", "who"),
    [
        ("nft", NODE),
        ("iptables", NODE),
        ("nft-socket", CENTRAL),
        ("iptables-socket", CENTRAL),
    ],
)
def test_who_answers_the_node_itself(network, filter_, who):
    net = network("nft")
    supervised = net.supervise(filter=filter_)
    supervised.settled()
    for stream in (False, True):
        assert net.ask(CLUSTER_IP, stream, patience=1.0, place=net.node) == who
        assert net.ask(LINK_LOCAL, stream, patience=1.0, place=net.node) == NODE
        assert net.ask(CLUSTER_IP, stream, patience=1.0) == NODE
    assert supervised.end() == 0


def test_xtables_lock_that_somebody_keeps(network, tmp_path):
    legacy = {each: shutil.which(f"{each}-legacy") for each in ("iptables", "ip6tables")}
    if not all(legacy.values()):
        pytest.skip("needs iptables-legacy on PATH: other iptables have no lock")
    for name, program in legacy.items():
        (tmp_path / name).symlink_to(program)
    net = network("nft")
    with (tmp_path / "xtables.lock").open("w") as lock:
        environment = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "XTABLES_LOCKFILE": lock.name,
        }
        fcntl.flock(lock, fcntl.LOCK_EX)
        supervised = net.supervise(filter="iptables", environment=environment)
        supervised.settled("holding the xtables lock")
    net.told_by(NODE, CLUSTER_IP, 20)
    assert supervised.end() == 0
    net.told_by(CENTRAL, CLUSTER_IP, 1)
    assert "NodeLocal" not in net.on(net.node, "iptables-legacy-save")


def test_interface_is_left_alone(network):
    net = network("nft")
    net.on(net.node, "ip", "addr", "add", f"{CLUSTER_IP}/32", "dev", "lo")
    before = net.addresses()
    supervised = net.supervise(addresses=[CLUSTER_IP], setup_interface=False)
    net.told_by(NODE, CLUSTER_IP)
    assert net.addresses() == before
    assert supervised.end() == 0
    assert net.addresses() == before


def test_packet_filter_is_left_alone(network):
    net = network("nft")
    before = net.rules()
    supervised = net.supervise(filter="none")
    net.told_by(NODE, LINK_LOCAL)
    net.told_by(CENTRAL, CLUSTER_IP)
    assert net.rules() == before
    assert supervised.end() == 0


@pytest.mark.parametrize("settings", [{"filter": "iptables"}, {"interface": "lo"}], ids=str)
def test_what_is_to_stay_stays(network, settings):
    net = network("nft")
    supervised = net.supervise(skip_teardown=True, **settings)
    net.told_by(NODE, CLUSTER_IP)
    addresses = net.addresses()
    assert supervised.end() == 0
    if "filter" in settings:
        assert "NodeLocal DNS Cache" in net.on(net.node, "iptables-save")
    else:
        assert net.addresses() == addresses


def test_address_that_another_device_has(network):
    net = network("nft")
    net.on(net.node, "ip", "addr", "add", f"{CLUSTER_IP}/32", "dev", "lo")
    supervised = net.supervise()
    net.told_by(NODE, CLUSTER_IP)
    assert (
        supervised.said().count(f"[ERROR] {CLUSTER_IP} is on lo already and is served there") == 1
    )
    assert supervised.end() == 0
    assert ("lo", CLUSTER_IP) in net.addresses()


def test_address_that_cannot_be_had_leaves_the_others_served(network):
    net = network("nft")
    net.on(net.node, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    net.on(net.node, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    command = net.responder([LINK_LOCAL, CLUSTER_IP])
    supervised = net.supervise(*command, addresses=[LINK_LOCAL, CLUSTER_IPV6, CLUSTER_IP])
    net.told_by(NODE, CLUSTER_IP)
    assert f"[ERROR] cannot add {CLUSTER_IPV6} to the interface nodelocaldns: " in supervised.said()
    assert supervised.end() == 0


@pytest.mark.parametrize(
    ("interface", "link", "reason"),
    [
        (
            "nodelocaldns",
            "dummy",
            (
                "Operation not supported: Unknown device type: "
                "give the container what it takes, or choose another kind of interface"
            ),
        ),
        ("eth7", "existing", "No such device: name a device that the node has"),
        ("a-name-of-16-chars", "auto", "Numerical result out of range"),
    ],
    ids=["no dummy links", "no such device", "name too long"],
)
def test_interface_that_cannot_be_had(network, interface, link, reason):
    net = network(None)
    net.on(net.node, "ip", "addr", "add", f"{LINK_LOCAL}/32", "dev", "lo")
    if link == "dummy" and net.has_dummy():
        pytest.skip("this kernel has dummy links")
    supervised = net.supervise(addresses=[LINK_LOCAL], interface=interface, link=link)
    net.told_by(NODE, LINK_LOCAL)
    line = f"[ERROR] cannot use the interface {interface}: {reason}"
    assert supervised.said().count(line) == 1
    assert supervised.end() == 0


def test_no_rights(network):
    if shutil.which(NO_RIGHT[0]) is None:
        pytest.skip(f"needs {NO_RIGHT[0]} on PATH")
    net = network("nft")
    net.on(net.node, "ip", "addr", "add", f"{LINK_LOCAL}/32", "dev", "lo")
    before = net.rules()
    supervised = net.supervise(before=NO_RIGHT)
    net.told_by(CENTRAL, CLUSTER_IP)
    supervised.settled("give the container NET_ADMIN, or say -setupinterface=false")
    supervised.settled("give the container NET_ADMIN, or say -setupiptables=false")
    assert net.rules() == before


def test_foreign_table_of_the_same_name(network):
    net = network("nft")
    net.on(net.node, "nft", "add", "table", "inet", "kdns-nodelocaldns")
    before = net.rules()
    supervised = net.supervise(filter="nft-socket")
    net.told_by(NODE, CLUSTER_IP)
    assert "table inet kdns-nodelocaldns-2 {" in net.rules()
    assert supervised.end() == 0
    assert net.rules() == before


def test_foreign_owner_can_neither_change_nor_flush_the_rules(network):
    net = network("nft")
    supervised = net.supervise(filter="nft")
    net.told_by(NODE, CLUSTER_IP)
    net.on(net.node, "nft", "flush", "ruleset")
    assert net.ask(CLUSTER_IP) == NODE
    assert supervised.end() == 0


def test_dummy_link(network):
    net = network("nft")
    if not net.has_dummy():
        pytest.skip("this kernel has no dummy links")
    before = net.addresses()
    supervised = net.supervise(link="dummy")
    net.told_by(NODE, CLUSTER_IP)
    assert supervised.end() == 0
    assert net.addresses() == before
