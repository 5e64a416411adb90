from __future__ import annotations

import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.cluster.api import lines as module
from kdns.cluster.api.failures import Failure, Reason
from kdns.cluster.api.lines import Items, Lines, Unread

cuts = st.lists(st.integers(0, 400), max_size=8)


def pieces(content, at):
    bounds = [0, *sorted(min(cut, len(content)) for cut in at), len(content)]
    return [content[a:b] for a, b in pairwise(bounds)]


@given(st.lists(st.binary().map(lambda b: b.replace(b"\n", b"")), max_size=6), cuts)
def test_lines_are_the_same_however_they_arrive(lines, at):
    content = b"".join(line + b"\n" for line in lines) + b"rest"
    split = Lines()
    found = [line for chunk in pieces(content, at) for line in split.feed(chunk)]

    assert found == [line for line in lines if line]


texts = st.sampled_from(["", "a", '"', "},{", '},{"metadata":', "\\", "[]}", "\u00e9"])
values = st.recursive(
    texts | st.integers(0, 9) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=6,
)
objects = st.builds(
    lambda name, more, nested: {
        "metadata": {"name": name},
        "spec": more,
        "templates": [{"metadata": {"name": n}} for n in nested],
    },
    texts,
    values,
    st.lists(texts, max_size=3),
)
orders = st.sampled_from(["metadata first", "items first"])
spacings = st.sampled_from([(",", ":"), (", ", ": ")])


@given(st.lists(objects, max_size=5), cuts, orders, spacings)
def test_items_are_the_same_however_they_arrive(items, at, order, spacing):
    """Also where an item contains what looks like the beginning of the next one."""
    metadata = {"resourceVersion": "7", "continue": "t"}
    parts = {"kind": "List", "metadata": metadata, "items": items}
    if order == "items first":
        parts = {"apiVersion": "v1", "items": items, "metadata": metadata}
    content = json.dumps(parts, separators=spacing).encode()
    split = Items(msgspec.json.decode)
    found = [item for chunk in pieces(content, at) for item in split.feed(chunk)]
    rest, meta = split.end()

    assert [*found, *rest] == items
    assert (meta.resource_version, meta.continue_) == ("7", "t")


def test_items_come_while_the_list_arrives():
    split = Items(msgspec.json.decode)
    first = split.feed(b'{"metadata":{},"items":[{"metadata":{"name":"a"}},{"metadata":{"na')
    second = split.feed(b'me":"b"}},{"metadata":')

    assert first == [{"metadata": {"name": "a"}}]
    assert second == [{"metadata": {"name": "b"}}]


def test_items_that_cannot_be_decoded_are_told_from_those_that_are_not_whole():
    odd = {"metadata": {"name": "b"}, "spec": [{}, {"metadata": {"name": 5}}, 5]}
    items = [{"metadata": {"name": "a"}}, odd, {"metadata": {"name": 5}}]
    decoder = msgspec.json.Decoder(dict[str, dict[str, str]])
    split = Items(decoder.decode)
    found = split.feed(json.dumps({"metadata": {}, "items": items}, separators=(",", ":")).encode())
    rest, _ = split.end()

    first, *others = [*found, *rest]
    assert first == items[0]
    assert [json.loads(item.content) for item in others] == items[1:]
    assert all(isinstance(item, Unread) and "Expected" in str(item.error) for item in others)


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"[]", b'{"items":[{"metadata":{}}', b'{"items":{},"metadata":{}}'],
)
def test_what_is_no_list_is_said_to_be_none(content):
    split = Items(msgspec.json.decode)
    split.feed(content)

    with pytest.raises(Failure) as failure:
        split.end()
    assert failure.value.reason is Reason.GARBLED


@pytest.mark.parametrize("content", [b"x" * 100, b'{"items":[' + b"x" * 100, b'{"items":[{"a":"'])
@pytest.mark.parametrize("splitter", [Lines, lambda: Items(msgspec.json.decode)])
def test_nothing_grows_without_bound(monkeypatch, splitter, content):
    monkeypatch.setattr(module, "LONGEST", 1000)
    split = splitter()

    def flood():
        for _ in range(100):
            split.feed(content)

    with pytest.raises(Failure, match="1000 bytes"):
        flood()
