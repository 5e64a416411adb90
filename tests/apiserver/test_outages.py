"""The whole server while its API server is away, comes back, and has forgotten what it said."""

from __future__ import annotations

import asyncio

import pytest

from tests.apiserver.conftest import path_of
from tests.apiserver.serving import Hammer, Kdns, corefile

STALE, NOT_READY = 3, 14
SERVICES = "/api/v1/namespaces/default/services"
ELSEWHERE = """
example.org {
    bind 127.0.0.1
    whoami
}
"""
"""A server block that needs no cluster."""


@pytest.fixture(scope="module")
def plane_of_module(start_plane):
    plane = start_plane()
    plane.kill("kube-controller-manager")
    return plane


@pytest.fixture
def own(plane_of_module):
    """A control plane that a test may take down, without controllers."""
    yield plane_of_module
    plane_of_module.restore()


def service(name):
    return {"metadata": {"name": name}, "spec": {"ports": [{"name": "http", "port": 80}]}}


def key(name):
    return f"/registry/services/specs/default/{name}"


class Made:
    """Services of a test by their names: what kdns has to answer with."""

    def __init__(self, cluster):
        self.addresses = {}
        self._cluster = cluster

    async def make(self, *names):
        for name in names:
            made = await self._cluster.create(SERVICES, service(name))
            self.addresses[name] = made["spec"]["clusterIP"]

    def answers(self, kdns, name):
        return kdns.found(f"{name}.default.svc") == {self.addresses[name]}

    def hammer(self, kdns, *names):
        return Hammer(kdns.port, {f"{each}.default.svc": {self.addresses[each]} for each in names})


@pytest.fixture
def made(own, cluster_of):
    return Made(cluster_of(own))


def missing(kdns, name):
    return kdns.rcode(f"{name}.default.svc") == "NXDOMAIN"


def started(kdns):
    kdns.until(lambda: kdns.ready() == (200, "OK"))


async def test_killed_and_started_again(own, made, etcd_of, tmp_path):
    """What is known is served on, the metrics say that it is old, and the log once."""
    await made.make("stays", "goes")
    with Kdns(tmp_path, corefile(f"kubeconfig {own.kubeconfig}", "stale_after 1s")) as kdns:
        started(kdns)

        def out_of_touch():
            return kdns.metric("kdns_kubernetes_out_of_touch_seconds", resource="service")

        assert out_of_touch() is None
        with made.hammer(kdns, "stays") as hammer:
            own.kill("kube-apiserver")
            await etcd_of(own).delete(key("goes"))
            kdns.until(lambda: (out_of_touch() or 0) > 1)
            assert made.answers(kdns, "goes"), "nothing is taken away by an outage"
            assert kdns.error("stays.default.svc") is None
            assert kdns.ready() == (503, "kubernetes"), "as stale_after asks for"
            assert kdns.metric("kdns_kubernetes_last_heard_age_seconds", resource="service") > 1
            await asyncio.to_thread(own.start_apiserver)
            kdns.until(lambda: missing(kdns, "goes"))
            kdns.until(lambda: out_of_touch() is None)
            await made.make("new")
            kdns.until(lambda: made.answers(kdns, "new"))
            kdns.until(lambda: kdns.ready() == (200, "OK"))
        assert hammer.wrong == []
        assert hammer.asked > 500
        assert len(kdns.log("out of touch")) == 1
        assert "what is known stays served" in kdns.log("out of touch")[0]
        assert len(kdns.log("back after")) == 1


async def test_away_at_the_start(own, made, tmp_path):
    """No part of the cluster, but that this is so; and all else works."""
    await made.make("late")
    own.kill("kube-apiserver")
    options = f"kubeconfig {own.kubeconfig}", "startup_timeout 100ms"
    with Kdns(tmp_path, corefile(*options) + ELSEWHERE) as kdns:
        for name in ("late.default.svc", "nothing.default.svc", "1.0.96.10.in-addr.arpa."):
            assert (kdns.rcode(name), kdns.error(name)) == ("SERVFAIL", NOT_READY)
        assert kdns.rcode("example.org.") == "NOERROR"
        assert kdns.ready() == (503, "kubernetes")
        kdns.until(lambda: kdns.log("not all objects are known yet"))
        await asyncio.to_thread(own.start_apiserver)
        kdns.until(lambda: made.answers(kdns, "late"))
        assert kdns.error("late.default.svc") is None
        assert kdns.ready() == (200, "OK")
        assert len(kdns.log("out of touch")) == 1


async def test_warm_start(own, made, etcd_of, tmp_path):
    """A snapshot answers for as long as the API server does not, and says that it is stale."""
    await made.make("known", "going")
    text = corefile(f"kubeconfig {own.kubeconfig}", f"snapshot {tmp_path}/records")
    with Kdns(tmp_path, text) as kdns:
        started(kdns)
        assert kdns.error("known.default.svc") is None
        kdns.end()
    own.kill("kube-apiserver")
    await etcd_of(own).delete(key("going"))
    with Kdns(tmp_path, text) as kdns:
        for name in ("known", "going"):
            assert made.answers(kdns, name)
            assert kdns.error(f"{name}.default.svc") == STALE
        assert (missing(kdns, "no"), kdns.error("no.default.svc")) == (True, STALE)
        assert kdns.ready() == (200, "OK")
        await asyncio.to_thread(own.start_apiserver)
        kdns.until(lambda: missing(kdns, "going"))
        kdns.until(lambda: kdns.error("known.default.svc") is None)
        assert made.answers(kdns, "known")
        await made.make("since")
        kdns.until(lambda: made.answers(kdns, "since"))


async def test_warm_start_by_zone(own, cluster_of, tmp_path):
    """The zones of endpoints are in a snapshot too."""
    cluster = cluster_of(own)
    where = {"name": "zonal", "namespace": "default"}
    body = {"metadata": where, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}}
    await cluster.create(SERVICES, body)
    endpoints = [
        {"addresses": [f"10.1.0.{n}"], "zone": zone} for n, zone in enumerate(("one", "two"))
    ]
    labels = {"kubernetes.io/service-name": "zonal"}
    part = {"metadata": {**where, "labels": labels}, "addressType": "IPv4", "endpoints": endpoints}
    await cluster.create(path_of("EndpointSlice", "default"), part)
    text = corefile(f"kubeconfig {own.kubeconfig}", "zonal", f"snapshot {tmp_path}/records")
    with Kdns(tmp_path, text) as kdns:
        kdns.until(lambda: kdns.found("two.pin._zone.zonal.default.svc") == {"10.1.0.1"})
        kdns.end()
    own.kill("kube-apiserver")
    with Kdns(tmp_path, text) as kdns:
        for zone, address in (("one", "10.1.0.0"), ("two", "10.1.0.1")):
            name = f"{zone}.pin._zone.zonal.default.svc"
            assert (kdns.found(name), kdns.error(name)) == ({address}, STALE)


async def test_history_compacted(own, made, etcd_of, tmp_path):
    """All is listed again, and nobody who asks for what has not changed can tell."""
    names = [f"many-{n}" for n in range(50)]
    await made.make("leaves", *names)
    etcd = etcd_of(own)
    with Kdns(tmp_path, corefile(f"kubeconfig {own.kubeconfig}")) as kdns:
        started(kdns)
        with made.hammer(kdns, *names) as hammer:
            own.kill("kube-apiserver")
            await etcd.delete(key("leaves"))
            revision = await etcd.put({"/registry/kdns": {}})
            await etcd.compact(revision)
            own.kill("etcd")
            own.start_etcd()
            await asyncio.to_thread(own.start_apiserver)
            kdns.until(lambda: missing(kdns, "leaves"))
            await made.make("arrives")
            kdns.until(lambda: made.answers(kdns, "arrives"))
        assert hammer.wrong == []
        errors = kdns.metric("kdns_kubernetes_watch_errors_total", reason="expired")
        assert errors, "a relist is what this is about"
        assert kdns.metric("kdns_kubernetes_lists_total", resource="service") == 2


async def test_reload_while_following(own, made, tmp_path):
    """Another Corefile over the same cluster: nothing is listed again, and no query lost."""
    await made.make("followed")
    options = f"kubeconfig {own.kubeconfig}"
    with Kdns(tmp_path, corefile(options)) as kdns:
        started(kdns)
        with made.hammer(kdns, "followed") as hammer:
            for ttl in (7, 8, 9):
                kdns.reload(corefile(options, f"ttl {ttl}"))
                kdns.until(lambda ttl=ttl: kdns.ask("followed.default.svc").answer[0].ttl == ttl)
        assert hammer.wrong == []
        assert kdns.metric("kdns_kubernetes_lists_total", resource="service") == 1
        await made.make("after")
        kdns.until(lambda: made.answers(kdns, "after"))
        kdns.reload(corefile(options, "labels no=such"))
        kdns.until(lambda: missing(kdns, "followed"))
        assert kdns.metric("kdns_kubernetes_objects", resource="service") == 0
