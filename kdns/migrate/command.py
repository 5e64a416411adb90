"""The command line of `kdns migrate`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdns.autoscaler.api import ApiError, KubernetesApi, access
from kdns.migrate.adapting import Note
from kdns.migrate.central import Central, central
from kdns.migrate.configmaps import (
    NAMES,
    NODE_LOCAL,
    ConfigMaps,
    Unusable,
    of_cluster,
    of_files,
)
from kdns.migrate.nodelocal import NodeLocal, node_local
from kdns.migrate.writing import to_yaml

_NAMESPACE = "kube-system"


def main(words: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run a command line without the word `migrate`; 1 where something is lost or unusable."""
    options = _arguments(words)
    try:
        found = _configmaps(options, environment)
        if not found:
            raise Unusable(
                f"there is none of the ConfigMaps {', '.join(NAMES)}"
                + ("" if options.file else f" in {options.namespace}: give --namespace or -f")
            )
        with tempfile.TemporaryDirectory() as scratch:
            dns = central(found, Path(scratch), environment)
        node = node_local(found[NODE_LOCAL]) if NODE_LOCAL in found else None
    except (ApiError, Unusable) as error:
        print(f"kdns migrate: {error}", file=sys.stderr)
        return 1
    notes = [*(dns.notes if dns else ()), *(node.notes if node else ())]
    if options.output == "values":
        notes += dns.placing if dns else ()
        text = _values(dns, node)
    else:
        text = dns.corefile if dns else node.corefile if node else ""
    notes = list(dict.fromkeys(notes))
    heading = _heading(sorted(found), notes, _next(options, dns, node))
    print(heading + text, end="")
    lost = sum(note.lost for note in notes)
    if lost:
        print(
            f"kdns migrate: clients may notice {lost} of the changes, marked with ! above",
            file=sys.stderr,
        )
    return 1 if lost else 0


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    arguments = argparse.ArgumentParser(
        prog="kdns migrate",
        description=f"Read the ConfigMaps {', '.join(NAMES)} and print what kdns takes in their"
        " place, with what changes and why. Writes nothing to the cluster. Exit code 0: clients"
        " notice nothing; 1: they may, or a ConfigMap cannot be used.",
    )
    arguments.add_argument(
        *("-f", "--file"),
        action="append",
        type=Path,
        metavar="FILE|DIR",
        help="read YAML instead of the cluster; may be given again",
    )
    arguments.add_argument(
        "--kubeconfig",
        default="",
        metavar="FILE",
        help="of the cluster (default: $KUBECONFIG, else that of the pod this runs in)",
    )
    arguments.add_argument("--namespace", default=_NAMESPACE, help="default: %(default)s")
    arguments.add_argument(
        "--output",
        choices=("values", "corefile"),
        default="values",
        help="values of the chart kdns, or the Corefile alone (default: values)",
    )
    return arguments.parse_args(words)


def _configmaps(options: argparse.Namespace, environment: Mapping[str, str]) -> ConfigMaps:
    if options.file:
        return of_files(options.file)
    return of_cluster(KubernetesApi(access(options.kubeconfig, environment), options.namespace))


def _values(dns: Central | None, node: NodeLocal | None) -> str:
    values: dict[str, Any] = {}
    if dns is None:
        values["deployment"] = {"enabled": False}
    else:
        values |= dns.values
    if node is not None:
        values |= node.values
    return to_yaml(values)


def _next(options: argparse.Namespace, dns: Central | None, node: NodeLocal | None) -> list[str]:
    """What to do with what is printed."""
    namespace = options.namespace
    if options.output == "corefile":
        steps = ["Save this as Corefile and check it: kdns check Corefile"]
        if dns is not None and node is not None:
            steps.append("It is that of the cluster's DNS; --output values has the nodes' too.")
        return steps
    steps = [
        (
            "Save this as values.yaml and install kdns beside what runs:"
            f" helm install kdns helm/kdns --namespace {namespace} --values values.yaml"
            " --set image.repository=..."
        )
    ]
    if dns is not None:
        steps.append(
            "Compare the two: kdns compare --server COREDNS_POD --server KDNS_POD"
            " --names-from cluster"
        )
        steps.append(
            f"Switch: kubectl --namespace {namespace} scale deployment/coredns --replicas=0"
        )
    if node is not None:
        steps.append(
            "The DaemonSet node-local-dns and nodeLocal want the same addresses: install with"
            " --set nodeLocal.enabled=false first, and see docs/migrating.md for the nodes."
        )
    steps.append("docs/migrating.md has all of it, and the way back.")
    return steps


def _heading(names: Sequence[str], notes: Sequence[Note], steps: Sequence[str]) -> str:
    lines = [f"Made by kdns migrate of the ConfigMaps {', '.join(names)}.", ""]
    if notes:
        lines.append("What changes; clients may notice what is marked with !")
        lines += [f"{'!' if note.lost else '-'} {note}" for note in notes]
    else:
        lines.append("Nothing changes.")
    lines += ["", "What to do next:"]
    lines += [f"{number}. {step}" for number, step in enumerate(steps, 1)]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + "\n"
