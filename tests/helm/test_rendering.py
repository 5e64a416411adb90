"""What the chart renders: facts that other things in a cluster hold on to."""

from __future__ import annotations

import pytest
import yaml

from kdns import __version__
from kdns.node import flags
from tests.helm.chart import CASES, CHART

SELECTOR = {
    "app.kubernetes.io/instance": "kdns",
    "app.kubernetes.io/name": "kdns",
    "k8s-app": "kube-dns",
}


def pod(workload):
    return workload["spec"]["template"]["spec"]


def container(workload):
    return pod(workload)["containers"][0]


def ports(found):
    return [(each["name"], each.get("port") or each["containerPort"]) for each in found]


def test_chart_has_the_version_of_the_package():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


@pytest.mark.parametrize("case", CASES)
def test_lint(helm, case):
    helm.done(
        "lint", "--strict", CHART, "--values", CHART.parents[1] / f"tests/helm/values/{case}.yaml"
    )


RIGHTS = {"ClusterRole", "ClusterRoleBinding", "ServiceAccount"}
DNS = {"ConfigMap", "Deployment"}
GUARDS = {"NetworkPolicy", "PodDisruptionBudget"}


@pytest.mark.parametrize(
    ("case", "kinds"),
    [
        ("default", RIGHTS | DNS | GUARDS),
        ("node-local-iptables", {"ConfigMap", "DaemonSet", "Service", "ServiceAccount"}),
        ("coredns-external", DNS | {"Service"}),
        ("hpa", RIGHTS | DNS | GUARDS | {"HorizontalPodAutoscaler"}),
        ("autoscaler", RIGHTS | DNS | GUARDS | {"Role", "RoleBinding"}),
    ],
)
def test_kinds(helm, case, kinds):
    assert helm.render(case).kinds() == kinds


def test_drop_in(helm):
    """The existing kube-dns Service finds the pods, and nothing of it is touched."""
    rendered = helm.render()
    deployment = rendered.one("Deployment")

    assert not rendered.all("Service")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["selector"] == {"matchLabels": SELECTOR}
    assert deployment["spec"]["template"]["metadata"]["labels"] == SELECTOR
    assert container(deployment)["args"] == ["-conf", "/etc/coredns/Corefile"]
    assert container(deployment)["image"] == f"kdns:{__version__}"
    assert pod(deployment)["dnsPolicy"] == "Default"
    assert pod(deployment)["priorityClassName"] == "system-cluster-critical"
    assert ports(container(deployment)["ports"]) == [
        ("udp-53", 53),
        ("tcp-53", 53),
        ("tcp-9153", 9153),
    ]
    assert container(deployment)["livenessProbe"]["httpGet"]["port"] == 8080
    assert container(deployment)["readinessProbe"]["httpGet"]["port"] == 8181
    assert rendered.one("PodDisruptionBudget")["spec"] == {
        "selector": {"matchLabels": SELECTOR},
        "maxUnavailable": 1,
    }


def test_default_corefile(helm):
    assert helm.render().corefile() == (
        ".:53 {\n"
        "    errors\n"
        "    health {\n"
        "        lameduck 10s\n"
        "    }\n"
        "    ready\n"
        "    kubernetes cluster.local in-addr.arpa ip6.arpa {\n"
        "        pods insecure\n"
        "        fallthrough in-addr.arpa ip6.arpa\n"
        "        ttl 30\n"
        "    }\n"
        "    prometheus 0.0.0.0:9153\n"
        "    forward . /etc/resolv.conf\n"
        "    cache 30\n"
        "    loop\n"
        "    reload\n"
        "    loadbalance\n"
        "}\n"
    )


def test_values_of_the_coredns_chart_in_the_cluster(helm):
    rendered = helm.render("coredns-drop-in", namespace="dns")
    deployment, service = rendered.one("Deployment", "coredns"), rendered.one("Service", "kube-dns")
    account = rendered.one("ServiceAccount", "coredns")
    monitor = rendered.one("ServiceMonitor")
    metrics = rendered.one("Service", "kdns-metrics")

    assert service["spec"]["clusterIP"] == "10.96.0.10"
    assert service["spec"]["selector"] == SELECTOR
    assert ports(service["spec"]["ports"]) == [("udp-53", 53), ("tcp-53", 53)]
    assert service["metadata"]["annotations"] == {
        "example.org/owner": "network",
        "helm.sh/resource-policy": "keep",
        "prometheus.io/port": "9153",
    }
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert deployment["spec"]["template"]["metadata"]["labels"] == {
        **SELECTOR,
        "env": "production",
        "team": "network",
    }
    assert container(deployment)["resources"]["limits"] == {"cpu": "500m", "memory": "256Mi"}
    assert container(deployment)["env"] == [{"name": "GOMAXPROCS", "value": "2"}]
    spread = pod(deployment)["topologySpreadConstraints"]
    assert spread[0]["labelSelector"]["matchLabels"]["app.kubernetes.io/name"] == "kdns"
    assert pod(deployment)["serviceAccountName"] == account["metadata"]["name"]
    assert account["imagePullSecrets"] == [{"name": "registry-key"}]
    assert account["metadata"]["annotations"]["example.org/role"] == "dns"
    assert rendered.one("PodDisruptionBudget")["spec"]["minAvailable"] == 2
    assert "maxUnavailable" not in rendered.one("PodDisruptionBudget")["spec"]
    assert monitor["metadata"]["namespace"] == "monitoring"
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["dns"]}
    assert (
        monitor["spec"]["selector"]["matchLabels"].items() <= metrics["metadata"]["labels"].items()
    )
    assert monitor["spec"]["endpoints"][0]["metricRelabelings"][0]["action"] == "keep"
    assert rendered.one("ClusterRole", "coredns-of-drop-in")


def test_values_of_the_coredns_chart_outside_of_the_cluster(helm):
    rendered = helm.render("coredns-external")
    deployment, service = rendered.one("Deployment"), rendered.one("Service")

    assert "k8s-app" not in service["spec"]["selector"]
    assert service["spec"]["type"] == "LoadBalancer"
    assert [
        (each["name"], each["port"], each["targetPort"], each.get("nodePort"))
        for each in service["spec"]["ports"]
    ] == [
        ("udp-5353", 53, 5353, 30053),
        ("tcp-5353", 53, 5353, 30053),
        ("udp-5454", 5454, 5454, None),
    ]
    assert service["spec"]["trafficDistribution"] == "PreferClose"
    assert container(deployment)["livenessProbe"]["httpGet"]["port"] == 8081
    assert container(deployment)["readinessProbe"]["httpGet"]["port"] == 8182
    assert pod(deployment)["serviceAccountName"] == "default"
    assert pod(deployment)["automountServiceAccountToken"] is False
    assert "dnsPolicy" not in pod(deployment)
    assert rendered.one("ConfigMap")["data"]["example.hosts"] == (
        "192.0.2.8 mail.example.com\n\n192.0.2.9 ftp.example.org\n"
    )
    volumes = {each["name"]: each for each in pod(deployment)["volumes"]}
    assert volumes["certificates"]["secret"]["defaultMode"] == 0o440
    assert volumes["more"]["secret"]["defaultMode"] == 420
    assert [each["name"] for each in pod(deployment)["containers"]] == ["kdns", "beside"]
    assert rendered.one("Service", "kdns-metrics")["spec"]["ports"][0]["port"] == 9253


@pytest.mark.parametrize(
    ("options", "resources"),
    [
        ("pods insecure", {"namespaces", "services", "endpointslices"}),
        ("pods verified", {"namespaces", "services", "endpointslices", "pods"}),
        ('pods "verified"', {"namespaces", "services", "endpointslices", "pods"}),
        ("pods {$PODS}", {"namespaces", "services", "endpointslices", "pods"}),
        ("# pods verified", {"namespaces", "services", "endpointslices"}),
        ("noendpoints", {"namespaces", "services"}),
        ("endpoint_pod_names", {"namespaces", "services", "endpointslices"}),
        ("multicluster a.b", {"namespaces", "services", "endpointslices", "serviceimports"}),
        ("manifests /etc/names", set()),
        ("kubeconfig /etc/kubeconfig", set()),
        ("endpoint https://192.0.2.1\ntls a b c", set()),
    ],
)
def test_rights_are_what_the_corefile_needs(helm, options, resources):
    plugins = [{"name": "kubernetes", "parameters": "cluster.local a.b", "configBlock": options}]
    off = {"enabled": False}
    rendered = helm.render(
        {"servers": [{"plugins": plugins}], "livenessProbe": off, "readinessProbe": off}
    )

    rules = [rule for role in rendered.all("ClusterRole") for rule in role["rules"]]
    assert {name for rule in rules for name in rule["resources"]} == resources
    assert all(rule["verbs"] == ["list", "watch"] for rule in rules)
    assert pod(rendered.one("Deployment"))["automountServiceAccountToken"] is bool(resources)


@pytest.mark.parametrize(
    "values",
    [
        {"extraConfig": {"import": {"parameters": "/etc/more/*.conf"}}},
        {"deployment": {"skipConfig": True, "existingConfigMap": "coredns"}},
    ],
    ids=["import", "skipConfig"],
)
def test_a_corefile_that_is_not_seen_gets_all_rights_there_are(helm, values):
    rendered = helm.render(values)

    rules = rendered.one("ClusterRole")["rules"]
    assert {name for rule in rules for name in rule["resources"]} == {
        "namespaces",
        "services",
        "endpointslices",
        "pods",
        "serviceimports",
    }


def test_configmap_that_is_there(helm):
    values = {"deployment": {"skipConfig": True, "existingConfigMap": "coredns"}}
    rendered = helm.render(values)

    assert not rendered.all("ConfigMap")
    [volume] = pod(rendered.one("Deployment"))["volumes"]
    assert volume["configMap"]["name"] == "coredns"


@pytest.mark.parametrize(
    ("values", "made"),
    [
        ({}, False),
        ({"service": {"name": "kube-dns"}}, True),
        ({"service": {"clusterIP": "10.96.0.10"}}, True),
        ({"service": {"create": True}}, True),
        ({"service": {"create": False, "name": "kube-dns"}}, False),
        ({"serviceType": "NodePort"}, True),
        ({"isClusterService": False}, True),
        ({"k8sAppLabelOverride": "coredns"}, True),
        ({"deployment": {"enabled": False}, "service": {"create": True}}, False),
    ],
    ids=str,
)
def test_when_a_service_is_made(helm, values, made):
    assert bool(helm.render(values).all("Service")) is made


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ({"port": 53}, [("udp-53", 53)]),
        ({"zones": [{"zone": "."}], "port": 53}, [("udp-53", 53)]),
        ({"zones": [{"zone": ".", "use_tcp": True}]}, [("udp-53", 53), ("tcp-53", 53)]),
        ({"zones": [{"zone": ".", "scheme": "tls://"}], "port": 853}, [("tcp-853", 853)]),
        ({"zones": [{"scheme": "tls://"}]}, [("tcp-853", 853)]),
        ({"zones": [{"scheme": "https://"}], "port": "443"}, [("tcp-443", 443)]),
        ({"port": 1053, "servicePort": 53}, [("udp-1053", 53)]),
    ],
    ids=str,
)
def test_ports_are_found_in_the_servers(helm, server, expected):
    off = {"enabled": False}
    values = {
        "servers": [{**server, "plugins": [{"name": "whoami"}]}],
        "service": {"create": True},
        "livenessProbe": off,
        "readinessProbe": off,
    }
    rendered = helm.render(values)

    found = rendered.one("Service")["spec"]["ports"]
    assert ports(found) == expected
    targets = [each["targetPort"] for each in found]
    of_pods = container(rendered.one("Deployment"))["ports"]
    assert [each["containerPort"] for each in of_pods] == targets
    [policy] = rendered.one("NetworkPolicy")["spec"]["ingress"]
    assert [(each["protocol"], each["port"]) for each in policy["ports"]] == [
        (each["protocol"], each["targetPort"]) for each in found
    ]


@pytest.mark.parametrize(
    ("case", "local_ip", "bind", "health"),
    [
        (
            "node-local-iptables",
            "169.254.20.10,10.96.0.10",
            "169.254.20.10 10.96.0.10",
            "169.254.20.10:8080",
        ),
        (
            "node-local-ipvs",
            "169.254.20.10,fd00:a9fe::a",
            "169.254.20.10 fd00:a9fe::a",
            "169.254.20.10:8080",
        ),
    ],
)
def test_node_local(helm, case, local_ip, bind, health):
    rendered = helm.render(case)
    cache = rendered.one("DaemonSet", "kdns-node-local")
    command, *words = container(cache)["args"]
    read = flags.read(words)

    assert command == "node-cache"
    assert words[words.index("-localip") + 1] == local_ip
    assert ",".join(read.settings.addresses) == local_ip
    assert read.upstream_service == "kube-dns-upstream"
    assert read.template == "/etc/coredns/Corefile.base"
    corefile = rendered.corefile("kdns-node-local")
    assert corefile.count(f"    bind {bind}\n") == 4
    assert f"health {health}\n" in corefile
    assert corefile.count("forward . __PILLAR__CLUSTER__DNS__ {") == 3
    assert pod(cache)["hostNetwork"]
    assert pod(cache)["priorityClassName"] == "system-node-critical"
    assert {"operator": "Exists", "effect": "NoExecute"} in pod(cache)["tolerations"]
    assert cache["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": "10%"}
    upstream = rendered.one("Service", "kube-dns-upstream")
    assert upstream["spec"]["selector"] == {"k8s-app": "kube-dns"}
    assert [each["protocol"] for each in upstream["spec"]["ports"]] == ["UDP", "TCP"]
    mounts = {each["mountPath"] for each in container(cache)["volumeMounts"]}
    assert {"/run/xtables.lock", "/etc/coredns", "/etc/kube-dns"} < mounts
    assert any(read.corefile.startswith(f"{mount}/") for mount in mounts), "it cannot be written"


def test_autoscaler(helm):
    rendered = helm.render("autoscaler")
    autoscaler = rendered.one("Deployment", "kdns-autoscaler")

    assert container(autoscaler)["image"] == f"kdns:{__version__}"
    assert container(autoscaler)["args"] == [
        "autoscaler",
        "--namespace=kube-system",
        "--configmap=kdns-autoscaler",
        "--target=Deployment/kdns",
        "--logtostderr=true",
        "--v=2",
    ]
    assert yaml.safe_load(rendered.one("ConfigMap", "kdns-autoscaler")["data"]["linear"]) == {
        "coresPerReplica": 256,
        "nodesPerReplica": 16,
        "preventSinglePointFailure": True,
        "min": 0,
        "max": 0,
        "includeUnschedulableNodes": False,
    }
    assert "replicas" not in rendered.one("Deployment")["spec"]


def test_autoscaler_of_another_image(helm):
    rendered = helm.render("coredns-autoscaler")
    autoscaler = container(rendered.one("Deployment", "kdns-autoscaler"))

    assert autoscaler["image"] == "registry.example/cpa/cluster-proportional-autoscaler:v1.9.0"
    assert autoscaler["command"] == ["/cluster-proportional-autoscaler"]
    assert autoscaler["args"][0] == "--namespace=kube-system"
    assert autoscaler["args"][-1] == "--nodelabels=topology.kubernetes.io/zone=us-east-1a"
    linear = yaml.safe_load(rendered.one("ConfigMap", "kdns-autoscaler")["data"]["linear"])
    assert linear["coresPerReplica"] == 128.5


def test_hpa(helm):
    rendered = helm.render("hpa")
    spec = rendered.one("HorizontalPodAutoscaler")["spec"]

    assert spec["scaleTargetRef"]["name"] == "kdns"
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
    assert "replicas" not in rendered.one("Deployment")["spec"]


@pytest.mark.parametrize("case", CASES)
def test_selectors_find_the_pods_they_are_for(helm, case):
    rendered = helm.render(case)
    workloads = rendered.all("Deployment") + rendered.all("DaemonSet")
    labels = [each["spec"]["template"]["metadata"]["labels"].items() for each in workloads]
    for workload, own in zip(workloads, labels, strict=True):
        assert workload["spec"]["selector"]["matchLabels"].items() <= own
    for kind, where in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        for each in rendered.all(kind):
            wanted = each["spec"][where]["matchLabels"].items()
            assert sum(wanted <= own for own in labels) == 1
    for service in rendered.all("Service"):
        found = sum(service["spec"]["selector"].items() <= own for own in labels)
        assert found == 1 or service["metadata"]["name"] == "kube-dns-upstream"


@pytest.mark.parametrize("case", CASES)
def test_pods_change_with_their_configuration(helm, case):
    """A pod template is another one exactly where its ConfigMap is."""

    def sums(*settings):
        rendered = helm.render(case, *settings)
        return {
            each["metadata"]["name"]: {
                key: value
                for key, value in each["spec"]["template"]["metadata"]["annotations"].items()
                if key.startswith("checksum/")
            }
            for each in rendered.all("Deployment") + rendered.all("DaemonSet")
        }

    before = sums()
    assert before == sums("terminationGracePeriodSeconds=31")
    changed = sums("nodeLocal.domain=other.local", "autoscaler.min=7", "extraConfig.x.parameters=y")
    assert all(before[name] != changed[name] for name in before)
