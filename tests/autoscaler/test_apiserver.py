"""Against a real API server, as the service account that docs/autoscaler.md says."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import yaml
from kubernetes import client, utils

from kdns.autoscaler import api as api_module
from kdns.autoscaler.api import ApiError, KubernetesApi, Target, TooOld, access
from kdns.autoscaler.census import Census, count
from kdns.autoscaler.nodes import NodeWatch
from kdns.autoscaler.options import parse_flags
from kdns.autoscaler.scaler import Scaler
from tests.apiserver.conftest import free_ports

PAGE = Path(__file__).parents[2] / "docs" / "autoscaler.md"
PATIENCE = 30.0
SPACE = "kube-system"
FLAGS = [f"--namespace={SPACE}", "--configmap=coredns-autoscaler", "--target=Deployment/coredns"]
EVERY_NODE = '{"nodesPerReplica":1}'


def until(condition, why=lambda: ""):
    """Another process makes it so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"it did not come to that: {why()}"
        time.sleep(0.02)


class Admin:
    """Whoever runs the cluster, and its kubelets."""

    def __init__(self, kubeconfig):
        self.client = client.ApiClient(access(str(kubeconfig), {}))
        self.core = client.CoreV1Api(self.client)
        self.apps = client.AppsV1Api(self.client)

    def node(self, name, cpu="4", ready="True", labels=None):
        self.core.create_node({"metadata": {"name": name, "labels": labels or {}}})
        self.status(name, cpu, ready)

    def status(self, name, cpu, ready):
        condition = {"type": "Ready", "status": ready, "reason": "Test", "message": ""}
        status = {"allocatable": {"cpu": cpu, "memory": "8Gi"}, "conditions": [condition]}
        self.core.patch_node_status(name, {"status": status})

    def cordon(self, name, cordoned=True):
        self.core.patch_node(name, {"spec": {"unschedulable": cordoned}})

    def make(self, kind, name, replicas=1):
        labels = {"k8s-app": name}
        pod = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        }
        body = {
            "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod},
        }
        if kind == "deployment":
            self.apps.create_namespaced_deployment(SPACE, body)
        elif kind == "replicaset":
            self.apps.create_namespaced_replica_set(SPACE, body)
        else:
            body["spec"]["selector"] = labels
            self.core.create_namespaced_replication_controller(SPACE, body)

    def replicas(self, name="coredns"):
        return self.apps.read_namespaced_deployment(name, SPACE).spec.replicas

    def generation(self, name="coredns"):
        return self.apps.read_namespaced_deployment(name, SPACE).metadata.generation

    def configure(self, **data):
        body = {"metadata": {"name": "coredns-autoscaler"}, "data": data}
        every = self.core.list_namespaced_config_map(SPACE).items
        if any(each.metadata.name == "coredns-autoscaler" for each in every):
            self.core.replace_namespaced_config_map("coredns-autoscaler", SPACE, body)
        else:
            self.core.create_namespaced_config_map(SPACE, body)

    def clear(self):
        self.core.delete_collection_node()
        self.apps.delete_collection_namespaced_deployment(SPACE)
        self.apps.delete_collection_namespaced_replica_set(SPACE)
        self.core.delete_collection_namespaced_replication_controller(SPACE)
        self.core.delete_collection_namespaced_config_map(SPACE)


@pytest.fixture(scope="session")
def admin_of_all(plane):
    made = Admin(plane.kubeconfig)
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for each in yaml.safe_load_all(text):
        utils.create_from_dict(made.client, each)
    made.core.create_namespaced_service_account(SPACE, {"metadata": {"name": "nobody"}})
    return made


@pytest.fixture
def admin(admin_of_all):
    """With nothing there yet."""
    admin_of_all.clear()
    return admin_of_all


@pytest.fixture
def as_account(admin, plane, tmp_path):
    """The configuration of a pod with a service account."""

    def made(name):
        token = admin.core.create_namespaced_service_account_token(
            name, SPACE, {"spec": {"audiences": [], "expirationSeconds": 3600}}
        )
        (tmp_path / "token").write_text(token.status.token)
        (tmp_path / "ca.crt").write_bytes((plane.folder / "ca.crt").read_bytes())
        pod = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(plane.port)}
        return access("", pod, tmp_path)

    return made


@contextmanager
def scaling(configuration, *flags):
    """A scaler, to be polled, over nodes that are followed in a thread."""
    options = parse_flags([*FLAGS, *flags], {})
    api = KubernetesApi(configuration, options.namespace)
    ended = threading.Event()
    nodes = NodeWatch(api, options.selector, time.monotonic, lambda seconds: ended.wait(0.05))
    nodes.step()
    # A watch that waits for the next change ends with the process.
    threading.Thread(target=nodes.run, daemon=True).start()
    scaler = Scaler(api, nodes, options.order, time.monotonic)
    try:
        yield scaler
    finally:
        ended.set()


def comes_to(admin, scaler, replicas, *, nodes=None):
    def so():
        scaler.poll()
        return admin.replicas() == replicas and nodes in (None, scaler.polls.census.nodes)

    until(so, lambda: f"{admin.replicas()} replicas, {scaler.polls}")


def test_scales_over_nodes_that_come_and_go(admin, as_account):
    admin.make("deployment", "coredns")
    admin.configure(linear=EVERY_NODE)
    admin.node("a")
    with scaling(as_account("kdns-autoscaler")) as scaler:
        scaler.poll()
        assert scaler.polls.error == ""
        assert admin.replicas() == 1

        for name in ("b", "c", "d"):
            admin.node(name)
        comes_to(admin, scaler, 4)
        admin.cordon("b")
        comes_to(admin, scaler, 3)
        admin.status("c", "4", "Unknown")
        comes_to(admin, scaler, 2)
        admin.core.delete_node("d")
        comes_to(admin, scaler, 1, nodes=3)
        admin.cordon("b", cordoned=False)
        comes_to(admin, scaler, 2)
        assert scaler.polls.census == Census(2, 8, 3, 12)

        generation = admin.generation()
        for _ in range(3):
            scaler.poll()
        assert admin.generation() == generation, "nothing is written that is so already"
        assert scaler.polls.failures == 0


def test_cores_unschedulable_nodes_and_the_ladder(admin, as_account):
    admin.make("deployment", "coredns")
    admin.node("a", cpu="1930m")
    admin.node("b", cpu="1930m")
    admin.node("c", cpu="1930m")
    admin.cordon("c")
    admin.configure(linear='{"coresPerReplica":1}')
    with scaling(as_account("kdns-autoscaler")) as scaler:
        comes_to(admin, scaler, 4)
        admin.configure(linear='{"coresPerReplica":1,"includeUnschedulableNodes":true}')
        comes_to(admin, scaler, 6)
        admin.configure(ladder='{"coresToReplicas":[[1,1],[4,5],[6,9]]}')
        comes_to(admin, scaler, 5)
        admin.configure(ladder='{"nodesToReplicas":[[0,0],[9,1]]}')
        comes_to(admin, scaler, 0)
        admin.configure(linear='{"nodesPerReplica":16,"preventSinglePointFailure":true}')
        comes_to(admin, scaler, 2)


def test_bad_configmap_stops_it_until_it_is_mended(admin, as_account):
    admin.make("deployment", "coredns", 5)
    admin.node("a")
    admin.configure(linear=EVERY_NODE, ladder="{}")
    with scaling(as_account("kdns-autoscaler")) as scaler:
        for _ in range(2):
            scaler.poll()
            assert "one key, linear or ladder, and has ladder, linear" in scaler.polls.error
        assert admin.replicas() == 5
        admin.configure(linear=EVERY_NODE)
        scaler.poll()
        assert scaler.polls.error == ""
        assert admin.replicas() == 1


def test_configmap_is_created_from_the_defaults(admin, as_account):
    admin.make("deployment", "coredns")
    admin.node("a")
    linear = '{"coresPerReplica":256,"nodesPerReplica":16,"preventSinglePointFailure":true}'
    flag = f'--default-params={{"linear":{linear}}}'
    with scaling(as_account("kdns-autoscaler"), flag) as scaler:
        scaler.poll()
        assert scaler.polls.error == ""
    found = admin.core.read_namespaced_config_map("coredns-autoscaler", SPACE)
    assert found.data == {"linear": linear}


def test_labels_choose_the_nodes(admin, as_account):
    admin.make("deployment", "coredns")
    admin.configure(linear=EVERY_NODE)
    admin.node("a", labels={"zone": "x"})
    admin.node("b", labels={"zone": "y"})
    with scaling(as_account("kdns-autoscaler"), "--nodelabels=zone=x") as scaler:
        comes_to(admin, scaler, 1, nodes=1)
        admin.core.patch_node("b", {"metadata": {"labels": {"zone": "x"}}})
        comes_to(admin, scaler, 2, nodes=2)
        admin.core.patch_node("a", {"metadata": {"labels": {"zone": "y"}}})
        comes_to(admin, scaler, 1, nodes=1)


def test_labels_that_make_no_sense(admin, as_account):
    with scaling(as_account("kdns-autoscaler"), "--nodelabels=a b") as scaler:
        scaler.poll()
    assert scaler.polls.error.startswith("cannot list nodes: unable to parse requirement")
    assert scaler.polls.error.endswith("(400)")


def test_all_kinds_of_targets(admin, plane):
    for kind in ("deployment", "replicaset", "replicationcontroller"):
        admin.make(kind, "coredns")
    admin.configure(linear='{"nodesPerReplica":1,"min":3}')
    targets = "--target=deployment/coredns,replicaset/coredns,replicationcontroller/coredns"
    with scaling(access(str(plane.kubeconfig), {}), targets) as scaler:
        scaler.poll()
        assert scaler.polls.error == ""
        assert scaler.polls.writes == 3
    assert admin.replicas() == 3
    assert admin.apps.read_namespaced_replica_set("coredns", SPACE).spec.replicas == 3
    assert admin.core.read_namespaced_replication_controller("coredns", SPACE).spec.replicas == 3


def test_without_rights_it_says_which_are_missing(admin, as_account):
    admin.configure(linear=EVERY_NODE)
    with scaling(as_account("nobody")) as scaler:
        scaler.poll()
    api = KubernetesApi(as_account("nobody"), SPACE)
    target = Target("deployment", "coredns")
    for ask, what in (
        (lambda: scaler.polls.error, "cannot list nodes: "),
        (lambda: api.settings("x"), f"cannot get ConfigMap {SPACE}/x: "),
        (lambda: api.create_settings("x", {}), f"cannot create ConfigMap {SPACE}/x: "),
        (lambda: api.scale(target), f"cannot get the scale of deployment/coredns in {SPACE}: "),
        (lambda: list(api.changes("", "1", 1)), "cannot watch nodes: "),
    ):
        try:
            said = ask()
        except ApiError as error:
            said = str(error)
        assert said.startswith(what)
        assert "is forbidden: " in said
        assert said.endswith("(403)")
        assert "\n" not in said


def test_nothing_but_the_documented_rights(admin, as_account):
    account = client.CoreV1Api(client.ApiClient(as_account("kdns-autoscaler")))
    for refused in (
        lambda: account.list_namespaced_secret(SPACE),
        lambda: account.list_namespaced_config_map(SPACE),
        lambda: account.read_namespaced_config_map("x", "default"),
        lambda: account.delete_namespaced_config_map("x", SPACE),
        lambda: account.read_node("a"),
    ):
        with pytest.raises(client.ApiException) as caught:
            refused()
        assert caught.value.status == 403


def test_target_that_is_missing(admin, as_account):
    admin.configure(linear=EVERY_NODE)
    with scaling(as_account("kdns-autoscaler")) as scaler:
        scaler.poll()
    assert scaler.polls.error == (
        "cannot get the scale of deployment/coredns in kube-system:"
        ' deployments.apps "coredns" not found (404)'
    )


def test_scale_that_somebody_else_wrote_since_is_not_overwritten(admin, as_account):
    admin.make("deployment", "coredns")
    api = KubernetesApi(as_account("kdns-autoscaler"), SPACE)
    target = Target("deployment", "coredns")
    found = api.scale(target)
    other = api.scale(target)
    api.rescale(target, other, 3)
    with pytest.raises(ApiError, match=r"has been modified.*\(409\)"):
        api.rescale(target, found, 7)
    assert admin.replicas() == 3
    # From 0, which the API server says by leaving it out.
    api.rescale(target, api.scale(target), 0)
    assert api.scale(target).replicas == 0
    api.rescale(target, api.scale(target), 2)
    assert admin.replicas() == 2


def test_nodes_page_by_page(admin, plane, monkeypatch):
    for number in range(5):
        admin.node(f"n{number}")
    monkeypatch.setattr(api_module, "_PAGE", 2)
    nodes, version = KubernetesApi(access(str(plane.kubeconfig), {}), SPACE).nodes("")
    assert count(nodes.values()) == Census(5, 20, 5, 20)
    assert int(version) > 0


def test_watch_ends_in_time(admin, plane):
    api = KubernetesApi(access(str(plane.kubeconfig), {}), SPACE)
    _, version = api.nodes("")
    assert all(each.name == "" for each in api.changes("", version, 1))


def test_outage_costs_polls_and_no_more(admin, plane, as_account):
    admin.make("deployment", "coredns")
    admin.configure(linear=EVERY_NODE)
    admin.node("a")
    admin.node("b")
    with scaling(as_account("kdns-autoscaler")) as scaler:
        comes_to(admin, scaler, 2)
        plane.kill("kube-apiserver")
        try:
            scaler.poll()
            assert scaler.polls.error.startswith("cannot get ConfigMap ")
            assert "\n" not in scaler.polls.error
        finally:
            plane.restore()
        admin.node("c")
        comes_to(admin, scaler, 3)
    # It knows nothing of what was before its start.
    with pytest.raises(TooOld, match="too old resource version"):
        list(KubernetesApi(as_account("kdns-autoscaler"), SPACE).changes("", "1", 1))


def page(port, path):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def reachable(port):
    try:
        return bool(page(port, "/healthz"))
    except OSError:
        return False


def test_process(admin, plane, tmp_path):
    admin.make("deployment", "coredns")
    admin.node("a")
    [port] = free_ports(1)
    flags = [*FLAGS, "--poll-period-seconds=1", '--default-params={"linear":{"nodesPerReplica":1}}']
    code = f"from kdns.autoscaler.command import main; raise SystemExit(main({flags}, port={port}))"
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "KUBECONFIG": str(plane.kubeconfig)},
            stdout=output,
            stderr=output,
        )
    try:
        until(lambda: reachable(port), log.read_text)
        until(lambda: "polls_total 1.0" in page(port, "/metrics")[1], log.read_text)
        assert page(port, "/healthz") == (200, "ok\n")
        assert page(port, "/last-poll") == (200, "ok\n")
        for name in ("b", "c"):
            admin.node(name)
        until(lambda: admin.replicas() == 3, log.read_text)
        until(lambda: "wanted_replicas 3.0" in page(port, "/metrics")[1])
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
    lines = log.read_text().splitlines()
    assert lines[0].endswith("scales deployment/coredns in kube-system")
    assert "[INFO] created ConfigMap coredns-autoscaler with the default parameters" in lines
    assert not [each for each in lines if not each.startswith("[INFO]")]


def test_too_many_failures_end_the_process(admin, plane, tmp_path):
    [port] = free_ports(1)
    flags = [*FLAGS, "--poll-period-seconds=1", "--max-sync-failures=2"]
    code = f"from kdns.autoscaler.command import main; raise SystemExit(main({flags}, port={port}))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KUBECONFIG": str(plane.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert run.returncode == 1
    missing = "there is no ConfigMap coredns-autoscaler: create it, or give --default-params"
    assert run.stdout.splitlines()[1:] == [
        f"[ERROR] {missing}",
        f"[ERROR] {missing}",
        "[ERROR] 2 polls in a row failed, which ends this",
    ]
