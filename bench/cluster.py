"""How soon the feed of a real API server is synced, and what it costs: `python -m bench.cluster`.

The feed alone: what is told is counted and dropped. With `--fill` the cluster is given the bench's
full dataset first, which takes a minute or two and is not taken away again.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from bench.dataset import generate
from bench.live.writing import fill
from kdns.cluster.api.feed import ApiFeed
from kdns.cluster.api.kubeconfig import Kubeconfig
from kdns.cluster.api.resources import resources
from kdns.cluster.feed import Synced

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints one line."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("--fill", action="store_true")
    options = parser.parse_args(arguments)
    if options.fill:
        fill(options.kubeconfig, generate().objects())
    uvloop.run(measure(options.kubeconfig))
    return 0


async def measure(kubeconfig: Path) -> None:
    access = Kubeconfig(kubeconfig)
    await access.credentials()  # what the loaders cost is not the feed's
    feed = ApiFeed(access, resources())
    memory, cpu, began = _memory(), time.process_time(), time.perf_counter()
    told = 0
    async with aclosing(feed.events()) as events:
        async for event in events:
            if isinstance(event, Synced):
                break
            told += 1
        seconds = time.perf_counter() - began
        print(
            f"{told} objects synced in {seconds:.2f} s with {time.process_time() - cpu:.2f} s of"
            f" CPU and {_memory() - memory:.1f} MiB more at the peak;"
            f" lists streamed: {all(s.streamed_lists for s in feed.stats.resources.values())}"
        )


def _memory() -> float:
    """The most that has been resident, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
