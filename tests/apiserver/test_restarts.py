"""The control plane is killed, restarted, compacted and restored under a feed; and a big one."""

from __future__ import annotations

import asyncio
import shutil
import time

import pytest

from kdns.cluster.api.feed import ApiFeed
from kdns.cluster.api.kubeconfig import Kubeconfig
from kdns.cluster.api.reflector import SILENCE
from kdns.cluster.api.resources import resources
from kdns.cluster.api.timing import Timing

MANY = 10_000
IMPATIENT = Timing(timeout=lambda s: asyncio.timeout(s / 60 if s >= SILENCE[0] else s))


@pytest.fixture(scope="module")
def own(start_plane):
    """A control plane that tests may take down, without controllers."""
    plane = start_plane()
    plane.kill("kube-controller-manager")
    return plane


def service(name, namespace="default", **labels):
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": labels,
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "clusterIPs": ["None"],
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 80}],
            "selector": {"app": "none"},
            "sessionAffinity": "None",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
        },
    }


def key(name, namespace="default"):
    return f"/registry/services/specs/{namespace}/{name}"


SERVICES = "/api/v1/namespaces/default/services"


def feed_of(plane, **options):
    return ApiFeed(Kubeconfig(plane.kubeconfig), resources(endpoints=False), **options)


async def test_apiserver_killed_and_started_again(own, cluster_of, etcd_of, read_world):
    cluster, etcd = cluster_of(own), etcd_of(own)
    await etcd.put({key(name): service(name) for name in ("stays", "goes", "changes")})
    feed = feed_of(own)
    async with read_world(feed) as world:
        await world.until(lambda: world.has("Service", "changes"))
        world.told.clear()
        own.kill("kube-apiserver")
        await etcd.delete(key("goes"))
        await etcd.put({key("changes"): service("changes", now="so"), key("new"): service("new")})
        await world.until(lambda: all(s.failing for s in feed.stats.resources.values()))
        assert world.has("Service", "goes"), "nothing is taken away by an outage"
        await asyncio.to_thread(own.start_apiserver)
        await world.until(lambda: world.has("Service", "new"))
        await world.until(lambda: not world.has("Service", "goes"))
        await cluster.create(SERVICES, service("after"))
        await world.until(lambda: world.has("Service", "after"))

        told = [each for each in world.told if each[2] in {"stays", "goes", "changes", "new"}]
        assert sorted(told) == [
            ("+", "Service", "changes"),
            ("+", "Service", "new"),
            ("-", "Service", "goes"),
        ]


async def test_history_compacted_while_away(own, cluster_of, etcd_of, read_world):
    etcd = etcd_of(own)
    await etcd.put({key(f"old-{n}"): service(f"old-{n}") for n in range(3)})
    feed = feed_of(own)
    async with read_world(feed) as world:
        await world.until(lambda: world.has("Service", "old-2"))
        world.told.clear()
        own.kill("kube-apiserver")
        await etcd.delete(key("old-0"))
        revision = await etcd.put({key("young"): service("young")})
        await etcd.compact(revision)
        own.kill("etcd")
        own.start_etcd()
        await asyncio.to_thread(own.start_apiserver)
        await world.until(lambda: world.has("Service", "young"))
        await world.until(lambda: not world.has("Service", "old-0"))

        stats = feed.stats.resources["Service"]
        assert stats.errors["expired"] >= 1
        assert stats.lists == 2
        assert ("+", "Service", "old-1") not in world.told


async def test_etcd_restored_from_a_backup(own, cluster_of, etcd_of, read_world):
    """Versions go back: what client-go would wait for until they have come round again."""
    etcd = etcd_of(own)
    await etcd.put({key("kept"): service("kept")})
    own.kill("kube-apiserver", "etcd")
    backup = own.folder / "backup"
    await asyncio.to_thread(shutil.copytree, own.folder / "etcd", backup)
    own.start_etcd()
    await asyncio.to_thread(own.start_apiserver)
    feed = feed_of(own, timing=IMPATIENT)
    async with read_world(feed) as world:
        for n in range(50):
            await etcd.put({key(f"lost-{n}"): service(f"lost-{n}")})
        await world.until(lambda: world.has("Service", "lost-49"))
        own.kill("kube-apiserver", "etcd")
        await asyncio.to_thread(shutil.rmtree, own.folder / "etcd")
        backup.rename(own.folder / "etcd")
        own.start_etcd()
        await asyncio.to_thread(own.start_apiserver)
        await cluster_of(own).create(SERVICES, service("since"))
        await world.until(lambda: world.has("Service", "since"))
        await world.until(lambda: not world.has("Service", "lost-49"))

        assert world.has("Service", "kept")


async def test_a_big_cluster(own, cluster_of, etcd_of, read_world):
    """Ten thousand Services: listed soon, and listed again without a word."""
    etcd = etcd_of(own)
    await etcd.put({key(f"big-{n}"): service(f"big-{n}") for n in range(MANY)})
    # Many objects in one revision are nothing that an API server expects: let it take them in. Its
    # watch cache has to: a list with a limit is etcd's.
    revision = await etcd.put({key("one-more"): service("one-more")})
    last = "fieldSelector=metadata.name%3Done-more"
    await cluster_of(own).get(f"{SERVICES}?{last}&resourceVersion={revision}")
    feed = feed_of(own)
    began = time.monotonic()
    async with read_world(feed) as world:
        await world.until(lambda: world.has("Service", f"big-{MANY - 1}"))
        assert sum(name.startswith("big-") for _, _, name in world.objects) == MANY
        assert time.monotonic() - began < 10
        told = len(world.told)
        own.kill("kube-apiserver")
        await etcd.put({key("last"): service("last")})
        await asyncio.to_thread(own.start_apiserver)
        await world.until(lambda: world.has("Service", "last"))
        await world.until(lambda: not any(s.failing for s in feed.stats.resources.values()))

        assert len(world.told) < told + 50
