"""Clusters as etcd has them, and a control plane that can be lost and replaced."""

from pathlib import Path

import pytest

from bench.dataset import Service, Size, generate
from bench.live.relist import marker, write
from bench.live.storing import ip_address, kept, key, store
from bench.live.writing import Refused, Writer
from bench.peers.controlplane import MISSING, ControlPlane, assets

WEB = Service("shop", "web", ("10.96.0.5", "fd00:10:96::5"), ["10.128.0.9"])
LIKE = {
    "kind": "Service",
    "metadata": {
        "name": "other",
        "uid": "of the other",
        "resourceVersion": "7",
        "managedFields": [{"manager": "x"}],
    },
    "spec": {"sessionAffinity": "None", "clusterIP": "10.96.0.99"},
    "status": {"loadBalancer": {}},
}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (WEB.manifest(), "/registry/services/specs/shop/web"),
        (WEB.slice_manifest(), "/registry/endpointslices/shop/web-slice"),
        (ip_address("fd00:10:96::5", "shop", "web"), "/registry/ipaddresses/fd00:10:96::5"),
    ],
)
def test_key(manifest: dict[str, object], expected: str) -> None:
    assert key(manifest) == expected


def test_an_object_is_kept_as_another_one_of_its_kind() -> None:
    found = kept(WEB.manifest(), LIKE)
    metadata = found["metadata"]
    assert metadata["name"] == "web"
    assert metadata["managedFields"] == [{"manager": "x"}]
    assert metadata["uid"] not in {
        "",
        "of the other",
        kept(WEB.slice_manifest(), {})["metadata"]["uid"],
    }
    assert "resourceVersion" not in metadata
    assert found["spec"]["clusterIP"] == "10.96.0.5"
    assert found["spec"]["sessionAffinity"] == "None"
    assert "selector" not in found["spec"]
    assert found["status"] == {"loadBalancer": {}}


@pytest.mark.skipif(assets() is None, reason=MISSING)
def test_a_cluster_is_stored_and_its_history_is_forgotten(tmp_path: Path) -> None:
    programs = assets()
    assert programs is not None
    dataset = generate(Size(2, 40, 2, 20, 2, 4, 200))
    mark = marker(dataset.namespaces[0], 1)
    with ControlPlane(programs, tmp_path) as plane:
        store(plane, dataset)
        plane.start_apiserver()
        with Writer(plane.kubeconfig) as api:
            for manifest in dataset.objects():
                found = api.get(manifest)
                assert found["metadata"]["name"] == manifest["metadata"]["name"]
                if manifest["kind"] == "EndpointSlice":
                    assert found["endpoints"] == manifest["endpoints"]
                    assert found["metadata"]["managedFields"]
            with pytest.raises(Refused, match="not found"):
                api.get(mark.manifest())
            before = found["metadata"]["resourceVersion"]
            api.put(dataset.srv[0].slice_manifest())

        plane.pause_apiserver()
        write(plane, mark)
        plane.replace_apiserver()
        with Writer(plane.kubeconfig) as api:
            assert api.get(mark.manifest())["spec"]["clusterIP"] == "None"
            assert api.get(mark.slice_manifest())["endpoints"]
            watch = f"/apis/discovery.k8s.io/v1/endpointslices?watch=1&resourceVersion={before}"
            assert b'"reason":"Expired"' in api._ask("GET", watch + "&timeoutSeconds=5")
