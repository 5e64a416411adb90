"""Choice of a backend, and what its failures come to."""

from __future__ import annotations

import errno

import pytest

from kdns.node import packetfilter
from kdns.node.journal import Journal
from kdns.node.packetfilter import PacketFilter
from kdns.node.rules import Locked
from kdns.node.settings import Settings


class Backend:
    """Holds what it is told to, unless it is `unfit` or `fails`."""

    def __init__(self, shared, unfit):
        self.shared = shared
        self.unfit = unfit
        self.held = None
        self.fails = None

    def try_out(self, rules):
        assert rules
        if self.unfit:
            raise (Locked if self.unfit == errno.EAGAIN else OSError)(self.unfit, "no such thing")

    def hold(self, rules):
        if self.fails:
            raise self.fails
        self.held = rules

    def mend(self):
        self.hold("mended")

    def remove(self):
        self.hold(None)

    def close(self):
        pass


class Marks:
    def __init__(self):
        self.others = False

    def hold(self, share):
        assert share == "rules"

    def release(self, share):
        return not self.others


@pytest.fixture
def backends(monkeypatch):
    """What was made, by whether it is nft; `unfit` says with which errno a kind is refused."""
    made, unfit = [], {}

    def nft(interface, listening=False):
        made.append(Backend(listening, unfit.get("nft-socket" if listening else "nft")))
        return made[-1]

    def iptables(left):
        # The second of two that are tried is that of the exact rules.
        kind = "iptables" if any(each.shared for each in made) else "iptables-socket"
        made.append(Backend(True, unfit.get(kind)))
        return made[-1]

    monkeypatch.setattr(packetfilter, "Nftables", nft)
    monkeypatch.setattr("kdns.node.iptables.Iptables", iptables)
    return made, unfit


def _filter(**settings):
    lines = []
    journal = Journal(lines.append)
    marks = Marks()
    made = PacketFilter(Settings(("10.96.0.10", "169.254.20.10"), **settings), marks, journal)
    made.open()
    return made, marks, journal, lines


@pytest.mark.parametrize(
    ("unfit", "kind"),
    [
        ({}, "nft"),
        ({"nft": errno.EOPNOTSUPP}, "iptables-socket"),
        ({"nft": errno.EOPNOTSUPP, "iptables-socket": errno.EIO}, "iptables"),
    ],
    ids=["all", "no owners", "no socket match"],
)
def test_automatic_choice(backends, unfit, kind):
    backends[1].update(unfit)
    made, _, journal, lines = _filter()
    assert made.kind == kind
    assert not any(journal.setup_errors.values())
    assert len(lines) == bool(unfit)


def test_nothing_can_be_had(backends):
    backends[1].update({"nft": errno.EPERM})
    made, _, journal, lines = _filter(filter="nft")
    made.serve(["10.96.0.10"])
    made.mend()
    made.close()
    assert made.kind == "none"
    assert journal.setup_errors["iptables"] == 1
    assert lines == [
        (
            "[ERROR] cannot have nft rules: no such thing: "
            "give the container NET_ADMIN, or say -setupiptables=false\n"
        )
    ]


def test_addresses_that_wait_get_the_probe_through_alone(backends):
    made, *_ = _filter()
    backend = backends[0][0]
    assert all(rule.probing or rule.source == rule.destination for rule in backend.held)
    made.serve(["10.96.0.10"])
    served = [rule for rule in backend.held if "10.96.0.10" in (rule.source, rule.destination)]
    assert len(served) == 12
    assert len(backend.held) == 12 + 4
    made.close()
    assert backend.held is None


def test_shared_rules_are_left_to_others(backends):
    made, marks, *_ = _filter(filter="iptables-socket")
    backend = backends[0][0]
    made.serve(["10.96.0.10"])
    held = backend.held
    marks.others = True
    made.serve([])
    made.close()
    assert backend.held == held


@pytest.mark.parametrize(
    ("error", "kind"),
    [(Locked(errno.EAGAIN, "held"), "iptables_lock"), (OSError(errno.ENOMEM, "no"), "iptables")],
    ids=["lock", "memory"],
)
def test_failures_are_counted(backends, error, kind):
    made, _, journal, lines = _filter()
    backends[0][0].fails = error
    made.serve(["10.96.0.10"])
    assert journal.setup_errors[kind] == 1
    assert lines == [f"[ERROR] cannot change the rules: {error.strerror}\n"]
    assert made.owing
    made.mend()
    assert made.owing
    backends[0][0].fails = None
    made.mend()
    assert not made.owing
    assert backends[0][0].held == "mended"


def test_lock_at_the_start_says_nothing_of_the_backend(backends):
    backends[1].update({"iptables-socket": errno.EAGAIN})
    made, _, journal, _ = _filter(filter="iptables-socket")
    assert made.kind == "iptables-socket"
    assert journal.setup_errors["iptables_lock"] == 1


def test_lock_at_the_end_is_waited_for(backends):
    made, _, journal, _ = _filter()
    backend = backends[0][0]
    backend.fails = Locked(errno.EAGAIN, "held")
    attempts = []
    hold = backend.hold

    def second_time(rules):
        attempts.append(rules)
        if len(attempts) == 2:
            backend.fails = None
        hold(rules)

    backend.hold = second_time
    made.close()
    assert backend.held is None
    assert journal.setup_errors["iptables_lock"] == 1
