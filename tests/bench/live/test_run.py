"""All parts of a run, with kdns on a small cluster."""

import os
from pathlib import Path

import pytest

from bench.dataset import Size, generate
from bench.live import __main__ as command
from bench.live import run as module
from bench.live.latency import Pace
from bench.live.report import Results, text
from bench.live.run import MEMORY, PARTS, RELIST, START, Plan, hits, run
from bench.peers.controlplane import MISSING, ControlPlane, assets
from bench.query import AAAA
from bench.servers import Cores

DATASET = generate(Size(namespaces=2, services=60, headless=2, srv=4, endpoints=400), seed=3)
TWO_CORES = len(os.sched_getaffinity(0)) > 1


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    programs = assets()
    if programs is None:
        pytest.skip(MISSING)
    if not TWO_CORES:
        pytest.skip("server and load need a core each")
    monkeypatch.setattr(module, "STARTS", 1)
    monkeypatch.setattr(module, "SETTLE", 0.0)
    monkeypatch.setattr(module, "AT_REST", Pace(20, 0.015))
    monkeypatch.setattr(module, "BUSY", Pace(20, 0.02, rate=1000))
    with ControlPlane(programs, tmp_path) as made:
        yield made


def plan(plane: ControlPlane, *parts: str, ours: bool) -> Plan:
    cores = Cores(*sorted(os.sched_getaffinity(0))[:2])
    return Plan(parts, ["kdns"], plane.kubeconfig, plane if ours else None, cores, relists=1)


def test_every_part_is_measured(plane: ControlPlane) -> None:
    results = Results({})
    run(plan(plane, *PARTS, ours=True), DATASET, results)
    assert results.failures == []
    assert not results.wrong_or_lost("kdns")
    [seconds] = results.starts["kdns"]
    assert 0.1 < seconds < 30
    for found in (results.at_rest["kdns"], results.busy["kdns"]):
        assert (found.changes, found.unanswered) == (20, 0)
        assert found.judged >= 20
        assert -found.commit_p50 * 20 < found.p50 < 1000
    assert results.relists["kdns"].sent > 1000
    memory = results.memory["kdns"]
    assert memory.after is not None
    assert 10 << 20 < memory.ready <= memory.peak
    assert len(memory.backs) == 1
    assert "relist: queries lost" in text(results)


def test_an_api_server_that_is_not_ours_is_filled_and_left_running(plane: ControlPlane) -> None:
    results = Results({})
    run(plan(plane, START, RELIST, MEMORY, ours=False), DATASET, results)
    assert results.failures == []
    assert len(results.notes) == 2
    assert all("not ours to kill" in note for note in results.notes)
    assert results.memory["kdns"].after is None
    assert results.relists == {}


def test_hits_ask_for_what_is_there_and_for_families_that_are_not() -> None:
    asked = hits(DATASET)
    ipv6 = [one for one in asked if one.query.qtype == AAAA]
    assert len(ipv6) * 2 == len(asked) == 4 * len(DATASET.services)
    assert {len(one.right.addresses) for one in ipv6} == {0, 1}


@pytest.mark.parametrize("arguments", [["--only", "nothing"], ["--servers", "nsd"]])
def test_wrong_options_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(arguments)


def test_without_an_api_server_a_line_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setattr(command, "go_first", lambda: True)
    with pytest.raises(SystemExit, match="KUBEBUILDER_ASSETS"):
        command.main([])
