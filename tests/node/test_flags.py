"""node-cache's command line: a table of what it takes, and one of what it does not."""

from __future__ import annotations

import pytest

from kdns.node.flags import FLAGS, Asked, BadFlags, Place, read, usage

IP = ("-localip", "169.254.20.10")


def test_the_stock_manifest() -> None:
    words = "-localip 169.254.20.10,10.96.0.10 -conf /etc/Corefile -upstreamsvc kube-dns-upstream"
    flags = read([*words.split(), "-pidfile", "/run/node-cache.pid"])
    settings = flags.settings
    assert settings.addresses == ("169.254.20.10", "10.96.0.10")
    assert (settings.interface, settings.link, settings.filter) == ("nodelocaldns", "auto", "auto")
    assert (settings.setup_interface, settings.skip_teardown) == (True, False)
    assert (settings.port, settings.health_port, settings.sync_interval) == (53, 8080, 60.0)
    assert (flags.corefile, flags.template) == ("/etc/Corefile", "/etc/coredns/Corefile.base")
    assert (flags.upstream_service, flags.kube_dns) == ("kube-dns-upstream", "")
    assert (flags.metrics, flags.endpoint) == (Place("0.0.0.0", 9353), ":9253")
    assert (flags.pidfile, flags.quiet, flags.idle) == ("/run/node-cache.pid", False, ())


@pytest.mark.parametrize(
    ("words", "of", "name", "value"),
    [
        (["--localip=fd00::10"], "settings", "addresses", ("fd00::10",)),
        (["-localip", "10.0.0.1,fd00::0010"], "settings", "addresses", ("10.0.0.1", "fd00::10")),
        (["-localip", "10.0.0.1,"], "settings", "addresses", ("10.0.0.1",)),
        (["-localip=10.0.0.1,10.0.0.1"], "settings", "addresses", ("10.0.0.1",)),
        ([*IP, "-setupinterface=false"], "settings", "setup_interface", False),
        ([*IP, "--setupinterface=F"], "settings", "setup_interface", False),
        ([*IP, "-setupinterface"], "settings", "setup_interface", True),
        ([*IP, "-setupiptables=false"], "settings", "filter", "none"),
        ([*IP, "-setupiptables=0", "-packetfilter=nft"], "settings", "filter", "none"),
        ([*IP, "-packetfilter=iptables-socket"], "settings", "filter", "iptables-socket"),
        ([*IP, "-interfacetype", "tun"], "settings", "link", "tun"),
        ([*IP, "-interfacename", "dns0"], "settings", "interface", "dns0"),
        ([*IP, "-skipteardown"], "settings", "skip_teardown", True),
        ([*IP, "-skipteardown=true"], "settings", "skip_teardown", True),
        ([*IP, "-syncinterval", "60"], "settings", "sync_interval", 60.0),
        ([*IP, "-syncinterval", "60s"], "settings", "sync_interval", 60.0),
        ([*IP, "-syncinterval=60ns"], "settings", "sync_interval", 60.0),
        ([*IP, "-syncinterval", "1m30s"], "settings", "sync_interval", 90.0),
        ([*IP, "-syncinterval", "1.5s"], "settings", "sync_interval", 1.5),
        ([*IP, "-dns.port", "5353"], "settings", "port", 5353),
        ([*IP, "-p=5353"], "settings", "port", 5353),
        ([*IP, "-health-port", "8081"], "settings", "health_port", 8081),
        ([*IP, "-corefile", "/a"], "flags", "corefile", "/a"),
        ([*IP, "-corefile", "/a", "-conf", "/b"], "flags", "corefile", "/b"),
        ([*IP, "-conf", "/b", "-corefile", "/a"], "flags", "corefile", "/b"),
        ([*IP, "-conf", "/a", "-conf", "/b"], "flags", "corefile", "/b"),
        ([*IP, "-basecorefile=/t"], "flags", "template", "/t"),
        ([*IP, "-kubednscm", "/k"], "flags", "kube_dns", "/k"),
        ([*IP, "-metrics-listen-address", ":9"], "flags", "metrics", Place("", 9)),
        ([*IP, "-metrics-listen-address", "[::1]:9"], "flags", "metrics", Place("::1", 9)),
        ([*IP, "-metrics-listen-address=localhost:9"], "flags", "metrics", Place("127.0.0.1", 9)),
        ([*IP, "-prometheus-listen-address", "x:1"], "flags", "endpoint", "x:1"),
        ([*IP, "-quiet"], "flags", "quiet", True),
        ([*IP, "-reloadwithsignal"], "flags", "idle", ()),
        ([*IP, "-reloadwithsignal=true", "--"], "flags", "idle", ()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_flags(words: list[str], of: str, name: str, value: object) -> None:
    flags = read(words)
    assert getattr(flags.settings if of == "settings" else flags, name) == value


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "-localip is missing"),
        (["-localip", ""], "-localip is missing"),
        (["-localip", ",,"], "-localip is missing"),
        (["-localip"], "-localip needs a value"),
        (["-localip", "169.254.20"], "'169.254.20' is no address"),
        (["-localip", "169.254.20.10 10.0.0.1"], "is no address"),
        (["-localip", "node"], "'node' is no address"),
        (["-localip", "fe80::1"], "an address of one link"),
        ([*IP, "-setupinterface=no"], "-setupinterface=no cannot be read"),
        ([*IP, "-setupinterface", "false"], "'false' is no flag"),
        ([*IP, "-interfacename", "a-name-that-is-too-long"], "no name of a device"),
        ([*IP, "-interfacename", "a/b"], "no name of a device"),
        ([*IP, "-interfacename", ""], "no name of a device"),
        ([*IP, "-interfacetype", "veth"], "write one of auto, dummy, tun"),
        ([*IP, "-packetfilter", "ebpf"], "write one of auto, nft"),
        ([*IP, "-syncinterval", "0"], "no time to wait"),
        ([*IP, "-syncinterval", "-60"], "no time to wait"),
        ([*IP, "-syncinterval", "soon"], "no time to wait"),
        ([*IP, "-syncinterval", "9" * 400], "no time to wait"),
        ([*IP, "-dns.port", "0"], "'0' is no port"),
        ([*IP, "-dns.port", "dns"], "'dns' is no port"),
        ([*IP, "-health-port", "65536"], "'65536' is no port"),
        ([*IP, "-metrics-listen-address", "9353"], "no address with a port"),
        ([*IP, "-metrics-listen-address", "::1:9353"], "no address with a port"),
        ([*IP, "-metrics-listen-address", "a.b:9353"], "no address with a port"),
        ([*IP, "-metrics-listen-address", ":http"], "'http' is no port"),
        ([*IP, "-whatever"], "there is no flag -whatever"),
        ([*IP, "---quiet"], "there is no flag --quiet"),
        ([*IP, "Corefile"], "'Corefile' is no flag"),
        ([*IP, "-"], "'-' is no flag"),
        ([*IP, "--", "x"], "'x' is no flag"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_what_is_wrong(words: list[str], said: str) -> None:
    with pytest.raises(BadFlags) as wrong:
        read(words)
    assert said in str(wrong.value)
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["-h"], "help"),
        (["--help"], "help"),
        (["-version"], "version"),
        (["-plugins=true"], "plugins"),
    ],
)
def test_what_is_asked(words: list[str], what: str) -> None:
    with pytest.raises(Asked) as asked:
        read(words)
    assert asked.value.what == what


@pytest.mark.parametrize("flag", ["-initialdelay=10", "-setupebtables"])
def test_flags_of_old_are_taken_and_said_to_be_idle(flag: str) -> None:
    (notice,) = read([*IP, flag]).idle
    assert notice.startswith(flag.partition("=")[0])


def test_usage_has_every_flag() -> None:
    text = usage("node-cache")
    assert all(f"  -{name} " in text for name in FLAGS)
    assert max(map(len, text.splitlines())) < 120
