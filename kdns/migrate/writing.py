"""Server blocks as Corefile text, and as the chart's `servers`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final

import yaml

from kdns.corefile.parser import Directive, ServerBlock
from kdns.corefile.tokens import Token
from kdns.corefile.zones import ZoneKey

_INDENT: Final = "    "
_QUOTED: Final = re.compile(r'[\s"#]')


def corefile(blocks: Iterable[ServerBlock]) -> str:
    """A Corefile that says the same, imports and variables put in."""
    return "\n".join("\n".join(_block(block)) + "\n" for block in blocks)


def servers(blocks: Iterable[ServerBlock]) -> list[dict[str, Any]]:
    """The value `servers` of the chart: one server for each block and port."""
    found = []
    for block in blocks:
        for port, keys in groupby(sorted(block.keys, key=_port), key=_port):
            found.append(
                {
                    "zones": [{"zone": _zone(key), "use_tcp": True} for key in keys],
                    "port": port,
                    "plugins": [_plugin(each) for each in block.directives],
                }
            )
    return found


def to_yaml(values: object) -> str:
    """YAML in the order of `values`, texts of several lines as blocks."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, width=1 << 20)


def _port(key: ZoneKey) -> int:
    return key.port


def _zone(key: ZoneKey) -> str:
    return key.zone if key.zone == "." else key.zone.removesuffix(".")


def _block(block: ServerBlock) -> Iterator[str]:
    yield " ".join(f"{_zone(key)}:{key.port}" for key in block.keys) + " {"
    for directive in block.directives:
        yield from _directive(directive, _INDENT)
    yield "}"


def _directive(directive: Directive, indent: str) -> Iterator[str]:
    line = indent + " ".join(map(_word, (directive.name, *directive.args)))
    if directive.block is None:
        yield line
        return
    yield line + " {"
    for entry in directive.block:
        yield from _directive(entry, indent + _INDENT)
    yield indent + "}"


def _plugin(directive: Directive) -> dict[str, str]:
    plugin = {"name": directive.name.text}
    if directive.args:
        plugin["parameters"] = " ".join(map(_word, directive.args))
    if directive.block:
        lines = (line for entry in directive.block for line in _directive(entry, ""))
        plugin["configBlock"] = "\n".join(lines)
    return plugin


def _word(token: Token) -> str:
    if token.text and not _QUOTED.search(token.text):
        return token.text
    return '"' + token.text.replace('"', '\\"') + '"'


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as `|` blocks, lists indented below their key."""

    # PyYAML asks for lists that are not indented.
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Dumper.add_representer(str, _text)
