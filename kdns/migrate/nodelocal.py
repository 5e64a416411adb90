"""A node's cache: from the ConfigMap node-local-dns to the chart's `nodeLocal`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from kdns.corefile import parser
from kdns.corefile.parser import ServerBlock
from kdns.corefile.tokens import CorefileError
from kdns.migrate.adapting import Note, adapt
from kdns.migrate.configmaps import NODE_LOCAL, Unusable
from kdns.migrate.writing import corefile

_DOMAIN: Final = "cluster.local"
_LOCAL: Final = "169.254.20.10"
_HEALTH, _METRICS = "8080", "9253"
# Addresses of documentation (RFC 5737) hold the places of what is filled in on the node.
_CLUSTER_DNS: Final = "__PILLAR__CLUSTER__DNS__"
_HELD: Final = {
    _CLUSTER_DNS: "192.0.2.1",
    "__PILLAR__UPSTREAM__SERVERS__": "192.0.2.2",
}
_FILLED: Final = {
    "__PILLAR__DNS__DOMAIN__": _DOMAIN,
    "__PILLAR__LOCAL__DNS__": _LOCAL,
    "__PILLAR__DNS__SERVER__": "",
    "__PILLAR__PROMETHEUS__ENDPOINT__": f":{_METRICS}",
    "__PROMETHEUS__ENDPOINT__": f":{_METRICS}",
}
_PORT: Final = re.compile(r":([0-9]+)$")

_STOCK: Final = """\
{domain}:53 {{
    errors
    cache {{
        success 9984 30
        denial 9984 5
    }}
    reload
    loop
    bind {addresses}
    forward . {cluster} {{
        force_tcp
    }}
    prometheus :{metrics}
    health {local}:{health}
}}
in-addr.arpa:53 {{
    errors
    cache 30
    reload
    loop
    bind {addresses}
    forward . {cluster} {{
        force_tcp
    }}
    prometheus :{metrics}
}}
ip6.arpa:53 {{
    errors
    cache 30
    reload
    loop
    bind {addresses}
    forward . {cluster} {{
        force_tcp
    }}
    prometheus :{metrics}
}}
.:53 {{
    errors
    cache 30
    reload
    loop
    bind {addresses}
    forward . {upstreams}
    prometheus :{metrics}
}}
"""


class NodeLocal(NamedTuple):
    """The values `nodeLocal`, and a Corefile template for the node."""

    values: dict[str, Any]
    corefile: str
    notes: tuple[Note, ...]


def node_local(data: Mapping[str, str]) -> NodeLocal:
    """Raises Unusable."""
    text = data.get("Corefile", "")
    if not text.strip():
        raise Unusable("ConfigMap node-local-dns has no key Corefile: is it node-cache's?")
    unfilled = [each for each in _FILLED if each in text]
    for variable, value in {**_FILLED, **_HELD}.items():
        text = text.replace(variable, value)
    try:
        adapted = adapt(parser.parse(text, f"{NODE_LOCAL}/Corefile", {}))
    except CorefileError as error:
        raise Unusable(str(error)) from None
    notes = list(adapted.notes)
    values: dict[str, Any] = {"enabled": True}
    blocks = adapted.blocks
    domain = _domain(blocks)
    local, server = _addresses(blocks)
    values["mode"] = "iptables"
    if not server and "__PILLAR__DNS__SERVER__" not in unfilled:
        values["mode"] = "ipvs"
        notes.append(
            Note(
                "the node's cache has no address but its own, as with kube-proxy in mode ipvs, or"
                " with Cilium: kubelets must have that one as --cluster-dns, as they do now"
            )
        )
    values["localIP"] = ",".join(local)
    if server:
        values["dnsServer"] = ",".join(server)
    values["domain"] = domain
    health = _port(blocks, "health", _HEALTH)
    metrics = _port(blocks, "prometheus", _METRICS)
    values |= {"healthPort": int(health), "metricsPort": int(metrics)}
    upstreams = _upstreams(blocks)
    stock = _STOCK.format(
        domain=domain,
        addresses=" ".join([*local, *server]),
        cluster=_HELD[_CLUSTER_DNS],
        metrics=metrics,
        local=f"[{local[0]}]" if ":" in local[0] else local[0],
        health=health,
        upstreams=upstreams,
    )
    written = _released(corefile(blocks))
    said = parser.parse(corefile(blocks), NODE_LOCAL, {})
    if said.digest() == parser.parse(stock, NODE_LOCAL, {}).digest():
        if (upstreams := _released(upstreams)) not in _HELD:
            values["upstreamServers"] = upstreams
    else:
        values["corefile"] = written
        if _CLUSTER_DNS not in written:
            notes.append(
                Note(
                    "ConfigMap node-local-dns forwards to an address that is written in it and not"
                    f" to {_CLUSTER_DNS}: it is kept; look whether it still is the Service's"
                )
            )
    return NodeLocal({"nodeLocal": values}, written, tuple(notes))


def _domain(blocks: tuple[ServerBlock, ...]) -> str:
    for block in blocks:
        for zone in block.zones:
            if zone != "." and not zone.endswith(".arpa."):
                return zone.removesuffix(".")
    return _DOMAIN


def _addresses(blocks: tuple[ServerBlock, ...]) -> tuple[list[str], list[str]]:
    """Those of the cache itself, which are link-local, and the Service's that it takes over."""
    local: dict[str, None] = {}
    server: dict[str, None] = {}
    for block in blocks:
        for directive in block.directives:
            for arg in directive.args if directive.name.text == "bind" else ():
                try:
                    own = ip_address(arg.text).is_link_local
                except ValueError:
                    continue
                (local if own else server)[arg.text] = None
    if not local and server:
        # Whoever chose another kind of address for the cache has it in front.
        first = next(iter(server))
        del server[first]
        local[first] = None
    return list(local) or [_LOCAL], list(server)


def _port(blocks: tuple[ServerBlock, ...], plugin: str, default: str) -> str:
    for block in blocks:
        for directive in block.directives:
            if directive.name.text == plugin and directive.args:
                found = _PORT.search(directive.args[0].text)
                return found[1] if found else default
    return default


def _upstreams(blocks: tuple[ServerBlock, ...]) -> str:
    for block in blocks:
        for directive in block.directives:
            if "." in block.zones and directive.name.text == "forward":
                return " ".join(arg.text for arg in directive.args[1:])
    return "/etc/resolv.conf"


def _released(text: str) -> str:
    for variable, held in _HELD.items():
        text = text.replace(held, variable)
    return text
