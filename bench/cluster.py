"""How soon the feed of a real API server is synced, and what it costs: `python -m bench.cluster`.

The feed alone: what is told is counted and dropped. With `--fill` the cluster is given the bench's
full dataset first, which takes a minute or two and is not taken away again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import uvloop

from bench.dataset import generate
from kdns.cluster.api.feed import ApiFeed
from kdns.cluster.api.kubeconfig import Kubeconfig
from kdns.cluster.api.resources import resources
from kdns.cluster.feed import Synced

if TYPE_CHECKING:
    from collections.abc import Sequence

WRITERS = 24
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "Service": "/api/v1/namespaces/{}/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints one line."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("--fill", action="store_true")
    options = parser.parse_args(arguments)
    if options.fill:
        uvloop.run(fill(Kubeconfig(options.kubeconfig)))
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


async def fill(access: Kubeconfig) -> None:
    """Create every object of the dataset; those that are there already stay as they are."""
    credentials = await access.credentials()
    manifests = list(generate().objects())
    headers = {"Content-Type": "application/json"}
    if credentials.authorization:
        headers["Authorization"] = credentials.authorization
    async with aiohttp.ClientSession(headers=headers) as session:

        async def create(manifest: dict[str, Any]) -> None:
            spec = manifest.get("spec", {})
            # With a selector controllers would make slices of their own.
            spec.pop("selector", None)
            if len(spec.get("clusterIPs", ())) > 1:
                spec["ipFamilyPolicy"] = "RequireDualStack"
            path = PATHS[manifest["kind"]].format(manifest["metadata"].get("namespace"))
            async with session.post(
                credentials.url + path, data=json.dumps(manifest), ssl=credentials.tls or True
            ) as answer:
                if answer.status not in {201, 409}:
                    sys.exit(f"{path}: {await answer.text()}")

        async def write(pending: Any) -> None:
            for manifest in pending:
                await create(manifest)

        await write(each for each in manifests if each["kind"] == "Namespace")
        rest = iter([each for each in manifests if each["kind"] != "Namespace"])
        await asyncio.gather(*(write(rest) for _ in range(WRITERS)))


def _memory() -> float:
    """The most that has been resident, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
