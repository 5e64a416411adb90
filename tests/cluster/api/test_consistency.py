"""The check that finds what a watch has missed."""

from __future__ import annotations

import json

import pytest

from kdns.cluster.api.client import METADATA_ONLY


def partial(name, version, uid=""):
    metadata = {"name": name, "namespace": "default", "resourceVersion": str(version)}
    return {"metadata": {**metadata, "uid": uid or f"uid-{name}"}}


def page(*items, more=""):
    return {"metadata": {"resourceVersion": "99", "continue": more}, "items": items}


async def look(api, *items):
    asked = await api.asked("/services")
    await asked.answer(200, page(*items))
    return asked


def stats(services):
    return services.feed.stats.resources["Service"]


async def test_asks_for_metadata_in_pages(api, services, watched, time):
    await time.check()
    first = await api.asked()
    await first.answer(200, page(partial("a", 1), more="t"))
    second = await look(api, partial("b", 2))
    await services.until(lambda: stats(services).checks == 1)

    assert first.headers["accept"] == METADATA_ONLY
    assert first.query == {"limit": "500"}
    assert second.query == {"limit": "500", "continue": "t"}
    assert stats(services).mismatches == 0
    assert api.idle()


MISSED = [
    pytest.param([("a", 5), ("b", 2)], "+default/a@5", id="change"),
    pytest.param([("a", 1), ("b", 2), ("c", 6)], "+default/c@6", id="addition"),
    pytest.param([("b", 2)], "-default/a", id="deletion"),
]


@pytest.mark.parametrize(("there", "found"), MISSED)
async def test_what_stays_different_is_listed_again(
    api, services, watched, say, time, said, there, found
):
    await time.check()
    for _ in range(2):
        await look(api, *(partial(*each) for each in there))
    await watched.gone()
    relist = await api.asked()
    events = [say.added(*each) for each in there]
    await relist.stream(*events, say.bookmark(20, end=True))
    await services.until(lambda: stats(services).lists == 2)

    assert "resourceVersion" not in relist.query, "the watch cache may be what is wrong"
    assert relist.query["sendInitialEvents"] == "true"
    assert found in await services.read(len(services.events))
    assert (stats(services).mismatches, time.slept) == (1, [10])
    assert any("has missed 1 changes" in line for line in said())


async def test_recreated_under_the_same_version_is_different(api, services, watched, time):
    await time.check()
    for _ in range(2):
        await look(api, partial("a", 1, uid="other"), partial("b", 2))

    await services.until(lambda: stats(services).mismatches == 1)


async def test_what_the_watch_tells_in_between_was_not_missed(api, services, watched, say, time):
    await time.check()
    await look(api, partial("a", 5), partial("b", 2), partial("c", 6))
    second = await api.asked()
    await watched.send(say.modified("a", 5), say.added("c", 6))
    await services.read(2)
    # An object that changes all the time may be ahead of the watch at each look.
    await second.answer(200, page(partial("a", 7), partial("b", 2), partial("c", 6)))
    await services.until(lambda: stats(services).checks == 1)

    assert stats(services).mismatches == 0
    assert stats(services).lists == 1


async def test_what_became_unreadable_on_the_way_is_read_again(api, services, watched, say, time):
    await watched.send(say.modified("a", 11, ports="none"))
    await services.until(lambda: stats(services).skipped == 1)
    await time.check()
    await look(api, partial("a", 11), partial("b", 2))
    relist = await api.asked()
    await relist.stream(say.added("a", 11), say.added("b", 2), say.bookmark(12, end=True))

    assert "+default/a@11" in await services.read(2)
    assert (stats(services).lists, stats(services).mismatches) == (2, 0)


async def test_what_cannot_be_decoded_is_listed_for_once(api, services, watched, say, time, said):
    bad = say.modified("a", 11, ports="none")
    await watched.send(bad)
    await services.until(lambda: stats(services).skipped == 1)
    await time.check()
    await look(api, partial("a", 11), partial("b", 2))
    relist = await api.asked()
    bad["type"] = "ADDED"
    await relist.stream(bad, say.added("b", 2), say.bookmark(12, end=True))
    await services.until(lambda: stats(services).lists == 2)
    await time.check()
    await look(api, partial("a", 11), partial("b", 2))
    await services.until(lambda: stats(services).checks == 2)
    await relist.send(say.added("c", 13))

    assert (await services.read(2))[-1] == "+default/c@13"
    assert api.idle()
    assert len([line for line in said() if "left out" in line]) == 1


async def test_what_could_not_be_decoded_and_changed_since_is(api, services, watched, say, time):
    await watched.send(say.modified("a", 11, ports="none"))
    await services.until(lambda: stats(services).skipped == 1)
    await time.check()
    for _ in range(2):
        await look(api, partial("a", 12), partial("b", 2))

    await services.until(lambda: stats(services).mismatches == 1)


async def test_trouble_with_the_check_is_no_mismatch(api, services, watched, say, time):
    await time.check()
    await (await api.asked()).answer(503, say.status(503))
    await time.check()
    await (await api.asked()).answer(200, b"no json")
    await time.check()
    await (await api.asked()).answer(200, json.dumps(page(more="x")).encode())
    await (await api.asked()).answer(410, say.status(410, "Expired"))
    await time.check()
    await look(api, partial("a", 1), partial("b", 2))
    await services.until(lambda: stats(services).checks == 1)

    assert (stats(services).mismatches, stats(services).lists) == (0, 1)


async def test_waits_for_a_watch_to_compare_with(api, services, say, time):
    listing = await api.asked()
    await listing.begin()
    await time.check()
    await listing.send(say.added("a", 1), say.bookmark(5, end=True))

    assert await services.read(2) == ["+default/a@1", "synced"]
    assert api.idle()
