"""The DNS cases of Kubernetes' own end-to-end tests that need no kubelet, on a live cluster.

Objects are made as those tests make them, and the controllers of the cluster do the rest. Where a
kubelet would run a pod, its status is written instead. Each name is asked over UDP and TCP.
"""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

import dns.exception
import dns.rdatatype
import dns.resolver
import pytest

from tests.apiserver.conftest import RefusedError, acting
from tests.apiserver.serving import TIMEOUT, ZONE, Kdns, corefile, data_of, stub

PODS = {"dns-test-a": "10.244.7.1", "dns-querier-2": "10.244.7.2"}
LABEL = {"dns-test": "true"}


@dataclass
class World:
    """A kdns, a namespace made for it, and the cluster IPs of services by their names."""

    kdns: Kdns
    namespace: str
    addresses: dict[str, str]

    def search(self):
        return [f"{self.namespace}.svc.{ZONE}", f"svc.{ZONE}", ZONE]

    def names(self, text):
        """NS is the namespace; IP:x is the address of x, and PTR:x the reverse name of it."""
        for name, address in self.addresses.items():
            reverse = ip_address(address).reverse_pointer + "."
            if text in (f"IP:{name}", f"PTR:{name}"):
                return address if text.startswith("IP") else reverse
        return text.replace("NS", self.namespace).replace("ZONE", ZONE)


def service(name, *, ports=(("http", 80),), **spec):
    made = [{"port": port, **({"name": title} if title else {})} for title, port in ports]
    return {"metadata": {"name": name}, "spec": {"ports": made, **spec}}


def pod(name, **spec):
    return {
        "metadata": {"name": name, "labels": LABEL},
        "spec": {
            "containers": [{"name": "c", "image": "none"}],
            "automountServiceAccountToken": False,
            "serviceAccountName": "runner",
            "nodeName": "kdns-test",
            **spec,
        },
    }


async def make(cluster):
    """The objects of the cases; the namespace and the addresses that services were given."""
    namespace = await cluster.namespace()
    core = f"/api/v1/namespaces/{namespace}"
    await cluster.create("/api/v1/nodes", {"metadata": {"name": "kdns-test"}})
    await cluster.create(f"{core}/serviceaccounts", {"metadata": {"name": "runner"}})
    headless = {"selector": LABEL, "clusterIP": "None"}
    services = [
        service("dns-test-service", **headless),
        service("test-service-2", selector=LABEL),
        service("dns-test-service-2", **headless),
    ]
    addresses = {}
    for body in services:
        made = await cluster.create(f"{core}/services", body)
        addresses[made["metadata"]["name"]] = made["spec"].get("clusterIP", "None")
    with suppress(RefusedError):  # a name for servers from 1.34 on that allow it
        made = await cluster.create(f"{core}/services", service("1kubernetes", ports=[("", 443)]))
        addresses["1kubernetes"] = made["spec"]["clusterIP"]
    await cluster.create(f"{core}/pods", pod("dns-test-a"))
    where = {"hostname": "dns-querier-2", "subdomain": "dns-test-service-2"}
    await cluster.create(f"{core}/pods", pod("dns-querier-2", **where))
    for name, address in PODS.items():
        ready = [{"type": "Ready", "status": "True"}]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        path = f"{core}/pods/{name}/status"
        await cluster.patch(path, {"status": {**status, "conditions": ready}})
    own = await cluster.get("/api/v1/namespaces/default/services/kubernetes")
    addresses["kubernetes"] = own["spec"]["clusterIP"]
    return namespace, {name: at for name, at in addresses.items() if at != "None"}


@pytest.fixture(scope="module")
def world(kubeconfig, tmp_path_factory):
    text = corefile(f"kubeconfig {kubeconfig}", "pods insecure")
    namespace, addresses = acting(kubeconfig, make)
    with Kdns(tmp_path_factory.mktemp("kdns"), text) as kdns:
        kdns.until(lambda: kdns.ready() == (200, "OK"))
        yield World(kdns, namespace, addresses)


SERVICE = "dns-test-service.NS.svc"
ALL_PODS = set(PODS.values())

PROBES = {
    "the cluster": ("kubernetes.default.svc.ZONE.", "A", {"IP:kubernetes"}),
    "the cluster, partial": ("kubernetes.default", "A", {"IP:kubernetes"}),
    "the cluster, as far as svc": ("kubernetes.default.svc", "A", {"IP:kubernetes"}),
    "a service": (f"{SERVICE}.ZONE.", "A", ALL_PODS),
    "a service, its name": ("dns-test-service", "A", ALL_PODS),
    "a service, with its namespace": ("dns-test-service.NS", "A", ALL_PODS),
    "a service, as far as svc": (SERVICE, "A", ALL_PODS),
    "a service with a cluster IP": ("test-service-2", "A", {"IP:test-service-2"}),
    "SRV of a headless service": (
        f"_http._tcp.{SERVICE}.ZONE.",
        "SRV",
        {f"0 50 80 {label}.{SERVICE}.ZONE." for label in ("10-244-7-1", "10-244-7-2")},
    ),
    "SRV of a headless service, as far as svc": (
        f"_http._tcp.{SERVICE}",
        "SRV",
        {f"0 50 80 {label}.{SERVICE}.ZONE." for label in ("10-244-7-1", "10-244-7-2")},
    ),
    "SRV of a service": (
        "_http._tcp.test-service-2.NS.svc.ZONE.",
        "SRV",
        {"0 100 80 test-service-2.NS.svc.ZONE."},
    ),
    "SRV of a service, as far as svc": (
        "_http._tcp.test-service-2.NS.svc",
        "SRV",
        {"0 100 80 test-service-2.NS.svc.ZONE."},
    ),
    "PTR of a service": ("PTR:test-service-2", "PTR", {"test-service-2.NS.svc.ZONE."}),
    "hostname and subdomain of a pod": (
        "dns-querier-2.dns-test-service-2.NS.svc.ZONE.",
        "A",
        {PODS["dns-querier-2"]},
    ),
    "hostname and subdomain, partial": (
        "dns-querier-2.dns-test-service-2",
        "A",
        {PODS["dns-querier-2"]},
    ),
    "subdomain of pods": ("dns-test-service-2.NS.svc.ZONE.", "A", ALL_PODS),
    "a service whose name begins with a digit": ("1kubernetes.NS.svc", "A", {"IP:1kubernetes"}),
    "a pod": ("10-244-7-1.NS.pod.ZONE.", "A", {"10.244.7.1"}),
}

LONG = [f"{letter * 45}.{ZONE}" for letter in "abcdef"]
ODD = [f"_sip._tcp.abc_d.{ZONE}"]


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize(("name", "qtype", "expected"), PROBES.values(), ids=PROBES)
def test_probe(world, name, qtype, expected, tcp):
    if "IP:1kubernetes" in expected and "1kubernetes" not in world.addresses:
        pytest.skip("this API server allows no service whose name begins with a digit")
    expected = {world.names(each) for each in expected}
    resolver = stub(world.kdns.port, world.search())

    def answer():
        try:
            found = resolver.resolve(
                world.names(name), qtype, tcp=tcp, search=True, lifetime=TIMEOUT
            )
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return None  # the controllers may not have come to it
        return {each.to_text() for each in found}

    world.kdns.until(lambda: answer() == expected)


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("paths", [LONG, ODD], ids=["many and long", "underscores"])
@pytest.mark.parametrize("name", ["kubernetes.default", "kubernetes.default.svc"])
def test_search_paths(world, name, paths, tcp):
    """No bogus path is answered with anything but that there is no such name."""
    for bogus in paths:
        assert world.kdns.rcode(f"{name}.{bogus}.") == "NXDOMAIN"
    resolver = stub(world.kdns.port, [*paths, *world.search()])
    found = resolver.resolve(name, "A", tcp=tcp, search=True, lifetime=TIMEOUT)
    assert {each.to_text() for each in found} == {world.addresses["kubernetes"]}


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_dig(world, transport):
    """The command that those tests run in their pods."""
    dig = shutil.which("dig")
    if dig is None:
        pytest.skip("dig is not on PATH")
    asked = (
        (f"_http._tcp.test-service-2.NS.svc.{ZONE}", "SRV"),
        ("PTR:test-service-2", "PTR"),
        (f"test-service-2.NS.svc.{ZONE}", "A"),
    )
    for name, qtype in asked:
        words = ["@127.0.0.1", "-p", str(world.kdns.port), "+noall", "+answer", transport]
        said = subprocess.run(
            [dig, *words, world.names(name), qtype], check=True, capture_output=True, text=True
        )
        assert f" {qtype} " in " ".join(said.stdout.split())


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
async def test_external_name_until_it_is_a_service(world, cluster, tcp):
    """foo.example.com, then bar.example.com, then an address of the cluster."""
    kdns, name = world.kdns, "external-tcp" if tcp else "external-udp"
    services = f"/api/v1/namespaces/{world.namespace}/services"
    path = f"{services}/{name}"
    whole = f"{name}.{world.namespace}.svc"
    body = service(name, type="ExternalName", externalName="foo.example.com")
    await cluster.create(services, body)
    kdns.until(lambda: data_of(kdns.ask(whole, "CNAME", tcp=tcp)) == {"foo.example.com."})
    await cluster.patch(path, {"spec": {"externalName": "bar.example.com"}})
    kdns.until(lambda: data_of(kdns.ask(whole, "CNAME", tcp=tcp)) == {"bar.example.com."})
    assert kdns.found(whole) == {"bar.example.com."}, "nobody to ask for addresses outside"
    ports = [{"port": 80, "name": "http", "protocol": "TCP"}]
    spec = {"type": "ClusterIP", "externalName": None, "ports": ports}
    made = await cluster.patch(path, {"spec": spec})
    kdns.until(lambda: data_of(kdns.ask(whole, tcp=tcp)) == {made["spec"]["clusterIP"]})
    assert not kdns.found(whole, "CNAME")


def test_every_service_of_many(world, kubeconfig):
    """As their performance test, of a hundred: each has the address it was given."""

    async def create(cluster):
        services = f"/api/v1/namespaces/{world.namespace}/services"
        made = [await cluster.create(services, service(f"many-{n}")) for n in range(100)]
        return {each["metadata"]["name"]: each["spec"]["clusterIP"] for each in made}

    addresses = acting(kubeconfig, create)
    kdns, end = world.kdns, f"{world.namespace}.svc"
    for name, address in addresses.items():
        kdns.until(lambda name=name, address=address: kdns.found(f"{name}.{end}") == {address})
