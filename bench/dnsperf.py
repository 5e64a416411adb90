"""dnsperf over TCP with many queries outstanding on each connection: a second opinion."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

from bench.load import NoAnswer, Tally
from bench.query import TYPE_NAMES
from bench.streams import CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.query import Query

OUTSTANDING = 100  # in all, dnsperf's own default
MISSING = "dnsperf is not on PATH"


def executable() -> str | None:
    return shutil.which("dnsperf")


class Dnsperf:
    """One dnsperf a run, on CONNECTIONS connections of its own. Its replies are not looked into."""

    def __init__(self, port: int, queries: Sequence[Query]) -> None:
        self._file = tempfile.NamedTemporaryFile("w", prefix="queries-")  # noqa: SIM115 - close()
        self._file.writelines(f"{query.name} {TYPE_NAMES[query.qtype]}\n" for query in queries)
        self._file.flush()
        self._argv = ["dnsperf", "-m", "tcp", "-s", "127.0.0.1", "-p", str(port)]
        self._argv += ["-d", self._file.name, "-T", "1"]
        self._argv += ["-c", str(CONNECTIONS), "-q", str(OUTSTANDING)]

    def close(self) -> None:
        self._file.close()

    def run(self, seconds: float) -> Tally:
        start = time.perf_counter()
        said = subprocess.run(
            [*self._argv, "-l", f"{max(1, round(seconds))}"],
            capture_output=True,
            text=True,
            check=False,
        )
        tally = Tally(seconds=time.perf_counter() - start)
        tally.sent, tally.received, tally.lost = (
            int(found[1]) if (found := re.search(rf"Queries {what}:\s+(\d+)", said.stdout)) else 0
            for what in ("sent", "completed", "lost")
        )
        if not tally.received:
            raise NoAnswer(f"dnsperf: {said.stderr.strip() or said.stdout.strip()}")
        if run_time := re.search(r"Run time \(s\):\s+([\d.]+)", said.stdout):
            tally.seconds = float(run_time[1])
        return tally
