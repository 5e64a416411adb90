"""Every row of hostile.py against kdns in a process of its own, and how many of them peers pass."""

from __future__ import annotations

import traceback
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import pytest

from bench.peers.coredns import CorefileServer
from bench.peers.process import NotStarted
from bench.servers import kdns_executable
from tests.upstream.scripted import Upstreams
from tests.wire.forwarders import PEERS, corefile, kdns
from tests.wire.hostile import ROWS
from tests.wire.talk import Talk

LOG_LINES_OF_A_ROW = 3


def played(start, folder, rows):
    """What went wrong in each row, "" for nothing; and the lines of the server's log.

    All rows at the same time, each with a zone and upstreams of its own.
    """
    with Upstreams() as network:
        upstreams = {row: [network.open() for _ in range(row.upstreams)] for row in rows}
        zones = {row: f"r{number}.example." for number, row in enumerate(rows)}
        forwards = {zones[row]: [each.port for each in upstreams[row]] for row in rows}
        forwards["."] = [network.open().port]
        with start(forwards, folder) as (port, log), ThreadPoolExecutor(len(rows)) as pool:
            talks = [Talk(port, zones[row], upstreams[row], network) for row in rows]
            faults = list(pool.map(_fault, rows, talks))
            return dict(zip(rows, faults, strict=True)), log.read_text(errors="replace")


def _fault(row, talk):
    try:
        row.play(talk)
    except AssertionError as error:
        return str(error) or "an assertion of the row"
    except Exception as error:  # noqa: BLE001 - a row ends in what an odd reply makes of it
        return "".join(traceback.format_exception_only(error))
    return ""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Of all rows at the same time; of timed ones that failed then, of those alone."""
    faults, log = played(kdns, tmp_path_factory.mktemp("kdns"), ROWS)
    if again := [row for row in ROWS if faults[row] and row.timed]:
        faults.update(played(kdns, tmp_path_factory.mktemp("again"), again)[0])
    return faults, log


@pytest.mark.parametrize("row", ROWS, ids=map(str, ROWS))
def test_row(outcome, row):
    faults, _ = outcome
    assert not faults[row], f"{row.source}: {faults[row]}"


def test_log_is_folded(outcome):
    """No upstream, whatever it sends, fills the log or ends in a traceback."""
    _, log = outcome
    assert "Traceback" not in log
    assert len(log.splitlines()) < LOG_LINES_OF_A_ROW * len(ROWS)


def test_forgeries_say_nothing_of_health():
    """Anybody can send them: the upstream is not probed for them, let alone put aside."""
    [row] = [row for row in ROWS if row.name == "first: another type, twelve times"]
    with Upstreams() as network:
        upstream = network.open()
        text = corefile({".": [upstream.port]})
        with CorefileServer(str(kdns_executable()), text) as server:
            row.play(Talk(server.port, "example.", [upstream], network))
            with urlopen(f"http://{server.metrics}/metrics", timeout=5) as answer:
                metrics = answer.read().decode()
        assert not [each for each in upstream.asked if each.name == "."]
    failures = [line for line in metrics.splitlines() if "healthcheck_failures_total{" in line]
    assert all(line.endswith(" 0.0") for line in failures), failures
    asked = [line for line in metrics.splitlines() if f'to="{upstream.address}"' in line]
    assert any(line.startswith("coredns_proxy_request_duration_seconds_count") for line in asked)


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    """What went wrong with each peer, all at the same time, or why there is none."""
    folders = {name: tmp_path_factory.mktemp(name) for name in PEERS}

    def play(name):
        try:
            return played(PEERS[name], folders[name], ROWS)[0]
        except (FileNotFoundError, NotStarted) as error:
            return str(error)

    with ThreadPoolExecutor(len(PEERS)) as pool:
        return dict(zip(PEERS, pool.map(play, PEERS), strict=True))


@pytest.mark.parametrize("name", PEERS)
def test_rows_of_peers(peers, name, capsys):
    """How many rows another server gets right; for the reader, not for the result."""
    faults = peers[name]
    if isinstance(faults, str):
        pytest.skip(faults)
    wrong = [row for row in ROWS if faults[row]]
    with capsys.disabled():
        print(f"\n{name}: {len(ROWS) - len(wrong)} of {len(ROWS)} rows of hostile.py; not:")
        for row in wrong:
            print(f"    {row}: {faults[row].splitlines()[0][:100]}")
    assert len(wrong) < len(ROWS)
