"""The API server is good enough for the client that matters: the real CoreDNS follows it."""

import time
from collections.abc import Callable
from typing import Any

import dns.message
import dns.query
import dns.rcode
import pytest

from bench.peers.apiserver import ApiServer
from bench.peers.coredns import MISSING, CoreDNS, executable, kubeadm, version
from bench.peers.process import NotStarted

pytestmark = pytest.mark.skipif(executable() is None, reason=MISSING)


def service(address: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "clusterIP": address,
            "clusterIPs": [address],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        },
    }


def endpoints(*addresses: str) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "web-1",
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-1", "namespace": "shop"},
    "status": {"phase": "Running", "podIP": "10.244.0.9", "podIPs": [{"ip": "10.244.0.9"}]},
}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}


def answered(port: int, name: str) -> list[str] | str:
    """The addresses of a name, or the rcode where there are none."""
    query = dns.message.make_query(name, "A")
    reply = dns.query.udp(query, "127.0.0.1", timeout=5, port=port)
    found = [record.to_text() for rrset in reply.answer for record in rrset]
    return found or dns.rcode.to_text(reply.rcode())


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
    return True


@pytest.mark.parametrize("watch_list", [True, False], ids=["watch list", "list and watch"])
def test_coredns_syncs_and_follows_changes(watch_list: bool) -> None:
    objects = [NAMESPACE, service("10.96.0.5"), endpoints("10.244.0.9"), POD]
    with ApiServer(objects, watch_list=watch_list) as api:
        corefile = kubeadm(f"endpoint {api.url}").replace("pods insecure", "pods verified")
        with CoreDNS(corefile) as coredns:
            web, zone = "web.shop.svc.cluster.local", "shop.pod.cluster.local"
            assert answered(coredns.port, web) == ["10.96.0.5"]
            assert answered(coredns.port, f"10-244-0-9.{web}") == ["10.244.0.9"]
            assert answered(coredns.port, f"10-244-0-9.{zone}") == ["10.244.0.9"]
            api.put(service("10.96.0.6"))
            assert eventually(lambda: answered(coredns.port, web) == ["10.96.0.6"])
            api.put(endpoints("10.244.0.7"))
            assert eventually(lambda: answered(coredns.port, f"10-244-0-9.{web}") == "NXDOMAIN")
            api.delete("Service", "shop", "web")
            assert eventually(lambda: answered(coredns.port, web) == "NXDOMAIN")


def test_a_corefile_that_is_refused_is_told_in_corednss_words() -> None:
    with pytest.raises(NotStarted, match="kubernets"):
        CoreDNS(". {\n ready {$READY}\n kubernets\n}\n")


def test_version() -> None:
    path = executable()
    assert path is not None
    assert version(path).startswith("CoreDNS-")
