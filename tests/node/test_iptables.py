"""Rules of iptables, against a table in memory."""

from __future__ import annotations

import os

import pytest

from kdns.node import rules
from kdns.node.iptables import Iptables, arguments, run_program
from kdns.node.rules import Locked, Rule

IPV4 = rules.serving("10.96.0.10", 53, 8080)
IPV6 = rules.serving("fd00:96::10", 53, 8080)


class Tables:
    """What iptables does with its -C, -I and -D."""

    def __init__(self):
        self.there = []
        self.changes = []
        self.code = None
        self.said = "no"

    def __call__(self, words):
        program, wait, seconds, _, table, command, *rule = words
        assert (wait, seconds) == ("-w", "5")
        if self.code is not None:
            return self.code, self.said
        key = (program, table, *rule)
        if command == "-C":
            return int(key not in self.there), ""
        self.changes.append(command)
        if command == "-I":
            self.there.insert(0, key)
        elif key in self.there:
            self.there.remove(key)
        else:
            return 1, "Bad rule (does a matching rule exist in that chain?)."
        return 0, ""


@pytest.fixture
def tables():
    return Tables()


def _key(rule):
    program = "ip6tables" if ":" in rule.source + rule.destination else "iptables"
    return (program, rule.table, rule.chain, *arguments(rule))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            IPV4[0],
            (
                "-p tcp -d 10.96.0.10 --dport 53 -j NOTRACK "
                "-m comment --comment NodeLocal DNS Cache: skip conntrack"
            ),
        ),
        (
            IPV6[7],
            (
                "-p udp -s fd00:96::10 --sport 53 -j ACCEPT "
                "-m comment --comment NodeLocal DNS Cache: allow DNS traffic"
            ),
        ),
        (
            rules.serving_while_listening("10.96.0.10", 53)[1],
            (
                "-p udp -d 10.96.0.10 --dport 53 -m socket --nowildcard -j NOTRACK "
                "-m comment --comment NodeLocal DNS Cache: skip conntrack"
            ),
        ),
        (
            rules.waiting("10.96.0.10", 53)[0],
            (
                "-p tcp -d 10.96.0.10 --dport 53 -m mark --mark 0x35 -j NOTRACK "
                "-m comment --comment NodeLocal DNS Cache: skip conntrack"
            ),
        ),
    ],
    ids=["notrack", "accept", "socket", "probe"],
)
def test_words(rule, words):
    assert " ".join(arguments(rule)) == words


def test_rules_are_added_once_and_removed(tables):
    backend = Iptables((), tables)
    backend.try_out(IPV4)
    assert tables.there == []
    backend.hold((*IPV4, *IPV6))
    backend.hold((*IPV4, *IPV6))
    assert sorted(tables.there) == sorted(map(_key, (*IPV4, *IPV6)))
    backend.hold(IPV6)
    assert sorted(tables.there) == sorted(map(_key, IPV6))
    backend.remove()
    assert tables.there == []


def test_rules_of_others_stay(tables):
    other = ("iptables", "raw", "PREROUTING", "-j", "LOG")
    tables.there.append(other)
    backend = Iptables((), tables)
    backend.hold(IPV4)
    backend.remove()
    assert tables.there == [other]


def test_rules_that_were_left_and_their_copies_go(tables):
    tables.there = [_key(each) for each in IPV4] * 3
    Iptables(IPV4, tables).hold(())
    assert tables.there == []


def test_rules_that_lack_come_back(tables):
    backend = Iptables((), tables)
    backend.hold(IPV4)
    tables.there.remove(_key(IPV4[3]))
    del tables.changes[:]
    backend.mend()
    assert tables.changes == ["-I"]
    assert _key(IPV4[3]) in tables.there


def test_what_sends_queries_here_goes_first(tables):
    backend = Iptables((), tables)
    backend.hold((*IPV4, *IPV6))
    seen = []

    def watching(words):
        seen.append(words[6])
        return tables(words)

    backend._run = watching
    backend.remove()
    assert seen[:4] == ["PREROUTING"] * 4


@pytest.mark.parametrize(
    ("code", "said", "raised"),
    [
        (4, "Another app is currently holding the xtables lock. Stopped waiting after 5s.", Locked),
        (4, "Could not fetch rule set generation id: Permission denied", OSError),
        (2, "unknown option", OSError),
    ],
    ids=["lock", "rights", "usage"],
)
def test_failures(tables, code, said, raised):
    backend = Iptables((), tables)
    tables.code, tables.said = code, said
    with pytest.raises(OSError, match=f"iptables: {said}") as caught:
        backend.hold(IPV4)
    assert type(caught.value) is raised


def test_what_could_not_be_removed_is_removed_later(tables):
    backend = Iptables((), tables)
    backend.hold((*IPV4, *IPV6))
    tables.code, tables.said = 4, "Another app is currently holding the xtables lock."
    with pytest.raises(Locked):
        backend.hold(IPV6)
    tables.code = None
    backend.mend()
    assert sorted(tables.there) == sorted(map(_key, IPV6))


def test_failure_of_one_program_leaves_the_other_working(tables):
    def no_ipv6(words):
        return (3, "no such table") if words[0] == "ip6tables" else tables(words)

    backend = Iptables((), no_ipv6)
    with pytest.raises(OSError, match="ip6tables: no such table"):
        backend.hold((*IPV6, *IPV4))
    assert sorted(tables.there) == sorted(map(_key, IPV4))


def test_programs(tmp_path, monkeypatch):
    program = tmp_path / "iptables"
    program.write_text("#!/bin/sh\necho the lock is held >&2\nexit 4\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert run_program(["iptables", "-w"]) == (4, "the lock is held")
    with pytest.raises(OSError, match="no-such-program is not installed"):
        run_program(["no-such-program"])


def test_program_that_does_not_end_is_killed(tmp_path, monkeypatch):
    program = tmp_path / "iptables"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("kdns.node.iptables._PATIENCE", 0.05)
    assert run_program(["iptables"]) == (-9, "(killed: it did not end)")


def test_rules_are_values():
    assert len({*IPV4, *rules.serving("10.96.0.10", 53, 8080)}) == 12
    assert Rule("raw", "OUTPUT", "udp").comment == "NodeLocal DNS Cache: skip conntrack"
