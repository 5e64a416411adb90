"""The flags of `kdns autoscaler`: cluster-proportional-autoscaler's, and --kubeconfig."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from kdns.autoscaler.api import Target
from kdns.autoscaler.parameters import BadParameters, parse
from kdns.autoscaler.scaler import Order

_KINDS: Final = ("deployment", "replicaset", "replicationcontroller")
_IDLE: Final = (
    *("logtostderr", "alsologtostderr", "stderrthreshold", "log-dir", "log-backtrace-at"),
    "vmodule",
)
"""Flags of the Go library glog that change nothing here: log lines go to stdout."""

_DEBUG: Final = 4
"""The --v from which on cluster-proportional-autoscaler says what it counted at each poll."""


class Options(NamedTuple):
    """What a command line asks for."""

    order: Order
    namespace: str
    selector: str
    kubeconfig: str
    verbose: bool
    version: bool


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def parse_flags(words: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Read a command line. Ends the process with a line for each flag that is wrong."""
    options = _arguments().parse_args([_dashes(word) for word in words])
    version = options.version == "true"
    namespace = options.namespace or environment.get("MY_POD_NAMESPACE", "")
    wrong: list[str] = []
    targets = _targets(options.target, wrong)
    defaults = _defaults(options.default_params, wrong)
    if not options.configmap:
        wrong.append("--configmap is missing: name the ConfigMap with the parameters")
    if not namespace:
        wrong.append("--namespace is missing, and MY_POD_NAMESPACE is not set: give one of them")
    period = _number(options.poll_period_seconds, "--poll-period-seconds", 1, wrong)
    failures = _number(options.max_sync_failures, "--max-sync-failures", 0, wrong)
    level = _number(options.v, "--v", 0, wrong)
    if wrong and not version:
        for each in wrong:
            print(f"kdns autoscaler: error: {each}", file=sys.stderr)
        raise SystemExit(2)
    return Options(
        Order(targets, options.configmap, float(period), defaults, failures),
        namespace,
        options.nodelabels,
        options.kubeconfig,
        level >= _DEBUG,
        version,
    )


def _arguments() -> argparse.ArgumentParser:
    arguments = _Arguments(
        prog="kdns autoscaler",
        description="Scale the DNS servers with the nodes and cores of the cluster.",
        allow_abbrev=False,
    )

    def flag(name: str, default: str = "", **settings: Any) -> None:
        arguments.add_argument(f"--{name}", default=default, **settings)

    flag(
        "target",
        metavar="KIND/NAME[,...]",
        help=f"what to scale; KIND is {', '.join(_KINDS[:-1])} or {_KINDS[-1]}",
    )
    flag("configmap", metavar="NAME", help="ConfigMap with the parameters")
    flag("namespace", metavar="NAME", help="of both (default: $MY_POD_NAMESPACE)")
    flag("default-params", metavar="JSON", help="create the ConfigMap with them if there is none")
    flag("poll-period-seconds", "10", metavar="SECONDS", help="between polls (default: 10)")
    flag("nodelabels", metavar="KEY=VALUE[,...]", help="count the nodes that have these labels")
    flag("max-sync-failures", "0", metavar="N", help="end after N failed polls in a row")
    flag("kubeconfig", metavar="FILE", help="outside of a cluster (default: $KUBECONFIG)")
    flag("version", "false", nargs="?", const="true", metavar="true", help="show the version")
    arguments.add_argument(
        "-v", "--v", default="0", metavar="LEVEL", help=f"from {_DEBUG} on, say what is counted"
    )
    for name in _IDLE:
        flag(name, nargs="?", help=argparse.SUPPRESS)
    return arguments


def _dashes(word: str) -> str:
    """A flag's name with dashes for underscores, which the Kubernetes programs take as well."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def _targets(text: str, wrong: list[str]) -> list[Target]:
    if not text:
        wrong.append("--target is missing: give one such as deployment/coredns")
        return []
    targets = []
    for each in text.lower().split(","):
        kind, _, name = each.strip().partition("/")
        if kind not in _KINDS or not re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", name):
            kinds = f"{'/NAME, '.join(_KINDS[:-1])}/NAME or {_KINDS[-1]}/NAME"
            wrong.append(f"--target {each.strip()!r} is none: give {kinds}")
        targets.append(Target(kind, name))
    return targets


def _defaults(text: str, wrong: list[str]) -> dict[str, str] | None:
    """The data of a ConfigMap: the value of each key is JSON itself, on one line."""
    if not text:
        return None
    try:
        said = json.loads(text, parse_float=_plain)
    except (ValueError, RecursionError) as error:
        wrong.append(f"--default-params is no JSON: {error}")
        return None
    if not isinstance(said, dict):
        wrong.append('--default-params is no JSON object such as {"linear":{"nodesPerReplica":16}}')
        return None
    data = {
        key: json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
        for key, value in said.items()
    }
    try:
        parse(data)
    except BadParameters as error:
        wrong.append(f"--default-params would make a bad ConfigMap: {error}")
    return data


def _plain(text: str) -> float:
    """Without a point where there is nothing after it, as whole numbers must be written."""
    number = float(text)
    return int(number) if number.is_integer() else number


def _number(text: str, flag: str, least: int, wrong: list[str]) -> int:
    if re.fullmatch(r"\d{1,9}", text, re.ASCII) and int(text) >= least:
        return int(text)
    wrong.append(f"{flag} {text!r} is none: give a number of {least} or more")
    return least
