"""helm, and a real API server to say what it thinks of what helm renders."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.apiserver.conftest import ControlPlane
from tests.helm.chart import Helm, program

PATIENCE = 30.0
MONITORS = Path(__file__).with_name("servicemonitor.yaml")


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    return Helm(program("helm", "renders the chart"), tmp_path)


class Kubectl:
    """kubectl as administrator of a control plane."""

    def __init__(self, kubectl: Path, kubeconfig: Path) -> None:
        self._command = [kubectl, "--kubeconfig", kubeconfig]
        self._numbers = itertools.count()
        self.kubeconfig = kubeconfig

    def run(self, *words: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._command, *words], input=given, check=False, capture_output=True, text=True
        )

    def done(self, *words: str | Path, given: str = "") -> str:
        """What a command that must succeed prints."""
        result = self.run(*words, given=given)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def get(self, *words: str) -> Any:
        """An object, or a list of them."""
        return yaml.safe_load(self.done("get", *words, "--output", "yaml"))

    def new_namespace(self, **labels: str) -> str:
        """The name of one with these Pod Security levels by mode."""
        return self.namespace(f"chart-{next(self._numbers)}", **labels)

    def namespace(self, name: str, **labels: str) -> str:
        """Have one of that name, with these Pod Security levels by mode."""
        security = {f"pod-security.kubernetes.io/{key}": value for key, value in labels.items()}
        metadata = {"name": name, "labels": security}
        body = yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self.done("apply", "--filename", "-", given=body)
        return name

    def may(self, account: str, verb: str, resource: str, namespace: str = "") -> bool:
        """Whether a service account, NAMESPACE:NAME, may; in all namespaces where none is named."""
        where = ["--namespace", namespace] if namespace else ["--all-namespaces"]
        user = f"system:serviceaccount:{account}"
        result = self.run("auth", "can-i", verb, resource, *where, f"--as={user}")
        answer = result.stdout.strip()
        assert answer in ("yes", "no"), result.stderr
        return answer == "yes"

    def as_account(self, namespace: str, name: str, folder: Path) -> Path:
        """A kubeconfig of a service account."""
        token = self.done("create", "token", name, "--namespace", namespace).strip()
        config = yaml.safe_load(self.kubeconfig.read_text())
        [cluster] = config["clusters"]
        authority = self.kubeconfig.parent / cluster["cluster"]["certificate-authority"]
        cluster["cluster"]["certificate-authority"] = str(authority)
        config["users"] = [{"name": "admin", "user": {"token": token}}]
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    def until(self, *words: str) -> str:
        """What a command prints once it succeeds."""
        deadline = time.monotonic() + PATIENCE
        while (result := self.run(*words)).returncode != 0:
            if time.monotonic() > deadline:
                pytest.fail(f"kubectl {' '.join(words)}: {result.stderr}")
            time.sleep(0.1)
        return result.stdout


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """Of a control plane that knows ServiceMonitors."""
    assets = Path(os.environ.get("KUBEBUILDER_ASSETS", ""))
    if not (assets / "kubectl").is_file() or not (assets / "etcd").is_file():
        pytest.skip(
            "no API server: set KUBEBUILDER_ASSETS to a folder that holds etcd, kube-apiserver,"
            " kube-controller-manager and kubectl"
        )
    plane = ControlPlane(assets, tmp_path_factory.mktemp("control-plane"))
    try:
        plane.start()
        made = Kubectl(assets / "kubectl", plane.kubeconfig)
        made.until("get", "priorityclass", "system-cluster-critical")
        made.done("apply", "--filename", MONITORS)
        made.namespace("monitoring")
        made.until("get", "servicemonitors")
        yield made
    finally:
        plane.kill()
