"""One file's content to what it declares: typed, validated, with every error's line."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from kdns.cluster.manifests.documents import Document, ManifestError, Path, Tree, documents
from kdns.cluster.manifests.kinds import TYPES, Declared, GivenSlice, subject
from kdns.cluster.manifests.turns import Turns
from kdns.cluster.manifests.validation import problems
from kdns.cluster.objects import EndpointSlice

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "a mapping",
    "array": "a list",
    "null": "nothing",
}
_CURES = {
    "str": "put it in quotes",
    "int": "write digits without quotes",
    "bool": "write true or false without quotes",
    "object": "write `key: value` lines below it",
    "array": "write each element on a line after `- `",
}


class Content(NamedTuple):
    """What a file declares. With errors, `declared` is what is right in spite of them."""

    declared: list[Declared]
    errors: list[ManifestError]


def read(path: str, content: bytes, turns: Turns | None = None) -> Content:
    """Objects of one file that DNS has a use for, in order; other kinds are passed over."""
    declared: list[Declared] = []
    errors: list[ManifestError] = []
    try:
        for document in documents(path, content):
            if turns is not None:
                turns.rest()
            try:
                found = _declared(path, document, errors)
            except ManifestError as error:
                errors.append(error)
            else:
                if found is not None:
                    declared.append(found)
    except ManifestError as error:
        errors.append(error)
    declared.sort(key=lambda item: item.line)  # some of a List wait for its last line
    return Content(declared, errors)


def _declared(path: str, document: Document, errors: list[ManifestError]) -> Declared | None:
    tree = document.tree
    kind, version = tree.get("kind"), tree.get("apiVersion")
    for key, value in (("kind", kind), ("apiVersion", version)):
        if not isinstance(value, str) or not value:
            problem = f"no `{key}`: a manifest names its apiVersion and its kind"
            raise ManifestError(path, document.line, "", problem)
    group = str(version).rpartition("/")[0]
    declaration_type = TYPES.get((group, str(kind)))
    if declaration_type is None:
        return None
    tree = _with_namespace(tree, str(kind))
    metadata = tree.get("metadata")
    named: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
    called = subject(str(kind), str(named.get("namespace") or ""), str(named.get("name") or "?"))
    try:
        declaration: Any = _convert(tree, declaration_type)
    except msgspec.ValidationError as error:
        field, problem = _explained(str(error))
        line = document.locate(field)
        raise ManifestError(path, line, called, f"{dotted(field)}: {problem}") from None
    except RecursionError:  # no value is nested that deep, but aliases of aliases can be
        problem = "nested too deep: no manifest needs this"
        raise ManifestError(path, document.line, called, problem) from None
    found = list(problems(str(kind), declaration))
    for field, problem in found:
        line = document.locate(field)
        errors.append(ManifestError(path, line, called, f"{dotted(field)}: {problem}"))
    if found:
        return None
    if isinstance(declaration, EndpointSlice):
        declaration = GivenSlice.of(declaration)
    return Declared(path, document.line, str(kind), declaration)


def _with_namespace(tree: Tree, kind: str) -> Tree:
    """A copy with the API server's default namespace, and without what is true of a dump alone.

    An edit does not move the resourceVersion of a dump, which would tell that nothing changed.
    """
    metadata = tree.get("metadata")
    if not isinstance(metadata, dict):
        return tree
    namespace = "" if kind == "Namespace" else metadata.get("namespace") or "default"
    metadata = {**metadata, "namespace": namespace, "resourceVersion": ""}
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict) and LAST_APPLIED in annotations:
        metadata["annotations"] = {k: v for k, v in annotations.items() if k != LAST_APPLIED}
    return {**tree, "metadata": metadata}


def _convert(tree: Tree, declaration_type: type[msgspec.Struct]) -> msgspec.Struct:
    try:
        return msgspec.convert(tree, declaration_type)
    except msgspec.ValidationError:
        # null is how the API says that a field is not set, and rare enough for a second try
        return msgspec.convert(_without_nulls(tree), declaration_type)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(element) for element in value]
    return value


def _explained(message: str) -> tuple[Path, str]:
    """msgspec's words for a value of the wrong type as a field path and the cure."""
    what, _, where = message.partition(" - at `$")
    path = tuple(
        int(index) if index else key
        for key, index in re.findall(r"\.(\w+)|\[(\d+)\]", where.removesuffix("`"))
    )
    if missing := re.search(r"missing required field `(\w+)`", what):
        return (*path, missing[1]), "missing: add it"
    if types := re.fullmatch(r"Expected `(.+)`, got `(.+)`", what):
        expected = [name for name in types[1].split(" | ") if name != "null"]
        wanted = " or ".join(_WORDS.get(name, name) for name in expected)
        got = _WORDS.get(types[2], types[2])
        cure = _CURES.get(expected[0], "correct it")
        return path, f"{wanted} is needed here, not {got}: {cure}"
    return path, what


def dotted(path: Path) -> str:
    """A field path as kubectl writes it: spec.ports[0].port."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")
