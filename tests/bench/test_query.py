import dns.message
import dns.rdatatype
import pytest

from bench.query import AAAA, NXDOMAIN, SRV, A, Expected, Query, fault, question


@pytest.mark.parametrize(
    ("query", "edns", "options"),
    [
        (Query("web.shop.svc.cluster.local", A, Expected(0, 1)), -1, 0),
        (Query("web.shop.svc.cluster.local", AAAA, Expected(0, 0), 1232), 0, 0),
        (Query("_http._tcp.web.shop.svc.cluster.local", SRV, Expected(0, 1), 4096, True), 0, 1),
    ],
)
def test_an_independent_decoder_reads_the_query(query: Query, edns: int, options: int) -> None:
    message = dns.message.from_wire(query.wire())
    [asked] = message.question
    assert asked.name.to_text(omit_final_dot=True) == query.name
    assert asked.rdtype == query.qtype
    assert message.edns == edns
    assert len(message.options) == options
    assert message.payload == query.edns


def test_the_question_is_the_same_for_any_case_but_not_for_another_type() -> None:
    lower = Query("web.shop", A, Expected(0, 1))
    upper = lower._replace(name="WEB.shop")
    assert question(lower.head()) == question(upper.wire())
    assert question(lower.head()) != question(lower._replace(qtype=AAAA).head())


@pytest.mark.parametrize(
    ("flags", "answers", "expected", "wrong"),
    [
        (0x8580, 1, Expected(0, 1), None),
        (0x8583, 0, Expected(NXDOMAIN, 0), None),
        (0x8780, 28, Expected(0, 100, truncated=True), None),
        (0x8780, 28, Expected(0, 28), "truncated"),
        (0x8580, 100, Expected(0, 100, truncated=True), "whole where it should be truncated"),
        (0x8582, 0, Expected(0, 1), "rcode 2, not 0"),
        (0x8580, 2, Expected(0, 1), "2 answers, not 1"),
        (0x0100, 1, Expected(0, 1), "not a reply"),
    ],
)
def test_fault(flags: int, answers: int, expected: Expected, wrong: str | None) -> None:
    reply = b"\0\1" + flags.to_bytes(2) + b"\0\1" + answers.to_bytes(2) + bytes(4)
    assert fault(reply, expected) == wrong


def test_a_reply_shorter_than_a_header_is_a_fault() -> None:
    assert fault(b"\0\1", Expected(0, 1)) == "2 bytes, shorter than a header"
