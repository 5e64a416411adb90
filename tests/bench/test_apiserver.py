import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from bench.peers.apiserver import ApiServer, application
from bench.peers.storage import HISTORY, Storage

type_of_pods = "status.phase!=Failed,status.phase!=Succeeded"


def manifest(kind: str, name: str, namespace: str = "shop", **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
    } | more


LABELLED = {"name": "web-1", "namespace": "data", "labels": {"app": "web"}}
OBJECTS = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
    manifest("Service", "web"),
    manifest("Service", "db", "data"),
    manifest("EndpointSlice", "web-1", "data") | {"metadata": LABELLED},
    manifest("EndpointSlice", "web-2"),
    manifest("ServiceImport", "web"),
    manifest("Pod", "running", status={"phase": "Running"}),
    manifest("Pod", "failed", status={"phase": "Failed"}),
]


@pytest.fixture
def storage() -> Storage:
    return Storage(OBJECTS)


@pytest.fixture
async def client(storage: Storage) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(application(storage))) as client:
        yield client


async def lines(response: ClientResponse, count: int) -> list[dict[str, Any]]:
    return [json.loads(await response.content.readline()) for _ in range(count)]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/api/v1/namespaces", ["shop"]),
        ("/api/v1/services", ["web", "db"]),
        ("/api/v1/namespaces/data/services", ["db"]),
        (f"/api/v1/pods?fieldSelector={type_of_pods}", ["running"]),
        ("/api/v1/services?labelSelector=app=web", []),
        ("/api/v1/services?labelSelector=app!=web", ["web", "db"]),
        ("/apis/discovery.k8s.io/v1/endpointslices", ["web-1", "web-2"]),
        ("/apis/discovery.k8s.io/v1/endpointslices?labelSelector=app", ["web-1"]),
        ("/apis/multicluster.x-k8s.io/v1alpha1/serviceimports", ["web"]),
    ],
)
async def test_list(
    client: TestClient[Any, Any], storage: Storage, path: str, names: list[str]
) -> None:
    accept = {"Accept": "application/vnd.kubernetes.protobuf, */*"}
    async with client.get(path, headers=accept) as response:
        assert response.content_type == "application/json"
        listed = await response.json()
    assert [item["metadata"]["name"] for item in listed["items"]] == names
    assert listed["metadata"]["resourceVersion"] == str(storage.version)


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/api/v1/services", "application/vnd.kubernetes.protobuf", 406),
        ("/api/v1/services?labelSelector=app+in+(a)", "*/*", 400),
        ("/api/v1/services?labelSelector=!app", "*/*", 400),
        ("/api/v1/namespaces/shop/services/none", "*/*", 404),
        ("/api/v1/namespaces/shop", "*/*", 200),
        ("/api/v1/namespaces/shop/services/web", "*/*", 200),
    ],
)
async def test_status(client: TestClient[Any, Any], path: str, accept: str, status: int) -> None:
    async with client.get(path, headers={"Accept": accept}) as response:
        assert response.status == status
        assert (await response.json()).get("code", 200) == status


async def test_watch_list_ends_the_initial_events_with_its_bookmark(
    client: TestClient[Any, Any], storage: Storage
) -> None:
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    async with client.get(f"/api/v1/services?{query}") as response:
        *added, bookmark = await lines(response, 3)
        assert [(e["type"], e["object"]["metadata"]["name"]) for e in added] == [
            ("ADDED", "web"),
            ("ADDED", "db"),
        ]
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["metadata"] == {
            "resourceVersion": str(storage.version),
            "annotations": {"k8s.io/initial-events-end": "true"},
        }
        storage.put(manifest("Service", "web"))
        storage.delete("services", "data", "db")
        assert [event["type"] for event in await lines(response, 2)] == ["MODIFIED", "DELETED"]


async def test_a_watch_from_a_version_replays_what_came_after_it(
    client: TestClient[Any, Any], storage: Storage
) -> None:
    version = storage.version
    storage.put(manifest("Service", "cache"))
    async with client.get(f"/api/v1/services?watch=1&resourceVersion={version}") as response:
        [event] = await lines(response, 1)
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "cache")


async def test_a_watch_from_a_version_that_is_gone_gets_410(
    client: TestClient[Any, Any], storage: Storage
) -> None:
    for _ in range(HISTORY + 1):
        storage.put(manifest("Service", "web"))
    async with client.get("/api/v1/services?watch=1&resourceVersion=1") as response:
        [event] = await lines(response, 1)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


async def test_a_watch_ends_after_its_timeout_with_a_bookmark(
    client: TestClient[Any, Any], storage: Storage
) -> None:
    query = f"watch=1&resourceVersion={storage.version}&timeoutSeconds=0"
    async with client.get(f"/api/v1/services?{query}") as response:
        [event] = [json.loads(line) async for line in response.content]
    assert event["type"] == "BOOKMARK"


async def test_without_watch_list_initial_events_are_refused(storage: Storage) -> None:
    app = application(storage, watch_list=False)
    async with TestClient(TestServer(app)) as client:
        query = "watch=1&sendInitialEvents=true"
        async with client.get(f"/api/v1/services?{query}") as response:
            assert response.status == 422
            assert (await response.json())["reason"] == "Invalid"


def test_the_handle_starts_changes_and_stops_a_server() -> None:
    def names() -> list[str]:
        with urllib.request.urlopen(f"{api.url}/api/v1/services", timeout=10) as response:  # noqa: S310 - loopback
            return [item["metadata"]["name"] for item in json.load(response)["items"]]

    with ApiServer(OBJECTS) as api:
        assert names() == ["web", "db"]
        api.put(manifest("Service", "cache"))
        api.delete("Service", "shop", "web")
        assert names() == ["db", "cache"]
        with pytest.raises(KeyError):
            api.delete("Service", "shop", "web")
    with pytest.raises(urllib.error.URLError):
        names()
