"""A real API server for the autoscaler alone, since nodes are the whole cluster's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver.conftest import ControlPlane


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd and kube-apiserver; no controller has a say in nodes and scales."""
    assets = os.environ.get("KUBEBUILDER_ASSETS", "")
    if not assets:
        pytest.skip(
            "no API server: set KUBEBUILDER_ASSETS to a folder that holds etcd and kube-apiserver"
        )
    made = ControlPlane(Path(assets), tmp_path_factory.mktemp("autoscaler-plane"))
    try:
        made.start_etcd()
        made.start_apiserver()
        yield made
    finally:
        made.kill()
