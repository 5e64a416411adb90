"""One file's content to typed and validated objects; every error with its line and its cure."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest

from kdns.cluster.manifests.declarations import read
from kdns.cluster.manifests.kinds import DeclaredService

SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
spec:
  selector: {app: web}
  ports:
    - name: http
      port: 80
      targetPort: http
"""


def test_a_service() -> None:
    content = read("a.yaml", ("---\n" + SERVICE).encode())
    assert content.errors == []
    (declared,) = content.declared
    assert declared.place == "a.yaml:2"
    assert declared.subject == "Service shop/web"
    service = declared.object
    assert isinstance(service, DeclaredService)
    assert service.spec.selector == {"app": "web"}
    assert service.spec.ports[0].target_port == "http"


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: A_B}\n",
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: 5\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 5}\n",
        "apiVersion: batch/v1\nkind: CronJob\n",
        "apiVersion: extensions/v1beta1\nkind: Deployment\n",
        "apiVersion: v1\nkind: ConfigMapList\nitems:\n- {}\n",
    ],
    ids=lambda text: text.split("\n")[1],
)
def test_other_kinds_are_passed_over(text: str) -> None:
    assert read("a.yaml", text.encode()) == ([], [])


def test_namespace_and_null() -> None:
    text = """\
        apiVersion: v1
        kind: Service
        metadata:
          name: web
          creationTimestamp: null
          resourceVersion: "7"
          labels:
          annotations:
            kubectl.kubernetes.io/last-applied-configuration: "{}"
            kept: "yes"
        spec:
          clusterIP: null
          selector: null
          ports: [{port: 80, name: null}]
        status: null
        """
    content = read("a.yaml", dedent(text).encode())
    assert content.errors == []
    metadata = content.declared[0].object.metadata
    assert (metadata.namespace, metadata.labels) == ("default", {})
    assert metadata.annotations == {"kept": "yes"}
    assert metadata.resource_version == ""


def test_a_namespace_has_none() -> None:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, namespace: odd}\n"
    (declared,) = read("a.yaml", text.encode()).declared
    assert (declared.namespace, declared.subject) == ("", "Namespace shop")


WRONG: dict[str, tuple[str, str, str]] = {
    "number for text": ("  name: web", "  name: 80", "4: Service shop/80: metadata.name: text"),
    "text for a number": (
        "port: 80",
        'port: "80"',
        "10: Service shop/web: spec.ports[0].port: a whole number is needed here, not text: write",
    ),
    "boolean for text": (
        "selector: {app: web}",
        "selector: {app: yes}",
        "7: Service shop/web: spec.selector: text is needed here, not true or false: put it",
    ),
    "list for a mapping": ("selector: {app: web}", "selector: [app]", "7: Service shop/web: spec"),
    "mapping for a list": (
        "- name: http",
        "  name: http",
        "8: Service shop/web: spec.ports: a list is needed here, not a mapping: write each",
    ),
    "fraction": ("targetPort: http", "targetPort: 8.5", "11: Service shop/web: spec.ports[0]"),
    "text for a boolean": (
        "selector: {app: web}",
        'publishNotReadyAddresses: "true"',
        "7: Service shop/web: spec.publishNotReadyAddresses: true or false is needed here",
    ),
    "no name": ("  name: web\n", "", "3: Service shop/?: metadata.name: missing: add it"),
    "no port": ("      port: 80\n", "", "9: Service shop/web: spec.ports[0].port: missing"),
    "no kind": ("kind: Service\n", "", "1: no `kind`"),
    "no apiVersion": ("apiVersion: v1\n", "", "1: no `apiVersion`"),
    "kind that is no text": ("kind: Service", "kind: [Service]", "1: no `kind`"),
    "metadata that is none": (
        "  name: web\n  namespace: shop\n",
        "  web\n",
        "3: Service ?: metadata: a mapping is needed",
    ),
}


@pytest.mark.parametrize(("old", "new", "expected"), WRONG.values(), ids=WRONG.keys())
def test_wrong_type(old: str, new: str, expected: str) -> None:
    assert SERVICE.count(old) == 1
    content = read("a.yaml", SERVICE.replace(old, new).encode())
    assert content.declared == []
    (error,) = content.errors
    assert str(error).startswith(f"a.yaml:{expected}")


def test_aliases_of_aliases_with_a_wrong_type() -> None:
    """Ten to the power of seven nodes, as soon as somebody looks for nulls in them."""
    levels = ["x0: &x0 [1]", *(f"x{n + 1}: &x{n + 1} [{f'*x{n},' * 10}]" for n in range(7))]
    text = SERVICE.replace("port: 80", "port: nope") + "\n".join(levels) + "\n"
    (error,) = read("a.yaml", text.encode()).errors
    assert error.line == len(SERVICE.splitlines()) + 7
    assert "stand for too much" in error.problem


def test_aliases_that_nest_without_end() -> None:
    levels = ["x0: &x0 [1]"]
    levels += [f"x{n + 1}: &x{n + 1} {'[' * 150}*x{n}{']' * 150}" for n in range(30)]
    text = SERVICE.replace("port: 80", "port: nope") + "\n".join(levels) + "\n"
    (error,) = read("a.yaml", text.encode()).errors
    assert (error.line, error.subject) == (1, "Service shop/web")
    assert "nested too deep" in error.problem


def test_a_list_that_shares_labels_by_alias() -> None:
    item = "- {apiVersion: v1, kind: Pod, metadata: {name: p%d, labels: %s}}\n"
    items = [item % (n, "*l" if n else "&l {app: web, tier: front}") for n in range(20_000)]
    content = read("a.yaml", ("kind: List\nitems:\n" + "".join(items)).encode())
    assert (len(content.declared), content.errors) == (20_000, [])


def test_the_rest_of_a_file_with_errors() -> None:
    text = f"{SERVICE}---\n{SERVICE.replace('port: 80', 'port: x')}---\n{SERVICE}---\na: [\n"
    content = read("a.yaml", text.encode())
    assert [item.line for item in content.declared] == [1, 25]
    assert [error.line for error in content.errors] == [22, 38]


def test_the_order_in_a_list_that_says_its_kind_at_its_end() -> None:
    content = read(
        "a.yaml",
        dedent("""
            apiVersion: v1
            items:
            - {metadata: {name: a}, spec: {ports: [{port: 80}]}}
            - {apiVersion: v1, kind: Namespace, metadata: {name: b}}
            - {metadata: {name: c}, spec: {ports: [{port: 80}]}}
            kind: ServiceList
        """).encode(),
    )
    assert content.errors == []
    assert [(item.name, item.line) for item in content.declared] == [
        ("a", 4),
        ("b", 5),
        ("c", 6),
    ]


def test_lines_in_a_json_list() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 0}]},
    }
    text = json.dumps({"kind": "List", "items": [service, service]}, indent=1)
    content = read("a.json", text.encode())
    assert content.declared == []
    ports = [number for number, line in enumerate(text.split("\n"), 1) if '"port"' in line]
    assert [error.line for error in content.errors] == ports


def _valid(kind: str, version: str, name: str = "web", **fields: object) -> str:
    tree = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields}
    return json.dumps(tree)


def _service(**spec: object) -> str:
    return _valid("Service", "v1", spec={"ports": [{"port": 80}], **spec})


def _ports(*ports: dict[str, object], **spec: object) -> str:
    return _service(ports=list(ports), **spec)


def _slice(**fields: object) -> str:
    fields = {"addressType": "IPv4", "endpoints": [], **fields}
    return _valid("EndpointSlice", "discovery.k8s.io/v1", "web", **fields)


def _template(**spec: object) -> dict[str, object]:
    containers = [{"name": "c", "image": "x"}]
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers, **spec}}


def _workload(kind: str, name: str = "web", **spec: object) -> str:
    selector = {"matchLabels": {"app": "web"}}
    spec = {"selector": selector, "template": _template(), **spec}
    return _valid(kind, "apps/v1", name, spec=spec)


def _pod(**spec: object) -> str:
    return _valid("Pod", "v1", spec={"containers": [{"name": "c", "image": "x"}], **spec})


def _endpoints(subset: object) -> str:
    return _valid("Endpoints", "v1", subsets=[subset])


A, B = {"name": "a", "port": 1}, {"name": "b", "port": 2}
DUAL = {"ipFamilyPolicy": "RequireDualStack"}

# manifest to the field that is refused, "" where the manifest is good: an API server's word
VALIDATION: dict[str, tuple[str, str]] = {
    "service": (_service(), ""),
    "service name": (_valid("Service", "v1", "Web", spec={"ports": [A]}), "metadata.name"),
    "service name too long": (
        _valid("Service", "v1", "a" * 64, spec={"ports": [A]}),
        "metadata.name",
    ),
    "service name with a dot": (
        _valid("Service", "v1", "a.b", spec={"ports": [A]}),
        "metadata.name",
    ),
    "port 0": (_ports({"port": 0}), "spec.ports[0].port"),
    "port 65536": (_ports({"port": 65536}), "spec.ports[0].port"),
    "port name": (_ports({"port": 1, "name": "A"}), "spec.ports[0].name"),
    "protocol": (_ports({"port": 1, "protocol": "tcp"}), "spec.ports[0].protocol"),
    "target port": (_ports({"port": 1, "targetPort": 70000}), "spec.ports[0].targetPort"),
    "target port in quotes": (_ports({"port": 1, "targetPort": "80"}), "spec.ports[0].targetPort"),
    "target port by name": (_ports({"port": 1, "targetPort": "http-2"}), ""),
    "no ports": (_ports(), "spec.ports"),
    "headless without ports": (_ports(clusterIP="None"), ""),
    "ports": (_ports(A, B), ""),
    "ports without names": (_ports(A, {"port": 2}), "spec.ports[1]"),
    "ports of one name": (_ports(A, {**B, "name": "a"}), "spec.ports[1].name"),
    "type": (_service(type="Clusterip"), "spec.type"),
    "external name": (_ports(type="ExternalName", externalName="a.example.com."), ""),
    "external name missing": (_ports(type="ExternalName"), "spec.externalName"),
    "external name odd": (_ports(type="ExternalName", externalName="a b"), "spec.externalName"),
    "external name with an address": (
        _ports(type="ExternalName", externalName="a.b", clusterIP="10.96.9.9"),
        "spec.clusterIP",
    ),
    "cluster ip": (_service(clusterIP="10.96.9.9"), ""),
    "cluster ip odd": (_service(clusterIP="10.96.9"), "spec.clusterIP"),
    "cluster ip with a zone": (_service(clusterIP="fe80::1%eth0"), "spec.clusterIP"),
    "cluster ip none in small letters": (_service(clusterIP="none"), "spec.clusterIP"),
    "cluster ips": (_service(clusterIP="10.96.9.9", clusterIPs=["10.96.9.9"]), ""),
    "cluster ips other than cluster ip": (
        _service(clusterIP="10.96.9.9", clusterIPs=["10.96.9.8"]),
        "spec.clusterIPs",
    ),
    "cluster ips without cluster ip": (_service(clusterIPs=["10.96.9.9"]), "spec.clusterIPs"),
    "cluster ips of one family": (
        _service(clusterIP="10.96.9.9", clusterIPs=["10.96.9.9", "10.96.9.8"], **DUAL),
        "spec.clusterIPs",
    ),
    "cluster ips odd": (
        _service(clusterIP="10.96.9.9", clusterIPs=["10.96.9.9", "x"], **DUAL),
        "spec.clusterIPs[1]",
    ),
    "cluster ips of both families": (
        _service(clusterIP="10.96.9.9", clusterIPs=["10.96.9.9", "fd00:10:96::9"], **DUAL),
        "",
    ),
    "cluster ips of both families, single stack": (
        _service(clusterIP="10.96.9.9", clusterIPs=["10.96.9.9", "fd00:10:96::9"]),
        "spec.ipFamilyPolicy",
    ),
    "headless with addresses": (
        _service(clusterIP="None", clusterIPs=["None", "10.96.9.9"], selector={"a": "b"}, **DUAL),
        "spec.clusterIPs",
    ),
    "headless, told twice": (_service(clusterIP="None", clusterIPs=["None"]), ""),
    "families": (_service(ipFamilies=["IPv6", "IPv4"], **DUAL), ""),
    "families, single stack": (_service(ipFamilies=["IPv6", "IPv4"]), "spec.ipFamilyPolicy"),
    "families, headless without selector": (
        _service(clusterIP="None", ipFamilies=["IPv6", "IPv4"]),
        "",
    ),
    "family odd": (_service(ipFamilies=["ipv4"]), "spec.ipFamilies[0]"),
    "family twice": (_service(ipFamilies=["IPv4", "IPv4"], **DUAL), "spec.ipFamilies"),
    "family other than the address's": (
        _service(ipFamilies=["IPv6"], clusterIP="10.96.9.9"),
        "spec.ipFamilies",
    ),
    "policy": (_service(ipFamilyPolicy="Dual"), "spec.ipFamilyPolicy"),
    "slice": (_slice(endpoints=[{"addresses": ["192.0.2.1"], "hostname": "a"}], ports=[A]), ""),
    "slice of names": (
        _slice(addressType="FQDN", endpoints=[{"addresses": ["a.example.com"]}]),
        "",
    ),
    "slice of no type": (_slice(addressType=""), "addressType"),
    "slice of another type": (_slice(addressType="IP"), "addressType"),
    "slice address": (_slice(endpoints=[{"addresses": ["192.0.2"]}]), "endpoints[0].addresses[0]"),
    "slice address of the other family": (
        _slice(endpoints=[{"addresses": ["192.0.2.1"]}, {"addresses": ["2001:db8::1"]}]),
        "endpoints[1].addresses[0]",
    ),
    "slice name odd": (
        _slice(addressType="FQDN", endpoints=[{"addresses": ["a_b."]}]),
        "endpoints[0].addresses[0]",
    ),
    "slice hostname": (
        _slice(endpoints=[{"addresses": ["192.0.2.1"], "hostname": "a.b"}]),
        "endpoints[0].hostname",
    ),
    "slice port name": (_slice(ports=[{"port": 1, "name": "-"}]), "ports[0].name"),
    "slice protocol": (_slice(ports=[{"port": 1, "protocol": "ICMP"}]), "ports[0].protocol"),
    "endpoints": (_endpoints({"addresses": [{"ip": "192.0.2.1"}], "ports": [A, B]}), ""),
    "endpoints address": (_endpoints({"addresses": [{"ip": "x"}]}), "subsets[0].addresses[0].ip"),
    "endpoints not ready": (
        _endpoints({"notReadyAddresses": [{"ip": "192.0.2.1", "hostname": "A"}]}),
        "subsets[0].notReadyAddresses[0].hostname",
    ),
    "endpoints port": (
        _endpoints({"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 0}]}),
        "subsets[0].ports[0].port",
    ),
    "endpoints ports without names": (
        _endpoints({"addresses": [{"ip": "192.0.2.1"}], "ports": [A, {"port": 2}]}),
        "subsets[0].ports[1]",
    ),
    "pod": (_pod(hostname="a", subdomain="b"), ""),
    "pod hostname": (_pod(hostname="a.b"), "spec.hostname"),
    "pod subdomain": (_pod(subdomain="A"), "spec.subdomain"),
    "pod port": (
        _pod(containers=[{"name": "c", "image": "x", "ports": [{"containerPort": 0}]}]),
        "spec.containers[0].ports[0].containerPort",
    ),
    "deployment": (_workload("Deployment", replicas=0), ""),
    "deployment replicas": (_workload("Deployment", replicas=-1), "spec.replicas"),
    "deployment selector": (
        _workload("Deployment", selector={"matchLabels": {"app": "other"}}),
        "spec.template.metadata.labels",
    ),
    "deployment hostname": (
        _workload("Deployment", template=_template(hostname="A")),
        "spec.template.spec.hostname",
    ),
    "deployment name": (_workload("Deployment", "a_b"), "metadata.name"),
    "statefulset": (_workload("StatefulSet", serviceName="web", ordinals={"start": 3}), ""),
    "statefulset ordinals": (
        _workload("StatefulSet", serviceName="web", ordinals={"start": -1}),
        "spec.ordinals.start",
    ),
    "daemonset": (_workload("DaemonSet"), ""),
    "namespace": (_valid("Namespace", "v1"), ""),
    "namespace name": (_valid("Namespace", "v1", "a.b"), "metadata.name"),
}


@pytest.mark.parametrize(("manifest", "field"), VALIDATION.values(), ids=VALIDATION.keys())
def test_validation(manifest: str, field: str) -> None:
    content = read("a.json", manifest.encode())
    fields = [error.problem.split(": ")[0] for error in content.errors]
    assert field in fields if field else fields == []
    assert bool(content.declared) is not bool(field)


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        # what no SRV record can hold; pods that could not be, or more than any cluster runs;
        # what a node would report; a namespace that cannot be there
        (_slice(ports=[{"port": 70000}]), "ports[0].port"),
        (_workload("StatefulSet", "a.b", serviceName="web"), "metadata.name"),
        (_workload("StatefulSet", "a" * 62, serviceName="web"), "metadata.name"),
        (_workload("StatefulSet", serviceName="a.b"), "spec.serviceName"),
        (_workload("Deployment", replicas=10**9), "spec.replicas"),
        (_valid("Pod", "v1", spec={}, status={"podIP": "x"}), "status.podIP"),
        (_valid("Pod", "v1", spec={}, status={"podIP": "fe80::1%eth0"}), "status.podIP"),
        (_valid("Pod", "v1", spec={}, status={"podIPs": [{"ip": "1"}]}), "status.podIP"),
        (
            json.dumps(json.loads(_pod()) | {"metadata": {"name": "a", "namespace": "A"}}),
            "metadata.namespace",
        ),
    ],
)
def test_validation_beyond_an_api_server(manifest: str, field: str) -> None:
    (error,) = read("a.json", manifest.encode()).errors
    assert error.problem.startswith(f"{field}: ")
