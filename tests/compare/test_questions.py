"""What is asked of a cluster's records, of a file's lines and of tcpdump's text."""

from __future__ import annotations

import pytest

from kdns.compare.questions import BadLine, of_dump, of_lines, of_records
from kdns.dns import codes
from kdns.dns.names import from_text
from kdns.dns.rdata import RRset


@pytest.mark.parametrize(
    ("owner", "types", "asked"),
    [
        ("web.shop.test", [codes.A], ["A", "AAAA"]),
        ("web.shop.test", [codes.AAAA], ["A", "AAAA"]),
        ("web.shop.test", [codes.A, codes.SRV], ["A", "AAAA", "SRV"]),
        ("away.shop.test", [codes.CNAME], ["CNAME", "A", "AAAA"]),
        ("_http._tcp.web.shop.test", [codes.SRV], ["SRV"]),
        ("80.0.96.10.in-addr.arpa", [codes.PTR], ["PTR"]),
        ("test", [codes.SOA, codes.NS], ["SOA", "NS"]),
        ("dns-version.test", [codes.TXT], ["TXT"]),
    ],
    ids=["A", "AAAA", "service", "external name", "port", "reverse", "apex", "version"],
)
def test_of_records(owner: str, types: list[int], asked: list[str]) -> None:
    found = of_records(RRset(from_text(owner), each, 5, [b""]) for each in types)
    assert [str(each) for each in found] == [f"{owner}. {each}" for each in asked]


def test_of_lines() -> None:
    lines = [
        "# names",
        "Web.shop.test",
        "  web.shop.test.  aaaa # again",
        "",
        "10.0.96.10.in-addr.arpa",
        "x.test TYPE65",
        "x.test HTTPS",
    ]
    assert [str(each) for each in of_lines(lines, "names")] == [
        "web.shop.test. A",
        "web.shop.test. AAAA",
        "10.0.96.10.in-addr.arpa. PTR",
        "x.test. HTTPS",
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a..b", "names:2: 'a..b' has an empty label: write a name"),
        ("a.test A B", "names:2: 'B' is too much"),
        ("a.test NONSENSE", "names:2: 'NONSENSE' is no type to ask for"),
        ("a.test AXFR", "names:2: 'AXFR' is no type to ask for"),
        ("a.test TYPE70000", "names:2: 'TYPE70000' is no type to ask for"),
    ],
    ids=["name", "words", "type", "transfer", "number"],
)
def test_lines_that_are_no_question(line: str, says: str) -> None:
    with pytest.raises(BadLine) as raised:
        list(of_lines(["good.test", line], "names"))
    assert str(raised.value).startswith(says)


DUMP = """\
12:00:00.000001 IP 10.244.1.5.40000 > 10.96.0.10.53: 12345+ A? web.shop.svc.cluster.local. (44)
12:00:00.000002 IP 10.244.1.5.40000 > 10.96.0.10.53: 12346+ [1au] AAAA? web.shop.svc.cluster.local. (55)
12:00:00.000003 IP 10.96.0.10.53 > 10.244.1.5.40000: 12345*- q: A? Web.shop.svc.cluster.local. 1/0/0 web.shop.svc.cluster.local. A 10.96.0.80 (60)
12:00:00.000004 IP6 fd00::5.40001 > fd00::a.53: 7+% [1au] Type65? example.org. (40)
12:00:00.000005 IP 10.244.1.5.40002 > 10.96.0.10.53: Flags [S], seq 1, win 64240, length 0
12:00:00.000006 IP 10.244.1.5.40003 > 10.96.0.10.53: 9+ PTR? 10.0.96.10.in-addr.arpa. (41)
12:00:00.000007 IP 10.244.1.5.40003 > 10.96.0.10.53: 9+ AXFR? cluster.local. (41)
12:00:00.000008 IP 10.244.1.5.40003 > 10.96.0.10.53: 9+ A? a..b. (41)
"""  # noqa: E501 - as tcpdump writes them


def test_of_dump() -> None:
    assert [str(each) for each in of_dump(DUMP.splitlines())] == [
        "web.shop.svc.cluster.local. A",
        "web.shop.svc.cluster.local. AAAA",
        "example.org. HTTPS",
        "10.0.96.10.in-addr.arpa. PTR",
    ]
