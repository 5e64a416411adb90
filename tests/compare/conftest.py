"""kdns processes over manifests, and the command in this process."""

from __future__ import annotations

import json
import sys

import pytest

from bench.peers.process import ServerProcess, answers, free_ports
from kdns.compare.command import main

PATIENCE = 30.0


@pytest.fixture
def serve(tmp_path):
    """serve(folder) -> the port of a kdns process that serves its manifests."""
    made = []

    def started(folder):
        (port,) = free_ports(1)
        words = ["--manifests", str(folder), "--port", str(port)]
        log = tmp_path / f"{port}.log"
        made.append(ServerProcess([sys.executable, "-m", "kdns", *words], log))
        made[-1].wait_until(lambda: answers(port), PATIENCE)
        return port

    yield started
    for process in made:
        process.stop()


@pytest.fixture
def compare(capsys):
    """compare(port, port, *words) -> exit code, and the report of --output json."""

    def compared(a, b, *words):
        capsys.readouterr()
        servers = ["--server", f"127.0.0.1:{a}", "--server", f"127.0.0.1:{b}"]
        code = main([*servers, *map(str, words), "--output", "json"], {})
        return code, json.loads(capsys.readouterr().out)

    return compared
