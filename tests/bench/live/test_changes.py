import pytest

from bench.change import moved
from bench.dataset import Service
from bench.live.changes import (
    AGAIN_AFTER,
    AHEAD,
    BACK,
    GARBLED,
    NEVER,
    OUTDATED,
    PROPAGATION,
    Times,
    Witness,
)
from bench.live.replies import Said, asked
from bench.query import A

SERVICES = [
    Service("shop", f"quorum-{n}", (), [f"10.1.{n}.{each}" for each in range(3)]) for n in range(2)
]
DONE = 1_000_000  # nanoseconds from a change's beginning to its end


def said(service: int, number: int) -> Said:
    """What a server says that has made change `number` of a service; 0 for none."""
    one = SERVICES[service]
    return asked(one.dns_name, A, (moved(one, number) if number else one).endpoints).right


def witness(begun: int, *, count: int = 6) -> Witness:
    """One who looks when so many changes are begun, change n at n s."""
    times = Times(count)
    for number in range(1, begun + 1):
        times.begun[number] = number * 1_000_000_000
        times.done[number] = times.begun[number] + DONE
    return Witness(SERVICES, times)


SOON, LATER = 2_000_000_000, 60_000_000_000


@pytest.mark.parametrize(
    ("begun", "answers", "wrong"),
    [
        (2, [(0, said(0, 0)), (0, said(0, 2)), (0, said(0, 2))], []),
        (4, [(0, said(0, 4)), (1, said(1, 1)), (1, said(1, 3))], []),
        (4, [(0, said(0, 4)), (0, said(0, 2))], [BACK]),
        (2, [(0, said(0, 2)), (0, said(0, 0))], [BACK]),
        (2, [(0, said(0, 4))], [AHEAD]),
        (2, [(1, said(1, 2))], [NEVER]),
        (2, [(0, Said(0, frozenset(list(said(0, 2).addresses)[:2])))], [NEVER]),
        (2, [(0, Said(0, said(0, 0).addresses | said(0, 2).addresses))], [NEVER]),
        (2, [(0, Said(3, frozenset()))], [NEVER]),
        (2, [(0, Said(2, said(0, 2).addresses))], [NEVER]),
        (2, [(0, None)], [GARBLED]),
    ],
    ids=[
        "before, then after",
        "a change that was overtaken",
        "back to an older change",
        "back to before all changes",
        "not written yet",
        "the change of another service",
        "one endpoint short",
        "the old endpoint and the new",
        "gone for a moment",
        "an error that has addresses",
        "garbled",
    ],
)
def test_an_answer_is_one_state_and_none_older_than_before(
    begun: int, answers: list[tuple[int, Said | None]], wrong: list[str]
) -> None:
    looking = witness(begun)
    for service, answer in answers:
        looking.judge(service, SOON, LATER, answer)
    assert list(looking.wrong.elements()) == wrong
    assert looking.judged == len(answers)


@pytest.mark.parametrize(
    ("service", "shown", "sent", "wrong"),
    [
        (0, 0, 2_000_000_000 + DONE + PROPAGATION, []),
        (0, 0, 2_000_000_001 + DONE + PROPAGATION, [OUTDATED]),
        (1, 1, 3_000_000_001 + DONE + PROPAGATION, [OUTDATED]),
        (1, 3, LATER, []),
        (0, 4, LATER, []),
    ],
    ids=["just allowed", "before all changes", "overtaken long ago", "latest", "last of all"],
)
def test_an_answer_was_right_not_long_before_it_was_asked_for(
    service: int, shown: int, sent: int, wrong: list[str]
) -> None:
    looking = witness(4)
    looking.judge(service, sent, LATER, said(service, shown))
    assert list(looking.wrong.elements()) == wrong


def test_a_change_that_was_seen_is_asked_for_once_more() -> None:
    looking = witness(2)
    assert looking.due_again(LATER) is None
    looking.judge(0, SOON, SOON + DONE, said(0, 2))
    looking.judge(0, SOON, SOON + DONE, said(0, 2))
    assert looking.due_again(SOON + DONE + AGAIN_AFTER - 1) is None
    assert looking.due_again(SOON + DONE + AGAIN_AFTER) == 0
    assert looking.due_again(LATER) is None


def test_each_change_counts_from_its_end_to_its_first_answer() -> None:
    looking = witness(4)
    assert sorted(looking.pending()) == [0, 1]
    looking.judge(1, 1_500_000_000 - DONE, 1_500_000_000, said(1, 1))
    looking.judge(1, 1_600_000_000 - DONE, 1_600_000_000, said(1, 1))
    looking.judge(0, 2_000_500_000 - DONE, 2_000_500_000, said(0, 2))
    assert looking.delays() == [499.0, -0.5]


def test_an_overtaken_change_is_seen_with_the_one_after_it() -> None:
    looking = witness(4)
    looking.judge(0, 4_003_000_000 - DONE, 4_003_000_000, said(0, 4))
    assert looking.delays() == [2002.0, 2.0]
    assert looking.pending() == [1]


def test_nothing_is_pending_before_a_change_is_begun() -> None:
    assert witness(0).pending() == []
