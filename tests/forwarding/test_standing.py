"""What is thought of an upstream, and for how long."""

from __future__ import annotations

import pytest

from kdns.forwarding.hedging import SHARE, HedgeBudget
from kdns.forwarding.latency import Latency
from kdns.forwarding.policy import order
from kdns.forwarding.standing import Rank, Standing

GOOD, SHUNNED, SUSPECT, DOWN = Rank.GOOD, Rank.SHUNNED, Rank.SUSPECT, Rank.DOWN


def after(events: str, max_fails: int = 2) -> Standing:
    """Events at 0 s: a(nswer), b(ad answer), m(iss), p(robe failed)."""
    standing = Standing(max_fails)
    for event in events:
        match event:
            case "a":
                standing.heard()
            case "b":
                standing.heard()
                standing.bad(0.0)
            case "m":
                standing.missed(0.0)
            case "p":
                standing.failed_probe(0.0)
    return standing


@pytest.mark.parametrize(
    ("events", "max_fails", "rank", "mute"),
    [
        ("", 2, GOOD, False),
        ("a", 2, GOOD, False),
        ("m", 2, SUSPECT, False),
        ("ma", 2, GOOD, False),
        ("mpp", 2, SUSPECT, False),
        ("mppp", 2, DOWN, True),
        ("mpppa", 2, GOOD, False),
        ("mp", 1, SUSPECT, False),
        ("mpp", 1, DOWN, True),
        ("mppppppp", 0, SUSPECT, False),
        ("m" * 7, 0, SUSPECT, False),
        ("m" * 8, 0, SUSPECT, True),
        ("m" * 8 + "a", 0, GOOD, False),
        ("bbbb", 2, GOOD, False),
        ("bbbbb", 2, SHUNNED, False),
        ("a" * 20 + "b" * 5, 2, GOOD, False),
        ("a" * 20 + "b" * 10, 2, SHUNNED, False),
        ("bbbbbm", 2, SUSPECT, False),
    ],
)
def test_rank(events, max_fails, rank, mute):
    standing = after(events, max_fails)
    assert (standing.rank(0.1), standing.mute) == (rank, mute)


@pytest.mark.parametrize(
    ("events", "seconds"),
    [("m", 2.0), ("mmm", 6.0), ("m" * 100, 30.0), ("bbbbb", 5.0)],
)
def test_a_bad_rank_passes(events, seconds):
    standing = after(events)
    assert standing.rank(seconds - 0.1) is not GOOD
    assert standing.rank(seconds) is GOOD


def test_down_does_not_pass_by_itself():
    assert after("mppp").rank(1e6) is DOWN


def test_bad_answers_are_forgotten():
    standing = after("bbbb")
    assert not standing.bad(60.0)
    assert standing.rank(60.0) is GOOD


@pytest.mark.parametrize(
    ("took", "hedge", "loss"),
    [
        ([], 0.2, 0.5),
        ([0.0005] * 20, 0.01, 0.4),
        ([0.1] * 50, pytest.approx(0.1, abs=0.01), pytest.approx(0.4, abs=0.001)),
        ([0.3] * 50, pytest.approx(0.3, abs=0.01), pytest.approx(0.9, abs=0.01)),
        ([5.0] * 50, 1.0, 1.0),
        ([0.001] * 50 + [0.2], pytest.approx(0.226, abs=0.01), pytest.approx(0.68, abs=0.01)),
    ],
    ids=["unknown", "near", "steady", "far", "slow", "one late"],
)
def test_late_by_its_own_history(took, hedge, loss):
    latency = Latency()
    for seconds in took:
        latency.took(seconds)
    assert (latency.hedge, latency.loss) == (hedge, loss)


def test_hedges_are_a_share():
    budget = HedgeBudget()
    spent = 0
    for _ in range(1000):
        budget.earn()
        spent += budget.spend()
    assert 1000 * SHARE <= spent <= 1000 * SHARE + 10


def test_unused_hedges_do_not_pile_up():
    budget = HedgeBudget()
    for _ in range(10_000):
        budget.earn()
    assert sum(budget.spend() for _ in range(100)) <= 11


@pytest.mark.parametrize(
    ("policy", "chances", "firsts"),
    [
        ("sequential", [], "aaaaaa"),
        ("round_robin", [], "abcabc"),
        ("random", [0.0, 0.99, 0.5, 0.34, 0.7, 0.1], "acbbca"),
    ],
)
def test_policies(policy, chances, firsts):
    each = iter(chances)
    by = order(policy, lambda: next(each))
    assert "".join(by.first("abc") for _ in firsts) == firsts


@pytest.mark.parametrize("policy", ["random", "round_robin", "sequential"])
def test_an_order_has_all_of_them_once(policy):
    by = order(policy)
    by.first("abc")
    assert sorted(by.all("abc")) == ["a", "b", "c"]
    assert by.all("") == []


def test_who_is_next_in_a_round_is_asked_next():
    by = order("round_robin")
    assert by.first("abc") == "a"
    assert by.all("abc") == ["b", "c", "a"]
