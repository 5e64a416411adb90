"""From the template of a node's Corefile to the Corefile: node-cache's variables and blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from kdns.node.configmap import ConfigMap
from kdns.node.flags import canonical

RESOLV_CONF: Final = "/etc/resolv.conf"
"""Whose servers are asked about other names where the ConfigMap names none."""

_UPSTREAMS: Final = "__PILLAR__UPSTREAM__SERVERS__"
_CLUSTER_DNS: Final = "__PILLAR__CLUSTER__DNS__"
_VARIABLE: Final = re.compile(r"__PILLAR__[A-Z0-9_]*")
# The very text that node-cache looks for, white space and all.
_OVER_TCP: Final = f"\n    forward . {_UPSTREAMS} {{\n            force_tcp\n    }}\n"
_TTL: Final = 30  # seconds, of stub domains


class BadTemplate(Exception):
    """A template of which no Corefile can be made: where, why, and what to do."""


class NoService(BadTemplate):
    """The environment does not tell the address of the cluster's DNS."""


class Values(NamedTuple):
    """What the variables stand for; `cluster_dns` None where the environment does not say."""

    local: tuple[str, ...]
    port: int
    cluster_dns: str | None
    endpoint: str
    upstream_service: str = "kube-dns"


def service_variable(service: str) -> str:
    """The variable of the environment with a Service's address (Kubernetes)."""
    return service.upper().replace("-", "_") + "_SERVICE_HOST"


def service_address(service: str, environ: Mapping[str, str]) -> str | None:
    """The address of a Service as pods are told when they start; None where it is not there."""
    return canonical(environ.get(service_variable(service), ""))


def render(template: str, file: str, values: Values, configmap: ConfigMap) -> str:
    """The Corefile that a template makes. `file` names it in errors. Raises BadTemplate."""
    text = template
    if configmap.upstreams:
        servers = " ".join(configmap.upstreams)
        # Whoever names servers of their own did not say that they answer over TCP.
        text = text.replace(_OVER_TCP, f"\n    forward . {servers}\n")
    else:
        servers = RESOLV_CONF
    if _CLUSTER_DNS in text and values.cluster_dns is None:
        service = values.upstream_service
        raise NoService(
            f"{_where(template, _CLUSTER_DNS, file)}: the address for {_CLUSTER_DNS} is not known:"
            f" {service_variable(service)} is no address in the environment: make the Service"
            f" {service} in the namespace of this pod, then start the pod again"
        )
    local = " ".join(values.local)
    for variable, value in (
        (_UPSTREAMS, servers),
        (_CLUSTER_DNS, values.cluster_dns or ""),
        ("__PILLAR__LOCAL__DNS__", local),
        ("__PILLAR__DNS__SERVER__", ""),
        ("__PILLAR__PROMETHEUS__ENDPOINT__", values.endpoint),
        ("__PROMETHEUS__ENDPOINT__", values.endpoint),
    ):
        text = text.replace(variable, value)
    for left in _VARIABLE.findall(text):
        cure = "write what it stands for"
        if left == "__PILLAR__DNS__DOMAIN__":
            cure = "write the cluster's domain, such as cluster.local"
        raise BadTemplate(f"{_where(template, left, file)}: {left} is not known: {cure}")
    return text + "".join(
        _stub_domain(domain, servers, local, values.port)
        for domain, servers in configmap.stub_domains
    )


def _stub_domain(domain: str, servers: tuple[str, ...], local: str, port: int) -> str:
    lines = (
        f"\n{domain}:{port} {{",
        "    errors",
        f"    cache {_TTL}",
        f"    bind {local}",
        f"    forward . {' '.join(servers)}",
        "}\n",
    )
    return "\n".join(lines)


def _where(template: str, text: str, file: str) -> str:
    before, _, _ = template.partition(text)
    line = before.count("\n") + 1
    column = len(before) - before.rfind("\n")
    return f"{file}:{line}:{column}"
