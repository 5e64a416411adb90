"""The autoscaler as the chart starts it, with the rights that the chart gives it."""

from __future__ import annotations

import sys
import time

import pytest
import yaml

from bench.peers.process import ServerProcess

PATIENCE = 30.0
NODE = """\
apiVersion: v1
kind: Node
metadata: {{name: {name}}}
"""
READY = """\
status:
  allocatable: {cpu: "4"}
  conditions: [{type: Ready, status: "True"}]
"""


@pytest.fixture
def nodes(kubectl):
    """Three that pods may be placed on."""
    names = [f"node-{number}" for number in range(3)]
    for name in names:
        kubectl.done("apply", "--filename", "-", given=NODE.format(name=name))
        kubectl.done("patch", "node", name, "--subresource=status", f"--patch={READY}")
        # Nobody takes away the taint that the API server gives to new ones.
        kubectl.done(
            "patch", "node", name, "--type=json", '--patch=[{"op":"remove","path":"/spec/taints"}]'
        )
    yield names
    kubectl.done("delete", "node", *names)


@pytest.fixture
def autoscaled(helm, kubectl, nodes, tmp_path):
    """The namespace of a Deployment that the chart's autoscaler looks after."""
    namespace = kubectl.new_namespace()
    rendered = helm.render(
        "autoscaler",
        "autoscaler.nodesPerReplica=1",
        "autoscaler.customFlags={--poll-period-seconds=1}",
        namespace=namespace,
    )
    kubectl.done("apply", "--server-side", "--filename", "-", given=rendered.text)
    workload = rendered.one("Deployment", "kdns-autoscaler")
    [container] = workload["spec"]["template"]["spec"]["containers"]
    kubeconfig = kubectl.as_account(namespace, "kdns-autoscaler", tmp_path)
    command = [sys.executable, "-m", "kdns", *container["args"], "--kubeconfig", kubeconfig]
    process = ServerProcess(command, tmp_path / "autoscaler.log")
    try:
        yield namespace, tmp_path / "autoscaler.log"
    finally:
        process.stop()
        kubectl.done("delete", "--wait=false", "--filename", "-", given=rendered.text)


def test_autoscaler_scales_with_the_rights_of_the_chart(autoscaled, kubectl):
    namespace, log = autoscaled

    def replicas():
        return kubectl.get("deployment", "kdns", "--namespace", namespace)["spec"]["replicas"]

    def until(count):
        deadline = time.monotonic() + PATIENCE
        while replicas() != count:
            if time.monotonic() > deadline:
                pytest.fail(f"it has {replicas()} replicas:\n{log.read_text()}")
            time.sleep(0.1)

    until(3)
    settings = {"data": {"linear": '{"nodesPerReplica": 1, "min": 5}'}}
    where = ["--namespace", namespace, f"--patch={yaml.safe_dump(settings)}"]
    kubectl.done("patch", "configmap", "kdns-autoscaler", *where)
    until(5)
    assert "forbidden" not in log.read_text()
