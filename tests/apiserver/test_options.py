"""Each option of the directive `kubernetes`, and those that live on it, by a live API server."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.name
import dns.rcode
import dns.zone
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bench.peers.process import free_ports
from kdns.corefile import parser
from kdns.feeds import open_feed
from kdns.server import Server
from tests.apiserver.conftest import path_of
from tests.apiserver.serving import (
    PATIENCE,
    TIMEOUT,
    ZONE,
    corefile,
    data_of,
    extended_error,
    page,
)
from tests.wire.cluster import external, service, slice_of

NOT_READY = 14
HTTP = ["http:80"]


class Running:
    """A server in this process, and how to ask it about a namespace: `{}` in a name."""

    def __init__(self, port, metrics, namespace):
        self.port = port
        self.namespace = namespace
        self._metrics = metrics

    def name(self, text):
        whole = text.format(self.namespace)
        return whole if whole.endswith(".") else f"{whole}.{ZONE}."

    async def ask(self, name, qtype="A"):
        query = dns.message.make_query(self.name(name), qtype, use_edns=0)
        return await dns.asyncquery.udp(query, "127.0.0.1", TIMEOUT, self.port)

    async def says(self, name, qtype="A"):
        """The data of the answer, or the rcode where there is none."""
        reply = await self.ask(name, qtype)
        return data_of(reply) or dns.rcode.to_text(reply.rcode())

    async def until(self, name, expected, qtype="A"):
        found = None
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while (found := await self.says(name, qtype)) != expected:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
        assert found == expected, f"{name} {qtype}"

    async def metric(self, name, **labels):
        text = (await asyncio.to_thread(page, self._metrics, "/metrics"))[1]
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@asynccontextmanager
async def serving(text, namespace):
    port, ready, metrics = free_ports(3)
    environment = {"READY": f"127.0.0.1:{ready}", "METRICS": f"127.0.0.1:{metrics}"}
    server = Server(lambda: parser.parse(text, "Corefile", environment, port), Path(), open_feed)
    await server.start()
    try:
        yield Running(port, metrics, namespace)
    finally:
        await server.close()


@pytest.fixture
async def namespace(cluster):
    return await cluster.namespace()


@pytest.fixture
def serve(kubeconfig, namespace):
    """serve(options...) -> a server that follows the cluster by them."""

    def start(*options, **rest):
        return serving(corefile(f"kubeconfig {kubeconfig}", *options, **rest), namespace)

    return start


@pytest.fixture
def put(cluster, namespace):
    """put(manifest...) creates them in the namespace of the test; what came of the last."""

    async def create(*manifests):
        created = None
        for manifest in manifests:
            manifest["metadata"]["namespace"] = namespace
            created = await cluster.put(manifest)
        return created

    return create


def headless(name, *endpoints, labels=None, zones=(), **rest):
    """A headless Service and its slice."""
    made = service(name, "None", ports=HTTP, selected=False)
    part = slice_of(name, *endpoints, ports=HTTP, **rest)
    for endpoint, zone in zip(part["endpoints"], zones, strict=False):
        endpoint["zone"] = zone
    for each in (made, part):
        each["metadata"].setdefault("labels", {}).update(labels or {})
    return made, part


async def given(cluster, namespace, name):
    """The cluster IP of a Service."""
    found = await cluster.get(f"{path_of('Service', namespace)}/{name}")
    return {found["spec"]["clusterIP"]}


def by_context(plane, folder):
    """A kubeconfig whose current context leads nowhere."""
    made = yaml.safe_load(plane.kubeconfig.read_text())
    for user in made["users"]:
        user["user"] = {key: f"{plane.folder}/{name}" for key, name in user["user"].items()}
    made["clusters"][0]["cluster"]["certificate-authority"] = f"{plane.folder}/ca.crt"
    made["clusters"].append({"name": "none", "cluster": {"server": "https://127.0.0.1:9"}})
    made["contexts"].append({"name": "none", "context": {"cluster": "none", "user": "admin"}})
    made["current-context"] = "none"
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(made))
    return f"kubeconfig {path} test"


def by_endpoint(plane, folder, url=""):
    files = " ".join(f"{plane.folder}/{name}" for name in ("admin.crt", "admin.key", "ca.crt"))
    return f"endpoint {url or plane.url}\n        tls {files}"


@pytest.mark.parametrize("access", [by_context, by_endpoint])
async def test_access(plane, cluster, namespace, put, tmp_path, access):
    await put(service("web", "", ports=HTTP))
    async with serving(corefile(access(plane, tmp_path)), namespace) as kdns:
        assert await kdns.says("web.{}.svc") == await given(cluster, namespace, "web")


async def test_nothing_asked_for(serve, cluster, namespace, put):
    """Without options: services and their endpoints, forward and reverse; no pods."""
    made, part = headless("db", "10.1.0.1=db-0", "!10.1.0.2=db-1")
    await put(service("web", "", ports=HTTP), made, part, external("out", "www.example.com"))
    address = await given(cluster, namespace, "web")
    async with serve() as kdns:
        await kdns.until("web.{}.svc", address)
        await kdns.until("db.{}.svc", {"10.1.0.1"})
        await kdns.until("db-0.db.{}.svc", {"10.1.0.1"})
        assert await kdns.says("db-1.db.{}.svc") == "NXDOMAIN"
        srv = {f"0 100 80 web.{namespace}.svc.{ZONE}."}
        assert await kdns.says("_http._tcp.web.{}.svc", "SRV") == srv
        assert await kdns.says("out.{}.svc") == {"www.example.com."}
        pointer = dns.reversename.from_address(*address).to_text()
        assert await kdns.says(pointer, "PTR") == {f"web.{namespace}.svc.{ZONE}."}
        assert await kdns.says("10-1-0-1.{}.pod") == "NXDOMAIN"
        assert (await kdns.ask("web.{}.svc")).answer[0].ttl == 5


async def test_labels(serve, cluster, namespace, put):
    """Services and slices by their labels, which may change."""
    chosen = {"dns": "yes"}
    await put(
        *headless("shown", "10.1.0.1", labels=chosen), *headless("hidden", "10.1.0.2", labels={})
    )
    async with serve("labels dns in (yes, oui),!secret") as kdns:
        assert await kdns.says("shown.{}.svc") == {"10.1.0.1"}
        assert await kdns.says("hidden.{}.svc") == "NXDOMAIN"
        for kind in ("Service", "EndpointSlice"):
            path = path_of(kind, namespace)
            await cluster.patch(f"{path}/hidden", {"metadata": {"labels": {"dns": "oui"}}})
            await cluster.patch(f"{path}/shown", {"metadata": {"labels": {"secret": "1"}}})
        await kdns.until("hidden.{}.svc", {"10.1.0.2"})
        await kdns.until("shown.{}.svc", "NXDOMAIN")


async def test_namespace_labels(serve, cluster, namespace, put):
    """A namespace comes and goes with its labels, and all its names with it."""
    await put(service("web", "", ports=HTTP), *headless("db", "10.1.0.1=db-0"))
    address = await given(cluster, namespace, "web")
    path = path_of("Namespace")
    async with serve("namespace_labels team=dns", "pods insecure") as kdns:
        for name in ("web.{}.svc", "db-0.db.{}.svc", "10-1-0-1.{}.pod", "{}.svc"):
            assert await kdns.says(name) == "NXDOMAIN"
        for _ in range(2):
            await cluster.patch(f"{path}/{namespace}", {"metadata": {"labels": {"team": "dns"}}})
            await kdns.until("web.{}.svc", address)
            assert await kdns.says("db-0.db.{}.svc") == {"10.1.0.1"}
            assert await kdns.says("10-1-0-1.{}.pod") == {"10.1.0.1"}
            assert await kdns.says("kubernetes.default.svc") == "NXDOMAIN"
            await cluster.patch(f"{path}/{namespace}", {"metadata": {"labels": {"team": "web"}}})
            await kdns.until("web.{}.svc", "NXDOMAIN")
            assert await kdns.says("10-1-0-1.{}.pod") == "NXDOMAIN"


async def test_namespaces(serve, cluster, namespace, put):
    other = await cluster.namespace()
    await put(service("web", "", ports=HTTP))
    made = service("web", "", ports=HTTP, namespace=other)
    await cluster.put(made)
    async with serve(f"namespaces {namespace} later-{namespace}") as kdns:
        assert await kdns.says("web.{}.svc") == await given(cluster, namespace, "web")
        assert await kdns.says(f"web.{other}.svc") == "NXDOMAIN"
        later = f"later-{namespace}"
        assert await kdns.says(f"{later}.svc") == "NXDOMAIN"
        await cluster.put({"kind": "Namespace", "metadata": {"name": later}})
        await cluster.put(service("web", "", ports=HTTP, namespace=later))
        await kdns.until(f"web.{later}.svc", await given(cluster, later, "web"))


@pytest.fixture
async def pod(cluster, namespace):
    """pod(name, address) makes one that runs."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await cluster.create(path, {"metadata": {"name": "runner"}})

    async def create(name, *addresses):
        spec = {
            "containers": [{"name": "c", "image": "none"}],
            "automountServiceAccountToken": False,
            "serviceAccountName": "runner",
            "nodeName": "n",
        }
        where = {"name": name, "namespace": namespace}
        status = {"phase": "Running", "podIP": addresses[0]}
        status["podIPs"] = [{"ip": each} for each in addresses]
        await cluster.put({"kind": "Pod", "metadata": where, "spec": spec, "status": status})

    return create


async def test_pods_verified(serve, cluster, namespace, pod):
    """Pods as they come, end and go; of two with one address, for as long as one of them is."""
    async with serve("pods verified") as kdns:
        name = "10-1-0-7.{}.pod"
        assert await kdns.says(name) == "NXDOMAIN"
        await pod("one", "10.1.0.7", "fd00::7")
        await kdns.until(name, {"10.1.0.7"})
        assert await kdns.says("fd00--7.{}.pod", "AAAA") == {"fd00::7"}
        await pod("two", "10.1.0.7")
        path = f"{path_of('Pod', namespace)}/one/status"
        await cluster.patch(path, {"status": {"phase": "Succeeded"}})
        await kdns.until("fd00--7.{}.pod", "NXDOMAIN", "AAAA")
        assert await kdns.says(name) == {"10.1.0.7"}
        await cluster.remove("Pod", namespace, "two")
        await kdns.until(name, "NXDOMAIN")
        assert await kdns.says("10-1-0-7.default.pod") == "NXDOMAIN"


async def test_pods_insecure(serve, namespace):
    """Any address, in any namespace that exists; no pod is listed for it."""
    async with serve("pods insecure") as kdns:
        assert await kdns.says("10-1-0-7.{}.pod") == {"10.1.0.7"}
        assert await kdns.says("10-1-0-7.nowhere.pod") == "NXDOMAIN"
        assert not await kdns.metric("kdns_kubernetes_lists_total", resource="pod")


async def test_noendpoints(serve, cluster, namespace, put):
    await put(service("web", "", ports=HTTP), *headless("db", "10.1.0.1=db-0"))
    async with serve("noendpoints") as kdns:
        assert await kdns.says("web.{}.svc") == await given(cluster, namespace, "web")
        assert await kdns.says("db-0.db.{}.svc") == "NXDOMAIN"
        assert await kdns.metric("kdns_kubernetes_lists_total", resource="service") == 1
        assert not await kdns.metric("kdns_kubernetes_lists_total", resource="endpointslice")


async def test_ignore_empty_service(serve, cluster, namespace, put):
    await put(service("web", "", ports=HTTP, selected=False))
    path = f"{path_of('EndpointSlice', namespace)}/web"
    async with serve("ignore empty_service") as kdns:
        assert await kdns.says("web.{}.svc") == "NXDOMAIN"
        await put(slice_of("web", "!10.1.0.1", ports=HTTP))
        for ready in (True, False):
            endpoint = {"addresses": ["10.1.0.1"], "conditions": {"ready": ready}}
            await cluster.patch(path, {"endpoints": [endpoint]})
            address = await given(cluster, namespace, "web")
            await kdns.until("web.{}.svc", address if ready else "NXDOMAIN")


async def test_endpoint_pod_names(serve, put):
    await put(*headless("db", "10.1.0.1@db-a", "10.1.0.2=host@db-b"))
    async with serve("endpoint_pod_names") as kdns:
        assert await kdns.says("db-a.db.{}.svc") == {"10.1.0.1"}
        assert await kdns.says("host.db.{}.svc") == {"10.1.0.2"}
        assert await kdns.says("10-1-0-1.db.{}.svc") == "NXDOMAIN"


async def test_zonal(serve, cluster, namespace, put):
    await put(*headless("db", "10.1.0.1", "10.1.0.2", zones=("one", "two")))
    async with serve("zonal") as kdns:
        assert await kdns.says("one.pin._zone.db.{}.svc") == {"10.1.0.1"}
        assert await kdns.says("two.prefer._zone.db.{}.svc") == {"10.1.0.2"}
        moved = {"addresses": ["10.1.0.2"], "conditions": {"ready": True}, "zone": "three"}
        path = f"{path_of('EndpointSlice', namespace)}/db"
        await cluster.patch(path, {"endpoints": [moved]})
        await kdns.until("three.pin._zone.db.{}.svc", {"10.1.0.2"})
        assert await kdns.says("one.prefer._zone.db.{}.svc") == {"10.1.0.2"}
        assert await kdns.says("one.pin._zone.db.{}.svc") == "NOERROR"


async def test_multicluster(serve, cluster, namespace, put, service_imports):
    manifest = {
        "apiVersion": "multicluster.x-k8s.io/v1alpha1",
        "kind": "ServiceImport",
        "metadata": {"name": "far"},
        "spec": {"type": "ClusterSetIP", "ips": ["10.9.9.9"], "ports": [{"port": 80}]},
    }
    await put(manifest, service("near", "", ports=HTTP))
    zones = f"{ZONE} clusterset.local"
    async with serve("multicluster clusterset.local", zones=zones) as kdns:
        assert await kdns.says("far.{}.svc.clusterset.local.") == {"10.9.9.9"}
        assert await kdns.says("far.{}.svc") == "NXDOMAIN"
        assert await kdns.says("near.{}.svc.clusterset.local.") == "NXDOMAIN"
        assert await kdns.says("near.{}.svc") == await given(cluster, namespace, "near")
        path = f"{path_of('ServiceImport', namespace)}/far"
        await cluster.patch(path, {"spec": {"ips": ["10.9.9.8"]}})
        await kdns.until("far.{}.svc.clusterset.local.", {"10.9.9.8"})
        await cluster.delete(path)
        await kdns.until("far.{}.svc.clusterset.local.", "NXDOMAIN")


async def test_fallthrough(serve, put, cluster, namespace):
    """What the cluster does not have goes on, and comes back when it does."""
    async with serve(f"fallthrough {namespace}.svc.{ZONE}", around=["whoami"]) as kdns:
        assert await kdns.says("web.{}.svc") == "NOERROR"
        assert await kdns.says("nothing.default.svc") == "NXDOMAIN"
        await put(service("web", "", ports=HTTP))
        await kdns.until("web.{}.svc", await given(cluster, namespace, "web"))


async def test_ttl(serve):
    async with serve("ttl 77") as kdns:
        assert (await kdns.ask("kubernetes.default.svc")).answer[0].ttl == 77


async def test_startup_timeout(plane, proxy, tmp_path, namespace):
    """Not waited for any longer: served without the cluster until it is known."""
    proxy.flowing.clear()
    url = f"https://127.0.0.1:{proxy.port}"
    options = by_endpoint(plane, tmp_path, url), "startup_timeout 50ms"
    async with serving(corefile(*options), namespace) as kdns:
        reply = await kdns.ask("kubernetes.default.svc")
        assert (reply.rcode(), extended_error(reply)) == (dns.rcode.SERVFAIL, NOT_READY)
        proxy.flowing.set()
        await kdns.until("{}.svc", "NOERROR")


async def test_limits(serve, namespace):
    """Requests wait for their turn, and it is counted."""
    limits = "apiserver_qps 20", "apiserver_burst 1", "apiserver_max_inflight 1"
    async with serve(*limits) as kdns:
        assert await kdns.says("{}.svc") == "NOERROR"
        prefix = "coredns_kubernetes_rest_client_"
        assert await kdns.metric(f"{prefix}requests_total", code="200", method="GET") >= 3
        waited = await kdns.metric(f"{prefix}rate_limiter_duration_seconds_sum")
        assert waited > 0.05, "the second and the third request, at 20 a second"


async def test_programming_duration(serve, put, cluster, namespace):
    """How long it took until a change of a headless service's endpoints was served."""
    name = "coredns_kubernetes_dns_programming_duration_seconds"
    made, part = headless("db", "10.1.0.1")
    made["spec"]["selector"] = {"app": "none"}
    async with serve() as kdns:
        await put(made)
        await kdns.until("db.{}.svc", "NXDOMAIN")
        before = await kdns.metric(f"{name}_count", service_kind="headless_with_selector")
        since = "endpoints.kubernetes.io/last-change-trigger-time"
        part["metadata"]["annotations"] = {since: datetime.now(UTC).isoformat()}
        await put(part)
        await kdns.until("db.{}.svc", {"10.1.0.1"})
        after = await kdns.metric(f"{name}_count", service_kind="headless_with_selector")
        assert after > before
        assert await kdns.metric(f"{name}_sum") < PATIENCE


async def test_transfer(serve, put, cluster, namespace):
    """The whole zone by two clients, and again after a change."""
    await put(*headless("db", "10.1.0.1=db-0"), service("web", "", ports=HTTP))
    around = [f"transfer {ZONE} {{", "    to *", "}"]
    web = f"web.{namespace}.svc"
    async with serve(around=around) as kdns:

        async def transferred():
            zone = dns.zone.Zone(ZONE + ".")
            await dns.asyncquery.inbound_xfr("127.0.0.1", zone, port=kdns.port, timeout=TIMEOUT)
            return zone

        zone = await transferred()
        [address] = zone.find_rdataset(web, "A")
        assert {address.to_text()} == await given(cluster, namespace, "web")
        [address] = zone.find_rdataset(f"db-0.db.{namespace}.svc", "A")
        assert address.to_text() == "10.1.0.1"
        await cluster.remove("Service", namespace, "web")
        await kdns.until("web.{}.svc", "NXDOMAIN")
        later = await transferred()
        assert later.get_node(web) is None
        assert later.get_soa().serial > zone.get_soa().serial
        if (dig := shutil.which("dig")) is None:
            pytest.skip("dig is not on PATH; the transfers by dnspython were as they should be")
        words = ["@127.0.0.1", "-p", str(kdns.port), "+noall", "+answer", "AXFR", ZONE]
        process = await asyncio.create_subprocess_exec(dig, *words, stdout=-1)
        said, _ = await process.communicate()
        records = [line.split()[:4] for line in said.decode().splitlines()]
        assert records[0][3] == records[-1][3] == "SOA"
        assert [f"db.{namespace}.svc.{ZONE}.", "5", "IN", "A"] in records


async def test_k8s_external(serve, put, cluster, namespace):
    """What is reached from outside, as it comes to be."""
    fixed = service("fixed", "", ports=HTTP, externalIPs=["192.0.2.1"])
    balanced = service("balanced", "", ports=HTTP, type="LoadBalancer")
    await put(fixed, balanced, service("inside", "", ports=HTTP))
    path = f"{path_of('Service', namespace)}/balanced"
    async with serve(around=["k8s_external example.org"]) as kdns:
        assert await kdns.says("fixed.{}.example.org.") == {"192.0.2.1"}
        assert await kdns.says("inside.{}.example.org.") == "NXDOMAIN"
        assert await kdns.says("balanced.{}.example.org.") == "NXDOMAIN"
        for ingress, expected in (
            ([{"ip": "192.0.2.2"}, {"ip": "192.0.2.3"}], {"192.0.2.2", "192.0.2.3"}),
            ([{"hostname": "lb.example.net"}], {"lb.example.net."}),
            ([], "NXDOMAIN"),
        ):
            status = {"loadBalancer": {"ingress": ingress}}
            await cluster.patch(f"{path}/status", {"status": status})
            await kdns.until("balanced.{}.example.org.", expected)
        await cluster.patch(
            f"{path_of('Service', namespace)}/fixed", {"spec": {"externalIPs": ["192.0.2.9"]}}
        )
        await kdns.until("fixed.{}.example.org.", {"192.0.2.9"})
