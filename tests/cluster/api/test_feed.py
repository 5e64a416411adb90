"""The feed as a whole: several resources, one iterator, and who waits for whom."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from contextlib import aclosing

import pytest

from kdns.cluster.api.access import FileAccess, Files
from kdns.cluster.api.feed import ApiFeed
from kdns.cluster.api.resources import resources
from kdns.cluster.feed import Synced


def feed_of(api, time, wanted):
    access = FileAccess(api.url, Files(), time.timing.clock)
    return ApiFeed(access, wanted, check_every=(1000.0, 1000.0), timing=time.timing)


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        pytest.param(
            {},
            {
                "/api/v1/namespaces": {},
                "/api/v1/services": {},
                "/apis/discovery.k8s.io/v1/endpointslices": {},
            },
            id="default",
        ),
        pytest.param(
            {"endpoints": False, "labels": "app in (a,b),tier!=x", "namespace_labels": "dns=yes"},
            {
                "/api/v1/namespaces": {"labelSelector": "dns=yes"},
                "/api/v1/services": {"labelSelector": "app in (a,b),tier!=x"},
            },
            id="selectors, without endpoints",
        ),
        pytest.param(
            {"pods": True, "service_imports": True, "labels": "a", "namespace_labels": "b"},
            {
                "/api/v1/namespaces": {"labelSelector": "b"},
                "/api/v1/services": {"labelSelector": "a"},
                "/apis/discovery.k8s.io/v1/endpointslices": {"labelSelector": "a"},
                "/api/v1/pods": {
                    "labelSelector": "a",
                    "fieldSelector": "status.phase!=Succeeded,status.phase!=Failed,"
                    "status.phase!=Unknown",
                },
                "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports": {"labelSelector": "b"},
            },
            id="everything",
        ),
    ],
)
async def test_asks_for_what_is_wanted_alone(api, time, read_feed, options, asked):
    async with read_feed(feed_of(api, time, resources(**options))):
        exchanges = [await api.asked() for _ in asked]
        selectors = {
            each.path: {k: v for k, v in each.query.items() if k.endswith("Selector")}
            for each in exchanges
        }

        assert selectors == asked
        assert api.idle()


async def test_synced_comes_once_when_all_have_been_listed(api, time, read_feed, say):
    feed = feed_of(api, time, resources())
    async with read_feed(feed) as reader:
        exchanges = {
            exchange.path[-8:]: exchange for exchange in [await api.asked() for _ in "123"]
        }
        await exchanges["services"].stream(say.added("a", 1), say.bookmark(5, end=True))
        await exchanges["mespaces"].stream(say.bookmark(5, end=True))
        assert await reader.read(1) == ["+default/a@1"]
        await reader.until(lambda: feed.stats.resources["Namespace"].synced)
        assert reader.events == []
        await exchanges["ntslices"].stream(say.bookmark(5, end=True))
        assert await reader.read(1) == ["synced"]
        await exchanges["services"].send(say.error(410, "Expired"))
        relist = await api.asked("/services")
        await relist.stream(say.added("b", 6), say.bookmark(7, end=True))

        assert await reader.read(2) == ["+default/b@6", "-default/a"]
        await relist.send(say.modified("b", 8))
        assert await reader.read(1) == ["+default/b@8"]


async def test_each_kind_is_decoded_to_its_own_type(api, time, read_feed, say):
    objects = {
        "namespaces": {"metadata": {"name": "n", "resourceVersion": "1"}},
        "services": say.service("s", 1),
        "endpointslices": {
            "metadata": {
                "name": "e",
                "namespace": "n",
                "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026"},
                "labels": {"kubernetes.io/service-name": "s"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
        },
        "pods": {"metadata": {"name": "p", "namespace": "n"}, "status": {"podIP": "10.0.0.2"}},
        "serviceimports": {
            "metadata": {"name": "i", "namespace": "n"},
            "spec": {"type": "ClusterSetIP", "ips": ["10.0.0.3"], "ports": [{"port": 80}]},
        },
    }
    async with read_feed(feed_of(api, time, resources(pods=True, service_imports=True))) as reader:
        for _ in objects:
            exchange = await api.asked()
            await exchange.stream(say.event("ADDED", objects[exchange.path.rsplit("/")[-1]]))
        await reader.until(lambda: len(reader.events) == len(objects))
        found = {type(event.object).__name__: event.object for event in reader.events}

    assert set(found) == {"Namespace", "Service", "EndpointSlice", "Pod", "ServiceImport"}
    assert found["ServiceImport"].spec.ips == ["10.0.0.3"]
    assert found["EndpointSlice"].service == "s"
    assert list(found["EndpointSlice"].metadata.annotations.values()) == ["2026"]
    assert found["Pod"].status.pod_ip == "10.0.0.2"


async def test_who_reads_slowly_slows_the_server_down(api, services, say):
    services.free.clear()
    exchange = await api.asked()
    await exchange.begin()
    lines = [json.dumps(say.modified("a", n, uid="x" * 1000)).encode() + b"\n" for n in (1, 2)]
    piece = b"".join(lines * 32)
    sent = 0

    async def flood():
        nonlocal sent
        for _ in range(1000):
            await exchange.raw(piece)
            sent += len(piece)

    flooding = asyncio.create_task(flood())
    before = -1
    while sent != before:  # until the sockets in between are full
        before = sent
        for _ in range(200):
            await asyncio.sleep(0)
    flooding.cancel()

    assert sent < len(piece) * 1000 / 2


async def test_end_of_reading_lets_go_of_everything(api, time, say):
    feed = feed_of(api, time, resources())
    tasks = asyncio.all_tasks()
    async with aclosing(feed.events()) as events:
        reading = asyncio.ensure_future(anext(events))
        exchanges = [await api.asked() for _ in "123"]
        await exchanges[0].stream(say.added("a", 1))
        await reading

    for exchange in exchanges:
        await exchange.gone()
    serving = {task for task in asyncio.all_tasks() - tasks if "_serve" not in repr(task)}
    assert serving == set()


async def test_can_be_read_from_the_start_again(api, time, read_feed, say):
    feed = feed_of(api, time, [r for r in resources() if r.kind == "Service"])
    for times in (1, 2):
        async with read_feed(feed) as reader:
            exchange = await api.asked()
            assert not feed.stats.resources["Service"].synced
            await exchange.stream(say.added("a", 1), say.bookmark(5, end=True))
            assert await reader.read(2) == ["+default/a@1", "synced"]
            assert feed.stats.resources["Service"].lists == times


@pytest.mark.parametrize("paged", [False, True], ids=["streamed", "paged"])
async def test_relists_take_no_more_memory(api, services, say, paged):
    """What is kept of an object is a key and a number; a relist makes no second copy of either."""
    many = 4000
    items = [say.service(f"service-{n:05}", n + 1, notes="x" * 1000) for n in range(many)]
    if paged:
        content = say.listed(9000, *items)
    else:
        events = [say.event("ADDED", item) for item in items] + [say.bookmark(9000, end=True)]
        content = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    stats = services.feed.stats.resources["Service"]

    async def send(exchange):
        await exchange.begin()
        for start in range(0, len(content), 2**14):
            await exchange.raw(content[start : start + 2**14])

    async def relist(number):
        watch = await api.asked()
        if paged:
            await watch.answer(422, say.status(422))
            page = await api.asked()
            await send(page)
            await page.end()
            watch = await api.asked()
            await watch.begin()
        else:
            await send(watch)
        await services.until(lambda: stats.lists == number)
        services.events.clear()
        await watch.send(say.error(410, "Expired"))

    await relist(1)
    tracemalloc.start()
    try:
        after = []
        for number in range(2, 6):
            await relist(number)
            gc.collect()
            after.append(tracemalloc.get_traced_memory())
            tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()

    assert len(content) > 5_000_000
    kept, peaks = zip(*after, strict=True)
    assert min(kept[1:]) < kept[0] * 1.2
    assert max(peaks) < len(content) / 3


async def test_synced_is_a_plain_event(api, services, say):
    await (await api.asked()).stream(say.bookmark(1, end=True))
    await services.until(lambda: services.events == [Synced()])


async def test_defect_that_ends_a_watch_is_not_hidden(api, time, monkeypatch):
    async def fail(_):
        raise RuntimeError("a defect")

    monkeypatch.setattr("kdns.cluster.api.reflector.Reflector.run", fail)
    feed = ApiFeed(FileAccess(api.url, Files()), resources(), timing=time.timing)
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="a defect"):
            async for _ in feed.events():
                pass
