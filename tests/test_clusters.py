"""What there is to know of sources that are followed: through the metrics that tell it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from kdns.cluster.source import Source
from kdns.cluster_metrics import object_metrics
from kdns.clusters import Clusters
from kdns.feeds import open_feed

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: %s}]}
"""
NAMES = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: names, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: FQDN
endpoints: [{addresses: [a.example]}]
"""


def counts(clusters: Clusters) -> dict[str, float]:
    """Every sample by its name."""
    families = object_metrics(clusters.rejected(), clusters.manifest_counts())
    return {sample.name: sample.value for family in families for sample in family.samples}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing tells that the folder was looked at
            await asyncio.sleep(0.02)


async def test_manifests_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(SERVICE % 80)
    (tmp_path / "names.yaml").write_text(NAMES)
    (tmp_path / "broken.yaml").write_text(SERVICE % "nope")
    source = Source(manifests=tmp_path)
    clusters = Clusters(open_feed, lambda _: None, time.perf_counter)
    clusters.store(source)
    assert await clusters.start()
    assert counts(clusters) == {
        "kdns_rejected_objects_total": 1,
        "kdns_manifests_errors_total": 1,
        "kdns_manifests_changes_total": 0,
    }
    path.write_text(SERVICE % 81)
    await until(lambda: counts(clusters)["kdns_manifests_changes_total"] == 1)
    await clusters.retire([source])
    assert clusters.manifest_counts() is None


def test_no_manifests() -> None:
    (family,) = object_metrics(3, None)
    assert [(sample.name, sample.value) for sample in family.samples] == [
        ("kdns_rejected_objects_total", 3)
    ]
