from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kdns.records.holders import Holders

STEPS = st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.integers(0, 14)), max_size=80)


@given(STEPS)
def test_holders_are_an_ordered_set_for_each_token(steps):
    """Each step takes the token up, or gives it back where it was held."""
    holders: Holders[int] = Holders()
    model: dict[bytes, list[int]] = {}
    for token, holder in steps:
        held = model.setdefault(token, [])
        if holder in held:
            held.remove(holder)
            assert holders.remove(token, holder) == (not held)
        else:
            assert holders.add(token, holder) == (not held)
            held.append(holder)
        assert list(holders.get(token)) == held
        assert (token in holders) == bool(held)
        assert set(holders) == {each for each, held in model.items() if held}
        assert len(holders) == len(set(holders))


def test_many_holders_leave_one_by_one():
    """Through every way in which they are stored."""
    holders: Holders[int] = Holders()
    left = list(range(30))
    for number in left:
        holders.add(b"a", number)
    while left:
        gone = left.pop(len(left) // 2)
        assert holders.remove(b"a", gone) == (not left)
        assert list(holders.get(b"a")) == left
    assert b"a" not in holders


def test_replace():
    holders: Holders[str] = Holders()
    for number in range(12):
        holders.add(b"many", str(number))
    holders.replace([b"many"], "3", "x")
    assert sorted(holders.get(b"many")) == sorted([*"012456789", "10", "11", "x"])
    holders.add(b"one", "y")
    holders.add(b"many", "y")
    holders.replace([b"one", b"many"], "y", "z")
    assert list(holders.get(b"one")) == ["z"]
    assert "z" in holders.get(b"many")
    assert "y" not in holders.get(b"many")


@given(STEPS, st.sets(st.sampled_from([b"a", b"b", b"c", b"d"])))
def test_add_all_is_add_for_each(steps, tokens):
    one, other = Holders[int](), Holders[int]()
    for token, holder in dict.fromkeys(steps):
        one.add(token, holder)
        other.add(token, holder)
    assert set(one.add_all(tokens, 20)) == {token for token in tokens if other.add(token, 20)}
    for token in (b"a", b"b", b"c", b"d"):
        assert list(one.get(token)) == list(other.get(token))


def test_nobody():
    holders: Holders[str] = Holders()
    assert list(holders.get(b"a")) == []
    assert b"a" not in holders


def test_copy_stays_as_it_is():
    """Also of a token that changes hands in place, and of one that is no longer held by many."""
    holders: Holders[int] = Holders()
    for number in range(20):
        holders.add(b"many", number)
        holders.add(b"fewer", number)
    holders.add(b"one", 1)
    for number in range(15):
        holders.remove(b"fewer", number)
    copy = holders.copy()
    for number in range(20):
        holders.remove(b"many", number)
    holders.add(b"one", 2)
    holders.add(b"new", 3)
    for number in range(15):
        holders.add(b"fewer", number)
    assert list(copy.get(b"many")) == list(range(20))
    assert list(copy.get(b"fewer")) == list(range(15, 20))
    assert list(copy.get(b"one")) == [1]
    assert b"new" not in copy
