"""What a real API server thinks of what the chart renders."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml

from tests.helm import schemas
from tests.helm.chart import CASES, CHART, ROOT, program
from tests.helm.conftest import MONITORS

CLUSTER_DNS = """\
apiVersion: v1
kind: Service
metadata:
  name: kube-dns
  namespace: {namespace}
  labels: {{k8s-app: kube-dns, kubernetes.io/cluster-service: "true", kubernetes.io/name: CoreDNS}}
spec:
  selector: {{k8s-app: kube-dns}}
  ports:
  - {{name: dns, port: 53, protocol: UDP, targetPort: 53}}
  - {{name: dns-tcp, port: 53, protocol: TCP, targetPort: 53}}
  - {{name: metrics, port: 9153, protocol: TCP, targetPort: 9153}}
"""
"""As kubeadm makes it, but for its address."""


def needs(rendered):
    """The Pod Security level that the pods of a rendering need."""
    return "privileged" if rendered.all("DaemonSet") else "restricted"


@pytest.fixture(scope="session")
def schema_location(kubectl, tmp_path_factory):
    openapi = json.loads(kubectl.until("get", "--raw", "/openapi/v2"))
    return schemas.write(tmp_path_factory.mktemp("schemas"), openapi, MONITORS)


@pytest.fixture
def conform(schema_location):
    """kubeconform's complaints about some manifests."""
    command = [program("kubeconform", "checks manifests against schemas"), "-strict", "-summary"]

    def conformed(text):
        return subprocess.run(
            [*command, "-schema-location", schema_location, "-"],
            input=text,
            check=False,
            capture_output=True,
            text=True,
        )

    return conformed


@pytest.fixture
def applied(kubectl, helm):
    """A rendering as it is after it was applied in a namespace of its own, whose level of
    Pod Security no workload is warned about."""
    undo = []

    def apply(values, *settings):
        rendered = helm.render(values, *settings)
        level = needs(rendered)
        namespace = kubectl.new_namespace(enforce=level, warn=level)
        rendered = helm.render(values, *settings, namespace=namespace)
        words = ["--server-side", "--validate=strict", "--filename", "-"]
        kubectl.done("apply", "--dry-run=server", *words, given=rendered.text)
        undo.append(rendered.text)
        done = kubectl.run("apply", *words, given=rendered.text)
        assert done.returncode == 0, done.stderr
        assert "PodSecurity" not in done.stderr
        return rendered, namespace

    yield apply
    for text in undo:
        kubectl.done("delete", "--wait=false", "--ignore-not-found", "--filename", "-", given=text)


@pytest.mark.parametrize("case", CASES)
def test_conforms(helm, conform, case):
    result = conform(helm.render(case).text)

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "deploy").iterdir()))
def test_plain_manifests_conform(conform, name):
    result = conform((ROOT / "deploy" / name).read_text())

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("before", "after"),
    [("replicas: 2", "replica: 2"), ("type: RollingUpdate", "type: [Rolling]")],
)
def test_kubeconform_finds_what_is_wrong(helm, conform, before, after):
    text = helm.render().text
    assert before in text

    assert conform(text.replace(before, after)).returncode == 1


@pytest.mark.parametrize("case", CASES)
def test_is_applied_and_read_back(applied, kubectl, case):
    rendered, namespace = applied(case)

    for each in rendered:
        kind, metadata = each["kind"], each["metadata"]
        where = ["--namespace", metadata.get("namespace", namespace)]
        there = kubectl.get(kind, metadata["name"], *where)
        assert there["metadata"]["labels"].items() >= metadata["labels"].items()
        for part in {"spec", "data", "rules", "subjects", "roleRef"} & each.keys():
            assert differences(each[part], there[part], part) == []


def differences(wanted, there, path):
    """Paths of what is wanted and is not there; the API server adds defaults of its own."""
    if isinstance(wanted, dict) and isinstance(there, dict):
        return [
            found
            for key, value in wanted.items()
            for found in differences(value, there.get(key), f"{path}.{key}")
        ]
    if isinstance(wanted, list) and isinstance(there, list) and len(wanted) == len(there):
        return [
            found
            for index, pair in enumerate(zip(wanted, there, strict=True))
            for found in differences(*pair, f"{path}[{index}]")
        ]
    return [] if wanted == there else [f"{path}: {wanted!r} became {there!r}"]


def pod_of(workload):
    template = workload["spec"]["template"]
    metadata = {
        **template["metadata"],
        "name": "first",
        "namespace": workload["metadata"]["namespace"],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@pytest.mark.parametrize("case", CASES)
def test_pods_are_admitted(applied, kubectl, case):
    """Deployments are always let in: the namespace's level holds for their pods."""
    rendered, _ = applied(case)
    workloads = rendered.all("Deployment") + rendered.all("DaemonSet")

    for workload in workloads:
        made = kubectl.run("create", "--filename", "-", given=yaml.safe_dump(pod_of(workload)))
        assert (made.returncode, made.stderr) == (0, ""), workload["metadata"]["name"]
        kubectl.done("delete", "--now", "--filename", "-", given=yaml.safe_dump(pod_of(workload)))
    assert workloads


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("podSecurityContext.runAsNonRoot=false", "runAsNonRoot != true"),
        ("podSecurityContext.seccompProfile.type=Unconfined", "seccompProfile"),
        ("securityContext.allowPrivilegeEscalation=true", "allowPrivilegeEscalation != false"),
        ("securityContext.capabilities.add[0]=NET_ADMIN", "unrestricted capabilities"),
    ],
)
def test_pods_with_less_hardening_are_not(helm, applied, kubectl, setting, words):
    _, namespace = applied("default")
    weaker = helm.render("default", setting, namespace=namespace).one("Deployment")

    made = kubectl.run("create", "--filename", "-", given=yaml.safe_dump(pod_of(weaker)))

    assert made.returncode != 0
    assert words in made.stderr


def test_node_local_pods_need_a_privileged_namespace(applied, kubectl):
    rendered, namespace = applied("node-local-iptables")
    kubectl.namespace(namespace, enforce="baseline")
    [cache] = rendered.all("DaemonSet")

    made = kubectl.run("create", "--filename", "-", given=yaml.safe_dump(pod_of(cache)))

    assert made.returncode != 0
    assert "host namespaces (hostNetwork=true)" in made.stderr
    assert "privileged (" not in made.stderr


READ = [
    (verb, resource)
    for resource in ("namespaces", "services", "endpointslices.discovery.k8s.io")
    for verb in ("list", "watch")
]
NEVER = [
    ("get", "secrets"),
    ("list", "secrets"),
    ("get", "services"),
    ("update", "services"),
    ("list", "nodes"),
    ("list", "configmaps"),
    ("list", "endpoints"),
    ("create", "pods"),
]


@pytest.mark.parametrize(
    ("case", "account", "also"),
    [
        ("default", "kdns", []),
        ("coredns-drop-in", "coredns", [("list", "pods"), ("watch", "pods")]),
    ],
)
def test_rights_of_the_dns(applied, kubectl, case, account, also):
    _, namespace = applied(case)

    def may(asked):
        return {each for each in asked if kubectl.may(f"{namespace}:{account}", *each)}

    assert may(READ + also) == {*READ, *also}
    pods = [("list", "pods"), ("watch", "pods")]
    assert may([*NEVER, *(each for each in pods if each not in also)]) == set()


def test_rights_of_the_autoscaler(applied, kubectl):
    _, namespace = applied("autoscaler")
    account = f"{namespace}:kdns-autoscaler"

    for verb, resource in (("list", "nodes"), ("watch", "nodes")):
        assert kubectl.may(account, verb, resource)
    for verb, resource in (
        ("get", "deployments.apps/kdns"),
        ("update", "deployments.apps/kdns"),
        ("update", "nodes"),
        ("list", "secrets"),
        ("list", "configmaps"),
    ):
        assert not kubectl.may(account, verb, resource, namespace)
    for name, allowed in (("kdns", True), ("kdns-autoscaler", False)):
        words = ["get", f"deployments.apps/{name}", "--subresource=scale", "--namespace", namespace]
        user = f"--as=system:serviceaccount:{account}"
        answer = kubectl.run("auth", "can-i", *words, user).stdout.strip()
        assert answer == ("yes" if allowed else "no")
    assert kubectl.may(account, "get", "configmaps/kdns-autoscaler", namespace)
    assert not kubectl.may(account, "get", "configmaps/kdns", namespace)


def test_node_local_caches_have_no_rights(applied, kubectl):
    _, namespace = applied("node-local-iptables")

    for verb, resource in (*READ, *NEVER):
        assert not kubectl.may(f"{namespace}:kdns-node-local", verb, resource)


@pytest.fixture
def cluster_dns(kubectl):
    """A namespace with a kube-dns Service as kubeadm makes it; its name and address."""
    namespace = kubectl.new_namespace()
    manifest = CLUSTER_DNS.format(namespace=namespace)
    kubectl.done("apply", "--server-side", "--filename", "-", given=manifest)
    service = kubectl.get("service", "kube-dns", "--namespace", namespace)
    return namespace, service["spec"]["clusterIP"]


@pytest.fixture
def installed(helm, kubectl):
    """`helm VERB kdns CHART`, in a namespace, and what it says."""
    helm._environment["KUBECONFIG"] = str(kubectl.kubeconfig)
    releases = []

    def run(verb, namespace, *settings, chart=CHART, release="kdns"):
        releases.append((release, namespace))
        words = [word for each in settings for word in ("--set", each)]
        if verb == "upgrade":
            words.append("--reset-then-reuse-values")
        return helm.done(verb, release, chart, "--namespace", namespace, *words)

    yield run
    for release, namespace in dict.fromkeys(releases):
        helm.run("uninstall", release, "--namespace", namespace)


@pytest.mark.parametrize("settings", [(), ("service.name=kube-dns",)], ids=["default", "named"])
def test_existing_service_is_left_as_it_is(cluster_dns, installed, kubectl, settings):
    namespace, _ = cluster_dns
    before = kubectl.get("service", "kube-dns", "--namespace", namespace)

    notes = installed("install", namespace, *settings)

    assert kubectl.get("service", "kube-dns", "--namespace", namespace) == before
    services = kubectl.get("services", "--namespace", namespace)["items"]
    assert [each["metadata"]["name"] for each in services] == ["kube-dns"]
    pods = kubectl.get("deployment", "kdns", "--namespace", namespace)["spec"]["template"]
    assert before["spec"]["selector"].items() <= pods["metadata"]["labels"].items()
    assert "The Service kube-dns is left as it is" in notes
    assert "There is no Service" not in notes


def test_existing_service_is_taken_over_where_it_is_marked_so(
    cluster_dns, installed, helm, kubectl
):
    namespace, address = cluster_dns
    where = ["--namespace", namespace]
    owner = [f"meta.helm.sh/release-{key}" for key in ("name=kdns", f"namespace={namespace}")]
    kubectl.done("annotate", "service", "kube-dns", *where, *owner)
    kubectl.done("label", "service", "kube-dns", *where, "app.kubernetes.io/managed-by=Helm")
    before = kubectl.get("service", "kube-dns", *where)

    installed("install", namespace, "service.name=kube-dns")

    after = kubectl.get("service", "kube-dns", *where)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["clusterIP"] == address
    ports = {(each["protocol"], each["port"]) for each in after["spec"]["ports"]}
    assert {("UDP", 53), ("TCP", 53)} <= ports
    installed("upgrade", namespace, "service.name=kube-dns", "replicaCount=3")
    helm.done("uninstall", "kdns", *where)
    kept = kubectl.get("service", "kube-dns", *where)
    assert kept["metadata"]["uid"] == before["metadata"]["uid"]


def test_existing_budget_is_not_doubled(cluster_dns, installed, kubectl):
    namespace, _ = cluster_dns
    selector = {"matchLabels": {"k8s-app": "kube-dns"}}
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "coredns", "namespace": namespace},
        "spec": {"minAvailable": 1, "selector": selector},
    }
    kubectl.done("apply", "--filename", "-", given=yaml.safe_dump(budget))

    notes = installed("install", namespace)

    budgets = kubectl.get("poddisruptionbudgets", "--namespace", namespace)["items"]
    assert [each["metadata"]["name"] for each in budgets] == ["coredns"]
    assert "The PodDisruptionBudget coredns selects these pods too" in notes
    kubectl.done("delete", "poddisruptionbudget", "coredns", "--namespace", namespace)
    installed("upgrade", namespace)
    budgets = kubectl.get("poddisruptionbudgets", "--namespace", namespace)["items"]
    assert [each["metadata"]["name"] for each in budgets] == ["kdns"]


def test_node_local_finds_the_address(cluster_dns, installed, kubectl):
    namespace, address = cluster_dns

    installed("install", namespace, "nodeLocal.enabled=true")

    cache = kubectl.get("daemonset", "kdns-node-local", "--namespace", namespace)
    [container] = cache["spec"]["template"]["spec"]["containers"]
    assert f"169.254.20.10,{address}" in container["args"]


def test_release_of_another_chart_goes_over_and_back(
    cluster_dns, installed, helm, kubectl, tmp_path
):
    """A release that has a Deployment and a Service by the coredns chart's names and labels."""
    namespace, _ = cluster_dns
    other = tmp_path / "coredns"
    (other / "templates").mkdir(parents=True)
    (other / "Chart.yaml").write_text("{apiVersion: v2, name: coredns, version: 1.0.0}\n")
    (other / "templates" / "all.yaml").write_text(OTHER)
    where = ["--namespace", namespace]
    installed("install", namespace, "replicaCount=4", chart=other, release="coredns")
    service = kubectl.get("service", "coredns-dns", *where)

    names = ["nameOverride=coredns", "fullnameOverride=coredns", "service.name=coredns-dns"]
    installed("upgrade", namespace, *names, release="coredns")

    after = kubectl.get("service", "coredns-dns", *where)
    deployment = kubectl.get("deployment", "coredns", *where)["spec"]
    assert deployment["replicas"] == 4
    assert after["spec"]["clusterIP"] == service["spec"]["clusterIP"]
    assert after["spec"]["ports"] == service["spec"]["ports"]
    [container] = deployment["template"]["spec"]["containers"]
    assert container["image"].startswith("kdns:")
    helm.done("rollback", "coredns", *where)
    back = kubectl.get("deployment", "coredns", *where)["spec"]["template"]["spec"]
    assert [each["name"] for each in back["containers"]] == ["coredns"]
    assert back["containers"][0]["image"] == "coredns/coredns:1.13.1"
    assert kubectl.get("service", "coredns-dns", *where)["spec"] == service["spec"]


OTHER = """\
apiVersion: v1
kind: Service
metadata: {name: coredns-dns, namespace: {{ .Release.Namespace }}}
spec:
  selector: &labels
    app.kubernetes.io/instance: coredns
    app.kubernetes.io/name: coredns
    k8s-app: kube-dns
  ports:
  - {name: udp-53, port: 53, protocol: UDP, targetPort: 53}
  - {name: tcp-53, port: 53, protocol: TCP, targetPort: 53}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: coredns, namespace: {{ .Release.Namespace }}}
spec:
  selector:
    matchLabels: &labels
      app.kubernetes.io/instance: coredns
      app.kubernetes.io/name: coredns
      k8s-app: kube-dns
  template:
    metadata: {labels: *labels}
    spec:
      containers:
      - {name: coredns, image: "coredns/coredns:1.13.1", args: [-conf, /etc/coredns/Corefile]}
"""
