"""A network between feed and API server that cuts, holds, slows down and garbles."""

from __future__ import annotations

import asyncio

import pytest

from kdns.cluster.api.feed import ApiFeed
from kdns.cluster.api.reflector import SILENCE
from kdns.cluster.api.resources import resources
from kdns.cluster.api.timing import Timing

SERVICES = "/api/v1/namespaces/{}/services"
IMPATIENT = Timing(timeout=lambda s: asyncio.timeout(s / 60 if s >= SILENCE[0] else s))
"""Ninety seconds of silence in a second and a half."""

WANTED = resources(endpoints=False)


def service(name):
    return {"metadata": {"name": name}, "spec": {"ports": [{"name": "http", "port": 80}]}}


@pytest.fixture
async def services(cluster):
    """Path of the Services in a new namespace."""
    return SERVICES.format(await cluster.namespace())


def lists(feed):
    return [stats.lists for stats in feed.stats.resources.values()]


async def test_connections_cut(cluster, proxy, services, read_world):
    feed = ApiFeed(await proxy.access(), WANTED)
    async with read_world(feed) as world:
        for number in range(3):
            proxy.cut()
            await cluster.create(services, service(f"cut-{number}"))
            await world.until(lambda number=number: world.has("Service", f"cut-{number}"))

        assert lists(feed) == [1, 1], "no list for a lost connection"


async def test_nobody_there_for_a_while(cluster, proxy, services, read_world):
    feed = ApiFeed(await proxy.access(), WANTED)
    async with read_world(feed) as world:
        await proxy.close()
        await cluster.create(services, service("meanwhile"))
        await world.until(lambda: all(s.failing for s in feed.stats.resources.values()))
        assert world.synced
        await proxy.open()
        await world.until(lambda: world.has("Service", "meanwhile"))
        await world.until(lambda: not any(s.failing for s in feed.stats.resources.values()))

        assert lists(feed) == [1, 1]


async def test_connection_that_is_dead_without_a_word(cluster, proxy, services, read_world):
    feed = ApiFeed(await proxy.access(), WANTED, timing=IMPATIENT)
    async with read_world(feed) as world:
        proxy.flowing.clear()
        await cluster.create(services, service("silent"))
        await world.until(lambda: feed.stats.resources["Service"].errors["silent"])
        proxy.flowing.set()
        await world.until(lambda: world.has("Service", "silent"))

        assert lists(feed) == [1, 1]


async def test_bytes_in_drops(cluster, proxy, services, read_world):
    await cluster.create(services, service("in-drops"))
    proxy.grain, proxy.pace = 7, 0.0
    async with read_world(ApiFeed(await proxy.access(), WANTED)) as world:
        assert world.has("Service", "in-drops")


async def test_slow_network(cluster, proxy, services, read_world):
    await cluster.create(services, service("slow"))
    proxy.grain, proxy.pace = 4096, 0.01
    async with read_world(ApiFeed(await proxy.access(), WANTED)) as world:
        await cluster.create(services, service("slow-2"))
        await world.until(lambda: world.has("Service", "slow-2"))


async def test_object_of_another_shape(cluster, proxy, services, read_world):
    feed = ApiFeed(await proxy.access(), WANTED)
    async with read_world(feed) as world:
        proxy.rewrite = lambda content: content.replace(b'"name":"odd-port"', b'"name":123456    ')
        body = service("odd")
        body["spec"]["ports"][0]["name"] = "odd-port"
        await cluster.create(services, body)
        await cluster.create(services, service("even"))
        await world.until(lambda: world.has("Service", "even"))
        assert not world.has("Service", "odd")
        assert feed.stats.resources["Service"].skipped == 1
        await cluster.patch(f"{services}/odd", {"spec": {"ports": service("odd")["spec"]["ports"]}})
        await world.until(lambda: world.has("Service", "odd"))

        assert lists(feed) == [1, 1]


async def test_line_that_is_none(cluster, proxy, services, read_world):
    feed = ApiFeed(await proxy.access(), WANTED)
    async with read_world(feed) as world:
        proxy.rewrite = lambda content: content.replace(b'{"type":"ADDED"', b'["type" "ADDED"')
        await cluster.create(services, service("garbled"))
        await world.until(lambda: feed.stats.resources["Service"].errors["garbled"])
        proxy.rewrite = lambda content: content
        await world.until(lambda: world.has("Service", "garbled"))
        # Objects come before the list that they are in is whole.
        await world.until(lambda: lists(feed) == [1, 2])


async def test_events_that_never_arrive_are_found_missing(cluster, proxy, services, read_world):
    """A line blotted out without a trace: what no watch can notice."""
    feed = ApiFeed(
        await proxy.access(),
        WANTED,
        check_every=(0.2, 0.3),
        timing=Timing(sleep=lambda seconds: asyncio.sleep(seconds / 20)),
    )
    async with read_world(feed) as world:
        before = len(world.told)

        def blot(content):
            lines = content.split(b"\n")
            for index, line in enumerate(lines):
                if line.startswith(b'{"type":"ADDED"') and b'"blotted"' in line:
                    lines[index] = b"\n" * len(line)
                    proxy.rewrite = lambda content: content  # the list that mends it is whole
            return b"\n".join(lines)

        proxy.rewrite = blot
        await cluster.create(services, service("blotted"))
        await world.until(lambda: feed.stats.resources["Service"].lists == 2)

        assert world.has("Service", "blotted")
        assert feed.stats.resources["Service"].mismatches == 1
        assert len(world.told) > before
