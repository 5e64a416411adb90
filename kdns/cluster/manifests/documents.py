"""The content of a manifest file as positioned documents: YAML or JSON, lists unfolded.

YAML is built from PyYAML's parser events one object at a time, so that a list of 100,000 objects
never exists as a whole, each value can be given its line, and nesting without end is refused
(PyYAML's own composer crashes on it).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import msgspec
import yaml
from yaml.constructor import SafeConstructor
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from yaml.nodes import ScalarNode

from kdns.cluster.feed import FeedError

Path: TypeAlias = tuple[str | int, ...]
Tree: TypeAlias = dict[str, Any]

_DEEPEST = 200
_MOST_ALIASED = 500_000  # characters and nodes: a third of the largest object that etcd takes
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVERS = yaml.SafeLoader.yaml_implicit_resolvers
_CONSTRUCTOR = SafeConstructor()
_CONSTRUCT: dict[str, Callable[[ScalarNode], Any]] = {
    "tag:yaml.org,2002:null": _CONSTRUCTOR.construct_yaml_null,
    "tag:yaml.org,2002:bool": _CONSTRUCTOR.construct_yaml_bool,
    "tag:yaml.org,2002:int": _CONSTRUCTOR.construct_yaml_int,
    "tag:yaml.org,2002:float": _CONSTRUCTOR.construct_yaml_float,
}
_blanks = re.compile(r"[ \t\r\n]*").match


class ManifestError(FeedError):
    """What is wrong with a manifest, where, and what to do about it.

    `path` is the file or folder; `line` counts from 1, 0 means all of it; `subject` is
    "Kind namespace/name", or "" where that is not known.
    """

    def __init__(self, path: str, line: int, subject: str, problem: str) -> None:
        place = f"{path}:{line}" if line else path
        super().__init__(": ".join(part for part in (place, subject, problem) if part))
        self.path = path
        self.line = line
        self.subject = subject
        self.problem = problem


class Document(NamedTuple):
    """One object as plain data.

    `line` is where it begins, from 1. `locate` gives the line of a field path, or of the deepest
    part of that path which is there; it keeps the source alive, so drop the document after use.
    """

    tree: Tree
    line: int
    locate: Callable[[Path], int]


def documents(path: str, content: bytes) -> Iterator[Document]:
    """Documents of one file in order, JSON by `path`'s `.json`, else YAML; a `*List` as its items.

    Raises ManifestError where the content is not UTF-8, does not parse, or is no mapping; what was
    yielded before is good.
    """
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = f"byte {content[error.start]:#04x} is not UTF-8: save the file as UTF-8"
        raise ManifestError(path, line, "", problem) from None
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        yield from (_json if path.endswith(".json") else _yaml)(path, content)
    except RecursionError:
        raise ManifestError(path, 0, "", "nested too deep: no manifest needs this") from None


def _not_an_object(path: str, line: int, value: object) -> ManifestError:
    kind = "a list" if isinstance(value, list) else "a single value"
    problem = f"a manifest is a mapping (`apiVersion: …`, `kind: …`), and this is {kind}"
    return ManifestError(path, line, "", problem)


def _unfolded(item: object, parent: Tree) -> object:
    """An item of `parent`, told its kind by `parent` (a ServiceList holds Services)."""
    kind = parent.get("kind")
    if not isinstance(item, dict) or item.get("kind") or not isinstance(kind, str):
        return item
    return {"apiVersion": parent.get("apiVersion"), **item, "kind": kind.removesuffix("List")}


def _yaml(path: str, content: bytes) -> Iterator[Document]:
    try:
        events = yaml.parse(content, Loader=_LOADER)
        yield from _Builder(path, events, _MOST_ALIASED + 10 * len(content)).documents()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        offset = getattr(error, "position", None)
        line = mark.line + 1 if mark else content.count(b"\n", 0, offset) + 1 if offset else 0
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        column = f" in column {mark.column + 1}" if mark else ""
        problem = f"not YAML: {what}{column}; correct it or take the file out of the folder"
        raise ManifestError(path, line, "", problem) from None


class _Builder:
    """Plain data out of parser events. Keys are text as written; dates stay text, as in kubectl.

    `aliasable` bounds what the aliases of all documents stand for, in characters and nodes: a few
    lines of aliases of aliases would else be more than the memory holds, once they are unfolded.
    """

    def __init__(self, path: str, events: Iterator[Event], aliasable: int) -> None:
        self._path = path
        self._events = events
        self._next = events.__next__
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._aliasable = aliasable
        self._size = 0
        self._log: list[Event] = []

    def documents(self) -> Iterator[Document]:
        for event in self._events:
            if type(event) is DocumentStartEvent:
                self._anchors = {}
                yield from self._document(self._next())

    def _document(self, start: Event) -> Iterator[Document]:
        log = self._log = [start]
        if type(start) is not MappingStartEvent:
            if (value := self._value(start, 1)) is not None:
                raise _not_an_object(self._path, _line(start), value)
            return
        tree: Tree = {}
        untold: list[tuple[object, list[Event]]] = []
        while type(event := self._next()) is not MappingEndEvent:
            log.append(event)
            key, value = self._key(event), self._next()
            is_list = key == "items" and type(value) is SequenceStartEvent
            if not is_list or not str(tree.get("kind", "List")).endswith("List"):
                self._put(tree, event, value, 1)
                continue
            while type(event := self._next()) is not SequenceEndEvent:
                item_log = self._log = []
                item = self._value(event, 2)
                # kubectl writes `kind` after `items`: an item that needs it has to wait
                if "kind" in tree or (isinstance(item, dict) and item.get("kind")):
                    yield self._finished(_unfolded(item, tree), item_log)
                else:
                    untold.append((item, item_log))
            log += (value, event)
            self._log = log
        if untold and str(tree.get("kind", "")).endswith("List"):
            for item, item_log in untold:
                yield self._finished(_unfolded(item, tree), item_log)
        elif not str(tree.get("kind", "")).endswith("List"):
            yield self._finished(tree, log)

    def _finished(self, tree: object, log: list[Event]) -> Document:
        line = _line(log[0])
        if not isinstance(tree, dict):
            raise _not_an_object(self._path, line, tree)
        return Document(tree, line, partial(_locate, log))

    def _value(self, event: Event, depth: int) -> Any:
        self._log.append(event)
        before = self._size
        self._size += 1
        value: Any
        if type(event) is ScalarEvent:
            self._size += len(event.value)
            value = _scalar(event.value) if event.implicit[0] else event.value
        elif type(event) is MappingStartEvent:
            self._check(depth, event)
            value = {}
            while type(inner := self._next()) is not MappingEndEvent:
                self._log.append(inner)
                self._put(value, inner, self._next(), depth + 1)
            self._log.append(inner)
        elif type(event) is SequenceStartEvent:
            self._check(depth, event)
            value = []
            while type(inner := self._next()) is not SequenceEndEvent:
                value.append(self._value(inner, depth + 1))
            self._log.append(inner)
        elif type(event) is AliasEvent and event.anchor in self._anchors:
            return self._aliased(event, event.anchor)
        else:
            problem = f"`*{getattr(event, 'anchor', '')}` has no `&` before it: define it first"
            raise ManifestError(self._path, _line(event), "", problem)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, self._size - before
        return value

    def _aliased(self, event: Event, anchor: str) -> Any:
        value, size = self._anchors[anchor]
        self._size += size
        self._aliasable -= size
        if self._aliasable < 0:
            problem = f"`*{anchor}` and the aliases before it stand for too much: write it out"
            raise ManifestError(self._path, _line(event), "", problem)
        return value

    def _check(self, depth: int, event: Event) -> None:
        if depth > _DEEPEST:
            problem = f"nested deeper than {_DEEPEST} levels: no manifest needs this"
            raise ManifestError(self._path, _line(event), "", problem)

    def _key(self, event: Event) -> str:
        if type(event) is ScalarEvent:
            return str(event.value)
        problem = "a key must be a plain word: is a quote or a `-` missing here?"
        raise ManifestError(self._path, _line(event), "", problem)

    def _put(self, tree: Tree, key: Event, event: Event, depth: int) -> None:
        name = self._key(key)
        value = self._value(event, depth)
        if name != "<<" or not (isinstance(key, ScalarEvent) and key.implicit[0]):
            tree[name] = value
            return
        for merged in value if isinstance(value, list) else [value]:
            if not isinstance(merged, dict):
                problem = "`<<` takes a mapping, or a list of them: give it `*name` of one"
                raise ManifestError(self._path, _line(key), "", problem)
            for inner, inner_value in merged.items():
                tree.setdefault(inner, inner_value)


def _scalar(text: str) -> Any:
    """A plain scalar by PyYAML's rules, but for dates."""
    for tag, pattern in _RESOLVERS.get(text[:1], ()):
        if pattern.match(text):
            try:
                construct = _CONSTRUCT.get(tag)
                return construct(ScalarNode(tag, text)) if construct else text
            except ValueError:
                return text
    return text


def _line(event: Event) -> int:
    return int(event.start_mark.line) + 1  # type: ignore[union-attr] # the parser always marks


def _locate(log: list[Event], path: Path) -> int:
    events = iter(log)
    return _find(events, next(events), path)


def _find(events: Iterator[Event], event: Event, path: Path, line: int = 0) -> int:
    """Line of `path` below `event`, whose children `events` continues with. A value has its key's
    `line`: where a mapping begins there is its first key, one line too far."""
    line = line or _line(event)
    if path and type(event) is MappingStartEvent:
        for key in events:
            if type(key) is MappingEndEvent:
                break
            value = next(events)
            if type(key) is ScalarEvent and key.value == path[0]:
                return _find(events, value, path[1:], _line(key))
            _skip(events, value)
    elif path and type(event) is SequenceStartEvent:
        for index, value in enumerate(events):
            if type(value) is SequenceEndEvent:
                break
            if index == path[0]:
                return _find(events, value, path[1:])
            _skip(events, value)
    return line


def _skip(events: Iterator[Event], event: Event) -> None:
    depth = 0
    while True:
        if type(event) in (MappingStartEvent, SequenceStartEvent):
            depth += 1
        elif type(event) in (MappingEndEvent, SequenceEndEvent):
            depth -= 1
        if depth == 0:
            return
        event = next(events)


class _Envelope(msgspec.Struct, rename="camel"):
    """The outside of a JSON document; the items stay bytes until their turn."""

    kind: str = ""
    api_version: str = ""
    items: list[msgspec.Raw] = []


def _json(path: str, content: bytes) -> Iterator[Document]:
    for start, value in _json_values(path, content):
        try:
            envelope = msgspec.json.decode(value, type=_Envelope)
        except msgspec.ValidationError:
            envelope = _Envelope()
        except msgspec.DecodeError as error:
            raise _not_json(path, start, error) from None
        if not envelope.kind.endswith("List"):
            yield _json_document(path, start, value, {})
            continue
        parent = {"kind": envelope.kind, "apiVersion": envelope.api_version}
        line, at = start, 0
        for item in envelope.items:
            # between the bytes of two items there is a comma, and blanks
            found = value.index(item, at)
            line += value.count(b"\n", at, found)
            yield _json_document(path, line, bytes(item), parent)
            at = found + len(bytes(item))
            line += value.count(b"\n", found, at)


def _json_document(path: str, line: int, value: bytes, parent: Tree) -> Document:
    try:
        tree = _unfolded(msgspec.json.decode(value), parent)
    except msgspec.DecodeError as error:
        raise _not_json(path, line, error) from None
    if not isinstance(tree, dict):
        raise _not_an_object(path, line, tree)
    return Document(tree, line, partial(_locate_json, value, line))


def _not_json(path: str, line: int, error: msgspec.DecodeError) -> ManifestError:
    """Of what skipping over a value does not see: bad escapes."""
    return ManifestError(path, line, "", f"not JSON: {error}; correct it")


def _json_values(path: str, content: bytes) -> Iterator[tuple[int, bytes]]:
    """Each JSON value of a file (kubectl takes several, one after the other) and its line."""
    try:
        msgspec.json.decode(content, type=msgspec.Raw)
    except msgspec.DecodeError:
        text, at = content.decode(), 0
    else:
        yield 1 + content.count(b"\n", 0, len(content) - len(content.lstrip())), content.lstrip()
        return
    line = 1
    while True:
        start = _blanks(text, at).end()  # type: ignore[union-attr] # matches anything
        if start == len(text):
            return
        line += text.count("\n", at, start)
        try:
            _, at = json.JSONDecoder().raw_decode(text, start)
        except json.JSONDecodeError as error:
            problem = f"not JSON: {error.msg} in column {error.colno}"
            raise ManifestError(path, error.lineno, "", problem) from None
        yield line, text[start:at].encode()
        line += text.count("\n", start, at)


def _locate_json(value: bytes, line: int, path: Path) -> int:
    # JSON is YAML but for tabs, which count as one column here and matter to no line
    events = yaml.parse(value.replace(b"\t", b" "), Loader=_LOADER)
    try:
        for event in events:
            if type(event) is DocumentStartEvent:
                return line - 1 + _find(events, next(events), path)
    except (yaml.YAMLError, StopIteration):
        pass
    return line
