import json
import xml.etree.ElementTree as ET

from bench import chart
from bench.change import Churn, Delays
from bench.measure import Round, summary
from bench.report import Memory, Results, table, tables, times_less
from bench.torture import Kept, Torture


def turn(server: str, cpu_us: float, scenario: str = "hits", **other: object) -> Round:
    fields: dict[str, object] = {
        "scenario": scenario,
        "server": server,
        "carrier": "UDP",
        "queries": 1000,
        "lost": 0,
        "missed": 0,
        "seconds": 1.0,
        "rate": 100_000.0,
        "cpu_us": cpu_us,
        "busy": 1.0,
        "others": 0.2,
        "reply_bytes": 100.0,
        "sampled": 10,
        "faults": {},
        **other,
    }
    return Round(**fields)  # type: ignore[arg-type]


def results() -> Results:
    found = Results({}, {"kdns": "kdns-1", "coredns": "CoreDNS-1", "nsd": "NSD 4"})
    found.rounds += [turn("kdns", us) for us in (2.0, 9.0, 2.5)]
    found.rounds += [turn("coredns", us) for us in (30.0, 40.0, 50.0)]
    found.rounds.append(turn("coredns+cache", 10.0))
    found.rounds += [
        turn("coredns", 50.0, "paced", p50=40.0, p99=90.0, longest=400.0),
        turn("kdns", 25.0, "paced", p50=20.0, p99=70.0, longest=300.0, lost=3),
        turn("nsd", 2.0, "headless", faults={"truncated": 2}, busy=0.5),
    ]
    found.memory["kdns"] = Memory(40 << 20, 100 << 20, 110 << 20)
    found.delays["kdns"] = Delays(1.25, 3.0, 25)
    found.churn["kdns"] = Churn(900.0, 120.0, 4500.0, 99.8, 0, 7)
    found.torture["kdns"] = Torture(100_000.0, 89_000.0, 50.0, 60.0, 5000.0, 50 << 20, 52 << 20)
    found.kept["kdns"] = Kept(40 << 20, 80 << 20, 80_000)
    found.left_out.append("dnsmasq is left out")
    return found


def test_a_summary_is_the_median_of_the_rounds_and_the_sum_of_the_losses() -> None:
    rounds = [turn("kdns", us, lost=1, p50=us, longest=us) for us in (2.0, 9.0, 2.5)]
    found = summary(rounds)
    assert (found.cpu_us, found.lost, found.p50, found.longest) == (2.5, 3, 2.5, 9.0)


def test_ratios_are_against_coredns_in_the_same_run() -> None:
    found = results().summaries()
    assert times_less(found, "hits", "kdns") == 16.0
    assert times_less(found, "headless", "nsd") is None


def test_tables_say_what_was_found() -> None:
    said = tables(results())
    for part in (
        "2.50 (16.0x)",
        "12x met, 6x cached missed",
        "25.00 (2.0x)",
        "2.5x missed",
        "> 100.0",
        "20 / 70 / 300",
        "paced, kdns: 3 queries lost",
        "headless, nsd: 2 of the sampled replies: truncated",
        "dnsmasq is left out",
        "4.50",
        "1.25",
        "20% of the server's core",
        "89%",
        "90% missed",
        "60 met",
    ):
        assert part in said
    [resident] = [line for line in said.splitlines() if line.startswith("full")]
    assert resident.split() == ["full", "100.0"]


def test_a_table_is_aligned_and_nothing_without_rows() -> None:
    assert table("t", ["", "b"], []) == ""
    assert table("t", ["", "b"], [["x", "10"]]).splitlines() == ["t", "    b", "x  10"]


def test_json_holds_every_round() -> None:
    read = json.loads(json.dumps(results().as_json()))
    assert len(read["rounds"]) == 10
    assert read["summaries"][0]["server"] == "kdns"
    assert read["churn_us"]["kdns"]["longest"] == 4500.0


def test_the_chart_is_well_formed_and_names_every_server() -> None:
    drawn = ET.fromstring(chart.svg(results()))  # noqa: S314 - drawn here
    texts = [element.text for element in drawn.iter() if element.tag.endswith("text")]
    assert texts.count("kdns") == 3
    assert "2.5 (16.0x)" in texts
    assert "not measured" in texts
