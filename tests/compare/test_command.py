"""`kdns compare` between kdns processes, and between kdns and CoreDNS."""

from __future__ import annotations

import asyncio
import shutil
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from bench.peers import coredns
from bench.peers.apiserver import ApiServer
from kdns.compare import asking
from kdns.compare.answers import Silence
from kdns.compare.command import main
from kdns.compare.questions import of_lines

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: ClusterIP, clusterIP: 10.96.0.80, clusterIPs: [10.96.0.80], ports: [{name: http, port: 80, protocol: TCP}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {type: ClusterIP, clusterIP: 10.96.0.81, clusterIPs: [10.96.0.81], ports: [{name: http, port: 80, protocol: TCP}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {type: ClusterIP, clusterIP: None, clusterIPs: [None], ports: [{name: pg, port: 5432, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: pg, port: 5432, protocol: TCP}]
endpoints:
- {addresses: [10.244.1.20], hostname: db-0, conditions: {ready: true}}
- {addresses: [10.244.1.21], hostname: db-1, conditions: {ready: true}}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: shop}
spec: {type: ExternalName, externalName: web.shop.svc.cluster.local}
"""  # noqa: E501 - one Service a line

NAMESPACE = "shop.svc.cluster.local."


@pytest.fixture
def shop(tmp_path):
    """shop(name, old, new, ...) -> a folder of the manifests with these changes."""

    def made(name, *changes):
        text = SHOP
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert old in text, old
            text = text.replace(old, new)
        folder = tmp_path / name
        folder.mkdir()
        (folder / "shop.yaml").write_text(text)
        return folder

    return made


def differing(report):
    return {(each["name"].partition(".")[0], each["type"]) for each in report["differences"]}


def test_the_same_manifests(serve, shop, compare) -> None:
    folder = shop("one")
    code, report = compare(serve(folder), serve(folder), "--names-from", "manifests", folder)
    assert code == 0
    assert report["differences"] == []
    assert report["questions"] == report["same"] > 25
    assert report["timeouts"] == {"A": 0, "B": 0}


def test_a_name_that_is_missing(serve, shop, compare) -> None:
    one, other = shop("one"), shop("other", "name: web,", "name: webb,")
    code, report = compare(serve(one), serve(other), "--names-from", "manifests", one)
    assert code == 1
    assert {("web", "A"), ("web", "AAAA"), ("web", "SRV"), ("_http", "SRV")} <= differing(report)
    found = {(each["name"], each["type"]): each for each in report["differences"]}
    difference = found["web.shop.svc.cluster.local.", "A"]
    assert difference["parts"][0] == {"part": "rcode", "a": "NOERROR", "b": "NXDOMAIN"}
    assert difference["why"].startswith("B does not know the name")
    # The alias has the name's fate: its target is gone.
    alias = found["alias.shop.svc.cluster.local.", "A"]
    assert alias["parts"][0] == {"part": "rcode", "a": "NOERROR", "b": "NXDOMAIN"}


def test_another_address(serve, shop, compare) -> None:
    one, other = shop("one"), shop("other", "10.96.0.81", "10.96.0.91")
    code, report = compare(serve(one), serve(other), "--names-from", "manifests", one)
    assert code == 1
    assert differing(report) >= {("cart", "A"), ("cart", "SRV"), ("81", "PTR")}
    assert not {name for name, _ in differing(report)} & {"web", "db", "db-0", "80"}
    (difference,) = (
        each
        for each in report["differences"]
        if (each["name"], each["type"]) == ("cart.shop.svc.cluster.local.", "A")
    )
    assert difference["parts"] == [
        {
            "part": "answer",
            "a": "cart.shop.svc.cluster.local. A 10.96.0.81",
            "b": "cart.shop.svc.cluster.local. A 10.96.0.91",
        }
    ]


def test_manifests_with_a_mistake(serve, shop, capsys) -> None:
    """What is good of them is asked, and what is not is said."""
    folder = shop("one")
    server = f"127.0.0.1:{serve(folder)}"
    (folder / "broken.yaml").write_text("kind: [\n")
    words = ["--server", server, "--server", server, "--names-from", "manifests", str(folder)]
    assert main(words, {}) == 1
    out, err = capsys.readouterr()
    assert out.startswith("38 questions: 38 answered the same, 0 not\n")
    assert err.startswith(f"kdns compare: not asked: {folder / 'broken.yaml'}:")


def test_names_from_a_file(serve, shop, compare, tmp_path) -> None:
    names = tmp_path / "names"
    names.write_text("web.shop.svc.cluster.local\nnobody.shop.svc.cluster.local A\n")
    port = serve(shop("one"))
    assert compare(port, port, "--names-from", names) == (
        0,
        {
            "servers": {"A": f"127.0.0.1:{port}", "B": f"127.0.0.1:{port}"},
            "questions": 3,
            "same": 3,
            "differences": [],
            "changed": 0,
            "unanswered": {"A": 0, "B": 0},
            "timeouts": {"A": 0, "B": 0},
            "passed": {},
        },
    )


def test_truncated_replies_are_asked_for_over_tcp(serve, compare, tmp_path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    slices = yaml.safe_load_all(SHOP)
    objects = [each for each in slices if each["metadata"]["name"] in ("shop", "db", "db-1")]
    objects[-1]["endpoints"] = [{"addresses": [f"10.244.2.{last}"]} for last in range(1, 201)]
    (folder / "large.yaml").write_text(yaml.safe_dump_all(objects))
    names = tmp_path / "names"
    names.write_text("db.shop.svc.cluster.local A\n")
    # Another of the last records: only whoever has the whole answer sees it.
    objects[-1]["endpoints"][-1]["addresses"] = ["10.244.3.1"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "large.yaml").write_text(yaml.safe_dump_all(objects))
    code, report = compare(serve(folder), serve(other), "--names-from", names)
    assert code == 1
    (difference,) = report["differences"]
    assert difference["parts"] == [
        {
            "part": "answer",
            "a": "db.shop.svc.cluster.local. A 10.244.2.200",
            "b": "db.shop.svc.cluster.local. A 10.244.3.1",
        }
    ]


def test_a_server_that_is_away(serve, shop, compare, free_port, tmp_path) -> None:
    names = tmp_path / "names"
    names.write_text("web.shop.svc.cluster.local A\n")
    code, report = compare(serve(shop("one")), free_port, "--names-from", names)
    assert code == 1
    assert report["unanswered"] == {"A": 0, "B": 1}
    (difference,) = report["differences"]
    assert difference["parts"] == [
        {
            "part": "reply",
            "a": "NOERROR, 1 in the answer",
            "b": "Connection refused, asked 2 times",
        }
    ]


def test_text(serve, shop, capsys) -> None:
    one, other = shop("one"), shop("other", "10.96.0.81", "10.96.0.91")
    a, b = (f"127.0.0.1:{serve(folder)}" for folder in (one, other))
    words = ["--server", a, "--server", b, "--names-from", "manifests", str(one)]
    assert main(words, {}) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"A is {a}, B is {b}\n")
    assert (
        textwrap.dedent("""\
        cart.shop.svc.cluster.local. A
          answer
            A: cart.shop.svc.cluster.local. A 10.96.0.81
            B: cart.shop.svc.cluster.local. A 10.96.0.91
          why: other A records: another cluster, or one of them is behind
        """)
        in said
    )
    assert "38 questions: 34 answered the same, 4 not\n" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "write --server twice, not 0 times"),
        (["--server", "a"], "write --server twice, not 1 times"),
        (["--server", "a:b", "--server", "a"], "'a:b' is no server: write an address"),
        (["--server", "a", "--server", "[::1"], "'[::1' is no server"),
        (["--server", "a", "--server", "b", "--names-from", "manifests"], "write one of cluster |"),
        (["--server", "a", "--server", "b", "--names-from", "x", "y"], "write one of cluster |"),
        (["--server", "a", "--server", "b", "--rate", "0"], "'0' is no rate"),
        (["--server", "a", "--server", "b", "--ttl", "x"], "'x' is not a number of seconds"),
    ],
    ids=["none", "one", "port", "bracket", "folder", "much", "rate", "ttl"],
)
def test_words_that_make_no_sense(capsys, words, says) -> None:
    with pytest.raises(SystemExit) as left:
        main(words, {})
    assert left.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (["gone"], "--names-from: gone cannot be read (No such file or directory)"),
        (["manifests", "gone"], "gone"),
        (["cluster"], "no cluster to run in: KUBERNETES_SERVICE_HOST"),
        (["empty"], "there is nothing to ask: --names-from has no names"),
        (["bad"], "bad:1: 'x y z'"),
    ],
    ids=["file", "folder", "cluster", "empty", "line"],
)
def test_nothing_to_ask(capsys, monkeypatch, tmp_path, source, says) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("empty").write_text("# nothing\n")
    Path("bad").write_text("a b c\n")
    servers = ["--server", "127.0.0.1:1", "--server", "127.0.0.1:1"]
    assert main([*servers, "--names-from", *source], {}) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert says.replace("'x y z'", "'c' is too much") in said.err


KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
clusters: [{{name: test, cluster: {{server: "{url}"}}}}]
users: [{{name: test, user: {{}}}}]
"""


def test_kdns_and_coredns_over_one_cluster(compare, tmp_path) -> None:
    if coredns.executable() is None:
        pytest.skip(coredns.MISSING)
    kdns = shutil.which("kdns", path=str(Path(sys.executable).parent))
    if kdns is None:
        pytest.skip("the program kdns is not installed beside this Python")
    objects = list(yaml.safe_load_all(SHOP))
    with ApiServer(objects) as api:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(KUBECONFIG.format(url=api.url))
        text = coredns.kubeadm(f"endpoint {api.url}")
        with coredns.CoreDNS(text) as theirs, coredns.CorefileServer(kdns, text) as ours:
            code, report = compare(theirs.port, ours.port, "--kubeconfig", kubeconfig)
    # The one that is on purpose: an alias without an address of this family.
    (difference,) = report["differences"]
    assert (code, difference["name"], difference["type"]) == (1, f"alias.{NAMESPACE}", "AAAA")
    assert "docs/differences.md, ExternalName" in difference["why"]
    assert report["questions"] > 25


async def test_a_silent_server_costs_its_time_and_is_counted(free_port) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", free_port)
    )
    questions = list(of_lines(["web.test"], "names"))
    async with asking.Asker(asking.Server("127.0.0.1", free_port), 0.05) as asker:
        replies = await asyncio.gather(*map(asker.ask, questions))
    transport.close()
    assert replies == [Silence("no reply within 0.05 s, asked 2 times")] * 2
    assert asker.timeouts == 4
