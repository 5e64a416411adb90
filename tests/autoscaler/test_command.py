"""The program, where it cannot start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

FLAGS = ["--namespace=kube-system", "--configmap=coredns-autoscaler", "--target=deployment/coredns"]
KUBECONFIG = """\
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
current-context: x
"""


@pytest.fixture
def kubeconfig(tmp_path):
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG)
    return path


def run(*words):
    environment = {each: os.environ[each] for each in ("PATH", "PYTHONPATH") if each in os.environ}
    return subprocess.run(
        [sys.executable, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_an_api_server():
    ended = run("-m", "kdns", "autoscaler", *FLAGS)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout == (
        "[ERROR] no API server: not in a pod, so give --kubeconfig FILE or set KUBECONFIG\n"
    )


def test_port_that_is_taken(kubeconfig):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        words = [*FLAGS, f"--kubeconfig={kubeconfig}"]
        call = f"main({words}, {{}}, {port})"
        code = f"from kdns.autoscaler.command import main; raise SystemExit({call})"
        ended = run("-c", code)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout == f"[ERROR] cannot listen on port {port}: Address already in use\n"


def test_command_line_of_the_server_does_not_pay_for_it():
    code = "import sys, kdns.cli; raise SystemExit('kubernetes' in sys.modules)"
    assert run("-c", code).returncode == 0


def test_it_does_not_pay_for_the_server():
    code = "import sys, kdns.autoscaler.command; print(*sys.modules)"
    own = {each for each in run("-c", code).stdout.split() if each.startswith("kdns.")}
    rooms = {each.split(".")[1] for each in own}
    assert rooms == {"autoscaler", "telemetry"}
    assert "kdns.telemetry.series" not in own
