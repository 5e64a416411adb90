"""What there is to know of sources that are followed: through the metrics that tell it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection
from pathlib import Path

import pytest

from kdns.cluster.feed import Event, Feed, Synced, Upsert
from kdns.cluster.objects import Metadata, Namespace
from kdns.cluster.source import Source
from kdns.cluster_metrics import object_metrics
from kdns.clusters import Clusters
from kdns.feeds import open_feed
from kdns.records.store import Store

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


class Told:
    """A feed of one namespace, synced at once."""

    async def events(self) -> AsyncGenerator[Event, None]:
        yield Upsert(Namespace(Metadata("shop")))
        yield Synced()
        await asyncio.Event().wait()


def told(_: Source) -> Feed:
    return Told()


async def test_file_of_a_source_that_leaves_is_its_successors(tmp_path: Path) -> None:
    """A reload with another option: what is saved then is of the new one."""
    path = tmp_path / "records"
    before, after = (Source(snapshot=path, endpoint_pod_names=names) for names in (False, True))
    clusters = Clusters(told, lambda _: None, time.perf_counter)
    clusters.store(before)
    assert await clusters.start()
    (old,) = clusters.snapshots()
    store = clusters.store(after)
    assert await clusters.start()
    (new,) = set(clusters.snapshots()) - {old}
    await new.save(store)
    old.supersede()
    await old.save(store)
    await clusters.retire([before])
    await new.save(store)
    assert await new.load(Store(clock=time.time))
    assert not await old.load(Store(clock=time.time))
    await clusters.retire([after])
    assert await new.load(Store(clock=time.time))


async def test_what_is_gone_since_a_snapshot_goes_a_piece_at_a_time(tmp_path: Path) -> None:
    source = Source(snapshot=tmp_path / "records")
    earlier = Clusters(told, lambda _: None, time.perf_counter)
    store = earlier.store(source)
    assert await earlier.start()
    for n in range(100):
        store.apply(Upsert(Namespace(Metadata(f"gone-{n}"))))
    await earlier.retire([source])

    steps: list[int] = []
    clock = iter(range(10**6))  # time is over after each event
    clusters = Clusters(told, lambda _: steps.append(len(now.namespaces)), lambda: next(clock))
    now = clusters.store(source)
    assert await clusters.start()
    assert len(now.namespaces) == 101
    await until(lambda: now.synced)
    assert now.namespaces == {b"\x04shop"}
    assert sorted(steps, reverse=True) == [*range(100, 0, -1), 1]
    await clusters.retire([source])


@pytest.mark.parametrize("defect", [RuntimeError("a defect"), None], ids=["fails", "ends"])
async def test_feed_that_ends_is_read_anew(caplog, defect) -> None:
    """And what went meanwhile goes."""
    slept: list[float] = []

    class Ending:
        def __init__(self) -> None:
            self.told = ["went", "stays"]

        async def events(self) -> AsyncGenerator[Event, None]:
            for name in self.told:
                yield Upsert(Namespace(Metadata(name)))
            yield Synced()
            if "new" in self.told:
                await asyncio.Event().wait()
            self.told = ["stays", "new"]
            if defect is not None:
                raise defect

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    forgotten: list[Collection[bytes]] = []
    feed = Ending()
    clusters = Clusters(lambda _: feed, forgotten.append, time.perf_counter, sleep)
    store = clusters.store(Source())
    assert await clusters.start()
    await until(lambda: b"\x03new" in store.namespaces)
    await until(lambda: not store.unconfirmed)
    assert store.namespaces == {b"\x05stays", b"\x03new"}
    assert {name for names in forgotten[2:] for name in names} >= {b"\x04went", b"\x03new"}
    assert b"\x05stays" not in {name for names in forgotten[3:] for name in names}
    assert (slept, len(caplog.messages)) == ([30], 1)
    await clusters.retire([Source()])
