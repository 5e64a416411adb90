"""The directive `transfer`: to whom it gives which zones, and when it does not."""

from __future__ import annotations

import dns.message
import dns.rrset
import pytest

from kdns.cluster.feed import Upsert
from kdns.cluster.objects import Metadata, Namespace
from kdns.dns import codes
from kdns.dns.names import to_text
from kdns.dns.query import Client, Query, parse
from kdns.plugins.transfer import MOST

KUBERNETES = "kubernetes cluster.local in-addr.arpa {\n manifests m\n}"


def corefile(*lines: str, zones: str = "", around: str = KUBERNETES) -> str:
    inside = "\n".join(lines)
    return f". {{\n transfer {zones} {{\n{inside}\n}}\n{around}\n}}"


@pytest.mark.parametrize(
    "lines",
    [
        ["to *"],
        ["to 1.2.3.4 5.6.7.8:1053 [1::2]:34 [fe80::1%eth0]:53", "source 2001:db8::53"],
        ["to * 1.2.3.4"],
        ["to 1.2.3.4", "to 1.2.3.5"],
    ],
    ids=" ".join,
)
def test_taken(planned, lines: list[str]) -> None:
    """CoreDNS's transfer/setup_test.go."""
    assert planned(corefile(*lines, zones="example.net example.org")).plan.routers


def test_several_rules_are_taken(planned) -> None:
    assert planned(
        corefile("to *", around=f"transfer example.org {{\n to 1.2.3.4\n}}\n{KUBERNETES}")
    )


@pytest.mark.parametrize(
    ("lines", "says", "place"),
    [
        ([], "transfer does not say to whom: write to * in its braces", (2, 2)),
        (["source 192.0.2.1"], "transfer does not say to whom", (2, 2)),
        (["to"], "an argument is missing after 'to'", (3, 1)),
        (["invalid option"], "transfer has no property 'invalid': write one of source, to", (3, 1)),
        (["to example.com 1.2.3.4"], "'example.com' is no address", (3, 4)),
        (["to 1.2.3.4:x"], "'1.2.3.4:x' cannot be read", (3, 4)),
        (["to 1.2.3.4", "source example.org"], "'example.org' is no address", (4, 8)),
        (["to 1.2.3.4", "source 192.0.2.53 192.0.2.54"], "one argument too many", (4, 19)),
        (["to 1.2.3.4", "source 192.0.2.53", "source ::1"], "source is written twice", (5, 8)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused(refused, lines, says, place) -> None:
    message, found = refused(corefile(*lines))
    assert says in message
    assert found == place


def ask(made, name, qtype="AXFR", *, host="192.0.2.1", transport="tcp", serial=None):
    """The reply to one client."""
    message = dns.message.make_query(name, qtype)
    if serial is not None:
        text = f"ns.dns.{name} hostmaster.{name} {serial} 1 2 3 4"
        message.authority.append(dns.rrset.from_text(name, 0, "IN", "SOA", text))
    query = parse(message.to_wire(), transport, Client(host, 4711))
    assert isinstance(query, Query)
    return made.router.route(query.name, query.qtype).handler(query)


def owners(reply) -> list[tuple[str, int]]:
    return [(to_text(each.owner), each.type) for each in reply.transfer]


@pytest.fixture
def served(planned, fill):
    """served(*lines) -> a Corefile at work with one service."""

    def made(*lines, **options):
        plan = planned(corefile(*lines, **options))
        fill(plan.store, "web.default=10.0.0.1")
        return plan

    return made


def test_a_zone(served) -> None:
    reply = ask(served("to *"), "Cluster.LOCAL.")
    assert (reply.rcode, reply.plugin, reply.lifetime) == (codes.NOERROR, "transfer", 0)
    found = owners(reply)
    assert found[0] == found[-1] == ("cluster.local.", codes.SOA)
    assert ("web.default.svc.cluster.local.", codes.A) in found
    assert ("_http._tcp.web.default.svc.cluster.local.", codes.SRV) in found


def test_a_reverse_zone(served) -> None:
    """RFC 1034 4.3.5: the records that the zone has, which CoreDNS does not send."""
    found = owners(ask(served("to *"), "in-addr.arpa."))
    assert ("1.0.0.10.in-addr.arpa.", codes.PTR) in found
    assert {qtype for _, qtype in found} == {codes.SOA, codes.NS, codes.PTR}


@pytest.mark.parametrize(
    ("to", "host", "allowed"),
    [
        ("*", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.2 192.0.2.1:5300", "192.0.2.1", True),
        ("192.0.2.2", "192.0.2.1", False),
        ("2001:DB8:0::1", "2001:db8::1", True),
        ("[2001:db8::1]:53", "2001:db8::1", True),
        ("[fe80::1%eth0]:53", "fe80::1", True),
        ("2001:db8::2", "2001:db8::1", False),
    ],
)
def test_to_whom(served, to, host, allowed) -> None:
    reply = ask(served(f"to {to}"), "cluster.local.", host=host)
    assert (reply.transfer is not None) == allowed
    assert reply.rcode == (codes.NOERROR if allowed else codes.REFUSED)
    assert reply.lifetime == 0


@pytest.mark.parametrize("qtype", ["AXFR", "IXFR"])
@pytest.mark.parametrize("name", ["cluster.local.", "elsewhere.", "web.default.svc.cluster.local."])
def test_not_over_udp(served, name, qtype) -> None:
    reply = ask(served("to *"), name, qtype, transport="udp")
    assert (reply.rcode, reply.transfer) == (codes.REFUSED, None)


@pytest.mark.parametrize(
    ("name", "plugin"),
    [
        ("svc.cluster.local.", "kubernetes"),
        ("web.default.svc.cluster.local.", "kubernetes"),
        ("elsewhere.", "whoami"),
    ],
)
def test_names_that_are_no_zone_go_on(served, name, plugin) -> None:
    """RFC 5936 2.2: the query's name is the zone's."""
    reply = ask(served("to *", around=KUBERNETES + "\nwhoami"), name)
    assert (reply.plugin, reply.transfer) == (plugin, None)


def test_zones_that_it_does_not_name_go_on(served) -> None:
    made = served("to *", zones="cluster.local")
    assert ask(made, "cluster.local.").transfer is not None
    assert ask(made, "in-addr.arpa.").rcode == codes.REFUSED


def test_the_rule_of_the_longest_zone_counts(served) -> None:
    made = served(
        "to *", zones="local", around=f"transfer cluster.local {{\n to 192.0.2.9\n}}\n{KUBERNETES}"
    )
    assert ask(made, "cluster.local.").rcode == codes.REFUSED
    assert ask(made, "cluster.local.", host="192.0.2.9").transfer is not None


def test_other_types_go_on(served) -> None:
    made = served("to 192.0.2.9")
    assert made.ask("web.default.svc.cluster.local.")[0] == "NOERROR"
    assert ask(made, "nobody.default.svc.cluster.local.", "A").denial is not None


@pytest.mark.parametrize(
    ("serial", "whole"), [(999, True), (1000, False), (1001, False), (1000 + 2**31 + 1, True)]
)
def test_ixfr(served, serial, whole) -> None:
    """RFC 1995 2: the SOA alone where there is nothing newer, else all of the zone."""
    reply = ask(served("to *"), "cluster.local.", "IXFR", serial=serial)
    assert (reply.transfer is not None) == whole
    assert [(each.type, each.owner) for each in reply.answer] == [
        (codes.SOA, b"\7cluster\5local\0")
    ]
    assert (reply.authoritative, reply.lifetime) == (True, 0)
    if whole:
        assert len(owners(reply)) > 3


def test_ixfr_without_a_serial(served) -> None:
    reply = ask(served("to *"), "cluster.local.", "IXFR")
    assert (reply.rcode, reply.transfer) == (codes.FORMERR, None)


def test_not_too_many_at_once(served) -> None:
    """Those that are sent, or whose client is gone, count no more."""
    made = served("to *")
    running = [ask(made, "cluster.local.") for _ in range(MOST)]
    next(iter(running[0].transfer))
    refused = ask(made, "cluster.local.")
    assert (refused.rcode, refused.transfer, refused.lifetime) == (codes.SERVFAIL, None, 0)
    assert "10 zone transfers are under way" in refused.failure
    assert ask(made, "cluster.local.", "IXFR", serial=1000).rcode == codes.NOERROR
    running.pop(0)
    assert ask(made, "cluster.local.").transfer is not None


def test_a_part_of_the_cluster_is_not_sent(planned) -> None:
    made = planned(corefile("to *"))
    made.store.apply(Upsert(Namespace(Metadata("default"))))
    reply = ask(made, "cluster.local.")
    assert (reply.rcode, reply.transfer) == (codes.SERVFAIL, None)
    assert reply.extended_error[0] == codes.EDE_NOT_READY


def test_without_the_plugin_it_is_refused(planned, fill) -> None:
    made = planned(f". {{\n{KUBERNETES}\n}}")
    fill(made.store, "web.default=10.0.0.1")
    assert ask(made, "cluster.local.").rcode == codes.REFUSED


def test_each_zone_comes_from_its_own_plugin(served) -> None:
    made = served("to *", around=KUBERNETES + "\nk8s_external example.org")
    found = owners(ask(made, "example.org."))
    assert found[:2] == [("example.org.", codes.SOA), ("example.org.", codes.NS)]
    assert ("cluster.local.", codes.SOA) in owners(ask(made, "cluster.local."))


def test_an_inner_zone_is_not_in_the_outer_one(served) -> None:
    around = "kubernetes local cluster.local {\n manifests m\n}"
    found = owners(ask(served("to *", around=around), "local."))
    assert ("web.default.svc.local.", codes.A) in found
    assert not any(name.endswith("cluster.local.") for name, _ in found)
