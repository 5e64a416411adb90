"""JSON schemas of an API server's own kinds, as kubeconform wants them: strict, and offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_REFERENCE = "#/definitions/"
_INTEGER_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"

Schema = dict[str, Any]


def write(folder: Path, openapi: Schema, definition: Path) -> str:
    """Files for the kinds of an /openapi/v2 and of a CustomResourceDefinition; where they are, for
    kubeconform's -schema-location."""
    definitions = {name: _strict(each) for name, each in openapi["definitions"].items()}
    definitions[_INTEGER_OR_STRING] = {"type": ["integer", "string"]}
    definitions[_QUANTITY] = {"type": ["number", "string"]}
    for name, each in definitions.items():
        for kind in openapi["definitions"][name].get("x-kubernetes-group-version-kind", ()):
            needed = {used: definitions[used] for used in _used(each, definitions, set())}
            _file(folder, kind).write_text(json.dumps({**each, "definitions": needed}))
    custom = yaml.safe_load(definition.read_text())["spec"]
    [version] = custom["versions"]
    kind = {
        "group": custom["group"],
        "version": version["name"],
        "kind": custom["names"]["kind"],
    }
    schema = _strict(version["schema"]["openAPIV3Schema"])
    _file(folder, kind).write_text(json.dumps(schema))
    return str(folder / "{{ .ResourceKind }}{{ .KindSuffix }}.json")


def _file(folder: Path, kind: dict[str, str]) -> Path:
    group = kind["group"].partition(".")[0]
    parts = [kind["kind"], *([group] if group else []), kind["version"]]
    return folder / f"{'-'.join(parts).lower()}.json"


def _strict(schema: Any) -> Any:
    """The same, with nothing let through that it does not name."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items() if not key.startswith("x-")}
    if isinstance(made.get("properties"), dict) and "additionalProperties" not in made:
        made["additionalProperties"] = False
    return made


def _used(schema: Any, definitions: Schema, seen: set[str]) -> Iterator[str]:
    """Names of the definitions that a schema needs, each once."""
    if isinstance(schema, list):
        for each in schema:
            yield from _used(each, definitions, seen)
    elif isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str) and (name := reference.removeprefix(_REFERENCE)) not in seen:
            seen.add(name)
            yield name
            yield from _used(definitions[name], definitions, seen)
        for each in schema.values():
            yield from _used(each, definitions, seen)
