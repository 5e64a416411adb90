"""`any`, `errors`, `loadbalance` and `whoami` at work."""

from __future__ import annotations

import asyncio
import logging

import dns.message
import dns.name
import pytest

from kdns.dns import codes
from kdns.dns.names import MAX_NAME, from_text, label
from kdns.dns.query import Client
from kdns.dns.rdata import RRset
from kdns.dns.render import message
from kdns.dns.reply import Reply
from kdns.plugins.any import Any
from kdns.plugins.errors import Errors
from kdns.plugins.loadbalance import Loadbalance
from kdns.plugins.whoami import Whoami

ADDRESSES = Reply(answer=[RRset(b"\3web\0", codes.A, 5, [b"\0\0\0\1", b"\0\0\0\2"])])


def test_any_is_answered_with_one_word(planned) -> None:
    made = planned(". {\n any\n whoami\n}")
    rcode, answer, _ = made.ask("Web.default.", "ANY")
    assert rcode == "NOERROR"
    assert answer == ['Web.default. 8482 IN HINFO "ANY obsoleted" "See RFC 8482"']
    assert made.ask("web.default.", "A")[1] == []
    assert made.reply("web.default.", "A").plugin == "whoami"


def test_any_says_nothing_of_other_types(query) -> None:
    assert Any().handle(query("web."), lambda _: ADDRESSES) is ADDRESSES


@pytest.mark.parametrize(
    ("client", "transport", "expected"),
    [
        (
            Client("192.0.2.1", 4711),
            "udp",
            ["web.org. 0 IN A 192.0.2.1", "_udp.web.org. 0 IN SRV 0 0 4711 ."],
        ),
        (
            Client("2001:db8::1", 1),
            "tcp",
            ["web.org. 0 IN AAAA 2001:db8::1", "_tcp.web.org. 0 IN SRV 0 0 1 ."],
        ),
    ],
)
def test_whoami(planned, client: Client, transport: str, expected: list[str]) -> None:
    made = planned(". {\n whoami\n}")
    for qtype in ("A", "MX"):
        found = made.ask("web.org.", qtype, client=client, transport=transport)
        assert found == ("NOERROR", [], expected)
    assert made.reply("web.org.").lifetime == 0


@pytest.mark.parametrize("length", range(MAX_NAME - 8, MAX_NAME + 1))
def test_whoami_of_a_name_that_has_no_room_for_more(query, length: int) -> None:
    name = from_text(".".join(["a" * 63] * 3))[:-1] + label(b"b" * (length - 194)) + b"\0"
    assert len(name) == length
    asked = query(dns.name.from_wire(name, 0)[0])
    reply = Whoami().handle(asked, lambda _: Reply())
    read = dns.message.from_wire(message(asked, reply))
    assert len(read.additional) == (2 if length + 5 <= MAX_NAME else 1)


def test_whoami_of_nobody(query) -> None:
    asked = query("web.", client=None)
    assert Whoami().handle(asked, lambda _: ADDRESSES) is ADDRESSES


def test_loadbalance_lets_addresses_rotate(query) -> None:
    plugin = Loadbalance()
    assert plugin.handle(query("web."), lambda _: ADDRESSES).rotate
    assert not ADDRESSES.rotate
    assert not plugin.handle(query("web."), lambda _: Reply()).rotate


async def test_loadbalance_of_what_comes_later(query) -> None:
    async def later():
        await asyncio.sleep(0)
        return ADDRESSES

    reply = await Loadbalance().handle(query("web."), lambda _: later())
    assert reply.rotate


def test_errors(query, caplog) -> None:
    plugin = Errors(lambda: 0.0)
    fine = Reply(rcode=codes.SERVFAIL)
    with caplog.at_level(logging.INFO):
        assert plugin.handle(query("web."), lambda _: fine) is fine
        assert not caplog.records
        failed = Reply(rcode=codes.SERVFAIL, failure="no upstream answered")
        assert plugin.handle(query("Web.Default.", "AAAA"), lambda _: failed) == failed
    (record,) = caplog.records
    assert record.name == "plugin/errors"
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "2 web.default. AAAA: no upstream answered"


async def test_errors_that_come_later(query, caplog) -> None:
    async def later():
        await asyncio.sleep(0)
        return Reply(rcode=codes.SERVFAIL, failure="late")

    await Errors(lambda: 0.0).handle(query(r"a\010b."), lambda _: later())
    assert caplog.records[0].getMessage() == r"2 a\010b. A: late"


def test_errors_of_many_reasons_are_folded_too(query, caplog) -> None:
    now = 0.0
    plugin = Errors(lambda: now)
    for number in range(1000):
        failed = Reply(rcode=codes.SERVFAIL, failure=f"answers with {number}")
        plugin.handle(query("web."), lambda _, failed=failed: failed)
    assert len(caplog.records) == len(plugin._told) == 65
    now = 20.0
    plugin.handle(query("web."), lambda _: Reply(rcode=codes.SERVFAIL, failure="another"))
    assert caplog.records[-1].getMessage() == "2 web. A: another"


def test_errors_of_one_reason_are_folded(query, caplog) -> None:
    now = 0.0
    plugin = Errors(lambda: now)

    def fail(name: str, why: str) -> None:
        plugin.handle(query(name), lambda _: Reply(rcode=codes.SERVFAIL, failure=why))

    for number in range(1000):
        fail(f"n{number}.", "no upstream answered")
        now += 0.009
    fail("other.", "loops")
    now = 10.0
    fail("again.", "no upstream answered")
    assert [record.getMessage() for record in caplog.records] == [
        "2 n0. A: no upstream answered",
        "2 other. A: loops",
        "2 again. A: no upstream answered (and 999 other queries before)",
    ]
