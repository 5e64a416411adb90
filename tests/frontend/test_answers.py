"""The memory of answers: what it holds, for how long, and how much of it."""

from __future__ import annotations

import dns.message
import pytest

from kdns.dns.canonical import canonical
from kdns.dns.reply import EPOCH, STEADY, Reply
from kdns.frontend.answers import MAX_BYTES, Answers, Kept, Shelf
from kdns.telemetry.traffic import Labels, Tally

LABELS = Labels("dns://:53", ".", "", "udp", "1", "A", False, "NOERROR", "", 30, 40)
SERIAL = EPOCH + b"serial"


def kept(rest: bytes = b"answer") -> Kept:
    return Kept(rest, Tally(LABELS))


def form(name: str, qtype: str = "A"):
    found = canonical(dns.message.make_query(name, qtype).to_wire())
    assert found is not None
    return found


def indexed(shelf: Shelf) -> dict[bytes, set[bytes]]:
    """What the index of a shelf says, however it says it."""
    return {name: keys if isinstance(keys, set) else {keys} for name, keys in shelf._keys.items()}


def test_a_kept_answer_counts_itself() -> None:
    answer = kept()
    assert [answer.whole() for _ in range(3)] == [b"answer"] * 3
    assert answer.tally.count == 3


def test_a_ring_takes_turns() -> None:
    answer = kept(b"<")
    answer.rotate(b"aabbcc" * 2, 2, 4, b">")
    assert [answer.whole() for _ in range(4)] == [b"<bbcc>", b"<ccaa>", b"<aabb>", b"<bbcc>"]


def test_what_was_made_from_a_name_goes_with_it() -> None:
    shelf = Shelf(10, MAX_BYTES)
    shelf.put(b"1", kept(), (b"a", b"b"))
    shelf.put(b"2", kept(), (b"b",))
    shelf.put(b"3", kept(), ())
    shelf.forget([b"b", b"nothing"])
    assert set(shelf.kept) == {b"3"}
    assert indexed(shelf) == {}
    shelf.forget([b"a", b"b"])
    assert set(shelf.kept) == {b"3"}


def test_an_answer_put_again_is_read_anew() -> None:
    shelf = Shelf(10, MAX_BYTES)
    shelf.put(b"1", kept(b"old"), (b"a",))
    shelf.put(b"1", kept(b"new"), (b"b", b"b"))
    shelf.forget([b"a"])
    assert shelf.kept[b"1"].rest == b"new"
    shelf.forget([b"b"])
    assert not shelf.kept


@pytest.mark.parametrize("capacity", [1, 2, 100, 1000])
def test_a_shelf_is_bounded(capacity: int) -> None:
    shelf = Shelf(capacity, MAX_BYTES)
    count = capacity * 3 + 7
    for n in range(count):
        shelf.put(b"%d" % n, kept(), (b"name%d" % (n % 5), b"own%d" % n))
        assert len(shelf.kept) <= capacity
        assert b"%d" % n in shelf.kept
    oldest, newest = int(next(iter(shelf.kept))), int(list(shelf.kept)[-1])
    assert newest == count - 1
    assert newest - oldest == len(shelf.kept) - 1
    assert len(shelf.kept) > capacity * 0.98 - 1
    held = {key for keys in indexed(shelf).values() for key in keys}
    assert held == set(shelf.kept)
    assert len(indexed(shelf)) <= 5 + len(shelf.kept)
    shelf.clear()
    assert not shelf.kept
    assert not indexed(shelf)


def test_the_tables_that_frontends_hold_on_to_stay_the_same() -> None:
    answers = Answers(2)
    lasting, epochal = answers.lasting, answers.epochal
    for name in "abcd":
        answers.keep(form(name), kept(), (b"x",))
        answers.keep(form(name + "x"), kept(), (b"x", SERIAL))
    answers.forget([b"x", SERIAL])
    answers.clear()
    answers.keep(form("a"), kept(), ())
    assert lasting is answers.lasting
    assert epochal is answers.epochal
    assert len(lasting) == 1


def test_what_reads_an_epoch_goes_with_it() -> None:
    answers = Answers()
    answers.keep(form("lasting"), kept(), (b"a",))
    answers.keep(form("epochal"), kept(), (b"a", SERIAL))
    answers.keep(form("other"), kept(), (b"b", SERIAL))
    assert (len(answers.lasting), len(answers.epochal)) == (1, 2)
    answers.forget([b"b"])
    assert (len(answers.lasting), len(answers.epochal)) == (1, 1)
    answers.forget([SERIAL])
    assert (len(answers.lasting), len(answers.epochal)) == (1, 0)
    answers.forget([b"a"])
    assert (len(answers.lasting), len(answers.epochal)) == (0, 0)


def test_an_answer_is_spliced_behind_the_asker_s_own_header_and_question() -> None:
    answers = Answers()
    rest = bytes.fromhex("8580 0001 0001 0000 0000") + b"\3web\0\0\1\0\1" + b"RECORDS"
    answers.keep(form("web"), kept(rest), ())
    asked = dns.message.make_query("wEb", "A", id=0xABCD).to_wire()
    assert answers.recall(asked) == b"\xab\xcd" + rest[:10] + b"\3wEb\0\0\1\0\1" + b"RECORDS"
    assert answers.recall(dns.message.make_query("wEb", "AAAA").to_wire()) is None


class Zone:
    """Denies what begins with `no`."""

    origin = b"\4zone\0"

    def __init__(self):
        self.denied = True

    def denies(self, name):
        return self.denied and name[1:3] == b"no"


def test_a_template_answers_for_names_of_one_length() -> None:
    answers, zone = Answers(), Zone()
    rest = bytes.fromhex("8583 0001 0000 0001 0000") + b"\4no-a\4zone\0\0\1\0\1" + b"SOA"
    answers.keep_denial(form("no-a.zone"), kept(rest), zone)

    def recalled(name, qtype="A"):
        found = answers.recall(dns.message.make_query(name, qtype).to_wire())
        return found and found[12:]

    assert recalled("no-b.zone") == b"\4no-b\4zone\0\0\1\0\1SOA"
    assert recalled("NO-c.ZONE") == b"\4NO-c\4ZONE\0\0\1\0\1SOA"
    assert recalled("no-bb.zone") is None
    assert recalled("no-b.zone", "AAAA") is None
    assert recalled("yes-.zone") is None
    assert recalled("no-b.enoz") is None
    zone.denied = False
    assert recalled("no-b.zone") is None
    zone.denied = True
    answers.forget([b"unrelated"])
    assert recalled("no-b.zone") is not None
    answers.forget([SERIAL])
    assert recalled("no-b.zone") is None


def test_siblings_of_a_denied_name_are_denied_by_themselves() -> None:
    answers, zone = Answers(), Zone()
    rest = bytes.fromhex("8583 0001 0000 0001 0000") + b"\4no-a\4zone\0\0\1\0\1" + b"SOA"
    answers.keep_denial(form("no-a.zone"), kept(rest), zone)

    def recalled(name: str, *junk: bytes, **options: object) -> bytes | None:
        asked = dns.message.make_query(name, "A", **options).to_wire()
        found = answers.recall(asked.replace(*junk) if junk else asked)
        return found and found[12:]

    assert recalled("no-b.zone") == b"\4no-b\4zone\0\0\1\0\1SOA"
    assert len(answers._siblings) == 1
    assert recalled("NO-c.zone") == b"\4NO-c\4zone\0\0\1\0\1SOA"
    assert recalled("yes-.zone") is None
    assert recalled("no-b.zone", b"\0\1\0\1", b"\0\1\0\1\0") is None
    assert recalled("no-b.zone", use_edns=0) is None
    zone.denied = False
    assert recalled("no-b.zone") is None
    zone.denied = True
    answers.forget([SERIAL])
    assert recalled("no-b.zone") is None
    assert answers._siblings == {}


def test_siblings_are_bounded() -> None:
    answers, zone = Answers(), Zone()
    asked = [dns.message.make_query(f"no.{n:05}.zone", "A").to_wire() for n in range(5000)]
    found = canonical(asked[0])
    assert found is not None
    answers.keep_denial(found, kept(), zone)
    assert all(map(answers.recall, asked))
    assert len(answers._siblings) == 4096


def test_templates_are_bounded() -> None:
    answers, zone = Answers(), Zone()
    for n in range(10_000):
        asked = dns.message.make_query("no.zone", 1 + n % 65000, use_edns=0, payload=n).to_wire()
        found = canonical(asked)
        assert found is not None
        answers.keep_denial(found, kept(), zone)
        assert len(answers._templates) <= 4096


def test_a_shelf_is_bounded_in_bytes() -> None:
    shelf = Shelf(1000, 100_000)
    for number in range(200):
        answer = Kept(bytes(10), Tally(None))
        answer.rotate(bytes(20_000), 16, 160, b"")
        shelf.put(b"%d" % number, answer, (b"a",))
        assert sum(each.size for each in shelf.kept.values()) <= 100_000
    assert list(shelf.kept) == [b"%d" % number for number in range(196, 200)]
    shelf.forget([b"a"])
    assert (shelf.kept, shelf._bytes) == ({}, 0)


class Counted:
    """Answers that count down, asked in the way that frontends do."""

    def __init__(self, capacity: int = 100):
        self.answers = Answers(capacity)
        self.fleeting = self.answers.fleeting
        self.now = 1_000.0

    def keep(self, name: str, lifetime: float = 10, ttl: int = 60, reads=(), steady: int = 0):
        question = dns.message.make_query(name, "A").to_wire()[12:]
        record = b"\xc0\x0c\0\1\0\1" + ttl.to_bytes(4, "big") + b"\0\4\1\2\3\4"
        answer = kept(bytes.fromhex("8580 0001 0001 0000 0000") + question + record)
        reply = Reply(reads=reads, lifetime=lifetime, steady=steady)
        self.answers.keep_for(form(name), answer, reply, int(self.now))
        return answer

    def ask(self, name: str) -> int | None:
        """The TTL in the answer from memory."""
        if self.now >= self.answers.until:
            self.answers.tick(self.now)
        asked = dns.message.make_query(name, "A").to_wire()
        found = self.fleeting.get(asked[2:])
        reply = asked[:2] + found.whole() if found else self.answers.recall(asked)
        if reply is None:
            return None
        (answer,) = dns.message.from_wire(reply).answer
        return answer.ttl


def test_a_counting_answer_ends_at_its_very_second() -> None:
    made = Counted()
    made.keep("a")
    for now, ttl in [(1_000, 60), (1_000.99, 60), (1_001, 59), (1_001.5, 59), (1_009.999, 51)]:
        made.now = now
        assert [made.ask("a"), made.ask("A"), made.ask("a")] == [ttl] * 3
    made.now = 1_010
    assert made.ask("a") is None
    assert made.answers._counting.kept == {}
    assert made.answers._counting._bytes == 0


def test_seconds_that_nobody_asks_in_are_passed_over() -> None:
    made = Counted()
    made.keep("a", lifetime=3600, ttl=3600)
    for now in (1_000.5, 1_017, 1_017.25, 4_599.5):
        made.now = now
        assert made.ask("a") == 3600 - (int(now) - 1_000)
    made.now = 10_000
    assert made.ask("a") is None


@pytest.mark.parametrize(("lifetime", "ends"), [(1, 1_001), (1.9, 1_001), (2, 1_002)])
def test_a_lifetime_is_of_whole_seconds(lifetime: float, ends: int) -> None:
    made = Counted()
    made.now = 1_000.9
    made.keep("a", lifetime=lifetime)
    made.now = ends - 0.01
    assert made.ask("a") is not None
    made.now = ends
    assert made.ask("a") is None


def test_the_answer_of_a_second_is_made_once() -> None:
    made = Counted()
    first = made.keep("a")
    made.now = 1_003
    made.ask("a")
    (made_once,) = made.fleeting.values()
    made.ask("a")
    assert list(made.fleeting.values()) == [made_once]
    assert made_once is not first
    assert first.tally.count == 2


def test_the_table_of_the_present_second_stays_the_same() -> None:
    made = Counted()
    made.keep("a", reads=(b"x",))
    made.ask("a")
    made.now += 1
    made.ask("a")
    made.answers.forget([b"unrelated"])
    assert made.ask("a") == 59
    made.answers.forget([b"x"])
    assert made.ask("a") is None
    made.keep("a")
    made.ask("a")
    made.answers.clear()
    assert made.ask("a") is None
    assert made.fleeting is made.answers.fleeting


def test_a_counting_answer_is_replaced_at_once() -> None:
    made = Counted()
    made.keep("a", ttl=60)
    assert made.ask("a") == 60
    made.keep("a", ttl=300)
    assert made.ask("a") == 300


def test_an_answer_of_the_next_second_is_not_older_than_it_is() -> None:
    """The chain may answer in the next second, while the batch is still of this one."""
    made = Counted()
    made.ask("a")
    made.now = 1_001
    made.answers.keep_for(form("a"), kept(b"answer"), Reply(lifetime=5), 1_001)
    made.now = 1_000.99
    assert made.answers.recall(dns.message.make_query("a", "A").to_wire()) is not None


def test_steady_answers() -> None:
    made = Counted()
    made.keep("a", steady=STEADY)
    made.now = 1_009
    assert made.ask("a") == 60
    made.now = 1_010
    assert made.ask("a") is None


def test_counting_answers_are_bounded() -> None:
    made = Counted(capacity=20)
    for number in range(50):
        made.keep(f"name{number}", reads=(b"x",))
        assert made.ask(f"name{number}") == 60
        assert len(made.answers._counting.kept) <= 10
        assert made.fleeting.keys() <= made.answers._counting.kept.keys()
    assert [made.ask(f"name{number}") for number in range(30)] == [None] * 30
    made.answers.forget([b"x"])
    assert made.answers._counting.kept == {}
