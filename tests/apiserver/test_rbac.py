"""A service account with exactly the documented rules, and its token as pods have it."""

from __future__ import annotations

import pytest

from kdns.cluster.api.access import in_cluster
from kdns.cluster.api.feed import ApiFeed
from kdns.cluster.api.resources import resources

RULES = [
    {"apiGroups": [""], "resources": ["namespaces", "services"], "verbs": ["list", "watch"]},
    {
        "apiGroups": ["discovery.k8s.io"],
        "resources": ["endpointslices"],
        "verbs": ["list", "watch"],
    },
]
RBAC = "/apis/rbac.authorization.k8s.io/v1"


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

    async def bind(self):
        name = {"metadata": {"name": self._namespace}}
        await self._cluster.create(f"{RBAC}/clusterroles", {**name, "rules": RULES})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
        subject = {"kind": "ServiceAccount", "name": "kdns", "namespace": self._namespace}
        await self._cluster.create(
            f"{RBAC}/clusterrolebindings",
            {**name, "roleRef": {**role, "name": self._namespace}, "subjects": [subject]},
        )

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
