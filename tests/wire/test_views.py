"""kdns beside the real CoreDNS in its other zones: zonal names, a cluster set, the outside.

Every disagreement has to be one of those that `view_differences.py` names, and every one named has
to be seen.
"""

from __future__ import annotations

from collections import Counter

import dns.exception
import dns.message
import dns.query
import pytest

from bench.peers import coredns
from bench.peers.apiserver import ApiServer
from tests.wire.cluster import MemoryFeed
from tests.wire.differences import Disagreement
from tests.wire.exchange import TIMEOUT, Answer, Stream, answer_of, question
from tests.wire.product import TYPES
from tests.wire.servers import kdns, sourced
from tests.wire.view_differences import AGAIN, VIEWS
from tests.wire.views import APICES, COREFILES, UNLISTED, decoded, listed, objects

VERSION = "CoreDNS-1.14.7"
KINDS = (*VIEWS, *AGAIN)
NOTHING = Answer("NXDOMAIN", "", frozenset(), frozenset(), frozenset())


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


@pytest.fixture(scope="module")
def seen():
    """How often each difference was met, and the variants compared."""
    return Counter()


class Asked:
    """The names of one variant: those with records, those above them, and some beside and below."""

    def __init__(self, variant):
        found = dict.fromkeys([*listed(variant), *UNLISTED])
        for name in list(found):
            found.update(dict.fromkeys(above(name)))
        for name in [name for name in found if name not in APICES]:
            found[f"zz.{name}"] = found[f"zz.{name.partition('.')[2]}"] = None
        self.names = list(found)
        self._below = {}
        for name in self.names:
            for each in above(name):
                self._below.setdefault(each.lower(), []).append(name)

    def below(self, name):
        return self._below.get(name, [])


def above(name):
    while name not in APICES:
        name = name.partition(".")[2]
        yield name


@pytest.fixture(scope="module", params=COREFILES)
def unexplained(request, api, seen):
    """The disagreements of one variant that are of no kind."""
    variant = request.param
    asked = Asked(variant)
    # CoreDNS does not answer SRV of these: see test_imported_slices_of_no_cluster.
    questions = [
        (name, qtype)
        for name in asked.names
        for qtype in TYPES
        if qtype != "SRV" or "loose.default.svc.clusterset" not in name
    ]
    with (
        coredns.CoreDNS(sourced(COREFILES[variant], f"endpoint {api.url}")) as server,
        kdns(COREFILES[variant], MemoryFeed(decoded())) as port,
    ):
        theirs, ours = (ask_all(each, questions) for each in (server.port, port))

    def ask(name, qtype):
        return theirs.get((name, qtype)) or theirs.get((name, "A"), NOTHING)

    found = []
    for name, qtype in questions:
        said = theirs[name, qtype], ours[name, qtype]
        if not said[0].agrees(said[1]):
            it = Disagreement(variant, name.lower(), qtype, *said, ask, asked)
            kind = next((each for each in KINDS if each.explains(it)), None)
            seen[kind.name if kind else ""] += 1
            found += [it] if kind is None else []
    assert len(questions) > 5000
    seen[f"variant {variant}"] += 1
    return found


def ask_all(port, questions):
    with Stream(port) as stream:
        replies = stream.ask([question(*each) for each in questions])
        return {each: answer_of(reply) for each, reply in zip(questions, replies, strict=True)}


def test_every_name_and_type(unexplained):
    shown = "\n".join(
        f"{found.name} {found.type}\nCoreDNS: {found.coredns}\nkdns: {found.kdns}"
        for found in unexplained[:10]
    )
    assert not unexplained, f"{len(unexplained)} answers differ without a reason:\n{shown}"


def test_no_difference_has_vanished(seen):
    if any(not seen[f"variant {variant}"] for variant in COREFILES):
        pytest.skip("not all variants were compared")
    assert [each.name for each in KINDS if not seen[each.name]] == []


def test_imported_slices_of_no_cluster(api):
    """NO_CLUSTER: CoreDNS makes targets with an empty label, and can send no reply with them."""
    query = dns.message.make_query("loose.default.svc.clusterset.local.", "SRV")
    with (
        coredns.CoreDNS(sourced(COREFILES["plain"], f"endpoint {api.url}")) as server,
        kdns(COREFILES["plain"], MemoryFeed(decoded())) as port,
    ):
        with pytest.raises(dns.exception.Timeout):
            dns.query.udp(query, "127.0.0.1", 0.5, server.port)
        (answer,) = dns.query.udp(query, "127.0.0.1", TIMEOUT, port).answer
    assert sorted(each.target.to_text() for each in answer) == [
        "172-16-4-1.loose.default.svc.clusterset.local.",
        "named.loose.default.svc.clusterset.local.",
    ]
