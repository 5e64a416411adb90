"""The Corefile that the chart renders: good by `kdns check`, and served by kdns with the rights
that the chart gives it."""

from __future__ import annotations

import itertools
import json
import re

import pytest
import yaml

from kdns.check import findings
from tests.apiserver.serving import Kdns
from tests.helm.chart import CASES, CHART
from tests.upstream.messages import answer
from tests.upstream.scripted import Upstreams, sends

ADDRESS = "192.0.2.53"


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("node-local")])
def test_corefile_is_good(helm, tmp_path, case):
    data = helm.render(case).one("ConfigMap")["data"]
    for name, text in data.items():
        # Files beside it are named by where pods have them.
        here = text.replace("/etc/coredns/", f"{tmp_path}/").replace("/opt/coredns", str(tmp_path))
        (tmp_path / name).write_text(here)

    errors, _ = findings(str(tmp_path / "Corefile"), 53)

    assert errors == []


@pytest.mark.parametrize("case", ["node-local-iptables", "node-local-ipvs"])
def test_corefile_of_a_node_is_good(helm, tmp_path, case):
    text = helm.render(case).corefile("kdns-node-local")
    text = text.replace("__PILLAR__CLUSTER__DNS__", "10.96.0.99")
    (tmp_path / "Corefile").write_text(text.replace("__PILLAR__UPSTREAM__SERVERS__", "192.0.2.53"))

    errors, _ = findings(str(tmp_path / "Corefile"), 53)

    assert errors == []


@pytest.fixture
def namespace(helm, kubectl):
    """One where the default chart is applied."""
    name = kubectl.new_namespace()
    text = helm.render(namespace=name).text
    kubectl.done("apply", "--server-side", "--filename", "-", given=text)
    yield name
    kubectl.done("delete", "--wait=false", "--filename", "-", given=text)


@pytest.fixture
def upstreams(free_port):
    """One that knows every name, and one that is not there."""
    with Upstreams() as opened:
        good = opened.open()
        good.default = sends(answer(f"@ 60 A {ADDRESS}"))
        yield good.address, f"127.0.0.1:{free_port}"


@pytest.fixture
def served(helm, kubectl, namespace, upstreams, tmp_path):
    """kdns with the default Corefile, as the service account that the chart made, on loopback."""
    kubeconfig = kubectl.as_account(namespace, "kdns", tmp_path)
    servers = yaml.safe_load((CHART / "values.yaml").read_text())["servers"]
    # Another port and other addresses, where nothing else runs and nobody needs to be root.
    [server] = servers
    del server["port"]
    places = {
        "health": "127.0.0.1:0",
        "ready": "{$READY}",
        "prometheus": "{$METRICS}",
        "forward": f". {' '.join(upstreams)}",
    }
    for plugin in server["plugins"]:
        plugin["parameters"] = places.get(plugin["name"], plugin.get("parameters"))
        if plugin["name"] == "kubernetes":
            plugin["configBlock"] += f"\nkubeconfig {kubeconfig}"
    server["plugins"].append({"name": "bind", "parameters": "127.0.0.1"})
    text = helm.render({"servers": servers}, "livenessProbe.enabled=false").corefile()
    with Kdns(tmp_path, text) as kdns:
        kdns.until(lambda: kdns.ready()[0] == 200)
        yield kdns


def test_corefile_is_served_with_the_rights_of_the_chart(served, kubectl, namespace):
    address = kubectl.get("service", "kubernetes", "--namespace", "default")["spec"]["clusterIP"]
    assert served.found("kubernetes.default.svc") == {address}
    assert served.rcode("nobody.default.svc") == "NXDOMAIN"
    assert served.found("www.example.org.") == {ADDRESS}

    where = ["--namespace", namespace]
    kubectl.done("create", "service", "clusterip", "web", "--tcp=80", *where)
    web = kubectl.get("service", "web", *where)["spec"]["clusterIP"]
    served.until(lambda: served.found(f"web.{namespace}.svc") == {web})
    assert not served.log("forbidden")


def test_dashboard_asks_for_metrics_that_there_are(served):
    dashboard = json.loads((CHART / "dashboards" / "kdns.json").read_text())
    expressions = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())
    ]
    asked = {
        re.sub("_(bucket|count|sum)$", "", name)
        for expression in expressions
        for name in re.findall(r"\b(?:coredns|kdns|process)_[a-z_]+", expression)
    }
    # A node's own trouble is told by the node-local cache.
    asked.remove("coredns_nodecache_setup_errors_total")

    numbers = itertools.count()

    def missing():
        for name in ("www.example.org.", f"{next(numbers)}.example.org."):
            served.ask(name)
        return asked - served.metric_names()

    served.until(lambda: not missing())
    assert len(asked) > 20


def test_dashboard_panels_do_not_overlap():
    panels = json.loads((CHART / "dashboards" / "kdns.json").read_text())["panels"]
    cells = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in panels}) == len(panels)
