"""The reflector's contract, in dialogues with a scripted API server."""

from __future__ import annotations

import json

import pytest

STATS = "Service"


def stats(services):
    return services.feed.stats.resources[STATS]


async def test_asks_for_a_streaming_list(api, services):
    asked = await api.asked()

    assert asked.path == "/api/v1/services"
    assert asked.query == {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "timeoutSeconds": "300",
    }


async def test_events_flow_before_the_list_is_complete(api, services, say):
    asked = await api.asked()
    await asked.stream(say.added("a", 7), say.added("b", 3))

    assert await services.read(2) == ["+default/a@7", "+default/b@3"]
    assert not stats(services).synced


async def test_same_stream_goes_on_as_the_watch(api, services, watched, say):
    await watched.send(say.modified("a", 11), say.deleted("b", 12), say.added("c", 13))

    assert await services.read(3) == ["+default/a@11", "-default/b", "+default/c@13"]
    assert api.idle()


async def test_a_change_during_the_initial_events_counts(api, services, say):
    asked = await api.asked()
    await asked.stream(say.added("a", 1), say.added("b", 2), say.deleted("a", 5))
    await asked.send(say.bookmark(5, end=True))

    assert await services.read(4) == ["+default/a@1", "+default/b@2", "-default/a", "synced"]


async def test_watch_that_ends_goes_on_from_its_last_version_at_once(
    api, services, watched, say, time
):
    await watched.send(say.modified("a", 11), say.bookmark(20))
    await services.read(1)
    time.now += 300
    await watched.end()
    again = await api.asked()

    assert again.query == {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "300",
        "resourceVersion": "20",
    }
    assert time.slept == []
    assert not stats(services).errors


async def test_initial_events_do_not_set_the_version(api, services, say):
    first = await api.asked()
    await first.stream(say.added("a", 7))
    await services.read(1)
    first.cut()
    second = await api.asked()

    assert "resourceVersion" not in second.query
    assert second.query["sendInitialEvents"] == "true"


async def test_interrupted_list_leaves_nothing_behind(api, services, say):
    first = await api.asked()
    await first.stream(say.added("a", 7), say.added("b", 8))
    await services.read(2)
    first.cut()
    second = await api.asked()
    await second.stream(say.added("a", 7), say.bookmark(9, end=True))

    assert await services.read(2) == ["-default/b", "synced"]


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(("http", 400, "BadRequest"), id="400"),
        pytest.param(("http", 422, "Invalid"), id="422 of a server without the feature"),
        pytest.param(("stream", 500, "InternalError"), id="500 in the stream, etcd too old"),
        pytest.param(("end", 0, ""), id="stream without the bookmark"),
        pytest.param(("silence", 0, ""), id="no bookmark for 10 s"),
    ],
)
async def test_falls_back_to_pages(api, services, say, time, refusal):
    how, code, reason = refusal
    asked = await api.asked()
    if how == "http":
        await asked.answer(code, say.status(code, reason))
    elif how == "stream":
        await asked.stream(say.error(code, reason))
    else:
        await asked.stream(say.added("a", 1))
        await services.read(1)
        if how == "end":
            await asked.end()
        else:
            assert time.patience == 10
            time.expire()
    first = await api.asked()
    await first.answer(200, say.listed(10, say.service("a", 1), say.service("b", 2), more="t/1"))
    second = await api.asked()
    await second.answer(200, say.listed(10, say.service("c", 3)))
    watch = await api.asked()

    assert first.query == {"resourceVersion": "0", "limit": "500"}
    assert second.query == {"continue": "t/1", "limit": "500"}
    assert watch.query["resourceVersion"] == "10"
    assert "sendInitialEvents" not in watch.query
    known = [] if how in {"end", "silence"} else ["+default/a@1"]
    assert await services.read(len(known) + 3) == [
        *known,
        "+default/b@2",
        "+default/c@3",
        "synced",
    ]
    assert time.slept == []


async def test_an_empty_list_is_a_list(api, services, say):
    await (await api.asked()).answer(422, say.status(422))
    await (await api.asked()).answer(200, b'{"metadata":{"resourceVersion":"5"},"items":null}')

    assert await services.read(1) == ["synced"]


async def test_pages_that_expire_are_read_again_whole(api, services, say):
    await (await api.asked()).answer(422, say.status(422))
    await (await api.asked()).answer(200, say.listed(10, say.service("a", 1), more="t"))
    await (await api.asked()).answer(410, say.status(410, "Expired"))
    await (await api.asked()).answer(422, say.status(422))
    whole = await api.asked()
    await whole.answer(200, say.listed(20, say.service("b", 2)))

    assert whole.query == {}
    assert await services.read(4) == ["+default/a@1", "+default/b@2", "-default/a", "synced"]


@pytest.mark.parametrize("how", ["http", "stream"])
@pytest.mark.parametrize("reason", ["Expired", "Gone"])
async def test_relist_is_applied_as_a_difference(api, services, watched, say, time, how, reason):
    time.now += 5
    if how == "stream":
        await watched.send(say.error(410, reason, "too old resource version"))
    else:
        await watched.end()
        await (await api.asked()).answer(410, say.status(410, reason))
    relist = await api.asked()
    await relist.stream(
        say.added("a", 1),
        say.added("b", 15),
        say.added("c", 16),
        say.bookmark(20, end=True),
    )

    assert relist.query["sendInitialEvents"] == "true"
    assert relist.query["resourceVersion"] == "10", "never back in time"
    assert await services.read(2) == ["+default/b@15", "+default/c@16"]
    await relist.send(say.deleted("c", 21))
    assert await services.read(1) == ["-default/c"]
    assert stats(services).lists == 2
    assert time.slept == []


async def test_list_that_ends_in_the_chunk_of_an_error_has_ended(api, services, say):
    asked = await api.asked()
    end = say.bookmark(10, end=True)
    await asked.stream(say.added("a", 1), end, say.added("b", 11), say.error(500))
    again = await api.asked()

    assert again.query["resourceVersion"] == "11"
    assert await services.read(3) == ["+default/a@1", "+default/b@11", "synced"]
    assert stats(services).lists == 1


async def test_what_a_relist_lacks_is_deleted(api, services, watched, say):
    await watched.send(say.error(410, "Expired"))
    relist = await api.asked()
    await relist.stream(say.added("c", 16), say.bookmark(20, end=True))

    assert set(await services.read(3)) == {"+default/c@16", "-default/a", "-default/b"}
    assert stats(services).objects == 1


async def test_another_uid_is_another_object(api, services, watched, say):
    await watched.send(say.modified("a", 1, uid="recreated"), say.modified("a", 1, uid="recreated"))
    await watched.send(say.deleted("a", 12))

    assert await services.read(2) == ["+default/a@1", "-default/a"]


@pytest.mark.parametrize("how", ["expired", "too large", "too large, in the stream"])
async def test_list_at_an_impossible_version_asks_for_the_newest(
    api, services, watched, say, time, how
):
    await watched.send(say.error(410, "Expired"))
    time.now += 31  # or the second try at once would have to wait
    relist = await api.asked()
    if how == "expired":
        await relist.answer(410, say.status(410, "Expired"))
    elif how == "too large":
        await relist.answer(504, say.too_large())
    else:
        await relist.stream(say.event("ERROR", say.too_large()))
    newest = await api.asked()

    assert relist.query["resourceVersion"] == "10"
    assert newest.query["sendInitialEvents"] == "true"
    assert "resourceVersion" not in newest.query


async def test_history_that_went_back_is_taken_in_anew(api, services, watched, say, time):
    """After a restore, the version that an object has had may be that of other content."""
    time.now += 5
    await watched.end()
    await (await api.asked()).answer(504, say.too_large())
    newest = await api.asked()
    await newest.stream(say.added("a", 1), say.bookmark(2, end=True))

    assert "resourceVersion" not in newest.query
    assert await services.read(2) == ["+default/a@1", "-default/b"]


async def test_expiry_again_and_again_is_not_a_storm(api, services, watched, say, time):
    watch = watched
    for _ in range(4):
        await watch.send(say.error(410, "Expired"))
        watch = await api.asked()
        await watch.stream(say.added("a", 1), say.bookmark(20, end=True))

    assert time.slept == [0.8, 1.6, 3.2]


@pytest.mark.parametrize(
    ("refusals", "slept"),
    [([0, 0, 0, 0], [0.8, 1.6]), ([4], [0.8, 1.6])],
    ids=["again and again", "away for a while"],
)
async def test_relist_after_a_restart_costs_no_step_of_its_own(
    api, services, watched, say, time, refusals, slept
):
    """The server is replaced every 11 s, its history gone, and refuses some requests first.

    Those in pairs: the HTTP client itself asks once more.
    """
    watch = watched
    for number, refused in enumerate(refusals):
        version = 10 * (number + 1)
        watch.cut()
        for _ in range(refused):
            (await api.asked()).cut()
        expired = await api.asked_again(version)
        await expired.stream(say.error(410, "Expired", "too old resource version"))
        watch = await api.asked()
        assert watch.query["sendInitialEvents"] == "true"
        await watch.stream(
            say.added("a", version + 5), say.added("b", 2), say.bookmark(version + 10, end=True)
        )
        assert await services.read(1) == [f"+default/a@{version + 5}"]
        time.now += 11
    assert time.slept == slept


@pytest.mark.parametrize("how", ["header", "stream", "details"])
async def test_429_waits_as_told_and_watches_on(api, services, watched, say, time, how):
    if how == "stream":
        await watched.send(say.error(429, "TooManyRequests", retryAfterSeconds=7))
    else:
        time.now += 5
        await watched.end()
        details = {"retryAfterSeconds": 7} if how == "details" else {}
        header = {"Retry_After": "7"} if how == "header" else {}
        await (await api.asked()).answer(429, say.status(429, "", **details), **header)
    again = await api.asked()

    assert again.query["resourceVersion"] == "10"
    assert "sendInitialEvents" not in again.query
    assert time.slept == [7.0]
    assert stats(services).errors == {"too_many_requests": 1}


async def test_not_all_come_back_when_they_were_told_to(
    api, services, watched, say, time, monkeypatch
):
    monkeypatch.setattr(time, "chance", 1.0)
    await watched.send(say.error(429, "TooManyRequests", retryAfterSeconds=100))
    await api.asked()

    assert time.slept == [125]


async def test_down_for_long_backs_off_and_watches_on(api, services, watched, time, say):
    await api.close()
    await services.until(lambda: len(time.slept) >= 10)
    assert time.slept[:10] == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30, 30]
    assert stats(services).errors == {"connection": len(time.slept) + 1}
    await api.open()
    again = await api.asked_again(10)
    await again.stream(say.modified("a", 11))

    assert again.query["resourceVersion"] == "10"
    assert "sendInitialEvents" not in again.query
    assert await services.read(1) == ["+default/a@11"]


async def test_connection_lost_is_made_again_at_once(api, services, watched, say, time):
    await watched.send(say.bookmark(12))
    await services.until(lambda: stats(services).last_bookmark is not None)
    watched.cut()
    again = await api.asked_again(12)

    assert again.query["resourceVersion"] == "12"
    assert time.slept == []
    assert stats(services).errors == {"connection": 1}


async def test_quiet_watch_that_is_lost_is_made_again_at_once(api, services, watched, time):
    watched.cut()
    quiet = await api.asked_again(10)
    await quiet.begin()
    answered = ("200", "GET", f"127.0.0.1:{api.port}")
    await services.until(lambda: services.feed.stats.requests.total[answered] == 3)
    time.now += 40
    quiet.cut()
    again = await api.asked_again(10)

    assert again.query["watch"] == "1"
    assert time.slept == []


async def test_half_a_line_is_no_line(api, services, watched, say, time):
    line = json.dumps(say.modified("a", 11)).encode()
    await watched.raw(line[:-20])
    watched.cut()
    again = await api.asked_again(10)
    await again.stream(say.modified("a", 11))

    assert again.query["resourceVersion"] == "10"
    assert await services.read(1) == ["+default/a@11"]


async def test_half_a_line_at_a_proper_end_is_none_either(api, services, watched, say, time):
    await watched.raw(json.dumps(say.modified("a", 11)).encode()[:-20])
    time.now += 5
    await watched.end()
    again = await api.asked()

    assert again.query["resourceVersion"] == "10"
    assert services.events == []


async def test_replayed_events_are_no_news(api, services, watched, say):
    await watched.send(say.added("a", 1), say.modified("b", 2), say.modified("b", 3))

    assert await services.read(1) == ["+default/b@3"]


async def test_lines_of_megabytes_come_through(api, services, watched, say):
    event = say.modified("a", 11)
    event["object"]["metadata"]["annotations"] = {"much": "x" * 5_000_000}
    await watched.send(event, say.modified("b", 12))

    assert await services.read(2) == ["+default/a@11", "+default/b@12"]


async def test_internal_errors_are_retried_before_a_list(api, services, watched, say, time):
    watch = watched
    queries = []
    for _ in range(5):
        await watch.send(say.error(500, "InternalError", "etcdserver: leader changed"))
        watch = await api.asked()
        queries.append("sendInitialEvents" in watch.query)
        await watch.begin()

    assert queries == [False, False, False, False, True]
    assert time.slept == [0.8, 1.6, 3.2, 6.4, 12.8]


async def test_an_error_of_another_kind_lists_again(api, services, watched, say, time):
    await watched.send(say.error(418, "Teapot"))
    again = await api.asked()

    assert again.query["sendInitialEvents"] == "true"
    assert again.query["resourceVersion"] == "10"
    assert time.slept == [0.8]


async def test_an_error_that_is_none_lists_again(api, services, watched, say):
    await watched.send(say.event("ERROR", 5))
    again = await api.asked()

    assert again.query["sendInitialEvents"] == "true"
    assert "ERROR event b'5'" in stats(services).why


async def test_a_defect_does_not_end_the_watch(api, services, watched, say, monkeypatch, said):
    def fail(*_):
        raise RuntimeError("a defect")

    monkeypatch.setattr("kdns.cluster.api.reflector.Lines.feed", fail)
    await watched.send(say.modified("a", 11))
    again = await api.asked()
    monkeypatch.undo()
    await again.stream(say.added("a", 11), say.bookmark(12, end=True))

    assert set(await services.read(2)) == {"+default/a@11", "-default/b"}
    assert any("watch broken off" in line for line in said())


async def test_garbage_lists_again(api, services, watched, say, time):
    await watched.send(say.modified("a", 11))
    await watched.raw(b"<html>log in</html>\n")
    again = await api.asked()

    assert await services.read(1) == ["+default/a@11"]
    assert again.query["sendInitialEvents"] == "true"
    assert time.slept == [0.8]
    assert "<html>" in stats(services).why


async def test_very_short_watches_back_off(api, services, watched, time):
    time.now += 300
    await watched.end()
    for _ in range(3):
        again = await api.asked()
        await again.begin()
        await again.end()
    last = await api.asked()

    assert last.query["resourceVersion"] == "10"
    assert time.slept == [0.8, 1.6, 3.2]
    assert stats(services).errors == {"very_short_watch": 3}


async def test_short_watches_that_say_something_do_not(api, services, watched, say, time):
    await watched.send(say.modified("a", 11))
    await watched.end()
    await services.read(1)
    again = await api.asked()

    assert again.query["resourceVersion"] == "11"
    assert time.slept == []


async def test_silence_is_not_taken_for_peace(api, services, watched, time):
    assert time.patience == 90
    time.expire()
    await watched.gone()
    again = await api.asked_again(10)

    assert again.query["resourceVersion"] == "10"
    assert "sendInitialEvents" not in again.query
    assert time.slept == []
    assert stats(services).errors == {"silent": 1}


async def test_silence_twice_lists_from_the_newest(api, services, watched, time):
    time.expire()
    await (await api.asked_again(10)).begin()
    await services.until(lambda: time.patience == 90)
    time.expire()
    relist = await api.asked()

    assert relist.query["sendInitialEvents"] == "true"
    assert "resourceVersion" not in relist.query


@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_server_that_is_not_as_far_is_listed_anew(api, services, watched, say, time, how):
    """One restored from a backup, which would have nothing to say about versions to come."""
    if how == "cut":
        watched.cut()
    else:
        time.expire()
        time.now += 31
    await (await api.asked()).answer(504, say.too_large())
    newest = await api.asked()
    await newest.stream(say.added("a", 1), say.bookmark(2, end=True))

    assert "resourceVersion" not in newest.query
    assert await services.read(2) == ["+default/a@1", "-default/b"]


async def test_doubt_lasts_until_it_is_answered(api, services, watched, say, time):
    watched.cut()
    await (await api.asked()).answer(503, say.status(503))
    again = await api.asked_again(10)
    await again.begin()

    assert again.query["watch"] == "1"


UNDECODABLE = [
    pytest.param({"ports": "none"}, id="other type"),
    pytest.param({"ports": [{"port": "http"}]}, id="other type, deep inside"),
    pytest.param({"clusterIP": 7}, id="number for text"),
]


@pytest.mark.parametrize("spec", UNDECODABLE)
async def test_object_that_cannot_be_decoded_is_left_out(
    api, services, watched, say, time, said, spec
):
    await watched.send(say.added("c", 11, **spec), say.modified("a", 12))
    await watched.send(say.modified("c", 13, **spec))
    assert await services.read(1) == ["+default/a@12"]
    time.now += 5
    await watched.end()
    again = await api.asked()

    assert again.query["resourceVersion"] == "13"
    assert stats(services).skipped == 2
    assert len([line for line in said() if "default/c is left out" in line]) == 1


@pytest.mark.parametrize("how", ["stream", "pages"])
async def test_what_was_known_of_it_stays(api, services, watched, say, how):
    bad = {"ports": "none"}
    await watched.send(say.modified("a", 11, **bad), say.error(410, "Expired"))
    relist = await api.asked()
    if how == "stream":
        await relist.stream(say.added("a", 11, **bad), say.bookmark(20, end=True))
        watch = relist
    else:
        await relist.answer(422, say.status(422))
        await (await api.asked()).answer(200, say.listed(20, say.service("a", 11, **bad)))
        watch = await api.asked()
        await watch.begin()

    assert await services.read(1) == ["-default/b"]
    await watch.send(say.modified("a", 21), say.deleted("a", 22))
    assert await services.read(2) == ["+default/a@21", "-default/a"]


async def test_deletion_needs_no_more_than_a_name(api, services, watched, say):
    await watched.send(say.event("DELETED", say.service("a", 11, ports="none")))

    assert await services.read(1) == ["-default/a"]


async def test_object_without_a_name_is_counted(api, services, watched, say):
    await watched.send(say.event("ADDED", {"spec": {}}), say.event("ADDED", 5))
    await watched.send(say.event("CHANGED", say.service("a", 12)), say.modified("a", 13))

    assert await services.read(1) == ["+default/a@13"]
    assert stats(services).skipped == 3


async def test_list_cut_in_the_middle_is_read_again(api, services, say, time):
    await (await api.asked()).answer(422, say.status(422))
    page = await api.asked()
    whole = say.listed(10, say.service("a", 1), say.service("b", 2))
    await page.begin()
    await page.raw(whole[:-30])
    await page.end()
    assert await services.read(1) == ["+default/a@1"]
    await (await api.asked()).answer(422, say.status(422))
    await (await api.asked()).answer(200, whole)

    assert await services.read(2) == ["+default/b@2", "synced"]
    assert time.slept == [0.8]


async def test_list_without_a_version_is_no_list(api, services, say):
    await (await api.asked()).answer(422, say.status(422))
    await (await api.asked()).answer(200, b'{"metadata":{},"items":[]}')

    await services.until(lambda: stats(services).errors == {"garbled": 1})
    assert not stats(services).synced


async def test_stream_without_a_version_at_its_end_is_no_list(api, services, say):
    """A watch without one would begin anew each time, and tell of no deletion."""
    end = say.bookmark(1, end=True)
    end["object"]["metadata"]["resourceVersion"] = ""
    await (await api.asked()).stream(say.added("a", 1), end)

    await services.until(lambda: stats(services).errors == {"garbled": 1})
    assert not stats(services).synced


@pytest.mark.parametrize("code", [400, 422])
async def test_version_that_the_server_does_not_take_is_given_up(
    api, services, watched, say, time, code
):
    time.now += 5
    await watched.end()
    await (await api.asked()).answer(code, say.status(code, "BadRequest"))
    newest = await api.asked()

    assert newest.query["sendInitialEvents"] == "true"
    assert "resourceVersion" not in newest.query
    assert time.slept == [0.8]


async def test_garbage_is_counted_and_said_once(api, services, watched, say, said):
    for _ in range(50):
        await watched.send(say.event("ADDED", 5), say.event("ADDED", {"spec": {}}))
    await watched.send(say.modified("a", 11))
    await services.read(1)

    assert stats(services).skipped == 100
    assert [line for line in said() if "left out" in line] == [
        "Service of unknown name is left out: Expected `object`, got `int` - at `$.object`"
    ]


async def test_what_could_not_be_decoded_is_forgotten_when_it_is_gone(
    api, services, watched, say, said
):
    for name in ("gone", "still"):
        await watched.send(say.event("ADDED", say.service(name, 11, ports="none")))
    await watched.send(say.error(410, "Expired"))
    relist = await api.asked()
    still = say.event("ADDED", say.service("still", 11, ports="none"))
    await relist.stream(still, say.bookmark(20, end=True), say.added("c", 21))
    await services.read(3)
    await relist.send(say.event("ADDED", say.service("gone", 22, ports="none")), say.added("d", 23))
    await services.read(1)

    left_out = [line.split(" is ")[0] for line in said() if "left out" in line]
    assert left_out == ["Service default/gone", "Service default/still", "Service default/gone"]
