"""kdns and CoreDNS beside each other at one API server, with 10,000 Services in it.

Without KUBECONFIG an etcd and an API server are started from KUBEBUILDER_ASSETS. A cluster that is
given is filled too, which is not taken back; nothing of it is restarted, so that some parts are
left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.dataset import FULL, generate
from bench.live.report import Results, text
from bench.live.run import PARTS, Plan, run
from bench.live.servers import NAMES
from bench.live.urgency import go_first
from bench.options import some_of, two_cores
from bench.peers.controlplane import MISSING, ControlPlane, assets
from bench.servers import KDNS

if TYPE_CHECKING:
    from collections.abc import Sequence

RELISTS = 10
NOT_FIRST = "without the right to go first, all shared its core with whatever else ran there"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status is 1 where a server failed, or kdns answered wrongly or lost queries."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped too
    cores = two_cores()
    results = Results(
        {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.release()}",
            "python": platform.python_version(),
            "dataset": FULL._asdict(),
            "load_before": os.getloadavg(),
        }
    )
    if not go_first():
        results.notes.append(NOT_FIRST)
    with ExitStack() as resources:
        plane, kubeconfig = None, options.kubeconfig
        if kubeconfig is None:
            programs = assets()
            if programs is None:
                sys.exit(f"{MISSING}, and no kubeconfig is given")
            folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="bench-live-"))
            plane = resources.enter_context(ControlPlane(programs, Path(folder)))
            kubeconfig = plane.kubeconfig
        os.sched_setaffinity(0, [cores.load])
        plan = Plan(
            options.only, options.servers, kubeconfig.absolute(), plane, cores, options.relists
        )
        run(plan, generate(FULL, options.seed), results)
    results.setup["load_after"] = os.getloadavg()
    before, after = (results.setup[name][0] for name in ("load_before", "load_after"))
    results.notes.append(f"load average {before:.1f} before the run, {after:.1f} at its end")
    print(f"\n{text(results)}")
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "live.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(results.as_json()), indent=1))
    print(f"\nwritten to {file}")
    return 1 if results.failures or results.wrong_or_lost(KDNS) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.live", description=__doc__)
    parser.add_argument("kubeconfig", type=Path, nargs="?", metavar="KUBECONFIG")
    parser.add_argument(
        "--only",
        type=some_of(PARTS),
        default=PARTS,
        metavar="PART,...",
        help=f"some of {', '.join(PARTS)} (all)",
    )
    parser.add_argument(
        "--servers",
        type=some_of(NAMES),
        default=NAMES,
        metavar="SERVER,...",
        help=f"some of {', '.join(NAMES)} (both)",
    )
    parser.add_argument(
        "--relists",
        type=int,
        default=RELISTS,
        help=f"after which memory is taken ({RELISTS}); servers wait longer before each",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the cluster (1)")
    parser.add_argument(
        "--out", type=Path, default=Path("bench/out"), help="folder for the results (bench/out)"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
