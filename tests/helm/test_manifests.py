"""The plain manifests of deploy/ and the packed chart, as `make` makes them."""

from __future__ import annotations

import shutil
import subprocess
import tarfile

import pytest
import yaml

from kdns import __version__
from tests.helm.chart import ROOT, program

FILES = sorted(path.name for path in (ROOT / "helm" / "deploy").glob("*.yaml"))


@pytest.fixture
def make(tmp_path):
    """`make TARGET SETTING...` in the checkout."""
    command = [program("make", "runs the targets"), f"HELM={program('helm', 'renders the chart')}"]

    def made(*words):
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        subprocess.run([*command, *words], cwd=ROOT, env=environment, check=True)

    return made


def test_manifests_are_what_the_chart_renders(make, tmp_path):
    make("manifests", f"DEPLOY={tmp_path / 'deploy'}")

    written = {path.name: path.read_text() for path in (tmp_path / "deploy").iterdir()}
    committed = {path.name: path.read_text() for path in (ROOT / "deploy").iterdir()}
    assert sorted(written) == FILES
    assert written == committed, "run `make manifests` and commit deploy/"


@pytest.mark.parametrize("name", FILES)
def test_manifests_say_nothing_of_helm(name):
    objects = list(yaml.safe_load_all((ROOT / "deploy" / name).read_text()))

    assert all(
        each["metadata"].get("namespace", "kube-system") == "kube-system" for each in objects
    )
    for each in objects:
        assert not any("helm" in key for key in each["metadata"]["labels"])
        assert "app.kubernetes.io/managed-by" not in each["metadata"]["labels"]


def test_chart_is_packed(make, tmp_path):
    folder = tmp_path / "checkout"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copytree(ROOT / "helm", folder / "helm")
    make("-C", str(folder), "chart")

    with tarfile.open(folder / "dist" / f"kdns-{__version__}.tgz") as packed:
        names = packed.getnames()
    assert {"kdns/Chart.yaml", "kdns/values.schema.json", "kdns/dashboards/kdns.json"} <= set(names)
