"""Which parts of two replies count as different, and which do not."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from kdns.compare.answers import Silence, Unreadable, read
from kdns.compare.differences import Passed, judge
from kdns.compare.questions import Question
from kdns.dns import codes
from kdns.dns.names import from_text

QUESTION = Question(from_text("web.test"), codes.A)
A_1, A_2 = "web.test. 30 IN A 192.0.2.1", "web.test. 30 IN A 192.0.2.2"
SOA = "test. 5 IN SOA ns.test. hostmaster.test. {} 7200 1800 86400 5"
SRV = "web.test. 30 IN SRV 0 100 80 {}.web.test."
CNAME = "web.test. 5 IN CNAME www.example.org."


def reply(*answer, authority=(), additional=(), rcode="NOERROR", flags="QR AA", error=None):
    query = dns.message.make_query("web.test.", "A", use_edns=0)
    made = dns.message.make_response(query)
    made.flags = dns.flags.from_text(flags)
    sections = (made.answer, answer), (made.authority, authority), (made.additional, additional)
    for section, lines in sections:
        for line in lines:
            owner, ttl, rclass, kind, data = line.split(maxsplit=4)
            section.append(dns.rrset.from_text(owner, int(ttl), rclass, kind, data))
    if error is not None:
        made.use_edns(0, options=[dns.edns.EDEOption(*error)])
    made.set_rcode(dns.rcode.from_text(rcode))
    return read(made.to_wire())


@pytest.mark.parametrize(
    ("a", "b", "passed"),
    [
        (reply(A_1), reply(A_1), set()),
        (reply(A_1, A_2), reply(A_2, A_1), {Passed.ORDER}),
        (reply(A_1), reply(A_1.replace(" 30 ", " 7 ")), {Passed.TTL}),
        (reply(SRV.format("a")), reply(SRV.format("A").replace("web", "Web")), set()),
        (
            reply(authority=[SOA.format(1)], rcode="NXDOMAIN"),
            reply(authority=[SOA.format(2)], rcode="NXDOMAIN"),
            {Passed.SERIAL},
        ),
        (
            reply(SRV.format("a"), additional=["a.web.test. 5 IN A 192.0.2.1"]),
            reply(SRV.format("a")),
            {Passed.GLUE},
        ),
        (reply(A_1, flags="QR AA RD"), reply(A_1), set()),
    ],
    ids=["equal", "order", "ttl", "case", "serial", "glue", "rd"],
)
def test_the_same(a, b, passed) -> None:
    assert judge(QUESTION, a, b) == (None, passed)


@pytest.mark.parametrize(
    ("a", "b", "parts", "why"),
    [
        (
            reply(A_1, A_2),
            reply(A_1),
            [("answer", "web.test. A 192.0.2.2", "nothing more")],
            "other A records: another cluster",
        ),
        (
            reply(A_1),
            reply(rcode="NXDOMAIN"),
            [
                ("rcode", "NOERROR", "NXDOMAIN"),
                ("answer", "web.test. A 192.0.2.1", "nothing more"),
            ],
            "B does not know the name",
        ),
        (
            reply(),
            reply(rcode="NXDOMAIN"),
            [("rcode", "NOERROR", "NXDOMAIN")],
            "they have no such record",
        ),
        (
            reply(rcode="REFUSED"),
            reply(),
            [("rcode", "REFUSED", "NOERROR")],
            "A has no server block",
        ),
        (
            reply(),
            reply(rcode="SERVFAIL", error=(14, "not ready")),
            [("rcode", "NOERROR", "SERVFAIL")],
            "B says extended error 14: not ready",
        ),
        (
            reply(rcode="BADVERS", error=(0, "")),
            reply(),
            [("rcode", "BADVERS", "NOERROR")],
            "A says extended error 0",
        ),
        (
            reply(A_1),
            reply(A_1, flags="QR AA RA"),
            [("flags", "aa", "aa ra")],
            "ra tells whether a server forwards",
        ),
        (
            reply(authority=[SOA.format(1)]),
            reply(authority=[SOA.format(1).replace("7200", "60")]),
            [
                (
                    "authority",
                    "test. SOA ns.test. hostmaster.test. 7200 1800 86400 5",
                    "test. SOA ns.test. hostmaster.test. 60 1800 86400 5",
                )
            ],
            "",
        ),
        (
            reply(SRV.format("a"), additional=["a.web.test. 5 IN A 192.0.2.1"]),
            reply(SRV.format("a"), additional=["a.web.test. 5 IN A 192.0.2.2"]),
            [("additional", "a.web.test. A 192.0.2.1", "a.web.test. A 192.0.2.2")],
            "",
        ),
        (
            reply(CNAME, "www.example.org. 5 IN A 192.0.2.1"),
            reply(CNAME, "www.example.org. 5 IN A 192.0.2.2"),
            [("answer", "www.example.org. A 192.0.2.1", "www.example.org. A 192.0.2.2")],
            "what is behind a CNAME record comes from elsewhere",
        ),
        (
            reply(CNAME),
            reply(),
            [("answer", CNAME.replace(" 5 IN", ""), "nothing more")],
            "an ExternalName whose target",
        ),
        (
            reply(CNAME),
            reply(CNAME, rcode="NXDOMAIN"),
            [("rcode", "NOERROR", "NXDOMAIN")],
            "an ExternalName whose target",
        ),
        (
            Silence("no reply within 2 s, asked 2 times"),
            reply(A_1),
            [("reply", "no reply within 2 s, asked 2 times", "NOERROR, 1 in the answer")],
            "",
        ),
    ],
    ids=[
        *("address", "name", "denial", "refused", "error", "bits", "flags", "soa", "glue"),
        *("chain", "alias", "target", "silence"),
    ],
)
def test_different(a, b, parts, why: str) -> None:
    difference, _ = judge(QUESTION, a, b)
    assert difference is not None
    assert [tuple(part) for part in difference.parts] == parts
    assert difference.why.startswith(why)
    assert bool(difference.why) == bool(why)


@pytest.mark.parametrize(
    ("seconds", "differs"), [(None, False), (30, False), (23, False), (22, True), (0, True)]
)
def test_ttl(seconds, differs) -> None:
    one, other = reply(A_1), reply(A_1.replace(" 30 ", " 7 "))
    difference, passed = judge(QUESTION, one, other, seconds)
    assert (difference is not None, passed == {Passed.TTL}) == (differs, not differs)
    if difference is not None:
        (part,) = difference.parts
        assert part == ("answer TTL", "web.test. A 192.0.2.1: 30", "web.test. A 192.0.2.1: 7")


@pytest.mark.parametrize(
    "packet", [b"", b"\0" * 11, b"\0\0\x80\0\0\1\0\0\0\0\0\0\x05web"], ids=["empty", "short", "cut"]
)
def test_what_is_no_message(packet: bytes) -> None:
    with pytest.raises(Unreadable, match="not a DNS message"):
        read(packet)
