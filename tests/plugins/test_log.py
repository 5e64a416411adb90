"""`log`: formats, classes, zones, and that a line is written each time."""

from __future__ import annotations

import logging

import dns.flags
import dns.message
import pytest

from kdns.dns import codes
from kdns.dns.query import Client, parse
from kdns.dns.rdata import RRset
from kdns.dns.reply import Reply
from kdns.plugins.log import class_of

WEB = "web.default.svc.cluster.local."
SOA = RRset(b"\0", codes.SOA, 5, [bytes(22)])
ANSWER = RRset(b"\3web\0", codes.A, 5, [bytes(4)])


@pytest.fixture
def lines(caplog):
    """What was logged of queries."""
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records if record.name == "query"]


def test_the_common_line(planned, lines, facilities, monkeypatch) -> None:
    ticks = iter([10.0, 10.000250])
    monkeypatch.setattr(facilities, "clock", lambda: next(ticks))
    planned(". {\n log\n whoami\n}").ask("Web.Org.")
    assert lines() == [
        '192.0.2.1:4711 - 1 "A IN web.org. udp 25 false 512" NOERROR qr,aa,rd 65 0.000250000s'
    ]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (
            "{common}",
            '192.0.2.1:4711 - 1 "A IN web. udp 32 true 4096" NOERROR qr,aa,rd 72 0.000000000s',
        ),
        (
            "{combined}",
            '192.0.2.1:4711 - 1 "A IN web. udp 32 true 4096" NOERROR qr,aa,rd 72 0.000000000s "0"',
        ),
        ('"{type} {class} {name} {proto}"', "A IN web. udp"),
        ('"{remote}|{port}|{size}|{rsize}"', "192.0.2.1|4711|32|72"),
        ('"{rcode} {duration}"', "NOERROR 0.000000000s"),
        ('"{>id} {>opcode} {>do} {>bufsize} {>rflags}"', "1 0 true 4096 qr,aa,rd"),
        ('"{nothing} {>Nothing} {}"', "- - -"),
        ('"x{type}"', "xA"),
        ('"{{type}}"', "{A}"),
    ],
)
def test_formats(planned, lines, form: str, expected: str) -> None:
    made = planned(f". {{\n log . {form}\n whoami\n}}")
    made.reply("web.", want_dnssec=True, payload=4096)
    assert lines() == [expected]


@pytest.mark.parametrize(
    ("client", "expected"),
    [(Client("2001:db8::1", 5), "[2001:db8::1] 5"), (None, "- -")],
)
def test_clients(planned, lines, client, expected) -> None:
    made = planned(
        '. {\n log . "{remote} {port}"\n kubernetes cluster.local {\n manifests m\n }\n}'
    )
    made.reply(WEB, client=client)
    assert lines() == [expected]


def test_flags_and_sizes(planned, lines) -> None:
    made = planned('. {\n log . "{>rflags} {>do} {>bufsize}"\n whoami\n}')
    packet = dns.message.make_query("web.", "A", id=1)
    packet.flags = dns.flags.CD
    query = parse(packet.to_wire(), "udp", Client("192.0.2.1", 1))
    made.router.route(b"\0", 1).handler(query)
    assert lines() == ["qr,aa,cd false 512"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(answer=[ANSWER]), "success"),
        (Reply(), "success"),
        (Reply(authority=[SOA]), "denial"),
        (Reply(rcode=codes.NXDOMAIN, authority=[SOA]), "denial"),
        (Reply(rcode=codes.NXDOMAIN), "denial"),
        (Reply(rcode=codes.SERVFAIL), "error"),
        (Reply(rcode=codes.REFUSED), "error"),
        (Reply(rcode=codes.NOTIMP), "error"),
    ],
)
def test_classes_of_replies(reply: Reply, expected: str) -> None:
    assert class_of(reply) == expected


@pytest.mark.parametrize(
    ("block", "logged"),
    [
        ("log", {"web", "no", "refused"}),
        ("log {\n class all\n}", {"web", "no", "refused"}),
        ("log {\n class success\n}", {"web"}),
        ("log {\n class denial\n}", {"no"}),
        ("log {\n class error\n}", {"refused"}),
        ("log {\n class denial error\n}", {"no", "refused"}),
        ("log {\n class denial\n class success\n}", {"no", "web"}),
        ("log default.svc.cluster.local", {"web", "no", "refused"}),
        ("log web.default.svc.cluster.local", {"web"}),
        ("log example.org web.default.svc.cluster.local {\n class success denial\n}", {"web"}),
        ("log example.org", set()),
        ("log b.default.svc.cluster.local", set()),
    ],
)
def test_classes_and_names(planned, fill, lines, block: str, logged: set[str]) -> None:
    """What is not logged is kept, what is logged is not: it is to be logged the next time."""
    made = planned(f"cluster.local {{\n{block}\nkubernetes {{\n manifests m\n}}\n}}")
    fill(made.store, "web.default=10.0.0.1", "refused.default=10.0.0.2")
    asked = {"web": "A", "no": "A", "refused": "AXFR"}
    for name, qtype in asked.items():
        reply = made.reply(f"{name}.default.svc.cluster.local.", qtype)
        assert (reply.lifetime == 0) == (name in logged)
        assert reply.denial is None
    found = {line.split('"')[1].split()[2].split(".")[0] for line in lines()}
    assert found == logged
    assert len(lines()) == len(logged)


def test_two_rules_two_lines(planned, lines) -> None:
    made = planned('. {\n log . "1 {name}"\n log org "2 {name}"\n whoami\n}')
    made.ask("web.org.")
    made.ask("web.net.")
    assert lines() == ["1 web.org.", "2 web.org.", "1 web.net."]


def test_zones_of_the_block_where_none_are_written(planned, lines) -> None:
    made = planned('org 10.0.0.0/8 {\n log "{name}"\n whoami\n}')
    made.ask("web.org.")
    made.ask("1.10.in-addr.arpa.")
    assert lines() == ["web.org.", "1.10.in-addr.arpa."]


def test_a_name_cannot_forge_a_line(planned, lines) -> None:
    made = planned('. {\n log . "{name}"\n whoami\n}')
    made.ask(r"a\010\"b\032c.")
    assert lines() == [r"a\010\"b\032c."]
