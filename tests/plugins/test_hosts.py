"""The directive `hosts`: what it takes, what it reads, and what it answers.

Files and Corefiles like those of CoreDNS's plugin/hosts tests are among the cases.
"""

from __future__ import annotations

import asyncio
import logging
import os
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.dns import codes
from kdns.dns.names import from_text, to_text
from kdns.dns.reply import Reply
from kdns.facilities import Chores
from kdns.plugins.fallthrough import Fallthrough
from kdns.plugins.hosts import ENTRIES, RELOADED, Hosts
from kdns.plugins.hostsfile import MOST, HostsFile, HostTable, Scope

EVERYTHING = frozenset((b"\0",))

EXAMPLE = """
127.0.0.1 localhost localhost.domain
::1 localhost localhost.domain
10.0.0.1 example.org
::FFFF:10.0.0.2 example.com
10.0.0.3 fallthrough-example.org
1.2.3.4 aa.example.com
5.6.7.8 *.apps.example.com
reload 5s
timeout 3600
"""


def corefile(path, *lines, zones="", around="", block="."):
    inside = "\n".join(lines)
    return f"{block} {{\n hosts {path} {zones} {{\n{inside}\n}}\n{around}\n}}"


@pytest.fixture
def file(tmp_path):
    """file(text) -> the path of a hosts file with it."""

    def made(text):
        path = tmp_path / "hosts"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return made


def table(text, zones=EVERYTHING, *, reverse=True):
    made = HostTable(Scope(Path("hosts"), zones, reverse))
    made.take(text if isinstance(text, list) else text.encode().split(b"\n"))
    return made


def addresses(found, name):
    return [str(ip_address(packed)) for packed in found.addresses(from_text(name).lower())]


def pointers(found, address):
    reverse = from_text(ip_address(address).reverse_pointer)
    return [to_text(name) for name in found.pointers.get(reverse, [])]


# What a file says.

SEVERAL = """255.255.255.255\tbroadcasthost
\t127.0.0.2\todin
\t127.0.0.3\todin  # inline comment
\t::2             odin
\t127.1.1.1\tthor
\t# aliases
\t127.1.1.2\tullr ullrhost
\tfe80::1%lo0\tlocalhost
\t# Bogus entries that must be ignored.
\t123.123.123\tloki
\t321.321.321.321"""


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        (SEVERAL, "odin", ["127.0.0.2", "127.0.0.3", "::2"]),
        (SEVERAL, "thor", ["127.1.1.1"]),
        (SEVERAL, "ullr", ["127.1.1.2"]),
        (SEVERAL, "ullrhost", ["127.1.1.2"]),
        (SEVERAL, "localhost", ["fe80::1"]),
        (SEVERAL, "loki", []),
        ("127.0.0.2  odin", "odin", ["127.0.0.2"]),
        ("10.0.0.1 a\r\n10.0.0.2 b\r\n", "b", ["10.0.0.2"]),
        ("10.0.0.1 a\n10.0.0.1 a a\n", "a", ["10.0.0.1"]),
        ("127.0.0.1 PreserveMe PreserveMe.local", "preserveme.LOCAL", ["127.0.0.1"]),
        ("10.0.0.1 dotted.example.", "dotted.example", ["10.0.0.1"]),
        ("10.0.0.1 a.example#b.example", "a.example", ["10.0.0.1"]),
        ("10.0.0.1 Bücher.example", "xn--bcher-kva.example", ["10.0.0.1"]),
        ("10.0.0.1 BU\u0308CHER.example", "xn--bcher-kva.example", ["10.0.0.1"]),
        ("10.0.0.1 xn--bcher-kva.example", "XN--bcher-kva.example", ["10.0.0.1"]),
        (r"10.0.0.1 a\.b.example", r"a\.b.example", ["10.0.0.1"]),
        ("010.0.0.1 octal", "octal", []),
        ("fe80::1%eth0%1 twice", "twice", ["fe80::1"]),
        ("%eth0 nothing", "nothing", []),
        ("10.0.0.1 a..b good", "good", ["10.0.0.1"]),
        ("10.0.0.1 .", ".", []),
    ],
)
def test_addresses_of_a_name(text, name, expected) -> None:
    assert addresses(table(text), name) == expected


@pytest.mark.parametrize(
    ("text", "address", "expected"),
    [
        (SEVERAL, "255.255.255.255", ["broadcasthost."]),
        (SEVERAL, "127.0.0.3", ["odin."]),
        (SEVERAL, "::2", ["odin."]),
        (SEVERAL, "127.1.1.2", ["ullr.", "ullrhost."]),
        (SEVERAL, "fe80::1", ["localhost."]),
        ("::ffff:10.0.0.2 mapped", "10.0.0.2", ["mapped."]),
        ("5.6.7.8 *.apps.example.com", "5.6.7.8", []),
    ],
)
def test_names_of_an_address(text, address, expected) -> None:
    assert pointers(table(text), address) == expected
    assert pointers(table(text, reverse=False), address) == []


WILD = """
127.0.0.53 *.example.org
127.0.1.52 *.intern.example.org
127.0.0.54 foo.example.org
fd00::1 *.example.org
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("foo.example.org", ["127.0.0.54"]),
        ("bar.example.org", ["127.0.0.53", "fd00::1"]),
        ("*.example.org", ["127.0.0.53", "fd00::1"]),
        ("bar.intern.example.org", ["127.0.1.52"]),
        ("example.org", []),
        ("deep.foo.example.org", []),
        ("org", []),
        (".", []),
    ],
)
def test_wildcards(name, expected) -> None:
    assert addresses(table(WILD), name) == expected


@pytest.mark.parametrize(
    ("text", "left_out", "first"),
    [
        ("", 0, 0),
        ("# only\n\n   # comments", 0, 0),
        (SEVERAL, 2, 10),
        (EXAMPLE, 2, 9),
        ("10.0.0.1 " + "a" * 64, 1, 1),
        ("10.0.0.1 " + ".".join(["a" * 63] * 4), 1, 1),
        ("10.0.0.1 a\n10.0.0.1 \\999", 1, 2),
        (b"10.0.0.1 \xff\xfe".decode("latin-1"), 0, 0),
        ([b"10.0.0.1 \xff\xfe"], 1, 1),
        ([b"\xff\xfe 10.0.0.1"], 1, 1),
    ],
)
def test_lines_that_are_left_out(text, left_out, first) -> None:
    found = table(text)
    assert (found.left_out, found.first_left_out) == (left_out, first)


@pytest.mark.parametrize(
    ("zones", "held"),
    [
        (EVERYTHING, ["a.example.org.", "b.example.net."]),
        (frozenset((from_text("example.org"),)), ["a.example.org."]),
        (frozenset((from_text("org"), from_text("net"))), ["a.example.org.", "b.example.net."]),
        (frozenset((from_text("a.org"),)), []),
    ],
)
def test_names_beyond_the_zones_are_not_there(zones, held) -> None:
    found = table("10.0.0.1 a.example.org b.example.net", zones)
    assert [to_text(name) for name in found.names] == held
    assert pointers(found, "10.0.0.1") == held


def test_one_name_and_one_address_take_no_more_than_a_message_holds() -> None:
    lines = [f"10.{n >> 8}.{n & 255}.1 name".encode() for n in range(MOST + 10)]
    lines += [f"10.255.255.255 n{n}".encode() for n in range(MOST + 10)]
    found = table(lines)
    assert len(found.addresses(b"\4name\0")) == MOST
    assert len(pointers(found, "10.255.255.255")) == MOST


@given(st.binary(max_size=400))
def test_reading_never_fails(data) -> None:
    found = HostTable(Scope(Path("hosts"), EVERYTHING))
    found.take(data.split(b"\n"))
    assert all(len(name) <= 255 and name[-1] == 0 for name in found.names)


LINE = st.lists(
    st.sampled_from(["10.0.0.1", "::1", "fe80::1%lo", "a.b", "*.b", "*", "ü.b", "\\.", "a\\", "#"]),
    max_size=4,
).map(" ".join)


@given(st.lists(LINE, max_size=6))
def test_names_are_well_formed(lines) -> None:
    found = table("\n".join(lines))
    for name in (*found.names, *found.wildcards):
        assert from_text(to_text(name)) == name
    assert found.left_out <= len(lines)


# What is answered.


@pytest.mark.parametrize(
    ("name", "qtype", "expected"),
    [
        ("example.org.", "A", ["example.org. 3600 IN A 10.0.0.1"]),
        ("EXAMPLE.org.", "A", ["EXAMPLE.org. 3600 IN A 10.0.0.1"]),
        ("example.com.", "A", ["example.com. 3600 IN A 10.0.0.2"]),
        ("localhost.", "AAAA", ["localhost. 3600 IN AAAA ::1"]),
        ("localhost.", "ANY", ["localhost. 3600 IN A 127.0.0.1"]),
        ("apps.example.com.", "A", None),
        ("x.apps.example.com.", "A", ["x.apps.example.com. 3600 IN A 5.6.7.8"]),
        (
            "1.0.0.10.in-addr.arpa.",
            "PTR",
            ["1.0.0.10.in-addr.arpa. 3600 IN PTR example.org."],
        ),
        (
            "1.0.0.127.in-addr.arpa.",
            "PTR",
            [
                "1.0.0.127.in-addr.arpa. 3600 IN PTR localhost.",
                "1.0.0.127.in-addr.arpa. 3600 IN PTR localhost.domain.",
            ],
        ),
        ("example.org.", "AAAA", []),
        ("example.org.", "MX", []),
        ("x.apps.example.com.", "AAAA", []),
        ("missing.example.org.", "A", None),
        ("missing.example.org.", "TXT", None),
    ],
)
def test_answers(planned, file, name, qtype, expected) -> None:
    made = planned(corefile(file(EXAMPLE)))
    rcode, answer, _ = made.ask(name, qtype)
    assert (rcode, answer) == ("SERVFAIL" if expected is None else "NOERROR", expected or [])
    reply = made.reply(name, qtype)
    assert reply.plugin == "hosts"
    assert reply.authority == []
    assert reply.authoritative == (expected is not None)
    assert reply.lifetime == (0 if expected is None else None)
    assert (reply.extended_error is None) == (expected is not None)


@pytest.mark.parametrize(
    ("lines", "zones", "name", "qtype", "falls"),
    [
        ([], "", "missing.org.", "A", False),
        (["fallthrough"], "", "missing.org.", "A", True),
        (["fallthrough"], "", "example.org.", "AAAA", False),
        (["fallthrough"], "", "example.org.", "TXT", False),
        (["fallthrough example.net"], "", "missing.org.", "A", False),
        (["fallthrough org"], "", "missing.org.", "A", True),
        (["fallthrough in-addr.arpa"], "", "missing.org.", "A", False),
        ([], "example.org", "example.net.", "A", True),
        ([], "example.org", "missing.example.org.", "A", False),
        ([], "", "9.9.9.9.in-addr.arpa.", "PTR", True),
        ([], "", "9.9.9.9.in-addr.arpa.", "A", False),
        ([], "", "example.org.", "PTR", True),
        ([], "example.org", "1.0.0.10.in-addr.arpa.", "PTR", False),
        (["no_reverse"], "", "1.0.0.10.in-addr.arpa.", "PTR", True),
        (["fallthrough", "fallthrough_unsupported"], "", "example.org.", "TXT", True),
        (["fallthrough", "fallthrough_unsupported"], "", "example.org.", "AAAA", False),
        (["fallthrough", "fallthrough_unsupported"], "", "missing.org.", "A", True),
        (["fallthrough_unsupported", "fallthrough example.net"], "", "example.org.", "TXT", False),
    ],
)
def test_what_goes_on(planned, file, lines, zones, name, qtype, falls) -> None:
    made = planned(corefile(file(EXAMPLE), *lines, zones=zones, around="whoami"))
    assert (made.reply(name, qtype).plugin == "whoami") == falls


def test_ttl_zones_of_the_block_and_lines_beside_the_file(planned, file) -> None:
    path = file("10.0.0.1 a.example.org b.example.net")
    made = planned(
        corefile(path, "ttl 60", "10.0.0.2 A.example.org c.example.org", block="example.org")
    )
    assert made.ask("a.example.org.")[1] == [
        "a.example.org. 60 IN A 10.0.0.1",
        "a.example.org. 60 IN A 10.0.0.2",
    ]
    assert made.ask("c.example.org.")[1] == ["c.example.org. 60 IN A 10.0.0.2"]


def test_an_entry_of_either_kind_hides_a_wildcard(planned, file) -> None:
    made = planned(corefile(file("10.0.0.1 *.example.org"), "10.0.0.2 a.example.org"))
    assert made.ask("a.example.org.")[1] == ["a.example.org. 3600 IN A 10.0.0.2"]


# The directive.


@pytest.mark.parametrize(
    "text",
    [
        ". {\n hosts\n}",
        ". {\n hosts /tmp\n}",
        ". {\n hosts /etc/hosts miek.nl.\n}",
        ". {\n hosts /etc/hosts miek.nl. pun.gent.\n}",
        ". {\n hosts {\n fallthrough\n }\n}",
        ". {\n hosts /etc/hosts miek.nl 10.0.0.9/8 {\n fallthrough\n }\n}",
        ". {\n hosts none example.org {\n 10.0.0.1 example.org\n fallthrough\n }\n}",
        ". {\n hosts none example.org {\n 10.0.0.1 example.org\n }\n}",
        ". {\n hosts {\n fallthrough\n fallthrough_unsupported\n }\n}",
        ". {\n hosts {\n fallthrough_unsupported\n fallthrough example.org\n }\n}",
        ". {\n hosts none {\n reload 0s\n ttl 65535\n no_reverse\n fallthrough\n }\n}",
        ". {\n hosts none {\n this is no entry\n }\n}",
    ],
)
def test_taken(planned, text) -> None:
    assert planned(text).requests.chores


@pytest.mark.parametrize(
    ("lines", "says", "place"),
    [
        (["fallthrough", "10.0.0.1 example.org"], "'10.0.0.1' stands below fallthrough", (4, 1)),
        (["fallthrough_unsupported"], "adds types to fallthrough, which is not there", (2, 2)),
        (["fallthrough", "fallthrough_unsupported a"], "one argument too many", (4, 25)),
        (["ttl 0"], "a whole number from 1 to 65535", (3, 5)),
        (["ttl 65536"], "a whole number from 1 to 65535", (3, 5)),
        (["ttl"], "an argument is missing", (3, 1)),
        (["ttl x"], "'x' cannot be read", (3, 5)),
        (["reload"], "an argument is missing", (3, 1)),
        (["reload -1s"], "'-1s' cannot be read", (3, 8)),
        (["reload soon"], "'soon' cannot be read", (3, 8)),
        (["10.0.0.1 a {", "}"], "takes no braces", (3, 1)),
    ],
)
def test_refused(refused, lines, says, place) -> None:
    message, found = refused(corefile("none", *lines))
    assert says in message
    assert found == place


def test_written_once(refused) -> None:
    message, _ = refused(". {\n hosts a\n hosts b\n}")
    assert "hosts is written twice" in message


# The file as it changes.


@pytest.fixture
def watched(file):
    """watched(text) -> a file that was read, with its `path` and `write(text)`."""

    class Watched(HostsFile):
        def __init__(self, text):
            self.path = file(text)
            self.time = 1_000_000_000
            self.write(text)
            super().__init__(Scope(self.path, EVERYTHING, inline=(b"10.9.9.9 inline",)))
            self.load()

        def write(self, text):
            file(text)
            self.time += 1_000_000_000
            os.utime(self.path, ns=(self.time, self.time))

        def of(self, name):
            return addresses(self.table, name)

    return Watched


async def test_a_changed_file_is_read_again(watched) -> None:
    found = watched("10.0.0.1 a")
    assert (found.of("a"), found.of("inline"), found.modified) == (["10.0.0.1"], ["10.9.9.9"], 2)
    assert not await found.refresh()
    found.write("10.0.0.2 a")
    assert await found.refresh()
    assert (found.of("a"), found.of("inline"), found.modified) == (["10.0.0.2"], ["10.9.9.9"], 3)
    assert not await found.refresh()
    found.write("")
    assert await found.refresh()
    assert (found.of("a"), found.of("inline")) == ([], ["10.9.9.9"])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "hosts: No such file or directory: hosts goes on with"),
        (lambda path: (path.unlink(), path.mkdir()), "hosts: this is a folder: hosts goes on"),
        (
            lambda path: (path.unlink(), os.mkfifo(path)),
            "hosts: this is no ordinary file: hosts goes on",
        ),
        (
            lambda path: (path.unlink(), path.symlink_to(path)),
            "hosts: Too many levels of symbolic links",
        ),
        (
            lambda path: path.write_text("<html>\nnot found\n</html>"),
            "as in 10.0.0.1 db.example.org db; there is no other line, and hosts goes on with",
        ),
    ],
    ids=["gone", "a folder", "a pipe", "a circle", "something else"],
)
async def test_a_broken_file_keeps_what_was_there(watched, caplog, spoil, says) -> None:
    found = watched("10.0.0.1 a")
    spoil(found.path)
    for _ in range(3):
        assert not await found.refresh()
    assert found.of("a") == ["10.0.0.1"]
    (record,) = caplog.records
    assert says in record.getMessage()
    if found.path.is_dir():
        found.path.rmdir()
    else:
        found.path.unlink(missing_ok=True)
    found.write("10.0.0.3 a")
    assert await found.refresh()
    assert found.of("a") == ["10.0.0.3"]
    assert len(caplog.records) == 1
    spoil(found.path)
    await found.refresh()
    assert len(caplog.records) == 2


async def test_a_file_that_comes_later(tmp_path, caplog) -> None:
    path = tmp_path / "hosts"
    found = HostsFile(Scope(path, EVERYTHING, inline=(b"10.9.9.9 inline",)))
    found.load()
    found.say()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert addresses(found.table, "inline") == ["10.9.9.9"]
    path.write_text("10.0.0.1 a")
    assert await found.refresh()
    assert addresses(found.table, "a") == ["10.0.0.1"]


async def test_lines_left_out_are_said_once_for_each_content(watched, caplog) -> None:
    found = watched("10.0.0.1 a\nnonsense\n10.0.0.2")
    found.say()
    found.say()
    await found.refresh()
    (record,) = caplog.records
    assert "hosts:2: 2 lines are left out, this being the first" in record.getMessage()
    found.write("10.0.0.1 a\nnonsense")
    await found.refresh()
    assert "hosts:2: 1 line is left out" in caplog.records[-1].getMessage()


async def test_a_large_file_is_read_in_slices(watched) -> None:
    found = watched("10.0.0.1 a")
    found.write("\n".join(f"10.0.{n >> 8}.{n & 255} n{n}" for n in range(5_000)))
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    assert await found.refresh()
    task.cancel()
    assert turns >= 5_000 // 100
    assert found.of("n4999") == ["10.0.19.135"]


def test_a_file_that_was_read_is_shared(file) -> None:
    scope = Scope(file("10.0.0.1 a"), EVERYTHING)
    first, second, other = (
        HostsFile(scope),
        HostsFile(scope),
        HostsFile(scope._replace(reverse=False)),
    )
    for each in (first, second, other):
        each.load()
    assert first.table is second.table
    assert first.table is not other.table


async def test_the_chore_forgets_answers(planned, facilities, file, monkeypatch, caplog) -> None:
    path = file("10.0.0.1 a")
    made = planned(corefile(path, "nonsense", "reload 1ms"))
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 1:
            path.write_text("10.0.0.22 a")
        elif len(slept) == 3:
            raise TimeoutError

    monkeypatch.setattr("kdns.plugins.hosts.asyncio", type("Clock", (), {"sleep": sleep}))
    chore, _ = made.requests.chores
    with pytest.raises(TimeoutError):
        await chore()
    assert slept == [0.1, 0.1, 0.1]
    assert facilities.forgotten == 1
    assert made.ask("a.")[1] == ["a. 3600 IN A 10.0.0.22"]
    assert "Corefile:3:1: this is neither a property of hosts nor an entry" in caplog.text


async def test_without_reload_nobody_looks_again(planned, file) -> None:
    chore, _ = planned(corefile(file("10.0.0.1 a"), "reload 0")).requests.chores
    await chore()


async def test_a_file_that_is_no_longer_read_has_no_entries(planned, facilities, file) -> None:
    made = planned(corefile(file("10.0.0.1 a")))
    for gauge in made.requests.gauges:
        gauge()
    assert [family.name for family, _, _ in facilities.series.counts()]
    chores = Chores()
    await chores.replace(made.requests.chores)
    await asyncio.sleep(0)
    await chores.replace(())
    assert [family.name for family, _, _ in facilities.series.counts()] == []


def test_metrics(planned, facilities, file) -> None:
    path = file("10.0.0.1 a b\n10.0.0.2 *.c\n")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    made = planned(corefile(path, "10.0.0.3 d"))
    for gauge in made.requests.gauges:
        gauge()
    assert facilities.series.count(ENTRIES, str(path)).value == 7
    assert facilities.series.count(RELOADED).value == 1_700_000_000


# Beside a cluster.

K3S = """
    kubernetes cluster.local in-addr.arpa {{ manifests m
        fallthrough in-addr.arpa
    }}
    hosts {path} {zones} {{
        {lines}
    }}
"""
MISSING = "no.default.svc.cluster.local."


@pytest.mark.parametrize(
    ("lines", "zones", "name", "denied"),
    [
        ("fallthrough", "", "nothing.default.svc.cluster.local.", True),
        ("fallthrough", "", "node.default.svc.cluster.local.", False),
        ("fallthrough", "", "x.wild.svc.cluster.local.", False),
        ("fallthrough", "example.org", "nothing.default.svc.cluster.local.", True),
        ("fallthrough", "svc.cluster.local", "nothing.default.svc.cluster.local.", True),
        ("fallthrough default.svc.cluster.local", "", "other.default.svc.cluster.local.", True),
        ("fallthrough default.svc.cluster.local", "", "other.else.svc.cluster.local.", False),
        ("", "else.svc.cluster.local", "other.else.svc.cluster.local.", False),
        ("", "else.svc.cluster.local", "other.default.svc.cluster.local.", True),
    ],
)
def test_a_zone_speaks_for_all_missing_names_but_those_of_hosts(
    planned, fill, file, lines, zones, name, denied
) -> None:
    path = file("10.0.0.1 node.default.svc.cluster.local\n10.0.0.2 *.wild.svc.cluster.local")
    made = planned(f". {{{K3S.format(path=path, lines=lines, zones=zones)}}}")
    fill(made.store, "web.default=10.96.0.1")
    reply = made.reply(MISSING)
    assert (reply.rcode, reply.plugin) == (codes.NXDOMAIN, "kubernetes")
    assert reply.denial is not None
    assert reply.denial.origin == from_text("cluster.local")
    assert reply.denial.denies(from_text(name)) == denied
    web = made.ask("web.default.svc.cluster.local.")[1]
    assert web == (["web.default.svc.cluster.local. 5 IN A 10.96.0.1"])


def test_what_is_denied_is_what_the_table_lacks_now(planned, fill, file) -> None:
    path = file("10.0.0.1 node")
    found = HostsFile(Scope(path, EVERYTHING))
    found.load()

    class Everything:
        origin = b"\0"

        def denies(self, name):
            return True

    hosts = Hosts(found, fallthrough=Fallthrough(EVERYTHING))
    reply = hosts._guarded(Reply(rcode=3, denial=Everything()))
    assert reply.denial.denies(b"\1x\0")
    assert not reply.denial.denies(b"\4node\0")
    assert not reply.denial.denies(from_text("1.0.0.10.in-addr.arpa"))
    path.write_text("10.0.0.11 x")
    found.load()
    assert not reply.denial.denies(b"\1x\0")
    assert reply.denial.denies(b"\4node\0")
