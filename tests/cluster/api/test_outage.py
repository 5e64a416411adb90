"""What is logged and counted while the API server is away."""

from __future__ import annotations

import math


def stats(services):
    return services.feed.stats.resources["Service"]


async def test_one_line_a_minute_and_one_at_the_end(api, services, watched, say, time, said):
    await api.close()
    await services.until(lambda: len(time.slept) >= 40)
    lines = said()
    assert 15 <= len(lines) <= 21, "for more than 1,050 seconds"
    assert f"API server {api.url}: out of touch since 00:16:40 UTC (0s)" in lines[0]
    assert "what is known stays served" in lines[0]
    assert stats(services).failing == 1000
    assert "onnect" in stats(services).why
    await api.open()
    await (await api.asked_again(10)).begin()
    await services.until(lambda: stats(services).failing is None)

    assert "back after 1" in said()[-1]
    assert len([line for line in said() if "back" in line]) == 1


async def test_says_when_not_all_is_known(api, services, say, said):
    await (await api.asked()).answer(403, say.status(403, "Forbidden", "services is forbidden"))
    await services.until(lambda: bool(said()))

    assert "not all objects are known yet: Service: 403 Forbidden: services is for" in said()[0]
    assert stats(services).errors == {"forbidden": 1}


async def test_a_hiccup_is_not_worth_a_line(api, services, watched, say, said):
    watched.cut()
    await (await api.asked_again(10)).stream(say.modified("a", 11))
    await services.read(1)

    assert said() == []


async def test_flapping_is_no_flood(api, services, watched, say, said, time):
    watch = watched
    for _ in range(8):
        await watch.send(say.error(429))
        watch = await api.asked()
        await watch.begin()

    assert len(said()) <= 2 + 2 * sum(time.slept) / 60


async def test_times_of_what_is_heard(api, services, watched, say, time):
    time.now += 10
    await watched.send(say.bookmark(12))
    await services.until(lambda: stats(services).last_bookmark == 1010)
    time.now += 50
    await watched.send(say.modified("a", 13))
    await services.read(1)

    assert stats(services).last_bookmark == 1010
    assert stats(services).last_event == 1060


async def test_age_is_of_what_is_out_of_touch(api, services, watched, time):
    feed = services.feed.stats
    assert feed.age(time.now + 70) == 0, "a minute without a bookmark is no age"
    await api.close()
    await services.until(lambda: stats(services).failing is not None)
    assert feed.age(time.now) == time.now - stats(services).last_heard
    assert feed.age(time.now + 7) == feed.age(time.now) + 7
    await api.open()
    await (await api.asked_again(10)).begin()
    await services.until(lambda: stats(services).failing is None)
    assert feed.age(time.now) == 0


async def test_age_before_anything_was_heard(api, services, time):
    await api.asked()

    assert services.feed.stats.age(time.now) == math.inf
