"""Values that cannot work are refused, in words that say what to write."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.helm.chart import CHART

NO_PROBE = {"enabled": False}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"hpa": {"enabled": True}, "autoscaler": {"enabled": True}},
            "/hpa/enabled': value must be 'false while autoscaler.enabled is true: both scale",
        ),
        (
            {"autoscaler": {"coresPerReplica": 0, "nodesPerReplica": 0}},
            "one of them must say how many nodes or cores a replica is for",
        ),
        ({"nodeLocal": {"enabled": True}}, "write --set nodeLocal.dnsServer=$(kubectl"),
        ({"nodeLocal": {"mode": "nft"}}, "value must be one of 'iptables', 'ipvs'"),
        ({"nodeLocal": {"enable": True}}, "additional properties 'enable' not allowed"),
        ({"nodeLocal": {"localIP": "here"}}, "/nodeLocal/localIP': 'here' does not match"),
        ({"networkPolicy": {"egres": []}}, "additional properties 'egres' not allowed"),
        ({"replicaCount": "two"}, "/replicaCount': got string, want integer"),
        ({"rollingUpdate": {"maxSurge": "1x"}}, "/rollingUpdate/maxSurge"),
        ({"service": {"create": "yes"}}, "/service/create': value must be one of 'auto', true"),
        ({"serviceType": "ExternalName"}, "/serviceType': value must be one of"),
        ({"image": {"repository": ""}}, "/image/repository': minLength"),
        ({"servers": []}, "/servers': minItems"),
        ({"servers": [{"port": 53}]}, "/servers/0': missing property 'plugins'"),
        ({"servers": [{"port": 70000, "plugins": []}]}, "/servers/0/port"),
        (
            {"servers": [{"plugins": [{"name": "kubernetes", "configblock": ""}]}]},
            "additional properties 'configblock' not allowed",
        ),
        ({"zoneFiles": [{"filename": "a/b", "contents": ""}]}, "/zoneFiles/0/filename"),
        (
            {"servers": [{"plugins": [{"name": "ready"}]}]},
            "livenessProbe.enabled is true and no server of `servers` has the plugin health",
        ),
        (
            {"servers": [{"plugins": [{"name": "health"}]}]},
            "readinessProbe.enabled is true and no server of `servers` has the plugin ready",
        ),
        ({"deployment": {"dnsPolicy": "None"}}, "write deployment.dnsConfig.nameservers"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_refusal(helm, values, words):
    assert words in helm.refusal(values)


@pytest.mark.parametrize(
    "values",
    [
        {"hpa": {"enabled": True}, "autoscaler": {"enabled": False}},
        {"autoscaler": {"enabled": True, "coresPerReplica": 0}},
        {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "50%"}},
        {"servers": [{"plugins": []}], "livenessProbe": NO_PROBE, "readinessProbe": NO_PROBE},
        {"of": {"my": {"own": "templates"}}},
        {"automountServiceAccountToken": None, "terminationGracePeriodSeconds": None},
    ],
    ids=json.dumps,
)
def test_values_that_are_fine(helm, values):
    assert helm.render(values).one("Deployment")


def test_schema_knows_every_value():
    """A default that the schema says nothing of could be anything."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    assert list(unknown(values, schema, schema["$defs"])) == []


def unknown(values, schema, definitions, path=""):
    """Paths of values that have no schema; free maps have none inside."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    properties = schema.get("properties")
    if properties is None or not isinstance(values, dict):
        return
    for key, value in values.items():
        if key not in properties:
            yield f"{path}/{key}"
        else:
            yield from unknown(value, properties[key], definitions, f"{path}/{key}")
