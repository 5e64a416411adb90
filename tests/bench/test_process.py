import os
import sys
import time
from pathlib import Path

import pytest

from bench.peers.process import NotStarted, ServerProcess, core_seconds, free_ports, running_on

SPIN = "import time\nwhile time.process_time() < 0.2: pass\n"


def python(code: str, log: Path) -> ServerProcess:
    return ServerProcess([sys.executable, "-c", code], log)


def eventually(process: ServerProcess, said: str) -> None:
    process.wait_until(lambda: said in process.last_lines(), 30)


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_time_of_children_counts_while_they_live_and_after(tmp_path: Path) -> None:
    child = f"""
import subprocess, sys, time
{SPIN}
child = subprocess.Popen([sys.executable, '-c', '''{SPIN}
print('spun', flush=True)
input()
'''], stdin=subprocess.PIPE)
time.sleep(0)
open({str(tmp_path / "go")!r}).read()
child.communicate(b'x')
print('ended', flush=True)
time.sleep(60)
"""
    go = tmp_path / "go"
    os.mkfifo(go)
    with python(child, tmp_path / "log") as process:
        eventually(process, "spun")
        alive = process.cpu_seconds()
        assert len(process.pids()) == 2
        assert 0.4 <= alive < 5
        go.write_text("go")
        eventually(process, "ended")
        assert process.cpu_seconds() > alive - 0.02
        assert len(process.pids()) == 1


def test_a_core_counts_whoever_uses_it(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    before = core_seconds(core)
    with running_on([core]), python(SPIN, tmp_path / "log") as process:
        process.wait_until(lambda: process.cpu_seconds() > 0.1, 30)
        assert core_seconds(core) - before >= 0.08
    with pytest.raises(ValueError, match="no core"):
        core_seconds(10_000)


def test_memory_is_that_of_the_process(tmp_path: Path) -> None:
    block = 64 << 20
    code = f"import time; b = b'x' * {block}; print('there', flush=True); time.sleep(60)"
    with python(code, tmp_path / "log") as process:
        eventually(process, "there")
        assert block < process.resident_bytes() < 2 * block
        assert process.peak_bytes() >= process.resident_bytes()


def test_an_end_before_readiness_is_told_with_the_last_words(tmp_path: Path) -> None:
    process = python("raise SystemExit('port 53 is taken')", tmp_path / "log")
    with process, pytest.raises(NotStarted, match=r"exit status 1\nport 53 is taken"):
        process.wait_until(lambda: False, 30)


def test_stop_ends_the_whole_tree(tmp_path: Path) -> None:
    code = "import os, time; os.fork(); print('there', flush=True); time.sleep(60)"
    process = python(code, tmp_path / "log")
    process.wait_until(lambda: process.last_lines().count("there") == 2, 30)
    [_, child] = process.pids()
    assert process.stop() < 0
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}/cmdline").exists() and Path(f"/proc/{child}/cmdline").read_text():
        assert time.monotonic() < deadline, "the child is still there"
