import math

import msgspec
import pytest

from bench.live.latency import Delays
from bench.live.relist import Relist
from bench.live.report import LINES, Memory, Results, text

BETTER = Delays(0.5, 3.0, 4.0, 300, 0, 6.0, 5000, {})
WORSE = Delays(0.6, 12.0, 14.0, 300, 0, 6.0, 5000, {})


def results() -> Results:
    found = Results({}, {"kdns": "kdns-1", "coredns": "CoreDNS-1"})
    found.starts = {"kdns": [0.9, 0.6, 0.7], "coredns": [0.5, 0.4, 0.6]}
    found.memory = {
        "kdns": Memory(100 << 20, 150 << 20, 140 << 20, [1.0, 6.5]),
        "coredns": Memory(200 << 20, 400 << 20, 370 << 20, [2.0, 3.0]),
    }
    found.at_rest = {"kdns": BETTER, "coredns": WORSE}
    found.busy = {"kdns": WORSE._replace(wrong={"what never was": 2}), "coredns": BETTER}
    found.relists = {
        "kdns": Relist(5.0, 0.5, 100_000, 0, 9, 8.0, 9.5, {}),
        "coredns": Relist(5.0, 2.0, 100_000, 2677, 0, math.inf, 300.0, {}),
    }
    return found


@pytest.mark.parametrize(
    ("line", "cells", "met"),
    [
        ("start to ready, s", ("0.70", "0.50"), True),
        ("resident when ready, MiB", ("100", "200"), True),
        ("relists since", ("2", "2"), None),
        ("relists: longest, s", ("6.5", "3.0"), None),
        ("resident after relists, MiB", ("140", "370"), None),
        ("resident after relists, times", ("1.40", "1.85"), False),
        ("commit to answer at rest: 50 %, ms", ("0.50", "0.60"), True),
        ("commit to answer at rest: wrong answers", ("0", "0"), True),
        ("commit to answer, busy: 99 %, ms", ("12.00", "3.00"), False),
        ("commit to answer, busy: wrong answers", ("2", "0"), False),
        ("relist: queries lost", ("0", "2677"), True),
        ("relist: 99.9 %, ms", ("8.00", "lost"), True),
    ],
)
def test_a_line_has_each_server_and_says_whether_kdns_is_where_it_should_be(
    line: str, cells: tuple[str, str], met: bool | None
) -> None:
    found = results()
    [one] = [each for each in LINES if each.title == line]
    assert tuple(one.cell(found, server) for server in found.versions) == cells
    assert one.met(found) is met


def test_a_goal_against_coredns_is_open_without_it() -> None:
    found = results()
    del found.starts["coredns"]
    [start] = [line for line in LINES if line.title == "start to ready, s"]
    assert start.met(found) is None
    [said] = [line for line in text(found).splitlines() if line.startswith(start.title)]
    assert said.split()[-4:] == ["0.70", "-", "1.5x", "CoreDNS's"]


def test_text_says_what_went_wrong() -> None:
    found = results()
    found.failures.append("memory, coredns: not listed again within 60 s")
    said = text(found)
    for part in (
        "1.3 after 10 missed",
        "busy, kdns: 2 answers: what never was",
        "relist, coredns: of 100,000 queries 2,677 were lost",
        "9 were not sent",
        "not listed again",
    ):
        assert part in said


def test_parts_that_were_not_run_are_not_in_the_table() -> None:
    found = results()
    found.relists = {}
    assert "relist:" not in text(found)


@pytest.mark.parametrize(("server", "wrong"), [("kdns", True), ("coredns", True), ("nsd", False)])
def test_wrong_and_lost_answers_are_found(server: str, wrong: bool) -> None:
    assert results().wrong_or_lost(server) is wrong


def test_json_has_every_number_and_no_infinity() -> None:
    read = msgspec.json.decode(msgspec.json.encode(results().as_json()))
    assert read["relists"]["coredns"]["p999"] is None
    assert read["busy"]["kdns"]["wrong"] == {"what never was": 2}
    assert {"what": "relist: queries lost", "goal": "0", "met": True} in read["goals"]
