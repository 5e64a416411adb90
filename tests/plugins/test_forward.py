"""`forward`: what it takes and refuses, which upstreams a name goes to, and when to the next."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import trustme

from kdns.corefile.tokens import CorefileError
from kdns.dns import codes
from kdns.dns.names import from_text
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply
from kdns.forwarding.names import Unresolved
from kdns.forwarding.options import Health, Options, ResolvFile, Target, Tls
from kdns.plugins import forward as forwards

FORMS = (
    "write an address such as 10.0.0.2, 10.0.0.2:5353, [fd00::2]:53, tls://9.9.9.9%dns.quad9.net"
)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the present one, with resolv.conf files, certificates and keys."""
    (tmp_path / "two.conf").write_text("nameserver 10.10.255.252\nnameserver 10.10.255.253\n")
    (tmp_path / "scoped.conf").write_text(
        "nameserver 0388:d254:7aec:6892:9f7f:e93b:5806:1b0f%en0\n"
    )
    (tmp_path / "commented.conf").write_text("# nameserver 1.1.1.1\n# nameserver 1.0.0.1\n")
    (tmp_path / "junk.pem").write_text("junk\n")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    leaf = ca.issue_cert("client.example")
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def options(planned, facilities, files):
    """options(arguments, *properties) -> the Options of `forward ARGUMENTS { PROPERTIES }`."""

    def made(arguments: str, *properties: str) -> Options:
        _planned(planned, arguments, *properties)
        (found,) = facilities.forwarders
        return found

    return made


def _planned(planned, arguments: str, *properties: str):
    block = " {\n" + "\n".join(properties) + "\n}" if properties else ""
    return planned(f". {{\nforward {arguments}{block}\n}}")


def dns(host: str, port: int = 53) -> Target:
    return Target("dns", host, port)


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("127.0.0.1", dns("127.0.0.1")),
        ("127.0.0.1:53", dns("127.0.0.1")),
        ("127.0.0.1:8080", dns("127.0.0.1", 8080)),
        ("dns://127.0.0.1:8080", dns("127.0.0.1", 8080)),
        ("[127.0.0.1]:53", dns("127.0.0.1")),
        ("::1", dns("::1")),
        ("[::1]", dns("::1")),
        ("[::1]:53", dns("::1")),
        ("[2003::1]:5353", dns("2003::1", 5353)),
        ("[0388:d254::1]:53", dns("388:d254::1")),
        ("fe80::1%eth0", dns("fe80::1%eth0")),
        ("[fe80::1%eth0]:53", dns("fe80::1%eth0")),
        ("2003::1%eth0", dns("2003::1")),
        ("1.1.1.1%cloudflare-dns.com", dns("1.1.1.1")),
        ("tls://127.0.0.1", Target("tls", "127.0.0.1", 853)),
        ("tls://127.0.0.1%example.net", Target("tls", "127.0.0.1", 853, "example.net")),
        ("tls://127.0.0.1%example.net:854", Target("tls", "127.0.0.1", 854, "example.net")),
        ("tls://fe80::1%example.com", Target("tls", "fe80::1", 853, "example.com")),
        (
            "tls://[2400:3200::1%dns.alidns.com]:853",
            Target("tls", "2400:3200::1", 853, "dns.alidns.com"),
        ),
        ("tls://[2400:3200::1]:853", Target("tls", "2400:3200::1", 853)),
        ("tls://dns.example.com:8853", Target("tls", "dns.example.com", 8853)),
        ("tls://dns.example.com%a.example", Target("tls", "dns.example.com", 853, "a.example")),
        ("https://127.0.0.1", Target("https", "127.0.0.1", 443)),
        ("https://127.0.0.1%example.net:444", Target("https", "127.0.0.1", 444, "example.net")),
        ("https://[::1%example.net]:443", Target("https", "::1", 443, "example.net")),
        ("https://dns.example.com:8443", Target("https", "dns.example.com", 8443)),
        (
            "https://dns.example.com/us/dns-query",
            Target("https", "dns.example.com", 443, "", "/us/dns-query"),
        ),
        ("dns.example.com", dns("dns.example.com")),
        ("Dns.Example.com.", dns("dns.example.com")),
        ("dns.example.com:5353", dns("dns.example.com", 5353)),
        ("rbldnsd.rbldnsd.svc.cluster.local", dns("rbldnsd.rbldnsd.svc.cluster.local")),
        ("a27.0.0.1", dns("a27.0.0.1")),
        ("localhost", dns("localhost")),
    ],
)
def test_a_target(options, to: str, expected: Target) -> None:
    assert options(f". {to}").targets == (expected,)


@pytest.mark.parametrize(
    "to",
    [
        '""',
        "1.2.3",
        "256.1.1.1",
        "1.1.1.1:0",
        "1.1.1.1:65536",
        "1.1.1.1:dns",
        "1.1.1.1:",
        "1.1.1.1:-1",
        "[::1",
        "[::1]53",
        "[]:53",
        "[1.1.1.1]:",
        "::1::2",
        "dns..example.com",
        "-dns.example.com",
        "dns_example!com",
        "tls://",
        "tls://1.1.1.1%",
        "tls://1.1.1.1%:853",
        "tls://1.1.1.1%a!b",
        "tls://two.conf!",
        "tls:///etc/resolv.conf",
        "https://",
        "https:///dns-query",
        "https://1.1.1.1/\u00e9",
        "10.0.0.1,10.0.0.2",
        "unix:///var/run/dns.sock",
        "unix://dns.sock",
        "quic://1.1.1.1",
        "grpc://1.1.1.1",
        "https3://1.1.1.1",
        "http://1.1.1.1",
    ],
)
def test_no_target(refused, to: str) -> None:
    message, place = refused(f". {{\n forward . 10.0.0.1 {to}\n}}")
    assert place == (2, 21)
    assert FORMS in message


def test_files(options, files: Path) -> None:
    found = options(f". {files}/two.conf {files}/scoped.conf 127.0.0.1").targets
    expected = (ResolvFile(files / "two.conf"), ResolvFile(files / "scoped.conf"), dns("127.0.0.1"))
    assert found == expected


@pytest.mark.parametrize("to", ["commented.conf 127.0.0.1", "commented.conf two.conf"])
def test_a_file_without_nameservers_among_others(options, files: Path, to: str) -> None:
    to = to.replace("commented", f"{files}/commented").replace("two", f"{files}/two")
    assert len(options(f". {to}").targets) == 2


@pytest.mark.parametrize(
    ("to", "complaint"),
    [
        ("{folder}/commented.conf", "names no nameserver, and there is no other upstream"),
        ("/dev/null", "names no nameserver, and there is no other upstream"),
        ("{folder}/none.conf", "cannot be read (No such file or directory)"),
        ("{folder}", "cannot be read (Is a directory)"),
    ],
)
def test_a_file_that_is_of_no_use(refused, files: Path, to: str, complaint: str) -> None:
    message, place = refused(f". {{\n forward . {to.format(folder=files)}\n}}")
    assert place == (2, 12)
    assert complaint in message


def test_so_many_targets(options, refused) -> None:
    fifteen = " ".join(f"10.0.0.{n}" for n in range(15))
    assert len(options(f". {fifteen}").targets) == 15
    message, (line, _) = refused(f". {{\n forward . {fifteen} 10.0.1.1\n}}")
    assert line == 2
    assert message.startswith("forward takes at most 15 upstreams, and these are 16:")


PLAIN = Options((dns("127.0.0.1"),))


@pytest.mark.parametrize(
    ("properties", "changed"),
    [
        ([], {}),
        (["force_tcp"], {"force_tcp": True}),
        (["prefer_udp"], {"prefer_udp": True}),
        (["force_tcp", "prefer_udp"], {"force_tcp": True, "prefer_udp": True}),
        (["expire 5s"], {"expire": 5.0}),
        (["expire 0s"], {"expire": 0.0}),
        (["expire 1m", "expire 20s"], {"expire": 20.0}),
        (["max_age 30s"], {"max_age": 30.0}),
        (["max_age 0s"], {"max_age": 0.0}),
        (["max_age 10s"], {"max_age": 10.0}),
        (["max_age 10s", "expire 10s"], {"max_age": 10.0}),
        (["max_idle_conns 0"], {}),
        (["max_idle_conns 10"], {"max_idle_conns": 10}),
        (["max_fails 3"], {"max_fails": 3}),
        (["max_fails 0"], {"max_fails": 0}),
        (["max_fails 4294967295"], {"max_fails": 4294967295}),
        (["max_connect_attempts 0"], {"max_connect_attempts": 0}),
        (["max_connect_attempts 5"], {"max_connect_attempts": 5}),
        (["read_timeout 5s"], {"read_timeout": 5.0}),
        (["read_timeout 500ms"], {"read_timeout": 0.5}),
        (["policy random"], {}),
        (["policy round_robin"], {"policy": "round_robin"}),
        (["policy sequential"], {"policy": "sequential"}),
        (["health_check 0.5s"], {}),
        (["health_check 0"], {"health": Health(0.0)}),
        (["health_check 5s no_rec"], {"health": Health(5.0, False)}),
        (["health_check 5s domain ."], {"health": Health(5.0)}),
        (
            ["health_check 5s domain Example.org"],
            {"health": Health(5.0, True, b"\7example\3org\0")},
        ),
        (
            ["health_check 5s domain example.org."],
            {"health": Health(5.0, True, b"\7example\3org\0")},
        ),
        (
            ["health_check 5s no_rec domain example.org"],
            {"health": Health(5.0, False, b"\7example\3org\0")},
        ),
        (
            ["health_check 5s domain example.org no_rec"],
            {"health": Health(5.0, False, b"\7example\3org\0")},
        ),
        (["max_concurrent 1000"], {"max_concurrent": 1000}),
        (["failover SERVFAIL refused"], {"failover": frozenset((2, 5))}),
        (
            ["failover NXDOMAIN", "failover BADSIG"],
            {"failover": frozenset((3, 16))},
        ),
        (["failfast_all_unhealthy_upstreams"], {"failfast_all_unhealthy": True}),
        (["source_address 192.0.2.1"], {"source_address": "192.0.2.1"}),
        (["source_address ::ffff:192.0.2.1"], {"source_address": "192.0.2.1"}),
        (
            ["source_address 2001:0db8:85a3:0000:1319:8a2e:0370:7344"],
            {"source_address": "2001:db8:85a3:0:1319:8a2e:370:7344"},
        ),
        (["resolver 10.96.0.10"], {"resolver": ("10.96.0.10:53",)}),
        (["resolver 10.96.0.10 10.96.0.11:54"], {"resolver": ("10.96.0.10:53", "10.96.0.11:54")}),
        (["resolver 10.96.0.10", "resolver ::1"], {"resolver": ("[::1]:53",)}),
        (["resolver [::1]:54"], {"resolver": ("[::1]:54",)}),
        (["doh_method POST"], {}),
        (["doh_method GET"], {"doh_method": "GET"}),
        (["mixed_case"], {"mixed_case": True}),
        (["tls"], {}),
        (["tls_servername dns"], {"tls": Tls(server_name="dns")}),
        (["except miek.nl"], {}),
        (["next NXDOMAIN SERVFAIL REFUSED"], {}),
        (["next_on_nodata"], {}),
    ],
)
def test_options(options, properties: list[str], changed: dict[str, object]) -> None:
    fields = {field: getattr(PLAIN, field) for field in PLAIN.__slots__} | changed
    assert options(". 127.0.0.1", *properties) == Options(**fields)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("blaatl", "forward has no property 'blaatl': write one of "),
        ("except", "an argument is missing after 'except'"),
        ("except a..b", "is not a zone"),
        ("force_tcp yes", "'yes' is one argument too many"),
        ("prefer_udp 1", "'1' is one argument too many"),
        ("next_on_nodata x", "'x' is one argument too many"),
        ("failfast_all_unhealthy_upstreams false", "'false' is one argument too many"),
        ("mixed_case off", "'off' is one argument too many"),
        ("expire", "an argument is missing"),
        ("expire -1s", "cannot be read: write a duration"),
        ("expire 10", "cannot be read: write a duration"),
        ("max_age -1s", "cannot be read: write a duration"),
        ("max_age invalid", "cannot be read: write a duration"),
        ("max_age 9s", "max_age 9s is less than expire, 10s"),
        ("max_idle_conns many", "cannot be read: write a whole number"),
        ("max_idle_conns -1", "cannot be read: write a whole number"),
        ("max_fails -1", "cannot be read: write a whole number"),
        ("max_fails 4294967296", "cannot be read: write a whole number"),
        ("max_connect_attempts many", "cannot be read: write a whole number"),
        ("max_connect_attempts -4", "cannot be read: write a whole number"),
        ("read_timeout", "an argument is missing"),
        ("read_timeout 0s", "leaves no time: write a duration above 0"),
        ("read_timeout -1s", "cannot be read: write a duration"),
        ("read_timeout invalid", "cannot be read: write a duration"),
        ("policy random2", "write random or round_robin or sequential"),
        ("health_check", "an argument is missing"),
        ("health_check no_rec", "cannot be read: write a duration"),
        ("health_check domain example.org", "cannot be read: write a duration"),
        ("health_check -1s", "cannot be read: write a duration"),
        ("health_check 0.5s rec", "'rec' is no option of health_check"),
        ("health_check 0.5s domain", "the domain of health_check cannot be read, it is missing"),
        ("health_check 0.5s domain example..org", "the domain of health_check cannot be read"),
        ("max_concurrent many", "cannot be read: write a whole number"),
        ("max_concurrent -4", "cannot be read: write a whole number"),
        ("next", "an argument is missing"),
        ("next INVALID", "'INVALID' is no response code"),
        ("next NXDOMAIN INVALID", "'INVALID' is no response code"),
        ("failover", "an argument is missing"),
        ("failover NOERROR", "'NOERROR' is no failure"),
        ("failover NOT_A_VALID_RCODE", "is no response code"),
        ("source_address", "an argument is missing"),
        ("source_address not-an-ip", "is no IP address"),
        ("resolver", "an argument is missing"),
        ("resolver dns.example.com", "is no address of a resolver"),
        ("resolver 10.0.0.1:0", "is no address of a resolver"),
        ("doh_method PUT", "write POST or GET"),
        ("doh_method get", "write POST or GET"),
        ("tls a b c d", "'d' is one argument too many"),
        ("tls_servername", "an argument is missing"),
    ],
)
def test_refused_options(refused, wrong: str, complaint: str) -> None:
    message, (line, _) = refused(f". {{\n forward . 127.0.0.1 {{\n  {wrong}\n }}\n}}")
    assert line == 3
    assert complaint in message


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("", "an argument is missing after 'forward'"),
        (".", "an argument is missing after '.'"),
        ("x" * 64 + " 127.0.0.1", "is not a zone"),
        ('"" 127.0.0.1', "FROM is empty"),
    ],
)
def test_refused_arguments(refused, arguments: str, complaint: str) -> None:
    message, (line, _) = refused(f". {{\n forward {arguments}\n}}")
    assert line == 2
    assert complaint in message


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("tls ca.pem", {"ca": "ca.pem"}),
        ("tls cert.pem key.pem", {"certificate": "cert.pem", "key": "key.pem"}),
        (
            "tls cert.pem key.pem ca.pem",
            {"certificate": "cert.pem", "key": "key.pem", "ca": "ca.pem"},
        ),
    ],
)
def test_files_for_tls(options, files: Path, written: str, expected: dict[str, str]) -> None:
    written = " ".join(f"{files}/{word}" if "." in word else word for word in written.split())
    found = options(". tls://127.0.0.1", written, "tls_servername dns.example")
    paths = {role: files / name for role, name in expected.items()}
    assert found.tls == Tls(**paths, server_name="dns.example")


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("tls none.pem", "none.pem cannot be read (No such file or directory)"),
        ("tls junk.pem", "junk.pem holds no certificate in PEM form"),
        ("tls cert.pem junk.pem", "are no certificate and its key in PEM form"),
        ("tls ca.pem key.pem ca.pem", "are no certificate and its key in PEM form"),
    ],
)
def test_bad_files_for_tls(refused, files: Path, written: str, complaint: str) -> None:
    written = " ".join(f"{files}/{word}" if "." in word else word for word in written.split())
    message, place = refused(f". {{\n forward . 127.0.0.1 {{\n{written}\n}}\n}}")
    assert place == (3, 5)
    assert complaint in message
    assert message.endswith("write tls, tls CA, tls CERT KEY or tls CERT KEY CA")


def test_two_server_names(refused, options) -> None:
    message, place = refused(
        ". {\n forward . tls://127.0.0.1%example.net:854 {\n  tls_servername foo\n }\n}"
    )
    assert place == (2, 12)
    assert "and tls_servername is 'foo' for all: take one of the two out" in message
    found = options(". https://127.0.0.1%example.net", "tls_servername foo")
    assert found.targets == (Target("https", "127.0.0.1", 443),)
    assert found.tls.server_name == "foo"


def test_equal_options_are_one_forwarder(planned, facilities) -> None:
    zones = [("a.", ". 10.0.0.1"), ("b.", ". 10.0.0.1:53"), ("c.", "c. 10.0.0.2")]
    planned("".join(f"{zone} {{\n forward {arguments}\n}}\n" for zone, arguments in zones))
    assert len(facilities.forwarders) == 2


def reply(rcode: str = "NOERROR", *, records: int = 1, failure: str = "") -> Reply:
    number = {"NOERROR": 0, "SERVFAIL": 2, "NXDOMAIN": 3, "REFUSED": 5}[rcode]
    answer = [RRset(b"\1a\0", codes.A, 60, [b"\n\0\0\1"])] if records and not number else []
    return Reply(rcode=number, answer=answer, failure=failure, lifetime=0)


class Block:
    """A server block with several `forward`, each to one upstream of its own."""

    def __init__(self, planned, facilities, corefile: str) -> None:
        self.made = planned(f". {{\n{corefile}\n whoami\n}}")
        self._forwarders = {
            options.targets[0].host: forwarder
            for options, forwarder in facilities.forwarders.items()
        }

    def says(self, host: str, name: str, said: Reply) -> None:
        self._forwarders[host].answers[name] = said

    def asked(self, name: str) -> list[str]:
        """Who is asked for a name, and `whoami` if it comes as far as that."""
        for forwarder in self._forwarders.values():
            forwarder.asked.clear()
        found = self.made.reply(name)
        who = [host for host, forwarder in self._forwarders.items() if forwarder.asked]
        return [*who, "whoami"] if found.plugin == "whoami" else who


@pytest.fixture
def block(planned, facilities):
    return lambda corefile: Block(planned, facilities, corefile)


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("lab.example.local", ["10.0.0.1"]),
        ("www.lab.example.local", ["10.0.0.1"]),
        ("www.example.local", ["10.0.0.2"]),
        ("WWW.Example.Local", ["10.0.0.2"]),
        ("notexample.local", ["10.0.0.3"]),
        ("local", ["10.0.0.3"]),
        ("www.inner.example.local", ["10.0.0.3"]),
        ("deep.www.inner.example.local", ["10.0.0.3"]),
        ("secret", ["whoami"]),
        ("www.secret", ["whoami"]),
        ("www.other.hidden", ["whoami"]),
        ("4.3.10.10.in-addr.arpa", ["10.0.0.4"]),
        ("4.4.11.10.in-addr.arpa", ["10.0.0.4"]),
        ("4.4.12.10.in-addr.arpa", ["10.0.0.3"]),
    ],
)
def test_who_is_asked(block, name: str, who: list[str]) -> None:
    made = block(
        """
        forward lab.example.local 10.0.0.1
        forward example.local 10.0.0.2 {
            except inner.example.local
        }
        forward 10.10.0.0/15 10.0.0.4
        forward . 10.0.0.3 {
            except secret other.hidden
            except 192.0.2.0/24
        }"""
    )
    assert made.asked(name) == who


@pytest.mark.parametrize(
    ("name", "who"),
    [("example.org", ["10.0.0.1"]), ("www.example.org", ["whoami"]), ("org", ["whoami"])],
)
def test_except_leaves_the_zones_own_name(block, name: str, who: list[str]) -> None:
    made = block("forward example.org 10.0.0.1 {\nexcept example.org\n}")
    assert made.asked(name) == who


NEXT = """
    forward . 10.0.0.1 {
        next NXDOMAIN SERVFAIL REFUSED
        next_on_nodata
    }
    forward example 10.0.0.2 {
        next NXDOMAIN
    }
    forward . 10.0.0.3 {
        next NXDOMAIN
    }"""


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize(
    ("name", "said", "who", "rcode"),
    [
        pytest.param("a.org", [reply()], 1, 0, id="an answer"),
        pytest.param("a.org", [reply("NXDOMAIN"), None, reply()], 3, 0, id="past who is not meant"),
        pytest.param("a.example", [reply("NXDOMAIN"), reply()], 2, 0, id="the next"),
        pytest.param("a.example", [reply("NXDOMAIN")] * 2 + [reply()], 3, 0, id="the last"),
        pytest.param("a.example", [reply("NXDOMAIN")] * 3, 3, 3, id="nobody knows"),
        pytest.param("a.example", [reply(records=0), reply()], 2, 0, id="no data"),
        pytest.param("a.example", [reply("REFUSED"), reply(records=0)], 2, 0, id="no data, final"),
        pytest.param("a.example", [reply("SERVFAIL", failure="f"), reply()], 2, 0, id="all dead"),
        pytest.param(
            "a.example", [reply("REFUSED", failure="max_concurrent")], 1, 5, id="too many"
        ),
    ],
)
async def test_the_next_forward(
    block, later: bool, name: str, said: list[Reply | None], who: int, rcode: int
) -> None:
    async def in_time(said: Reply) -> Reply:
        await asyncio.sleep(0)
        return said

    made = block(NEXT)
    for number, each in enumerate(said, 1):
        if each is not None:
            made.says(f"10.0.0.{number}", name, in_time(each) if later else each)
    found = made.made.reply(name)
    found = found if isinstance(found, Reply) else await found
    assert found.rcode == rcode
    asked = [host for host, forwarder in made._forwarders.items() if forwarder.asked]
    expected = [f"10.0.0.{n}" for n, each in enumerate(said, 1) if each is not None]
    assert asked == expected
    assert expected[-1] == f"10.0.0.{who}"


async def test_there_is_no_time_for_the_next_after_upstreams_that_are_silent(
    block, facilities
) -> None:
    async def slow() -> Reply:
        facilities.now += 4
        return reply("SERVFAIL", failure="no upstream answered")

    made = block(NEXT)
    made.says("10.0.0.1", "a.example", slow())
    found = await made.made.reply("a.example")
    assert found.failure == "no upstream answered"
    assert not made._forwarders["10.0.0.2"].asked


def test_next_is_nothing_without_another_forward(block) -> None:
    made = block("forward . 10.0.0.1 {\nnext NXDOMAIN\n}")
    made.says("10.0.0.1", "a.example", reply("NXDOMAIN"))
    assert made.made.reply("a.example").rcode == codes.NXDOMAIN


def test_where_it_leads_is_told(planned, facilities) -> None:
    seen = []
    original = forwards.setup

    def setup(directives, site):
        made = original(directives, site)
        seen.extend(site.forwardings)
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kdns.plugins.plan.ORDER", (("forward", setup),))
        planned(". {\n forward 10.0.0.0/15 10.0.0.1 {\n force_tcp\n }\n}")
    origins = [from_text(f"{n}.10.in-addr.arpa") for n in (0, 1)]
    assert [each.origin for each in seen] == origins
    assert {each.written for each in seen} == {"forward 10.0.0.0/15 10.0.0.1"}
    assert seen[0].forwarder in facilities.forwarders.values()


@pytest.mark.parametrize(
    ("error", "complaint"),
    [
        (None, ""),
        (Unresolved("10.0.0.9:53 did not answer in time", absent=False), ""),
        (
            Unresolved("10.0.0.9:53 says no such name", absent=True),
            "'tls://dns.example.com:8853' has no address (10.0.0.9:53 says no such name)",
        ),
    ],
    ids=["found", "nobody answers", "absent"],
)
async def test_a_name_is_looked_up_before_it_is_served(
    planned, monkeypatch: pytest.MonkeyPatch, error: Unresolved | None, complaint: str
) -> None:
    asked = []

    async def lookup(host, resolvers, loop):
        asked.append((host, resolvers))
        if error is not None:
            raise error
        return ("10.0.0.1",)

    monkeypatch.setattr(forwards, "lookup", lookup)
    made = planned(
        ". {\n forward . 10.0.0.1 tls://dns.example.com:8853 {\n  resolver 10.0.0.9\n }\n}"
    )
    (check,) = made.requests.checks
    if complaint:
        with pytest.raises(CorefileError) as refusal:
            await check()
        cure = "correct the name, or write an address"
        assert str(refusal.value) == f"Corefile:2:21: {complaint}: {cure}"
    else:
        await check()
    assert asked == [("dns.example.com", ("10.0.0.9:53",))]


async def test_a_look_up_that_takes_too_long_refuses_nothing(
    planned, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def lookup(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(forwards, "lookup", lookup)
    monkeypatch.setattr(forwards, "START_PATIENCE", 0.01)
    (check,) = planned(". {\n forward . dns.example.com\n}").requests.checks
    await check()
    expected = "upstream dns.example.com: nobody says in time what its address is"
    assert caplog.messages == [expected]
