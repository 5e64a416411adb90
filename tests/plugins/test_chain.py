"""Plugins in a row, server blocks by zone."""

from __future__ import annotations

import asyncio

import pytest

from kdns.dns import codes
from kdns.dns.names import from_text
from kdns.dns.reply import Reply
from kdns.plugins.chain import Block, Router, chain
from kdns.plugins.plugin import then


class Noting:
    """Notes its name on the way there and back."""

    uniform = True

    def __init__(self, name, notes, *, answers=False, uniform=True):
        self.name = name
        self.uniform = uniform
        self._notes = notes
        self._answers = answers

    def handle(self, query, next_):
        self._notes.append(self.name)
        if self._answers:
            return Reply(denial=Denying())

        def back(reply):
            self._notes.append(self.name.upper())
            return reply

        return then(next_(query), back)


class Denying:
    origin = b"\0"

    def denies(self, name):
        return True


def test_the_first_is_asked_first_and_sees_the_reply_last(query) -> None:
    notes: list[str] = []
    handler = chain([Noting("a", notes), Noting("b", notes), Noting("c", notes, answers=True)])
    assert handler is not None
    handler(query("web."))
    assert notes == ["a", "b", "c", "B", "A"]


def test_nobody_answers(query) -> None:
    assert chain([]) is None
    handler = chain([Noting("a", [])])
    assert handler is not None
    reply = handler(query("web."))
    assert (reply.rcode, reply.lifetime) == (codes.SERVFAIL, 0)


@pytest.mark.parametrize("uniform", [True, False])
def test_a_zone_s_word_for_all_of_its_names_passes_uniform_plugins_alone(query, uniform) -> None:
    handler = chain([Noting("a", [], uniform=uniform), Noting("b", [], answers=True)])
    assert handler is not None
    assert (handler(query("web.")).denial is not None) == uniform


async def test_then() -> None:
    def work(reply):
        return reply.changed(rcode=reply.rcode + 1)

    async def later():
        await asyncio.sleep(0)
        return Reply(rcode=1)

    assert then(Reply(rcode=1), work).rcode == 2
    assert (await then(then(later(), work), work)).rcode == 3


def router(*zones: str) -> Router:
    return Router([Block(zone, from_text(zone), lambda query: Reply()) for zone in zones])


ZONES = [".", "local.", "cluster.local.", "a.cluster.local.", "example.org."]


@pytest.mark.parametrize(
    ("zones", "name", "qtype", "expected"),
    [
        (ZONES, "web.default.svc.cluster.local.", codes.A, "cluster.local."),
        (ZONES, "cluster.local.", codes.A, "cluster.local."),
        (ZONES, "x.a.cluster.local.", codes.A, "a.cluster.local."),
        (ZONES, "xa.cluster.local.", codes.A, "cluster.local."),
        (ZONES, "x.local.", codes.A, "local."),
        (ZONES, "x.org.", codes.A, "."),
        (ZONES, ".", codes.A, "."),
        (ZONES[1:], "x.org.", codes.A, None),
        (ZONES[1:], ".", codes.A, None),
        ([], "x.org.", codes.A, None),
        # RFC 4035 §3.1.4.1: a DS record is the parent's.
        (ZONES, "a.cluster.local.", codes.DS, "cluster.local."),
        (ZONES, "cluster.local.", codes.DS, "local."),
        (ZONES, "local.", codes.DS, "."),
        (ZONES, "x.a.cluster.local.", codes.DS, "a.cluster.local."),
        (ZONES, ".", codes.DS, "."),
        (ZONES[1:], "local.", codes.DS, "local."),
        (ZONES, "example.org.", codes.DS, "."),
        (ZONES[1:], "example.org.", codes.DS, "example.org."),
        # One label is not two (RFC 2181 §11).
        (ZONES, r"a\.cluster.local.", codes.A, "local."),
        (ZONES, r"x\007cluster.local.", codes.A, "local."),
    ],
)
def test_routes(zones, name, qtype, expected) -> None:
    found = router(*zones).route(from_text(name), qtype)
    assert (found and found.zone) == expected


@pytest.mark.parametrize(
    ("zones", "origin", "undivided"),
    [
        (["cluster.local."], "cluster.local.", True),
        ([".", "cluster.local."], "cluster.local.", True),
        (["cluster.local.", "a.cluster.local."], "cluster.local.", False),
        ([".", "a.b.cluster.local."], "cluster.local.", False),
        ([".", "xcluster.local."], "cluster.local.", True),
        (["."], ".", True),
        ([".", "org."], ".", False),
        (["org."], ".", False),
        ([], ".", True),
    ],
)
def test_whether_a_zone_is_one_block_s_alone(zones, origin, undivided) -> None:
    assert router(*zones).undivided(from_text(origin)) == undivided
