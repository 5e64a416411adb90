"""kdns beside the real CoreDNS: what both are asked, and what they answer.

Every disagreement has to be one of those that `differences.py` names, and every one named has to
be seen.
"""

from __future__ import annotations

import random
import socket
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from bench.peers import coredns
from bench.peers.apiserver import ApiServer
from bench.peers.process import ServerProcess, answers, free_ports
from kdns.frontend.interfaces import interfaces
from tests.wire import differences
from tests.wire.cluster import MemoryFeed, decoded, objects, service, slice_of
from tests.wire.differences import ANSWERS, MESSAGES, Difference, Disagreement
from tests.wire.exchange import TIMEOUT, Answer, Stream, answer_of, question
from tests.wire.packets import over_tcp, rows
from tests.wire.product import TYPES, Known, names_around
from tests.wire.servers import (
    INSECURE,
    UNBOUND_COREFILE,
    VARIANTS,
    ZONE_COREFILE,
    corefile,
    kdns,
    sourced,
)
from tests.wire.specification import CASES

VERSION = "CoreDNS-1.14.7"
SEED = 1
START_SECONDS = 30.0
PART = 4
"""One in so many names is asked for where a variant is not the first."""


@pytest.fixture(scope="module", autouse=True)
def _installed():
    path = coredns.executable()
    if path is None:
        pytest.skip(coredns.MISSING)
    if coredns.version(path) != VERSION:
        pytest.skip(f"{path} is {coredns.version(path)}; the differences are those to {VERSION}")


@pytest.fixture(scope="module")
def api():
    with ApiServer(objects()) as server:
        yield server


@dataclass
class Compared:
    """The answers of both servers of one variant to every (name, type)."""

    variant: str
    names: list[str]
    kdns: dict[tuple[str, str], Answer] = field(default_factory=dict)
    coredns: dict[tuple[str, str], Answer] = field(default_factory=dict)
    differences: list[tuple[Disagreement, Difference | None]] = field(default_factory=list)


@pytest.fixture(scope="module")
def seen():
    """How often each difference of ANSWERS was met, by name, and the variants compared."""
    return Counter()


@pytest.fixture(scope="module")
def known():
    return Known()


@pytest.fixture(scope="module", params=VARIANTS)
def compared(request, api, known, kdns_port, seen):
    variant = request.param
    names = asked_names(variant, known)
    result = Compared(variant, names)
    with coredns.CoreDNS(sourced(VARIANTS[variant], f"endpoint {api.url}")) as server:
        asked = [(name, qtype) for name in names for qtype in TYPES]
        ask_all(server.port, asked, result.coredns)
        ask_all(kdns_port(variant), asked, result.kdns)

        def ask(name, qtype):
            if (name, qtype) not in result.coredns:
                ask_all(server.port, [(name, qtype)], result.coredns)
            return result.coredns[name, qtype]

        for name, qtype in asked:
            theirs, ours = result.coredns[name, qtype], result.kdns[name, qtype]
            if not theirs.agrees(ours):
                found = Disagreement(variant, name.lower(), qtype, theirs, ours, ask, known)
                kind = next((each for each in ANSWERS if each.explains(found)), None)
                result.differences.append((found, kind))
                seen[kind.name if kind else ""] += 1
    seen[f"variant {variant}"] += 1
    return result


def asked_names(variant, known):
    """Names of one variant: all of the first's, part of another's, and those of its cases."""
    chance = random.Random(f"{SEED} {variant}")  # noqa: S311 - a sample, no secret
    names = names_around(known.sample(1 if variant == INSECURE else PART, chance), chance)
    names += [case.name for case in CASES if case.variant == variant]
    return list(dict.fromkeys(names))


def ask_all(port, asked, answered):
    with Stream(port) as stream:
        questions = [question(name, qtype) for name, qtype in asked]
        for key, reply in zip(asked, stream.ask(questions), strict=True):
            answered[key] = answer_of(reply)


def test_every_name_and_type(compared):
    unexplained = [found for found, kind in compared.differences if kind is None]
    shown = "\n".join(
        f"{found.name} {found.type}\nCoreDNS: {found.coredns}\nkdns: {found.kdns}"
        for found in unexplained[:10]
    )
    assert not unexplained, f"{len(unexplained)} answers differ without a reason:\n{shown}"
    assert len(compared.kdns) >= len(TYPES) * 100


def test_cases_of_the_specification(compared):
    """CoreDNS gives the table's answer, but where a difference is known."""
    known = {(found.name, found.type) for found, kind in compared.differences if kind}
    for case in CASES:
        if case.variant == compared.variant and case.type in TYPES:
            answer = compared.coredns[case.name, case.type]
            differs = (case.name.lower(), case.type) in known
            assert answer.agrees(case.expected) is not differs, str(case)


def test_no_difference_has_vanished(seen):
    if any(not seen[f"variant {variant}"] for variant in VARIANTS):
        pytest.skip("not all variants were compared")
    assert [each.name for each in ANSWERS if not seen[each.name]] == []


@pytest.fixture(scope="module")
def ports(api, kdns_port):
    """(CoreDNS, kdns) for the cluster's zones alone."""
    with (
        coredns.CoreDNS(sourced(ZONE_COREFILE, f"endpoint {api.url}")) as server,
        kdns(ZONE_COREFILE, MemoryFeed(decoded())) as port,
    ):
        yield server.port, port


def test_packets(ports):
    """Over TCP, where order shows who is silent: the rows that CoreDNS fails are the ones named."""
    failed = {
        row.name
        for row in rows()
        if not row.expected["tcp"].allows(over_tcp(row.packet, "127.0.0.1", ports[0]))
    }
    named = {row for each in (*MESSAGES, ANY_ROW) for row in each.rows}
    assert failed == named


ANY_ROW = differences.MessageDifference("ANY", "RFC 8482 §4.1", ("type ANY",))
"""One of ANSWERS that shows among the packets too."""


def ask_both(ports, name, qtype, *, tcp=False, **edns):
    """The replies of CoreDNS and kdns."""
    query = dns.message.make_query(name, qtype, **edns)
    send = dns.query.tcp if tcp else dns.query.udp
    return [send(query, "127.0.0.1", TIMEOUT, port) for port in ports]


def test_payload(ports):
    """PAYLOAD and OWN_PAYLOAD: CoreDNS sends what the asker says it takes, and says the same."""
    theirs, ours = ask_both(ports, "big.prod.svc.cluster.local.", "A", use_edns=0, payload=4096)
    assert len(theirs.answer[0]) == 100
    assert not theirs.flags & dns.flags.TC
    assert ours.flags & dns.flags.TC
    assert len(ours.wire) <= 1232
    assert (theirs.payload, ours.payload) == (4096, 1232)


def test_additional(ports):
    """ADDITIONAL: lost glue sets TC in CoreDNS's reply, and not in kdns's."""
    name = "eight.prod.svc.cluster.local."
    _, whole = ask_both(ports, name, "SRV", tcp=True)
    theirs, ours = ask_both(ports, name, "SRV", use_edns=0, payload=600)
    assert theirs.flags & dns.flags.TC
    assert not ours.flags & dns.flags.TC
    assert ours.answer == whole.answer
    assert 0 < len(ours.additional) < len(whole.additional)


def test_letter_case(ports):
    """LETTER_CASE: in targets they are the asker's or not; in the own name they do not matter."""
    theirs, ours = ask_both(ports, "_HTTP._tcp.web.default.svc.CLUSTER.local.", "SRV")
    assert theirs.answer[0][0].target.to_text() == "web.default.svc.CLUSTER.local."
    assert ours.answer[0][0].target.to_text() == "web.default.svc.cluster.local."
    assert answer_of(theirs) == answer_of(ours)
    theirs, ours = ask_both(ports, "ns.dns.CLUSTER.local.", "A")
    assert theirs.rcode() == dns.rcode.NXDOMAIN
    assert [each.address for each in ours.answer[0]] == ["127.0.0.1"]


@pytest.fixture(scope="module")
def own_address():
    """An address that others can reach this machine by."""
    for each in interfaces():
        if ":" not in each.address and not each.address.startswith(("127.", "169.254.")):
            return each.address
    return pytest.skip("this machine has no IPv4 address but loopback")


NAME_SERVERS = {
    "no endpoint": lambda own: [],
    "cluster IP": lambda own: [
        service("kube-dns", "10.96.0.10", "fd00:10:96::10", ports=["dns:53/UDP"]),
        slice_of("kube-dns", own, "10.244.9.54", ports=["dns:53/UDP"]),
    ],
    "headless": lambda own: [
        service("kube-dns", "None", ports=["dns:53/UDP"]),
        slice_of("kube-dns", own, "10.244.9.54=two", ports=["dns:53/UDP"]),
        slice_of("kube-dns", "10.244.9.55", ports=["dns:53/UDP"], name="elsewhere"),
    ],
}


@pytest.mark.parametrize("served_by", NAME_SERVERS.values(), ids=NAME_SERVERS)
def test_name_servers(own_address, served_by):
    """LINK_LOCAL and REVERSE_NS: NS records of servers that are not bound to an address."""
    made = [*objects()[:1], *served_by(own_address)]
    with (
        ApiServer(made) as api,
        coredns.CoreDNS(sourced(UNBOUND_COREFILE, f"endpoint {api.url}")) as server,
        kdns(UNBOUND_COREFILE, MemoryFeed(decoded(made))) as port,
    ):
        both = server.port, port
        for name, qtype in (("cluster.local.", "NS"), ("ns.dns.cluster.local.", "A")):
            theirs, ours = map(answer_of, ask_both(both, name, qtype))
            assert without_link_local(theirs) == ours
            assert ours.answer
        theirs, ours = map(answer_of, ask_both(both, "in-addr.arpa.", "NS"))
        for server_name in (each.data for each in theirs.answer):
            assert server_name.endswith(".in-addr.arpa.")
            own_name = server_name == "ns.dns.in-addr.arpa."
            [found, _] = ask_both(both, server_name, "A")
            assert bool(found.answer) == own_name
        assert [each.data for each in ours.answer] == ["ns.dns.cluster.local."]


def without_link_local(answer):
    def kept(records):
        return frozenset(each for each in records if not each.data.startswith("fe80:"))

    return answer._replace(answer=kept(answer.answer), additional=kept(answer.additional))


def test_unsynced(tmp_path):
    """UNSYNCED: CoreDNS answers from what it has; kdns says that it has nothing yet."""
    impatient = VARIANTS[INSECURE].replace("pods insecure", "pods insecure\nstartup_timeout 10ms")
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        unready_coredns(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}") as theirs,
        kdns(impatient, MemoryFeed(decoded(), syncs=False)) as ours,
    ):
        for name, rcode in (("svc", dns.rcode.NOERROR), ("web.default.svc", dns.rcode.SERVFAIL)):
            replies = ask_both((theirs, ours), f"{name}.cluster.local.", "A", use_edns=0)
            assert [each.rcode() for each in replies] == [rcode, dns.rcode.SERVFAIL]
            assert [each.options for each in replies] == [(), (NOT_READY,)]


NOT_READY = dns.edns.EDEOption(
    dns.edns.EDECode.NOT_READY, "the cluster's records are not loaded yet"
)


@contextmanager
def unready_coredns(folder, url):
    """The port of a CoreDNS that hears nothing from its API server."""
    [port, ready] = free_ports(2)
    text = corefile(f"endpoint {url}", "startup_timeout 100ms")
    path = folder / "Corefile"
    path.write_text(sourced(text, "").replace("{$READY}", f"127.0.0.1:{ready}"))
    argv = [coredns.executable(), "-conf", path, "-dns.port", str(port)]
    with ServerProcess(argv, folder / "log") as process:
        process.wait_until(lambda: answers(port), START_SECONDS)
        yield port
