"""Who asks, and what is made of answers that no API server should give."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from kdns.autoscaler.api import ApiError, KubernetesApi, NodeEvent, Target, TooOld, access
from kdns.autoscaler.census import Node
from kdns.autoscaler.nodes import NodeWatch
from tests.apiserver.conftest import free_ports
from tests.autoscaler.scripted import CORE, Clock

POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def kubeconfig(folder, server="http://127.0.0.1:1", **user):
    path = folder / "kubeconfig"
    said = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(said))
    return str(path)


@pytest.fixture
def account(tmp_path):
    (tmp_path / "token").write_text("from-the-pod")
    (tmp_path / "ca.crt").write_text("not read before it is used")
    return tmp_path


def told(configuration):
    return configuration.host, configuration.auth_settings()["BearerToken"]["value"]


def test_flag_comes_before_the_variable_and_both_before_the_pod(account, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    flag = kubeconfig(tmp_path / "a", "http://flag", token="from-the-flag")  # noqa: S106 - no secret
    variable = kubeconfig(tmp_path / "b", "http://variable", token="of-it")  # noqa: S106 - no secret
    pod = POD | {"KUBECONFIG": variable}
    assert told(access(flag, pod, account)) == ("http://flag", "Bearer from-the-flag")
    assert told(access("", pod, account)) == ("http://variable", "Bearer of-it")
    assert told(access("", POD, account)) == ("https://10.96.0.1:443", "bearer from-the-pod")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot use the kubeconfig .*: Invalid kube-config file"),
        ("", "cannot use the kubeconfig "),
        ("{", "cannot use the kubeconfig .*: while parsing a flow"),
        ("5", "it is no kubeconfig"),
        ("[]", "it is no kubeconfig"),
        ("contexts: []\ncurrent-context: x", "cannot use the kubeconfig "),
        ("clusters: []\nusers: []\ncontexts: []\ncurrent-context: x", "with name x"),
    ],
    ids=["missing", "empty", "no YAML", "number", "list", "half", "no context"],
)
def test_kubeconfig_that_cannot_be_used(tmp_path, content, why):
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ApiError, match=why) as caught:
        access(str(path), {})
    assert "\n" not in str(caught.value)


def test_neither_kubeconfig_nor_pod():
    with pytest.raises(ApiError, match="give --kubeconfig FILE or set KUBECONFIG"):
        access("", {})


@pytest.mark.parametrize(("name", "why"), [("token", "token file"), ("ca.crt", "ertificat")])
def test_service_account_that_is_not_there(account, name, why):
    (account / name).unlink()
    with pytest.raises(ApiError, match=f"cannot use the service account in .*: .*{why}"):
        access("", POD, account)


@contextmanager
def answering(*answers):
    """The URL of a server that gives these (status, chunks) one after the other."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status, chunks = left.pop(0)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")  # as it is: nobody may count on it
            self.end_headers()
            for chunk in chunks:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            if chunks[-1:] != [CUT]:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(0.01))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


CUT = b" "
"""As the last chunk: the connection ends in the middle."""


def node(name, cpu="4", version="9"):
    return {
        "metadata": {"name": name, "resourceVersion": version},
        "status": {
            "allocatable": {"cpu": cpu, "memory": "1Gi"},
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": None}],
        },
    }


def line(kind, content):
    return json.dumps({"type": kind, "object": content}).encode() + b"\n"


def nodes_of(*items):
    return json.dumps({"metadata": {"resourceVersion": "7"}, "items": items}).encode()


def reach(url, folder):
    return KubernetesApi(access(kubeconfig(folder, url), {}), "kube-system")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((200, [b"<html>"]), r"cannot list nodes: JSON is malformed"),
        ((200, [b'{"metadata":{},"items":[{"metadata":5}]}']), "cannot list nodes: Expected"),
        ((503, [b"<html>\nno\n</html>"]), r"cannot list nodes: Service Unavailable \(503\)"),
        ((403, [b'{"message":"not\\nyou"}']), r"cannot list nodes: not you \(403\)$"),
        ((410, [b'{"message":"the continue token is too old"}']), r"too old \(410\)$"),
        ((200, [b"{", CUT]), "cannot list nodes: .*"),
    ],
    ids=["page", "shape", "proxy", "refused", "too old", "cut"],
)
def test_lists_that_are_none(tmp_path, answer, why):
    with answering(answer) as url, pytest.raises(ApiError, match=why) as caught:
        reach(url, tmp_path).nodes("")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, TooOld) is (answer[0] == 410)


def test_list_without_any(tmp_path):
    with answering((200, [b'{"metadata":{"resourceVersion":"3"},"items":null}'])) as url:
        assert reach(url, tmp_path).nodes("") == ({}, "3")


@pytest.mark.parametrize(
    ("cordoned", "conditions", "schedulable"),
    [
        (False, [("Ready", "True")], True),
        (False, [("DiskPressure", "False"), ("Ready", "True")], True),
        (True, [("Ready", "True")], False),
        (False, [("Ready", "Unknown")], False),
        (False, [("Ready", "False"), ("DiskPressure", "True")], False),
        (False, [], False),
    ],
)
def test_where_pods_may_be_placed(tmp_path, cordoned, conditions, schedulable):
    said = node("a")
    said["spec"] = {"unschedulable": cordoned, "taints": [{"key": "x", "effect": "NoSchedule"}]}
    said["status"]["conditions"] = [{"type": kind, "status": is_so} for kind, is_so in conditions]
    with answering((200, [nodes_of(said)])) as url:
        assert reach(url, tmp_path).nodes("")[0] == {"a": Node(schedulable, 4 * CORE)}


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_configmap_that_cannot_be_read_is_not_one_that_is_not_there(tmp_path, status):
    with answering((404, [b"{}"]), (status, [b"{}"])) as url:
        api = reach(url, tmp_path)
        assert api.settings("x") is None
        with pytest.raises(ApiError, match=rf"cannot get ConfigMap kube-system/x: .*\({status}\)"):
            api.settings("x")


def test_nodes_that_lack_something(tmp_path, caplog):
    bare = {"metadata": {"name": "bare"}}
    empty = {"metadata": {"name": "empty"}, "spec": {}, "status": {"conditions": None}}
    with answering((200, [nodes_of(bare, empty, node("odd", cpu="many"), node("good"))])) as url:
        found, _ = reach(url, tmp_path).nodes("")
    assert found == {
        "bare": Node(False, 0),
        "empty": Node(False, 0),
        "odd": Node(True, 0),
        "good": Node(True, 4 * CORE),
    }
    assert caplog.messages == ["node odd counts as none of cores: cpu: 'many' is no quantity"]


def test_events_are_those_of_lines_and_not_of_chunks(tmp_path):
    gone = line("DELETED", node("b", version="11"))
    chunks = [
        line("ADDED", node("a")) + gone[:20],
        gone[20:-1],
        b"\n\n" + line("BOOKMARK", {"metadata": {"resourceVersion": "12"}}),
        line("MODIFIED", node("a", cpu="500m", version="13")),
    ]
    with answering((200, chunks)) as url:
        assert list(reach(url, tmp_path).changes("", "7", 1)) == [
            NodeEvent("a", Node(True, 4 * CORE), "9"),
            NodeEvent("b", None, "11"),
            NodeEvent("", None, "12"),
            NodeEvent("a", Node(True, CORE // 2), "13"),
        ]


@pytest.mark.parametrize(
    ("chunks", "kind", "why"),
    [
        ([line("ERROR", {"code": 410, "message": "too old"})], TooOld, r"too old \(410\)"),
        ([line("ERROR", {"code": 500, "message": "etcd"})], TooOld, r"etcd \(500\)"),
        ([b"garbage\n"], ApiError, "cannot watch nodes: JSON is malformed"),
        ([b'{"type":"ADDED"}\n'], ApiError, "cannot watch nodes: Object missing"),
        ([line("ADDED", node("b")), CUT], ApiError, "cannot watch nodes: "),
    ],
    ids=["410", "500", "garbage", "no object", "cut"],
)
def test_watches_that_break(tmp_path, chunks, kind, why):
    with answering((200, [line("ADDED", node("a")), *chunks])) as url:
        changes = reach(url, tmp_path).changes("", "7", 1)
        assert next(changes).name == "a"
        with pytest.raises(kind, match=why):
            list(changes)


def test_nodes_are_found_again_after_answers_that_are_none(tmp_path):
    answers = [
        (500, [b"{}"]),
        (200, [nodes_of(node("a"))]),
        (200, [line("ADDED", node("b")), b"garbage\n"]),
        (200, [line("ERROR", {"code": 410, "message": "too old"})]),
        (200, [nodes_of(node("c"), node("d"), node("e"))]),
    ]
    counted = []
    with answering(*answers) as url:
        watch = NodeWatch(reach(url, tmp_path), "", Clock(), lambda seconds: True)
        for _ in answers:
            watch.step()
            try:
                counted.append(watch.census().nodes)
            except ApiError:
                counted.append(None)
    assert counted == [None, 1, 2, 2, 3]


def test_nobody_is_there(tmp_path):
    [port] = free_ports(1)
    api = reach(f"http://127.0.0.1:{port}", tmp_path)
    for ask in (
        lambda: api.nodes(""),
        lambda: list(api.changes("", "1", 1)),
        lambda: api.settings("x"),
        lambda: api.scale(Target("deployment", "x")),
    ):
        with pytest.raises(ApiError, match="refused") as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_password_of_a_kubeconfig(tmp_path):
    path = kubeconfig(tmp_path, username="u", password="p")  # noqa: S106 - no secret
    assert told(access(path, {}))[1] == "Basic " + base64.b64encode(b"u:p").decode()
