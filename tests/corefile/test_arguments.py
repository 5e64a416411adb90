from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.corefile.arguments import (
    Address,
    Properties,
    Reader,
    address,
    arguments,
    choice,
    duration,
    integer,
    no_block,
    switch,
    text,
)
from kdns.corefile.parser import Directive, parse
from kdns.corefile.tokens import CorefileError, Position, Token
from kdns.corefile.zones import origins


def directive(written: str) -> Directive:
    (block,) = parse(f".\n{written}\n", "Corefile", {}).blocks
    return block.directives[0]


def token(written: str) -> Token:
    return Token(written, Position("Corefile", 1, 1))


@pytest.mark.parametrize(
    ("written", "form", "count"),
    [
        ("loop", "", 0),
        ("forward . a", "FROM TO...", 2),
        ("forward . a b c", "FROM TO...", 4),
        ("cache", "[TTL [ZONE...]]", 0),
        ("cache 30", "[TTL [ZONE...]]", 1),
        ("cache 30 a b", "[TTL [ZONE...]]", 3),
        ("prefetch 10", "AMOUNT [DURATION [PERCENT]]", 1),
        ("prefetch 10 1m 10%", "AMOUNT [DURATION [PERCENT]]", 3),
        ("health", "[ADDRESS]", 0),
    ],
)
def test_arguments(written: str, form: str, count: int) -> None:
    assert len(arguments(directive(written), form)) == count


@pytest.mark.parametrize(
    ("written", "form", "error"),
    [
        ("loop a", "", "2:6: 'a' is one argument too many: take it out"),
        ("forward", "FROM TO...", "2:1: an argument is missing after 'forward': write forward"),
        ("forward .", "FROM TO...", "2:9: an argument is missing after '.': write forward FROM TO"),
        ("health a b", "[ADDRESS]", "2:10: 'b' is one argument too many: write health [ADDRESS]"),
        ("a 1 2 3 4", "A [B [C]]", "2:9: '4' is one argument too many"),
    ],
)
def test_wrong_number_of_arguments(written: str, form: str, error: str) -> None:
    with pytest.raises(CorefileError) as caught:
        arguments(directive(written), form)
    assert str(caught.value).startswith(f"Corefile:{error}")


@pytest.mark.parametrize(
    ("reader", "written", "value"),
    [
        (text, "a b", "a b"),
        (integer(), "30", 30),
        (integer(), "+30", 30),
        (integer(), "-30", -30),
        (integer(), "030", 30),
        (integer(0, 3600), "0", 0),
        (integer(0, 3600), "3600", 3600),
        (duration(), "5s", 5.0),
        (duration(), "1m30s", 90.0),
        (duration(), "250ms", 0.25),
        (duration(), "1h", 3600.0),
        (duration(), "1h2m3.5s", 3723.5),
        (duration(), ".5s", 0.5),
        (duration(), "1.s", 1.0),
        (duration(), "0", 0.0),
        (duration(), "+5s", 5.0),
        (duration(), "-0", 0.0),
        (duration(), "100us", 0.0001),
        (duration(), "100\u00b5s", 0.0001),
        (duration(), "100\u03bcs", 0.0001),
        (duration(), "7ns", 7e-9),
        (duration(), "2s1h", 3602.0),
        (duration(low=-60), "-1m", -60.0),
        (duration(bare=True), "30", 30.0),
        (duration(bare=True), "30ms", 0.03),
        (choice("random", "sequential"), "random", "random"),
        (switch, "on", True),
        (switch, "off", False),
        (address(), ":9153", Address("", 9153)),
        (address(), "localhost:9153", Address("localhost", 9153)),
        (address(), "169.254.20.10:8080", Address("169.254.20.10", 8080)),
        (address(), "[fd00::10]:53", Address("fd00::10", 53)),
        (address(), "[fe80::1%eth0]:53", Address("fe80::1%eth0", 53)),
        (address(), "a.example.:0", Address("a.example.", 0)),
        (address(53), "10.0.0.1", Address("10.0.0.1", 53)),
        (address(53), "10.0.0.1:1053", Address("10.0.0.1", 1053)),
        (address(53), "fd00::10", Address("fd00::10", 53)),
        (address(53), "[fd00::10]", Address("fd00::10", 53)),
        (address(53), "::", Address("::", 53)),
        (address(53), "dns.example", Address("dns.example", 53)),
        (origins, "10.0.0.0/23", ("0.0.10.in-addr.arpa.", "1.0.10.in-addr.arpa.")),
    ],
)
def test_values(reader: Reader[object], written: str, value: object) -> None:
    assert reader(token(written)) == value


@pytest.mark.parametrize(
    ("reader", "written", "cure"),
    [
        (integer(), "x", "write a whole number"),
        (integer(), "1_0", "write a whole number"),
        (integer(), "٣", "write a whole number"),
        (integer(), "9" * 5000, "write a whole number"),
        (integer(), str(2**63), "write a whole number"),
        (integer(), "", "write a whole number"),
        (integer(0), "-1", "write a whole number of at least 0"),
        (integer(0, 3600), "3601", "write a whole number from 0 to 3600"),
        (integer(high=5), "6", "write a whole number of at most 5"),
        (duration(), "5", "write a duration, such as 5s"),
        (duration(), "", "write a duration"),
        (duration(), "5 s", "write a duration"),
        (duration(), "5S", "write a duration"),
        (duration(), "5d", "write a duration"),
        (duration(), ".s", "write a duration"),
        (duration(), "1.2.3s", "write a duration"),
        (duration(), "s", "write a duration"),
        (duration(), "-5s", "write a duration"),
        (duration(), "9999999h", "write a duration"),
        (duration(), "1" * 100_000, "write a duration"),
        (duration(2), "1s", "write a duration of at least 2s, such as"),
        (duration(high=10), "11s", "write a duration of at most 10s, such as"),
        (duration(1, 86400, bare=True), "0", "write a duration of at least 1s up to 86400s"),
        (choice("random", "sequential"), "Random", "write random or sequential"),
        (switch, "yes", "write on or off"),
        (address(), "10.0.0.1", "write an address and port"),
        (address(), "a:", "write an address and port"),
        (address(), "a:b", "write an address and port"),
        (address(), ":65536", "write an address and port"),
        (address(), ":999999999999", "write an address and port"),
        (address(), "fd00::10", "write an address and port"),
        (address(), "999.0.0.1:53", "write an address and port"),
        (address(), "a b:53", "write an address and port"),
        (address(), "[a]:53", "write an address and port"),
        (address(), "[fd00::10]53", "write an address and port"),
        (address(), "[fd00::10", "write an address and port"),
        (address(53), "", "write an address, such as"),
        (address(53), ":", "write an address, such as"),
        (address(53), "a::b::c", "write an address, such as"),
        (address(53), "tls://1.1.1.1", "write an address, such as"),
        (origins, "a..b", "write a domain name or a CIDR"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_values_that_cannot_be_read(reader: Reader[object], written: str, cure: str) -> None:
    with pytest.raises(CorefileError, match=cure) as caught:
        reader(token(written))
    assert caught.value.position == Position("Corefile", 1, 1)


@given(
    st.sampled_from([integer(), duration(), duration(bare=True), switch, address(), address(53)]),
    st.text(alphabet="0123456789+-.:[]%/ smhun\u00b5\u0663a\n", max_size=40) | st.text(max_size=40),
)
def test_any_word_is_read_or_refused(reader: Reader[object], written: str) -> None:
    try:
        assert reader(token(written)) is not None
    except CorefileError as error:
        assert "write" in error.message  # noqa: PT017 - either outcome is right


FORWARD = """forward . 10.0.0.1 {
  max_fails 3
  expire 1m
  force_tcp
  except a b
  except 10.0.0.0/8
  expire 20s
  health_check 5s no_rec
}"""


def test_properties_read_as_a_table() -> None:
    with Properties(directive(FORWARD)) as properties:
        found: dict[str, Any] = {
            "max_fails": properties.value("max_fails", integer(0), 2),
            "expire": properties.value("expire", duration(), 10.0),
            "policy": properties.value("policy", choice("random"), None),
            "force_tcp": properties.flag("force_tcp"),
            "prefer_udp": properties.flag("prefer_udp"),
            "except": properties.values("except", origins),
            "health_check": properties.each("health_check", "DURATION [no_rec]"),
        }
    assert found.pop("health_check")[0][1].text == "no_rec"
    assert found == {
        "max_fails": 3,
        "expire": 20.0,
        "policy": None,
        "force_tcp": True,
        "prefer_udp": False,
        "except": (("a.",), ("b.",), ("10.in-addr.arpa.",)),
    }


def test_a_directive_without_braces_has_no_properties() -> None:
    with Properties(directive("cache 30")) as properties:
        assert properties.value("prefetch", integer(), 0) == 0
        assert properties.others() == ()


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ("a {\n ttl x\n}", "3:6: 'x' cannot be read: write a whole number from 0 to 10"),
        ("a {\n ttl\n}", "3:2: an argument is missing after 'ttl': write ttl VALUE"),
        ("a {\n ttl 1 2\n}", "3:8: '2' is one argument too many: write ttl VALUE"),
        ("a {\n ttl x\n ttl 1\n}", "3:6: 'x' cannot be read"),
        ("a {\n all x\n}", "3:6: 'x' is one argument too many: take it out"),
        ("a {\n all {\n }\n}", "3:2: 'all' takes no braces"),
        ("a {\n names\n}", "3:2: an argument is missing after 'names': write names VALUE..."),
        ("a {\n all\n upstream\n}", "4:2: a has no property 'upstream': write one of all, names, "),
    ],
)
def test_refused_properties(written: str, error: str) -> None:
    def read() -> None:
        with Properties(directive(written)) as properties:
            properties.value("ttl", integer(0, 10), 5)
            properties.flag("all")
            properties.values("names", text)

    with pytest.raises(CorefileError) as caught:
        read()
    assert str(caught.value).startswith(f"Corefile:{error}")


def test_a_directive_that_has_no_properties_says_so() -> None:
    with (
        pytest.raises(CorefileError, match="a has no property 'b': take it out"),
        Properties(directive("a {\n b\n}")),
    ):
        pass


def test_another_error_is_not_hidden_by_an_unknown_property() -> None:
    with pytest.raises(ZeroDivisionError), Properties(directive("a {\n b\n}")):
        raise ZeroDivisionError


def test_what_is_left_can_have_a_meaning() -> None:
    properties = Properties(directive("hosts {\n ttl 5\n 10.0.0.1 a b\n fallthrough\n}"))
    assert properties.value("ttl", integer(), 3600) == 5
    assert properties.flag("fallthrough")
    (entry,) = properties.others()
    assert (entry.name.text, [arg.text for arg in entry.args]) == ("10.0.0.1", ["a", "b"])


def test_braces_where_none_belong() -> None:
    no_block(directive("loop"))
    with pytest.raises(CorefileError, match="2:1: 'loop' takes no braces"):
        no_block(directive("loop {\n}"))
