"""kdns beside the real CoreDNS on one live cluster: the same names, types and Corefiles.

The clusters are those of the tests that compare both over sockets, made by a real API server.
What it refuses it may have let in in an earlier version: that is written into its store.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from bench.peers import coredns
from kdns.cluster.objects import SERVICE_NAME_LABEL
from tests.apiserver.conftest import Etcd, RefusedError, acting, define_imports, path_of
from tests.apiserver.serving import Kdns
from tests.wire import cluster as plain
from tests.wire import views
from tests.wire.differences import ANSWERS, Disagreement
from tests.wire.product import TYPES, Known, names_around
from tests.wire.servers import VARIANTS, corefile, sourced
from tests.wire.test_views import NOTHING, Asked, ask_all
from tests.wire.view_differences import AGAIN, VIEWS

VERSION = "CoreDNS-1.14.7"
SEED = 1
PART = 8
"""One in so many names is asked for."""

LABEL = "kdns/half"
_AS_THEY_ARE = (
    "disabled",
    "insecure",
    "verified",
    "namespaces",
    "ignore",
    "pod-names",
    "noendpoints",
    "fallthrough",
)
OPTIONS = {
    **{name: (name, VARIANTS[name]) for name in _AS_THEY_ARE},
    "labels": ("verified", corefile("pods verified", f"labels {LABEL} in (one, three)")),
    "namespace-labels": (
        "insecure",
        corefile("pods insecure", "namespace_labels kubernetes.io/metadata.name in (default,prod)"),
    ),
}
"""Corefiles, with the variant whose differences are seen by them."""

KEYS = {
    "Service": "/registry/services/specs",
    "EndpointSlice": "/registry/endpointslices",
    "Pod": "/registry/pods",
    "ServiceImport": "/registry/multicluster.x-k8s.io/serviceimports",
}


@pytest.fixture(scope="module", autouse=True)
def _installed():
    path = coredns.executable()
    if path is None:
        pytest.skip(coredns.MISSING)
    if coredns.version(path) != VERSION:
        pytest.skip(f"{path} is {coredns.version(path)}; the differences are those to {VERSION}")


def halved(manifests):
    """Services by turns with one label and another, and their slices like them."""
    turns = {}
    for each in manifests:
        metadata = each["metadata"]
        labels = metadata.setdefault("labels", {})
        owner = labels.get(SERVICE_NAME_LABEL, metadata["name"])
        turn = turns.setdefault((metadata.get("namespace"), owner), len(turns) % 2)
        labels[LABEL] = ("one", "two")[turn]
    return manifests


def adapted(manifest):
    """As an API server wants it to be."""
    kind, spec = manifest["kind"], manifest.setdefault("spec", {})
    if kind == "Service":
        spec["ports"] = [
            {key: value for key, value in port.items() if value != ""} for port in spec["ports"]
        ]
        if len(spec.get("clusterIPs", ())) > 1:
            spec["ipFamilyPolicy"] = "RequireDualStack"
    elif kind == "Pod":
        spec["containers"] = [{"name": "c", "image": "none"}]
        spec["automountServiceAccountToken"] = False
        spec["nodeName"] = "n"
    return manifest


async def fill(cluster, etcd, manifests):
    """Make a cluster of manifests; the keys of those that had to be written into its store."""
    namespaces = [each for each in manifests if each["kind"] == "Namespace"]
    for each in namespaces:
        with suppress(RefusedError):  # some are there from the start
            await cluster.put(each)
        path = f"/api/v1/namespaces/{each['metadata']['name']}/serviceaccounts"
        await cluster.create(path, {"metadata": {"name": "default"}})
    rest = [each for each in manifests if each["kind"] != "Namespace"]
    made = await asyncio.gather(*(accepted(cluster, each) for each in rest))
    refused = {
        key_of(each): stored(each) for each, done in zip(rest, made, strict=True) if not done
    }
    revision = await etcd.put(refused)
    for kind in {each["kind"] for each in manifests}:
        await cluster.get(f"{path_of(kind, 'default')}?limit=1&resourceVersion={revision}")
    return list(refused)


async def accepted(cluster, manifest):
    # Without a cluster IP is what no Service stays for long.
    if manifest.get("spec", {}).get("clusterIP") == "":
        return False
    try:
        await cluster.put(adapted(manifest))
    except RefusedError as error:
        return error.args[0] == "AlreadyExists"
    return True


def key_of(manifest):
    metadata = manifest["metadata"]
    return f"{KEYS[manifest['kind']]}/{metadata['namespace']}/{metadata['name']}"


def stored(manifest):
    """As an API server has it in its store."""
    metadata = {"uid": key_of(manifest), "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {**manifest, "metadata": {**manifest["metadata"], **metadata}}


@pytest.fixture(scope="module")
def make(start_plane):
    """make(manifests) -> the kubeconfig of a cluster with them, and what it was not asked for."""

    def start(manifests):
        plane = start_plane()
        plane.kill("kube-controller-manager")

        async def act(cluster):
            if any(each["kind"] == "ServiceImport" for each in manifests):
                await define_imports(cluster)
            return await fill(cluster, Etcd(plane.etcd_url, cluster.session), manifests)

        return plane.kubeconfig, acting(plane.kubeconfig, act)

    return start


def unexplained(variant, text, kubeconfig, folder, questions, known, kinds):
    """The disagreements of both servers by a Corefile that are of no kind, and how many are."""
    text = sourced(text, f"kubeconfig {kubeconfig}")
    with coredns.CoreDNS(text) as server, Kdns(folder, text) as kdns:
        kdns.until(lambda: kdns.ready() == (200, "OK"))
        theirs, ours = (ask_all(port, questions) for port in (server.port, kdns.port))

        def ask(name, qtype):
            if (name, qtype) not in theirs and not name.startswith("loose."):
                theirs.update(ask_all(server.port, [(name, qtype)]))
            return theirs.get((name, qtype), NOTHING)

        known_kinds, found = 0, []
        for name, qtype in questions:
            said = theirs[name, qtype], ours[name, qtype]
            if said[0].agrees(said[1]):
                continue
            it = Disagreement(variant, name.lower(), qtype, *said, ask, known)
            if any(each.explains(it) for each in kinds):
                known_kinds += 1
            else:
                found.append(f"{name} {qtype}\nCoreDNS: {said[0]}\nkdns: {said[1]}")
    return found, known_kinds


@pytest.fixture(scope="module")
def known():
    return Known()


@pytest.fixture(scope="module")
def options_cluster(make):
    kubeconfig, refused = make(halved(plain.objects()))
    assert len(refused) < 20, refused
    return kubeconfig


@pytest.mark.parametrize(("variant", "text"), OPTIONS.values(), ids=OPTIONS)
def test_options(options_cluster, known, tmp_path, variant, text):
    chance = random.Random(f"{SEED} {text}")  # noqa: S311 - a sample, no secret
    names = names_around(known.sample(PART, chance), chance)
    questions = [(name, qtype) for name in names for qtype in TYPES]
    found, explained = unexplained(
        variant, text, options_cluster, tmp_path, questions, known, ANSWERS
    )
    assert not found, f"{len(found)} answers differ without a reason:\n" + "\n".join(found[:8])
    assert explained, "a comparison that finds none of the known differences compares nothing"


@pytest.fixture(scope="module")
def views_cluster(make):
    return make(views.objects())[0]


@pytest.mark.parametrize("variant", views.COREFILES)
def test_views(views_cluster, tmp_path, variant):
    """Zonal names, cluster sets, external zones."""
    known = Asked(variant)
    questions = [
        (name, qtype)
        for name in known.names
        for qtype in TYPES
        # CoreDNS gives no answer to SRV at an import whose slices name no cluster.
        if qtype != "SRV" or "loose.default.svc.clusterset" not in name
    ]
    text = views.COREFILES[variant]
    found, explained = unexplained(
        variant, text, views_cluster, tmp_path, questions, known, (*VIEWS, *AGAIN)
    )
    assert not found, f"{len(found)} answers differ without a reason:\n" + "\n".join(found[:8])
    assert explained
