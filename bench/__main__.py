"""kdns and its peers side by side, in rounds taken in turn; results go to a table, JSON and SVG."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench import chart
from bench.dataset import FULL, generate
from bench.options import some_of, two_cores
from bench.report import Results, tables
from bench.run import EXTRAS, Plan, run
from bench.scenarios import SCENARIOS
from bench.servers import KDNS, SERVERS

if TYPE_CHECKING:
    from collections.abc import Sequence

QUICK_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status is 1 where a server failed, or kdns answered wrongly or lost queries."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped too
    cores = two_cores()
    os.sched_setaffinity(0, [cores.load])
    plan = Plan(options.only, options.servers, options.rounds, options.seconds, options.seed, cores)
    results = Results(
        {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.release()}",
            "python": platform.python_version(),
            "dataset": FULL._asdict(),
            "plan": plan._asdict(),
        }
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        run(plan, generate(FULL, options.seed), Path(folder), results)
    print(f"\n{tables(results)}")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps(results.as_json(), indent=1) + "\n")
    if results.rounds:
        (options.out / "cpu.svg").write_text(chart.svg(results))
    print(f"\nwritten to {options.out}")
    wrong = any(one.server == KDNS and (one.faults or one.lost) for one in results.rounds)
    return 1 if wrong or results.failures else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    measured = [*(scenario.name for scenario in SCENARIOS), *EXTRAS]
    servers = [server.name for server in SERVERS]
    parser.add_argument(
        "--only",
        type=some_of(measured),
        default=measured,
        metavar="SCENARIO,...",
        help=f"some of {', '.join(measured)} (all)",
    )
    parser.add_argument(
        "--servers",
        type=some_of(servers),
        default=servers,
        metavar="SERVER,...",
        help=f"some of {', '.join(servers)} (all that are installed)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each server (3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a turn (2)")
    parser.add_argument("--quick", action="store_true", help="one turn of half a second each")
    parser.add_argument("--seed", type=int, default=1, help="of the cluster and the queries (1)")
    parser.add_argument(
        "--out", type=Path, default=Path("bench/out"), help="folder for the results (bench/out)"
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 1, QUICK_SECONDS
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds must be above zero")
    return options


if __name__ == "__main__":
    sys.exit(main())
