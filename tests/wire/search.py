"""glibc's resolver through kdns with `searchpath` and without, run in namespaces of its own:
`python -m tests.wire.search FOLDER`.

/etc/resolv.conf has to name 127.0.0.1 there. Prints one JSON object for each: what each name led
to, and how many queries that took.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.request import urlopen

from bench.peers.process import ServerProcess, answers
from bench.servers import kdns_executable
from tests.upstream.scripted import Upstreams
from tests.wire.glibc import NAMES, START_SECONDS, addresses, script, write_cluster

METRICS = "127.0.0.1:9153"

COREFILE = """\
. {{
    bind 127.0.0.1
    errors
    prometheus {metrics}
    cache 30
    {directive}
    kubernetes cluster.local {{
        manifests {manifests}
    }}
    forward . {upstream}
}}
"""


def queries() -> int:
    """How many there were up to now."""
    with urlopen(f"http://{METRICS}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    counts = [line for line in lines if line.startswith("coredns_dns_requests_total{")]
    return sum(int(float(line.rpartition(" ")[2])) for line in counts)


def main(folder: Path) -> None:
    manifests = write_cluster(folder)
    with Upstreams() as upstreams:
        upstream = upstreams.open()
        script(upstream)
        for directive in ("", "searchpath cluster.local"):
            corefile = folder / "Corefile"
            corefile.write_text(
                COREFILE.format(
                    directive=directive,
                    manifests=manifests,
                    upstream=upstream.address,
                    metrics=METRICS,
                )
            )
            argv = [str(kdns_executable()), "-conf", corefile, "-dns.port", "53"]
            with ServerProcess(argv, folder / "log") as kdns:
                kdns.wait_until(lambda: answers(53), START_SECONDS)
                found, took = {}, {}
                for what, name in NAMES.items():
                    before = queries()
                    found[what] = addresses(name)
                    took[what] = queries() - before
            print(json.dumps({"addresses": found, "queries": took}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
