"""A service account with exactly the documented rules, and its token as pods have it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from kdns.cluster.api.access import in_cluster
from kdns.cluster.api.feed import ApiFeed
from kdns.cluster.api.resources import resources
from tests.apiserver.serving import ZONE, Kdns, corefile

PAGE = Path(__file__).parents[2] / "docs" / "in-cluster.md"
BASE = {"namespaces", "services", "endpointslices"}
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def rules_for(wanted):
    """The rules of docs/in-cluster.md about these resources, which must be all of them."""
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    [role] = [each for each in yaml.safe_load_all(text) if each["kind"] == "ClusterRole"]
    found = [rule for rule in role["rules"] if wanted.issuperset(rule["resources"])]
    assert {name for rule in found for name in rule["resources"]} == wanted
    return found


class Account:
    def __init__(self, cluster, namespace, folder, environment):
        self.folder = folder
        self.access = None
        self.environment = environment
        self._cluster = cluster
        self._namespace = namespace

    async def token(self):
        path = f"/api/v1/namespaces/{self._namespace}/serviceaccounts/kdns/token"
        answer = await self._cluster.create(path, {"spec": {"expirationSeconds": 600}})
        return answer["status"]["token"]

    async def bind(self, wanted=frozenset(BASE)):
        name = {"metadata": {"name": self._namespace}}
        await self._cluster.create(f"{RBAC}/clusterroles", {**name, "rules": rules_for(wanted)})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
        subject = {"kind": "ServiceAccount", "name": "kdns", "namespace": self._namespace}
        await self._cluster.create(
            f"{RBAC}/clusterrolebindings",
            {**name, "roleRef": {**role, "name": self._namespace}, "subjects": [subject]},
        )

    async def allow(self, wanted):
        """Other rules than those of `bind`."""
        path = f"{RBAC}/clusterroles/{self._namespace}"
        await self._cluster.patch(path, {"rules": rules_for(wanted)})

    def feed(self, **options):
        return ApiFeed(in_cluster(self.environment, self.folder), resources(), **options)


@pytest.fixture
async def account(cluster, plane, tmp_path):
    namespace = await cluster.namespace()
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await cluster.create(path, {"metadata": {"name": "kdns"}})
    (tmp_path / "ca.crt").write_bytes((plane.folder / "ca.crt").read_bytes())
    (tmp_path / "token").write_text("not.a.token")
    environment = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(plane.port),
    }
    return Account(cluster, namespace, tmp_path, environment)


async def test_the_documented_rules_are_enough(account, read_world):
    (account.folder / "token").write_text(await account.token())
    await account.bind()
    feed = account.feed(check_every=(0.05, 0.1))
    async with read_world(feed) as world:
        await world.until(lambda: all(s.checks > 1 for s in feed.stats.resources.values()))

        assert not any(stats.errors for stats in feed.stats.resources.values())
        assert not any(stats.mismatches for stats in feed.stats.resources.values())


async def test_without_them_it_says_which_are_missing(account, read_world):
    (account.folder / "token").write_text(await account.token())
    feed = account.feed()
    async with read_world(feed, synced=False) as world:
        stats = feed.stats.resources["EndpointSlice"]
        await world.until(lambda: stats.errors["forbidden"])
        assert 'cannot watch resource "endpointslices"' in stats.why
        await account.bind()
        await world.until(lambda: world.synced)


async def test_token_that_is_refused_is_read_again(account, read_world):
    await account.bind()
    feed = account.feed()
    async with read_world(feed, synced=False) as world:
        await world.until(lambda: feed.stats.resources["Service"].errors["unauthorized"])
        (account.folder / "token").write_text(await account.token())
        await world.until(lambda: world.synced)


_IN_POD = (
    "mount -t tmpfs none /run && mkdir -p /var/run/secrets/kubernetes.io &&"
    ' ln -s "$1" /var/run/secrets/kubernetes.io/serviceaccount && shift && exec "$@"'
)


@pytest.fixture
def own_run():
    """The start of a command that runs another one with a folder as its service account."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare, which gives kdns files of its own in /var/run, is not on PATH")
    command = [unshare, "--map-root-user", "--mount", "sh", "-c", _IN_POD, "sh"]
    if subprocess.run([*command, "/", "true"], check=False).returncode:
        pytest.skip("no mount namespace can be made here, for which files in /var/run need leave")
    return command


@pytest.fixture
async def in_pod(account, tmp_path, own_run):
    """in_pod(options...) -> kdns with what a pod of the service account has, and no more."""
    wrapper = [*own_run, account.folder]
    (account.folder / "token").write_text(await account.token())

    def start(*options, **rest):
        text = corefile("startup_timeout 100ms", *options, **rest)
        return Kdns(tmp_path, text, environment=account.environment, wrapper=wrapper)

    return start


OPTIONS = {
    "none": ([], BASE),
    "noendpoints": (["noendpoints"], BASE - {"endpointslices"}),
    "pods verified": (["pods verified"], BASE | {"pods"}),
    "multicluster": (["multicluster clusterset.local"], BASE | {"serviceimports"}),
}


@pytest.mark.parametrize(("options", "wanted"), OPTIONS.values(), ids=OPTIONS)
async def test_rules_of_options(account, in_pod, service_imports, options, wanted):
    await account.bind(wanted)
    with in_pod(*options, zones=f"{ZONE} clusterset.local") as kdns:
        kdns.until(lambda: kdns.ready() == (200, "OK"))
        assert kdns.rcode("default.svc") == "NOERROR"
        assert kdns.metric("kdns_kubernetes_watch_errors_total") is None


MISSING = {
    "the slices": ([], BASE, "endpointslices"),
    "pods": (["pods verified"], BASE | {"pods"}, "pods"),
}


@pytest.mark.parametrize(("options", "wanted", "missing"), MISSING.values(), ids=MISSING)
async def test_a_rule_is_missing(account, in_pod, options, wanted, missing):
    """One line says which, nothing half known is served, and all is well when it is there."""
    await account.bind(wanted - {missing})
    with in_pod(*options) as kdns:
        kdns.until(lambda: kdns.log("out of touch"))
        [line] = kdns.log("out of touch")
        assert "403 Forbidden" in line
        assert f'resource "{missing}"' in line
        assert "not all objects are known yet" in line
        assert kdns.ready() == (503, "kubernetes")
        assert kdns.rcode("default.svc") == "SERVFAIL"
        assert kdns.metric("kdns_kubernetes_watch_errors_total", reason="forbidden") >= 1
        await account.allow(wanted)
        kdns.until(lambda: kdns.ready() == (200, "OK"))
        assert kdns.rcode("default.svc") == "NOERROR"
        assert len(kdns.log("out of touch")) == 1


async def test_metrics_of_the_page(account, in_pod):
    """Each metric that docs/in-cluster.md names is there, when there is something to count."""
    await account.bind()
    with in_pod() as kdns:
        kdns.until(lambda: kdns.ready() == (200, "OK"))
        named = set(re.findall(r"`((?:kdns|coredns)_kubernetes_\w+)`", PAGE.read_text()))
        assert len(named) > 10
        assert named - kdns.metric_names() == set()
