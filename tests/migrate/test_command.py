"""`kdns migrate` over the ConfigMaps of distributions: what is printed, and what is said of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

from kdns.check import findings
from kdns.migrate.command import main

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "corefile" / "distributions"
CHART = ROOT / "helm" / "kdns"

KUBEADM_OLD = """\
.:53 {
    errors
    health
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        upstream
        resyncperiod 5m
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    proxy . /etc/resolv.conf
    cache 30
    reload
}
"""
STOCK_NODE = """\
cluster.local:53 {
    errors
    cache {
            success 9984 30
            denial 9984 5
    }
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . __PILLAR__CLUSTER__DNS__ {
            force_tcp
    }
    prometheus :9253
    health 169.254.20.10:8080
    }
in-addr.arpa:53 {
    errors
    cache 30
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . __PILLAR__CLUSTER__DNS__ {
            force_tcp
    }
    prometheus :9253
    }
ip6.arpa:53 {
    errors
    cache 30
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . __PILLAR__CLUSTER__DNS__ {
            force_tcp
    }
    prometheus :9253
    }
.:53 {
    errors
    cache 30
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . __PILLAR__UPSTREAM__SERVERS__
    prometheus :9253
    }
"""
IPVS_NODE = STOCK_NODE.replace(" 10.96.0.10", "").replace(
    "__PILLAR__UPSTREAM__SERVERS__", "192.0.2.53"
)


def distribution(name):
    return (FOLDER / f"{name}.Corefile").read_text()


def configmap(name, **data):
    data = {key.replace("__", "."): text for key, text in data.items()}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "kube-system"},
        "data": data,
    }


@pytest.fixture
def migrate(tmp_path, capsys):
    """migrate(configmap..., output=...) -> exit code, what is printed, notes of it, stderr."""
    folder = tmp_path / "configmaps"
    folder.mkdir()

    def migrated(*configmaps, output="values"):
        (folder / "all.yaml").write_text(yaml.safe_dump_all(configmaps))
        capsys.readouterr()
        code = main(["-f", str(folder), "--output", output], {})
        out, err = capsys.readouterr()
        notes = [line[2:] for line in out.splitlines() if line.startswith(("# -", "# !"))]
        return code, out, notes, err

    return migrated


@pytest.mark.parametrize(
    ("text", "code", "begins"),
    [
        (
            distribution("kubeadm"),
            0,
            [
                "- coredns/Corefile:17:8: cache disable success cluster.local stays and means",
                "- coredns/Corefile:18:8: cache disable denial cluster.local stays and means",
            ],
        ),
        (
            KUBEADM_OLD,
            0,
            [
                "- coredns/Corefile:11:5: proxy is called forward now",
                "- coredns/Corefile:6:9: kubernetes upstream is left out: it means nothing: ",
                "- coredns/Corefile:7:9: kubernetes resyncperiod is left out: it means nothing: ",
                "- readinessProbe is off: no server block has the plugin ready",
            ],
        ),
        (distribution("eks"), 0, []),
        (distribution("gardener"), 0, []),
        (
            ".:53 {\n kubernetes cluster.local\n nonsense x\n}\ntls://.:853 {\n errors\n}\n",
            1,
            [
                "! coredns/Corefile:3:2: nonsense is left out: it is no plugin of CoreDNS's own",
                "! coredns/Corefile:5:1: this zone is left out: kdns does not serve tls://",
                "- livenessProbe is off",
                "- readinessProbe is off",
            ],
        ),
        (
            (
                "(common) {\n errors\n nsid\n}\n.:53 {\n import common\n health\n ready\n"
                " whoami x\n cache 30 {\n  nonsense\n }\n}\n"
            ),
            1,
            [
                "! coredns/Corefile:3:2: nsid is left out: ",
                "! coredns/Corefile:11:3: cache nonsense is left out: ",
                "! coredns/Corefile:9:9: whoami is left out: ",
            ],
        ),
        (
            ".:53 {\n bind eth77\n health\n ready\n whoami\n}\n",
            0,
            ["- coredns/Corefile:2:7: kept as it is, though here 'eth77' is neither"],
        ),
    ],
    ids=["kubeadm", "kubeadm-1.12", "eks", "gardener", "zone", "snippet", "interface"],
)
def test_notes(migrate, text, code, begins) -> None:
    found, out, notes, err = migrate(configmap("coredns", Corefile=text))
    assert len(notes) == len(begins), notes
    for note, begin in zip(notes, begins, strict=True):
        assert note.startswith(begin)
    assert found == code
    assert bool(err) == bool(code)
    assert ("Nothing changes." in out) == (not begins)


@pytest.mark.parametrize(
    "text",
    [
        KUBEADM_OLD,
        *(distribution(path.stem) for path in sorted(FOLDER.glob("*.Corefile"))),
    ],
    ids=["kubeadm-1.12", *(path.stem for path in sorted(FOLDER.glob("*.Corefile")))],
)
def test_the_corefile_is_served_by_kdns(migrate, tmp_path, text) -> None:
    _, out, _, _ = migrate(configmap("coredns", Corefile=text), output="corefile")
    (tmp_path / "Corefile").write_text(out)
    assert findings(str(tmp_path / "Corefile"), 53) == ([], [])


def test_kubeadm_as_values(migrate) -> None:
    _, out, _, _ = migrate(configmap("coredns", Corefile=distribution("kubeadm")))
    (server,) = yaml.safe_load(out)["servers"]
    assert server == {
        "zones": [{"zone": ".", "use_tcp": True}],
        "port": 53,
        "plugins": [
            {"name": "errors"},
            {"name": "health", "configBlock": "lameduck 5s"},
            {"name": "ready"},
            {
                "name": "kubernetes",
                "parameters": "cluster.local in-addr.arpa ip6.arpa",
                "configBlock": "pods insecure\nfallthrough in-addr.arpa ip6.arpa\nttl 30",
            },
            {"name": "prometheus", "parameters": ":9153"},
            {
                "name": "forward",
                "parameters": ". /etc/resolv.conf",
                "configBlock": "max_concurrent 1000",
            },
            {
                "name": "cache",
                "parameters": "30",
                "configBlock": "disable success cluster.local\ndisable denial cluster.local",
            },
            {"name": "loop"},
            {"name": "reload"},
            {"name": "loadbalance"},
        ],
    }


def test_k3s(migrate) -> None:
    """Whose NodeHosts its controller writes, and whose imports are another ConfigMap's."""
    text = distribution("k3s").replace("import custom/", "import /etc/coredns/custom/")
    custom = {
        "hosts__override": "log\n",
        "corp__server": "corp.example:53 {\n  forward . 192.0.2.53\n  rewrite stop\n}\n",
    }
    code, out, notes, _ = migrate(
        configmap("coredns", Corefile=text, NodeHosts="192.0.2.1 node\n"),
        configmap("coredns-custom", **custom),
    )
    assert code == 1
    assert notes[0].startswith(
        "! coredns-custom/corp.server:3:3: rewrite is left out: for one name"
    )
    assert notes[1].startswith("- ConfigMap coredns-custom: what it says now is put in")
    assert notes[2].startswith("- NodeHosts of ConfigMap coredns stays where it is")
    values = yaml.safe_load(out)
    root, corp = values["servers"]
    hosts = next(each for each in root["plugins"] if each["name"] == "hosts")
    assert hosts["parameters"] == "/etc/kdns/coredns/NodeHosts"
    assert {"name": "log"} in root["plugins"]
    assert corp["zones"] == [{"zone": "corp.example", "use_tcp": True}]
    assert values["extraVolumes"] == [
        {
            "name": "coredns-files",
            "configMap": {
                "name": "coredns",
                "items": [{"key": "NodeHosts", "path": "NodeHosts"}],
                "optional": True,
            },
        }
    ]
    assert values["extraVolumeMounts"] == [
        {"name": "coredns-files", "mountPath": "/etc/kdns/coredns", "readOnly": True}
    ]
    # A Corefile is for where CoreDNS's own is, beside the same files.
    _, out, notes, _ = migrate(
        configmap("coredns", Corefile=text, NodeHosts="192.0.2.1 node\n"), output="corefile"
    )
    assert "    hosts /etc/coredns/NodeHosts {\n" in out
    assert notes == []


def test_kube_dns_alone(migrate) -> None:
    code, out, notes, _ = migrate(
        configmap(
            "kube-dns",
            stubDomains='{"corp.example": ["192.0.2.1", "192.0.2.2:5353"]}',
            upstreamNameservers='["192.0.2.3"]',
        )
    )
    assert code == 0
    assert notes[0].startswith("- there is no ConfigMap coredns: this is kubeadm's Corefile")
    root, corp = yaml.safe_load(out)["servers"]
    assert {"name": "forward", "parameters": ". 192.0.2.3"} in root["plugins"]
    assert corp["zones"] == [{"zone": "corp.example", "use_tcp": True}]
    assert {"name": "forward", "parameters": ". 192.0.2.1 192.0.2.2:5353"} in corp["plugins"]


def test_kube_dns_beside_coredns(migrate) -> None:
    _, _, notes, _ = migrate(
        configmap("coredns", Corefile=distribution("eks")),
        configmap("kube-dns", upstreamNameservers='["192.0.2.3"]'),
    )
    (note,) = notes
    assert note.startswith("- ConfigMap kube-dns: its stubDomains and upstreamNameservers are for")


PLAIN = {"localIP": "169.254.20.10", "domain": "cluster.local", "healthPort": 8080}


@pytest.mark.parametrize(
    ("text", "values", "begins"),
    [
        (STOCK_NODE, {"mode": "iptables", "dnsServer": "10.96.0.10", "metricsPort": 9253}, []),
        (
            IPVS_NODE,
            {"mode": "ipvs", "metricsPort": 9253, "upstreamServers": "192.0.2.53"},
            ["- the node's cache has no address but its own"],
        ),
        (
            STOCK_NODE.replace("cluster.local:53", "__PILLAR__DNS__DOMAIN__:53").replace(
                "169.254.20.10 10.96.0.10", "__PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__"
            ),
            {"mode": "iptables", "metricsPort": 9253},
            [],
        ),
        (
            STOCK_NODE.replace(":9253", ":9353"),
            {"mode": "iptables", "dnsServer": "10.96.0.10", "metricsPort": 9353},
            [],
        ),
    ],
    ids=["stock", "ipvs", "unfilled", "port"],
)
def test_node_local(migrate, text, values, begins) -> None:
    code, out, notes, _ = migrate(configmap("node-local-dns", Corefile=text))
    assert code == 0
    found = yaml.safe_load(out)
    assert found == {
        "deployment": {"enabled": False},
        "nodeLocal": {"enabled": True, **PLAIN, **values},
    }
    assert len(notes) == len(begins)
    assert all(note.startswith(begin) for note, begin in zip(notes, begins, strict=True))


def test_node_local_of_ones_own(migrate) -> None:
    text = STOCK_NODE.replace("cache 30\n", "cache 60\n", 1).replace(
        "    errors\n", "    bufsize\n", 1
    )
    code, out, notes, _ = migrate(configmap("node-local-dns", Corefile=text))
    assert code == 0
    (note,) = notes
    assert note.startswith("- node-local-dns/Corefile:2:5: bufsize is left out")
    corefile = yaml.safe_load(out)["nodeLocal"]["corefile"]
    assert corefile.startswith("cluster.local:53 {\n    cache {\n        success 9984 30\n")
    assert "cache 60\n" in corefile
    assert corefile.count("forward . __PILLAR__CLUSTER__DNS__ {") == 3
    assert corefile.count("forward . __PILLAR__UPSTREAM__SERVERS__\n") == 1
    assert "bufsize" not in corefile


@pytest.mark.parametrize(
    ("configmaps", "says"),
    [
        ([], "there is none of the ConfigMaps coredns, "),
        ([configmap("coredns")], "ConfigMap coredns has no key Corefile"),
        ([configmap("coredns", Corefile=". {")], "coredns/Corefile:1:3: this '{' is never closed"),
        ([configmap("node-local-dns")], "ConfigMap node-local-dns has no key Corefile"),
        ([configmap("kube-dns", stubDomains="[")], "ConfigMap kube-dns: stubDomains is no JSON"),
        ([configmap("coredns", Corefile=".")] * 2, "ConfigMap coredns is here once more"),
        ([{**configmap("coredns"), "data": {"Corefile": 1}}], "data is not text by keys"),
    ],
    ids=["none", "key", "syntax", "node", "json", "twice", "data"],
)
def test_what_cannot_be_used(migrate, configmaps, says) -> None:
    code, out, _, err = migrate(*configmaps)
    assert (code, out) == (1, "")
    assert err.startswith("kdns migrate: ")
    assert says in err


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read"), ("a: [", "is no YAML")],
    ids=["missing", "yaml"],
)
def test_files_that_cannot_be_read(capsys, tmp_path, content, says) -> None:
    file = tmp_path / "coredns.yaml"
    if content is not None:
        file.write_text(content)
    assert main(["-f", str(file)], {}) == 1
    assert says in capsys.readouterr().err


def test_a_list_as_kubectl_prints_it(capsys, tmp_path) -> None:
    file = tmp_path / "all.yaml"
    items = [configmap("coredns", Corefile=distribution("eks")), configmap("other")]
    file.write_text(yaml.safe_dump({"kind": "List", "items": items}))
    assert main(["-f", str(file)], {}) == 0
    assert "of the ConfigMaps coredns.\n" in capsys.readouterr().out


class Cluster(BaseHTTPRequestHandler):
    """The ConfigMap coredns, by the API; everything else is not there."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.requestline)
        there = self.path.endswith("/namespaces/kube-system/configmaps/coredns")
        found = configmap("coredns", Corefile=distribution("eks"))
        found["metadata"]["resourceVersion"] = "1"
        body = json.dumps(found if there else {"kind": "Status", "code": 404}).encode()
        self.send_response(200 if there else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_of_a_cluster(capsys, tmp_path) -> None:
    Cluster.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Cluster) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        entry = {"name": "test"}
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "contexts": [{**entry, "context": {"cluster": "test", "user": "test"}}],
                    "clusters": [{**entry, "cluster": {"server": url}}],
                    "users": [{**entry, "user": {"token": "none"}}],
                }
            )
        )
        try:
            code = main([], {"KUBECONFIG": str(kubeconfig)})
        finally:
            server.shutdown()
            thread.join()
    assert code == 0
    assert "of the ConfigMaps coredns.\n" in capsys.readouterr().out
    assert len(Cluster.asked) == 4
    assert all(each.startswith("GET /api/v1/namespaces/kube-system/") for each in Cluster.asked)


def test_no_cluster(capsys) -> None:
    assert main([], {}) == 1
    assert "no API server: not in a pod" in capsys.readouterr().err


@pytest.mark.parametrize(
    "configmaps",
    [
        [configmap("coredns", Corefile=distribution("kubeadm"))],
        [configmap("coredns", Corefile=KUBEADM_OLD)],
        [configmap("coredns", Corefile=distribution("k3s"), NodeHosts="")],
        [configmap("coredns", Corefile=distribution("openshift"))],
        [
            configmap("coredns", Corefile=distribution("eks")),
            configmap("node-local-dns", Corefile=STOCK_NODE),
        ],
        [configmap("node-local-dns", Corefile=IPVS_NODE)],
    ],
    ids=["kubeadm", "kubeadm-1.12", "k3s", "openshift", "nodelocal", "ipvs"],
)
def test_the_chart_takes_the_values(migrate, tmp_path, configmaps) -> None:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not on PATH")
    _, out, _, _ = migrate(*configmaps)
    values = tmp_path / "values.yaml"
    values.write_text(out)
    done = subprocess.run(
        [helm, "template", "kdns", CHART, "--namespace", "kube-system", "--values", values],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rendered = [each for each in yaml.safe_load_all(done.stdout) if each]
    made = {
        each["metadata"]["name"]: each["data"]["Corefile"]
        for each in rendered
        if each["kind"] == "ConfigMap" and "Corefile" in each["data"]
    }
    assert made
    for name, text in made.items():
        file = tmp_path / name
        file.write_text(text)
        assert findings(str(file), 53)[0] == []
