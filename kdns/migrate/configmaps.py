"""The ConfigMaps that a cluster's DNS is configured by, from files or the API server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import yaml

COREDNS: Final = "coredns"
CUSTOM: Final = "coredns-custom"
KUBE_DNS: Final = "kube-dns"
NODE_LOCAL: Final = "node-local-dns"
NAMES: Final = (COREDNS, CUSTOM, KUBE_DNS, NODE_LOCAL)

_SUFFIXES: Final = (".yaml", ".yml", ".json")

ConfigMaps = Mapping[str, Mapping[str, str]]
"""Their data, by their names."""


class Unusable(Exception):
    """What cannot be read: where, why, and what to do."""


class Settings(Protocol):
    """A ConfigMap of the API."""

    @property
    def data(self) -> Mapping[str, str]: ...


class Reader(Protocol):
    """What reads a ConfigMap of one namespace by its name; None where there is none."""

    def settings(self, name: str) -> Settings | None: ...


def of_cluster(reader: Reader) -> ConfigMaps:
    """Those that a cluster has. Raises what `reader` raises."""
    found = {name: reader.settings(name) for name in NAMES}
    return {name: each.data for name, each in found.items() if each is not None}


def of_files(paths: Sequence[Path]) -> ConfigMaps:
    """Those in YAML files and in folders of them, whatever their namespace. Raises Unusable."""
    found: dict[str, Mapping[str, str]] = {}
    for path in paths:
        for file in sorted(_files(path)):
            for name, data in _of_file(file):
                if name in found:
                    raise Unusable(f"{file}: ConfigMap {name} is here once more: take one out")
                found[name] = data
    return found


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return [each for each in path.rglob("*") if each.suffix in _SUFFIXES and each.is_file()]


def _of_file(file: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    try:
        documents = list(yaml.safe_load_all(file.read_bytes()))
    except OSError as error:
        raise Unusable(
            f"{file} cannot be read ({error.strerror}): write a file or folder of YAML"
        ) from None
    except yaml.YAMLError as error:
        raise Unusable(f"{file} is no YAML: {' '.join(str(error).split())}") from None
    for document in documents:
        for item in _items(document):
            metadata = item.get("metadata")
            name = metadata.get("name") if isinstance(metadata, dict) else None
            if item.get("kind") == "ConfigMap" and name in NAMES:
                yield name, _data(item.get("data"), f"{file}: ConfigMap {name}")


def _items(document: object) -> list[dict[str, object]]:
    if not isinstance(document, dict):
        return []
    if str(document.get("kind", "")).endswith("List"):
        items = document.get("items")
        return [each for each in items if isinstance(each, dict)] if isinstance(items, list) else []
    return [document]


def _data(data: object, where: str) -> Mapping[str, str]:
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(each, str) for each in data.values()):
        raise Unusable(f"{where}: data is not text by keys: correct it")
    return data
