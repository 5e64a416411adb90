"""What the serving process makes of a Corefile: the zone that the supervisor asks for."""

from __future__ import annotations

import pytest

from kdns.corefile import parser
from kdns.node.probe import PROBE_ZONE
from kdns.node_serving import probed


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        (".:53 {\n whoami\n}", None),
        (".:53 {\n bind 10.0.0.1 10.0.0.2\n}", ["10.0.0.1", "10.0.0.2"]),
        ("a:53 {\n bind 10.0.0.1\n}\nb:53 {\n bind 10.0.0.1 10.0.0.2\n}", ["10.0.0.1", "10.0.0.2"]),
        ("a:53 {\n bind 10.0.0.1\n}\nb:54 {\n bind 10.0.0.9\n}", ["10.0.0.1"]),
        ("a:53 {\n bind 10.0.0.1\n}\nb:53 {\n whoami\n}", ["10.0.0.1"]),
        (".:54 {\n bind 10.0.0.1\n}", None),
    ],
    ids=["everywhere", "two", "of several blocks", "another port", "mixed", "not here at all"],
)
def test_the_zone_is_where_others_are(text: str, bind: list[str] | None) -> None:
    corefile = parser.parse(text, "Corefile", {})
    *blocks, zone = probed(corefile, 53).blocks
    assert tuple(blocks) == corefile.blocks
    assert [str(key) for key in zone.keys] == [f"dns://{PROBE_ZONE}.:53"]
    said = {each.name.text: [arg.text for arg in each.args] for each in zone.directives}
    assert said == ({"whoami": []} if bind is None else {"bind": bind, "whoami": []})


def test_what_is_left_out_of_a_bind_is_left_out() -> None:
    corefile = parser.parse(".:53 {\n bind eth0 {\n  except 10.0.0.9\n }\n}", "Corefile", {})
    (bind, _) = probed(corefile, 53).blocks[-1].directives
    assert [arg.text for line in bind.block for arg in line.args] == ["10.0.0.9"]


def test_an_empty_corefile_stays_empty() -> None:
    assert probed(parser.parse("", "Corefile", {}), 53).blocks == ()
