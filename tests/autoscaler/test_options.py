"""Flags: cluster-proportional-autoscaler's as they stand, and a line for each that is wrong."""

from __future__ import annotations

import pytest

from kdns import __version__
from kdns.autoscaler.api import Target
from kdns.autoscaler.options import parse_flags
from kdns.autoscaler.scaler import Order
from kdns.cli import main

NEEDED = [
    "--target=deployment/coredns",
    "--configmap=coredns-autoscaler",
    "--namespace=kube-system",
]
STOCK = (
    '{"linear":{"coresPerReplica":256,"nodesPerReplica":16,"preventSinglePointFailure":true,'
    '"includeUnschedulableNodes":true}}'
)


def test_stock_manifest():
    """The command line of the dns-autoscaler that comes with Kubernetes."""
    words = [
        "--namespace=kube-system",
        "--configmap=kube-dns-autoscaler",
        "--target=Deployment/kube-dns",
        f"--default-params={STOCK}",
        "--logtostderr=true",
        "--v=2",
    ]
    options = parse_flags(words, {})
    linear = (
        '{"coresPerReplica":256,"includeUnschedulableNodes":true,"nodesPerReplica":16,'
        '"preventSinglePointFailure":true}'
    )
    assert options.order == Order(
        [Target("deployment", "kube-dns")], "kube-dns-autoscaler", 10.0, {"linear": linear}, 0
    )
    assert options[1:] == ("kube-system", "", "", False, False)


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--v=4"], "verbose", True),
        (["-v", "4"], "verbose", True),
        (["--v=3"], "verbose", False),
        (["--nodelabels=a=b,c=d"], "selector", "a=b,c=d"),
        (["--kubeconfig", "/k"], "kubeconfig", "/k"),
        (["--namespace=other"], "namespace", "other"),
        (["--logtostderr", "--alsologtostderr=false", "--vmodule=x=1"], "verbose", False),
        (["--stderrthreshold=2", "--log_dir=/x", "--log-backtrace-at=:0"], "verbose", False),
        (["--version=true"], "version", True),
        (["--version=false"], "version", False),
    ],
)
def test_flag(words, name, value):
    assert getattr(parse_flags([*NEEDED, *words], {}), name) == value


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--poll-period-seconds=3"], "period", 3.0),
        (["--poll_period_seconds", "3"], "period", 3.0),
        (["--max-sync-failures=5"], "max_failures", 5),
        (
            ["--target=ReplicaSet/A, deployment/b.c"],
            "targets",
            [("replicaset", "a"), ("deployment", "b.c")],
        ),
        (["--target=replicationcontroller/x-1"], "targets", [("replicationcontroller", "x-1")]),
        (
            ['--default-params={"ladder":{"nodesToReplicas":[[1.0,2]]}}'],
            "defaults",
            {"ladder": '{"nodesToReplicas":[[1,2]]}'},
        ),
        (
            ['--default-params={"linear":{"nodesPerReplica":2.50,"min":1e0}}'],
            "defaults",
            {"linear": '{"min":1,"nodesPerReplica":2.5}'},
        ),
        ([], "defaults", None),
    ],
)
def test_order(words, name, value):
    assert getattr(parse_flags([*NEEDED, *words], {}).order, name) == value


def test_namespace_of_the_pod():
    words, pod = NEEDED[:2], {"MY_POD_NAMESPACE": "dns"}
    assert parse_flags(words, pod).namespace == "dns"
    assert parse_flags(NEEDED, pod).namespace == "kube-system"


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (
            [],
            [
                "--target is missing: give one such as deployment/coredns",
                "--configmap is missing: name the ConfigMap with the parameters",
                "--namespace is missing, and MY_POD_NAMESPACE is not set: give one of them",
            ],
        ),
        (
            [*NEEDED, "--target=statefulset/x,deployment/a/b"],
            [
                f"--target {each!r} is none: give deployment/NAME, replicaset/NAME or"
                " replicationcontroller/NAME"
                for each in ("statefulset/x", "deployment/a/b")
            ],
        ),
        (
            [*NEEDED, "--poll-period-seconds=0", "--max-sync-failures=-1", "--v=x"],
            [
                "--poll-period-seconds '0' is none: give a number of 1 or more",
                "--max-sync-failures '-1' is none: give a number of 0 or more",
                "--v 'x' is none: give a number of 0 or more",
            ],
        ),
        (
            [*NEEDED, '--default-params={"a":'],
            [
                "--default-params is no JSON: Expecting value: line 1 column 6 (char 5)",
            ],
        ),
        (
            [*NEEDED, "--default-params=[]"],
            ['--default-params is no JSON object such as {"linear":{"nodesPerReplica":16}}'],
        ),
        (
            [*NEEDED, '--default-params={"linear":{"min":-1}}'],
            [
                "--default-params would make a bad ConfigMap: linear: min is -1: give 0 or more",
            ],
        ),
        ([*NEEDED, "--bogus"], ["unrecognized arguments: --bogus"]),
        ([*NEEDED, "--configmap"], ["argument --configmap: expected one argument"]),
    ],
)
def test_wrong(words, lines, capsys):
    with pytest.raises(SystemExit) as ended:
        parse_flags(words, {})
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        f"kdns autoscaler: error: {each}" for each in lines
    ]


def test_version_needs_no_other_flag(capsys):
    assert main(["autoscaler", "--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"
