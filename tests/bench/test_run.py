"""Every installed server, fed with a small cluster, gives right replies in every scenario."""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench import __main__ as command
from bench import outside, torture
from bench.dataset import Size, generate
from bench.load import NoAnswer
from bench.outside import Upstream
from bench.report import Results
from bench.run import Plan, run
from bench.scenarios import SCENARIOS
from bench.servers import KDNS, SERVERS, Cores, ManifestsFolder, Place, Server

DATASET = generate(Size(namespaces=3, services=100, headless=5, srv=2, endpoints=1500), seed=3)
TWO_CORES = len(os.sched_getaffinity(0)) > 1


def chance() -> random.Random:
    return random.Random(1)  # noqa: S311 - the same every time


def cores() -> Cores:
    return Cores(*sorted(os.sched_getaffinity(0))[:2])


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    path = outside.executable()
    if path is None:
        pytest.skip(outside.MISSING)
    with Upstream(path, tmp_path_factory.mktemp("upstream")) as upstream:
        yield upstream


@pytest.mark.skipif(not TWO_CORES, reason="server and load need a core each")
@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_replies_are_right(server: Server, tmp_path: Path, upstream: Upstream) -> None:
    path = server.executable()
    if path is None:
        pytest.skip(f"{server.name} is not installed")
    started = server.start(path, DATASET, Place(tmp_path, cores(), upstream.port))
    try:
        assert server.version(path)
        for scenario in SCENARIOS:
            if scenario.outside and not server.forwards:
                continue
            if scenario.transport == "dnsperf":
                continue  # looks at no reply
            if scenario.transport == "tcp" and server.name == "dnsmasq":
                continue  # closes a connection after a hundred queries
            queries = scenario.queries(DATASET, chance())
            load, _ = scenario.load(started.port, queries, chance())
            tally = load.run(0.1)
            load.close()
            assert tally.received, scenario.name
            assert tally.sampled, scenario.name
            assert not tally.examples, scenario.name
    finally:
        started.stop()


@pytest.mark.skipif(not TWO_CORES, reason="server and load need a core each")
def test_torture_and_memory_of_kept_names(tmp_path: Path, upstream: Upstream) -> None:
    [server] = [server for server in SERVERS if server.name == KDNS]
    path = server.executable()
    assert path is not None
    place = Place(tmp_path, cores(), upstream.port, room=2000)
    started = server.start(path, DATASET, place)
    try:
        kept = torture.kept(started, 2000, chance())
        assert 1000 < kept.names <= 2000
        hits = SCENARIOS[0].queries(DATASET, chance())
        found = torture.torture(started, upstream, hits, 0.2, chance())
        assert found.rate > 0
        assert found.names > torture.NAMES_A_SECOND / 2
    finally:
        started.stop()


def test_a_manifests_folder_holds_every_object_once(tmp_path: Path) -> None:
    folder = ManifestsFolder(tmp_path, DATASET)
    found: list[object] = []
    for file in folder.path.iterdir():
        read = msgspec.json.decode(file.read_bytes())
        found += read["items"] if read["kind"] == "List" else [read]
    assert sorted(map(repr, found)) == sorted(map(repr, DATASET.objects()))


def test_a_change_replaces_one_file_of_a_manifests_folder(tmp_path: Path) -> None:
    folder = ManifestsFolder(tmp_path, DATASET)
    before = {file.name: file.read_bytes() for file in folder.path.iterdir()}
    changed = DATASET.headless[0].slice_manifest() | {"endpoints": []}
    folder.put(changed)
    after = {file.name: file.read_bytes() for file in folder.path.iterdir()}
    [name] = [name for name in after if after[name] != before.get(name)]
    assert before.keys() == after.keys()
    assert msgspec.json.decode(after[name]) == changed


def test_what_is_missing_is_left_out_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDNS", str(tmp_path / "none"))
    results = Results({})
    plan = Plan([], ["kdns"], rounds=1, seconds=0.1, seed=1, cores=Cores(0, 0))
    run(plan, DATASET, tmp_path, results)
    assert results.versions == {}
    assert "kdns is left out" in results.left_out[0]
    assert results.failures == []


def test_what_does_not_start_is_a_failure_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "kdns-broken"
    broken.write_text("#!/bin/sh\necho no such directive: manifests\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("KDNS", str(broken))
    results = Results({})
    plan = Plan(["hits"], ["kdns"], rounds=1, seconds=0.1, seed=1, cores=Cores(0, 0))
    run(plan, DATASET, tmp_path, results)
    [failure] = results.failures
    assert "no such directive: manifests" in failure
    assert results.rounds == []
    assert json.dumps(results.as_json())


@pytest.mark.parametrize(
    "arguments", [["--only", "nothing"], ["--servers", "bind"], ["--rounds", "0"]]
)
def test_wrong_options_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(arguments)


def test_a_scenario_on_a_dead_port_is_no_answer() -> None:
    load, _ = SCENARIOS[0].load(9, SCENARIOS[0].queries(DATASET, chance()), chance())
    with pytest.raises(NoAnswer):
        load.run(0.1)
    load.close()
