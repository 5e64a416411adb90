"""`hosts` of kdns beside that of the real CoreDNS, over one file."""

from __future__ import annotations

import dns.message
import dns.query
import pytest

from bench.peers import coredns
from tests.wire.cluster import MemoryFeed
from tests.wire.exchange import TIMEOUT, answer_of
from tests.wire.servers import kdns
from tests.wire.test_coredns import VERSION

FILE = """
127.0.0.1 localhost localhost.domain
::1 localhost localhost.domain   # a comment
10.0.0.1 example.org Upper.Example.Org
::FFFF:10.0.0.2 example.com
fe80::1%lo0 zoned
1.2.3.4 aa.example.com
5.6.7.8 *.apps.example.com
5.6.7.9 one.apps.example.com
10.0.0.7 outside.test
123.123.123 bogus
10.0.0.8
010.0.0.9 octal
"""

COREFILE = """\
. {{
    bind 127.0.0.1
    ready {{$READY}}
    hosts {path} org com localhost zoned octal bogus {{
        192.0.2.1 inline.org example.org
        {options}
    }}
    whoami
}}
"""

OPTIONS = {
    "alone": "ttl 60",
    "fallthrough": "fallthrough",
    "in part": "no_reverse\n fallthrough com",
    "other types": "fallthrough\n fallthrough_unsupported",
}

NAMES = (
    *("localhost.", "example.org.", "EXAMPLE.org.", "upper.example.org.", "example.com.", "zoned."),
    *("aa.example.com.", "apps.example.com.", "one.apps.example.com.", "two.apps.example.com."),
    *("a.b.apps.example.com.", "*.apps.example.com.", "inline.org.", "outside.test.", "bogus."),
    *("octal.", "missing.org.", "missing.com.", "missing.test.", "com.", "."),
    *("1.0.0.10.in-addr.arpa.", "1.0.0.127.in-addr.arpa.", "2.0.0.10.in-addr.arpa."),
    *("7.0.0.10.in-addr.arpa.", "8.7.6.5.in-addr.arpa.", "1.2.0.192.in-addr.arpa."),
    *(
        "0.0.10.in-addr.arpa.",
        "1." + "0." * 31 + "ip6.arpa.",
        "1." + "0." * 27 + "0.8.e.f.ip6.arpa.",
    ),
)
TYPES = ("A", "AAAA", "PTR", "TXT", "HTTPS", "SOA", "NS", "CNAME")


@pytest.fixture(scope="module", params=OPTIONS)
def ports(request, tmp_path_factory):
    """(CoreDNS, kdns) with the same options."""
    path = coredns.executable()
    if path is None:
        pytest.skip(coredns.MISSING)
    if coredns.version(path) != VERSION:
        pytest.skip(f"{path} is {coredns.version(path)}; the differences are those to {VERSION}")
    file = tmp_path_factory.mktemp("hosts") / "hosts"
    file.write_text(FILE)
    text = COREFILE.format(path=file, options=OPTIONS[request.param])
    with coredns.CoreDNS(text) as server, kdns(text, MemoryFeed([])) as port:
        yield server.port, port


@pytest.mark.parametrize("name", NAMES)
def test_both_say_the_same(ports, name) -> None:
    """But for the names and ports of clients, which `whoami` tells."""
    for qtype in TYPES:
        query = dns.message.make_query(name, qtype)
        found = []
        for port in ports:
            reply = answer_of(dns.query.udp(query, "127.0.0.1", TIMEOUT, port))
            found.append(reply._replace(additional=frozenset(map(bool, reply.additional))))
        assert found[0] == found[1], qtype
