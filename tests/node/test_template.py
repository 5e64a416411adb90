"""The stock template of a node's Corefile, and what becomes of its variables."""

from __future__ import annotations

import pytest

from kdns.corefile import parser
from kdns.node.configmap import ConfigMap
from kdns.node.template import (
    BadTemplate,
    Values,
    render,
    service_address,
    service_variable,
)

VALUES = Values(("169.254.20.10", "10.96.0.10"), 53, "10.96.0.99", ":9253", "kube-dns-upstream")

CLUSTER = """\
{zone}:53 {{
    errors
    cache {cache}
    reload
    loop
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . __PILLAR__CLUSTER__DNS__ {{
            force_tcp
    }}
    prometheus :9253{more}
    }}
"""
STOCK = (
    CLUSTER.format(
        zone="cluster.local",
        cache="{\n            success 9984 30\n            denial 9984 5\n    }",
        more="\n    health 169.254.20.10:8080",
    )
    + CLUSTER.format(zone="in-addr.arpa", cache="30", more="")
    + CLUSTER.format(zone="ip6.arpa", cache="30", more="")
    + """\
.:53 {
    errors
    cache 30
    reload
    loop
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . __PILLAR__UPSTREAM__SERVERS__
    prometheus :9253
    }
"""
)
OVER_TCP = """
.:53 {
    cache 30
    forward . __PILLAR__UPSTREAM__SERVERS__ {
            force_tcp
    }
    }
"""


def test_the_stock_template() -> None:
    corefile = parser.parse(render(STOCK, "base", VALUES, ConfigMap()), "Corefile", {})
    said = {
        block.keys[0].zone: {
            each.name.text: [arg.text for arg in each.args] for each in block.directives
        }
        for block in corefile.blocks
    }
    assert list(said) == ["cluster.local.", "in-addr.arpa.", "ip6.arpa.", "."]
    for zone, directives in said.items():
        assert directives["bind"] == ["169.254.20.10", "10.96.0.10"]
        upstream = "/etc/resolv.conf" if zone == "." else "10.96.0.99"
        assert directives["forward"] == [".", upstream]
    assert not corefile.notices


@pytest.mark.parametrize(
    ("template", "configmap", "text"),
    [
        ("a\n", ConfigMap(), "a\n"),
        ("__PILLAR__UPSTREAM__SERVERS__", ConfigMap(), "/etc/resolv.conf"),
        (
            "__PILLAR__UPSTREAM__SERVERS__",
            ConfigMap(upstreams=("1.1.1.1", "8.8.8.8:5353")),
            "1.1.1.1 8.8.8.8:5353",
        ),
        ("__PILLAR__CLUSTER__DNS__", ConfigMap(), "10.96.0.99"),
        ("bind __PILLAR__LOCAL__DNS__", ConfigMap(), "bind 169.254.20.10 10.96.0.10"),
        ("bind x __PILLAR__DNS__SERVER__", ConfigMap(), "bind x "),
        ("prometheus __PROMETHEUS__ENDPOINT__", ConfigMap(), "prometheus :9253"),
        ("prometheus __PILLAR__PROMETHEUS__ENDPOINT__", ConfigMap(), "prometheus :9253"),
        (
            OVER_TCP,
            ConfigMap(),
            OVER_TCP.replace("__PILLAR__UPSTREAM__SERVERS__", "/etc/resolv.conf"),
        ),
        (
            OVER_TCP,
            ConfigMap(upstreams=("1.1.1.1",)),
            "\n.:53 {\n    cache 30\n    forward . 1.1.1.1\n    }\n",
        ),
        (
            OVER_TCP.replace("            force", "        force"),
            ConfigMap(upstreams=("1.1.1.1",)),
            "\n.:53 {\n    cache 30\n    forward . 1.1.1.1 {\n        force_tcp\n    }\n    }\n",
        ),
        (
            "",
            ConfigMap((("acme.local", ("1.2.3.4", "[fd00::1]:5353")),)),
            """
acme.local:53 {
    errors
    cache 30
    bind 169.254.20.10 10.96.0.10
    forward . 1.2.3.4 [fd00::1]:5353
}
""",
        ),
    ],
    ids=[
        "no variable",
        "upstreams: resolv.conf",
        "upstreams: the ConfigMap's",
        "cluster DNS",
        "local addresses",
        "what is left of the server's address",
        "endpoint",
        "endpoint as a pillar",
        "force_tcp stays with resolv.conf",
        "force_tcp goes with servers of the ConfigMap",
        "force_tcp in other white space stays",
        "stub domain",
    ],
)
def test_variables(template: str, configmap: ConfigMap, text: str) -> None:
    assert render(template, "base", VALUES, configmap) == text


@pytest.mark.parametrize(
    ("template", "values", "said"),
    [
        (
            "a\n  __PILLAR__DNS__DOMAIN__:53 {}",
            VALUES,
            "base:2:3: __PILLAR__DNS__DOMAIN__ is not known: write the cluster's domain",
        ),
        ("__PILLAR__OTHER__", VALUES, "base:1:1: __PILLAR__OTHER__ is not known"),
        (
            "x\nforward . __PILLAR__CLUSTER__DNS__",
            VALUES._replace(cluster_dns=None),
            "base:2:11: the address for __PILLAR__CLUSTER__DNS__ is not known: KUBE_DNS_UPSTREAM",
        ),
    ],
)
def test_what_is_wrong(template: str, values: Values, said: str) -> None:
    with pytest.raises(BadTemplate) as wrong:
        render(template, "base", values, ConfigMap())
    assert str(wrong.value).startswith(said)


def test_no_address_of_the_cluster_where_none_is_wanted() -> None:
    assert render("x", "base", VALUES._replace(cluster_dns=None), ConfigMap()) == "x"


@pytest.mark.parametrize(
    ("service", "environ", "address"),
    [
        ("kube-dns", {"KUBE_DNS_SERVICE_HOST": "10.0.0.10"}, "10.0.0.10"),
        ("kube-dns-upstream", {"KUBE_DNS_UPSTREAM_SERVICE_HOST": "fd00::a"}, "fd00::a"),
        ("kube-dns", {}, None),
        ("kube-dns", {"KUBE_DNS_SERVICE_HOST": "None"}, None),
        ("kube-dns", {"KUBE_DNS_SERVICE_HOST": ""}, None),
    ],
)
def test_the_address_of_a_service(service: str, environ: dict, address: str | None) -> None:
    assert service_variable(service).endswith("_SERVICE_HOST")
    assert service_address(service, environ) == address
