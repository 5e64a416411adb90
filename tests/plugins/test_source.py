"""Which objects `kubernetes` asks for and where: CoreDNS's kubernetes/setup_test.go, and beyond."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdns.cluster.source import ApiServer, Selection, Source

HERE = Path("/etc/kdns")


def corefile(*lines: str, zones: str = "coredns.local") -> str:
    inside = "\n".join(lines)
    return f". {{\n kubernetes {zones} {{\n{inside}\n}}\n}}"


def source_of(planned, facilities, text) -> Source:
    planned(text)
    (source,) = facilities.stores
    return source


TAKEN = {
    "": Source(),
    "startup_timeout 1s": Source(patience=1.0),
    "endpoint http://localhost:9090 http://localhost:9091": Source(
        api=ApiServer(endpoint="http://localhost:9090")
    ),
    "endpoint https://api:6443/": Source(api=ApiServer(endpoint="https://api:6443")),
    "endpoint api:8080": Source(api=ApiServer(endpoint="http://api:8080")),
    "endpoint api\ntls cert /abs/key ca": Source(
        api=ApiServer(
            endpoint="https://api",
            certificate=HERE / "cert",
            key=Path("/abs/key"),
            ca=HERE / "ca",
        )
    ),
    "kubeconfig file": Source(api=ApiServer(kubeconfig=HERE / "file")),
    "kubeconfig file context": Source(api=ApiServer(kubeconfig=HERE / "file", context="context")),
    "apiserver_qps 50.0\napiserver_burst 100\napiserver_max_inflight 25": Source(
        api=ApiServer(qps=50.0, burst=100, max_inflight=25)
    ),
    "labels environment=prod": Source(selection=Selection(labels="environment=prod")),
    "labels environment in (production, staging, qa),application=nginx": Source(
        selection=Selection(labels="environment in (production, staging, qa),application=nginx")
    ),
    "labels !canary,tier,a.b/c==d,e notin (f)": Source(
        selection=Selection(labels="!canary,tier,a.b/c==d,e notin (f)")
    ),
    "namespace_labels istio-injection=enabled": Source(
        selection=Selection(namespace_labels="istio-injection=enabled")
    ),
    "pods verified": Source(selection=Selection(pods=True)),
    "pods insecure": Source(),
    "noendpoints": Source(selection=Selection(endpoints=False)),
    "endpoint_pod_names": Source(endpoint_pod_names=True),
    "zonal": Source(zonal=True),
    "multicluster": Source(),
    "multicluster coredns.local": Source(selection=Selection(service_imports=True)),
    "manifests m\nservice_range 10.0.0.0/28 fd00::/112": Source(
        manifests=HERE / "m", service_ranges=("10.0.0.0/28", "fd00::/112")
    ),
    "snapshot s": Source(snapshot=HERE / "s"),
    "ignore empty_service": Source(),
    "ignore empty_service ixnay on the endpointsay": Source(),
    "ignore": Source(),
    "stale_after 5m": Source(),
}


@pytest.mark.parametrize("lines", TAKEN)
def test_taken(planned, facilities, lines: str) -> None:
    assert source_of(planned, facilities, corefile(lines)) == TAKEN[lines]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("endpoint", "an argument is missing after 'endpoint'"),
        ("endpoint http://", "is no URL"),
        ("endpoint ftp://api", "is no URL"),
        ("tls cert key", "write tls CERT KEY CACERT"),
        ("namespaces", "an argument is missing"),
        ("labels", "an argument is missing"),
        ("labels environment in (production, qa", "is no label selector"),
        ("labels a=b,", "is no label selector"),
        ("labels a>1", "is no label selector"),
        ("labels a/b/c", "is no label selector"),
        ("namespace_labels (", "is no label selector"),
        ("namespaces foo bar\nnamespace_labels a=b", "take one out"),
        ("pods giant_seed", "write disabled or insecure or verified"),
        ("kubeconfig", "an argument is missing after 'kubeconfig'"),
        ("kubeconfig file context extraarg", "one argument too many"),
        ("endpoint_pod_names giant_seed", "one argument too many"),
        ("noendpoints ixnay on the endpointsay", "one argument too many"),
        ("ignore ixnay on the endpointsay", "write empty_service"),
        ("multicluster test.local", "none of the zones"),
        ("apiserver_qps -10", "a number of requests a second"),
        ("apiserver_qps nan", "a number of requests a second"),
        ("apiserver_burst -5", "at least 0"),
        ("apiserver_max_inflight -1", "at least 0"),
        ("zonal us-west-2a", "one argument too many"),
        ("zonal\nnoendpoints", "take one of the two out"),
        ("startup_timeout", "an argument is missing"),
        ("startup_timeout soon", "a duration"),
        ("startup_timeout -5s", "a duration"),
        ("stale_after 0s", "a duration of at least"),
        ("service_range 10.0.0.0/8", "service_range is for manifests"),
        ("manifests m\nservice_range 10.0.0.0", "range 10.0.0.0/32 is too small"),
        ("manifests m\nservice_range 10.0.0.0/30", "range 10.0.0.0/30 is too small"),
        ("manifests m\nservice_range 10.0.0.1/16", "is no range of addresses"),
        ("manifests m\nservice_range fd00::%1/112", "has a zone"),
        ("manifests m\nservice_range 10.0.0.0/16 10.1.0.0/16", "one IPv4 and one IPv6"),
        ("manifests m\nkubeconfig file", "takes its objects from manifests"),
    ],
)
def test_refused(refused, lines: str, says: str) -> None:
    assert says in refused(corefile(*lines.splitlines()))[0]


def test_the_place_of_a_service_range(refused) -> None:
    """The one that does not fit, of several."""
    text = "manifests m\nservice_range 10.0.0.0/16\nservice_range fd00::/112 fd01::/112"
    says, position = refused(corefile(text))
    assert "one IPv4 and one IPv6" in says
    assert position == (5, 26)


def test_stale_after(planned, facilities, fill) -> None:
    made = planned(corefile("stale_after 60s"))
    fill(made.store, "web.default=10.0.0.1")
    assert all(part.ready() for part in made.requests.readiness)
    facilities.heard = 61.0
    assert [part.ready() for part in made.requests.readiness if not part.sticky] == [False]


@pytest.mark.parametrize(
    ("zones", "multicluster", "name", "kind"),
    [
        ("cluster.local clusterset.local", "clusterset.local", "svc.cluster.local.", "ForwardZone"),
        ("cluster.local CLUSTERSET.local", "clusterset.local", "clusterset.local.", "Multi"),
        (
            "clusterset.local sub.clusterset.local",
            "clusterset.local",
            "sub.clusterset.local.",
            "Multi",
        ),
        ("cluster.local", "", "cluster.local.", "ForwardZone"),
    ],
)
def test_zones_of_a_cluster_set(planned, fill, zones, multicluster, name, kind) -> None:
    """All at or below one that is named are (CoreDNS). They have no pods, by which one tells."""
    made = planned(corefile(f"multicluster {multicluster}", "pods insecure", zones=zones))
    fill(made.store, "web.default=10.0.0.1")
    apex = name.removeprefix("svc.")
    expected = "NOERROR" if kind == "ForwardZone" else "NXDOMAIN"
    assert made.ask(f"pod.{apex}")[0] == expected


def test_pointers_lead_to_the_cluster_s_own_zone(planned, fill) -> None:
    """Not to the first of the zones, if that is one of a cluster set."""
    zones = "clusterset.local cluster.local in-addr.arpa"
    made = planned(corefile("multicluster clusterset.local", zones=zones))
    fill(made.store, "web.default=10.0.0.1")
    answer = made.ask("1.0.0.10.in-addr.arpa.", "PTR")[1]
    assert answer == ["1.0.0.10.in-addr.arpa. 5 IN PTR web.default.svc.cluster.local."]
