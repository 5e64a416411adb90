"""The ConfigMap and the formula, by tables of what the original makes of them."""

from __future__ import annotations

import pytest

from kdns.autoscaler.census import Census
from kdns.autoscaler.parameters import BadParameters, Ladder, Linear, parse

SPREAD = '"preventSinglePointFailure":true'
EVERY = '"includeUnschedulableNodes":true'
STOCK = '{"coresPerReplica":256,"nodesPerReplica":16,"preventSinglePointFailure":true}'
STEPS = '{"coresToReplicas":[[1,1],[64,3],[512,5]],"nodesToReplicas":[[1,1],[2,2]]}'


def replicas(mode, text, nodes, cores, every=(0, 0)):
    return parse({mode: text}).replicas(Census(nodes, cores, *every))


@pytest.mark.parametrize(
    ("text", "nodes", "cores", "wanted"),
    [
        (STOCK, 0, 0, 1),
        (STOCK, 1, 4, 1),
        (STOCK, 2, 8, 2),
        (STOCK, 32, 128, 2),
        (STOCK, 33, 128, 3),
        (STOCK, 33, 769, 4),
        (STOCK, 5000, 20000, 313),
        ('{"coresPerReplica":2,"min":2,"max":100}', 1, 0, 2),
        ('{"coresPerReplica":2,"min":2,"max":100}', 1, 11, 6),
        ('{"coresPerReplica":2,"min":2,"max":100}', 1, 1000, 100),
        ('{"nodesPerReplica":2.5}', 15, 0, 6),
        ('{"nodesPerReplica":2.5}', 16, 0, 7),
        ('{"nodesPerReplica":0.5}', 3, 0, 6),
        # 0.3 is less than 3/10 to a computer, and 0.1 more than 1/10.
        ('{"nodesPerReplica":0.3}', 3, 0, 10),
        ('{"nodesPerReplica":0.1}', 3, 0, 30),
        # One that is 0 does not matter.
        ('{"nodesPerReplica":16,"min":3}', 1, 999, 3),
        ('{"coresPerReplica":0,"nodesPerReplica":16}', 0, 999, 1),
        # Against a single point of failure there are 2, whatever max is.
        (f'{{"nodesPerReplica":16,"max":1,{SPREAD}}}', 2, 0, 2),
        (f'{{"nodesPerReplica":16,"max":1,{SPREAD}}}', 1, 0, 1),
        (f'{{"coresPerReplica":1,"max":1,{SPREAD}}}', 9, 9, 2),
        ('{"nodesPerReplica":1,"min":0,"max":0}', 7, 0, 7),
        ('{"nodesPerReplica":1,"max":5}', 7, 0, 5),
        ('{"nodesPerReplica":1e-400,"coresPerReplica":1}', 7, 3, 3),
        ('{"nodesPerReplica":5e-324,"max":4}', 7, 0, 4),
        ('{"nodesPerReplica":1,"min":2147483647}', 0, 0, 2147483647),
    ],
)
def test_linear(text, nodes, cores, wanted):
    assert replicas("linear", text, nodes, cores) == wanted


@pytest.mark.parametrize(
    ("text", "nodes", "cores", "wanted"),
    [
        (STEPS, 0, 0, 1),  # below the first step is the first step
        (STEPS, 1, 63, 1),
        (STEPS, 1, 64, 3),
        (STEPS, 9, 4, 2),
        (STEPS, 1, 99999, 5),
        ('{"coresToReplicas":[[512,5],[1,1],[64,3]]}', 0, 100, 3),
        ('{"nodesToReplicas":[[0,0],[1,1]]}', 0, 100, 0),
        ('{"nodesToReplicas":[[3,0],[4,1]]}', 2, 100, 0),
        ('{"nodesToReplicas":[[5,1]]}', 2, 100, 1),
        ("{}", 5, 100, 0),
        ("null", 5, 100, 0),
        ('{"coresToReplicas":[],"nodesToReplicas":null}', 5, 100, 0),
        ('{"nodesToReplicas":[[2,1],[2,4]]}', 2, 0, 4),
        ('{"nodesToReplicas":[[2]]}', 2, 0, 0),
        ('{"nodesToReplicas":[[1,2,3,"x"]]}', 2, 0, 2),
        ('{"nodesToReplicas":[null,[1,4]]}', 2, 0, 4),
        ('{"nodesToReplicas":[[null,3]]}', 2, 0, 3),
    ],
)
def test_ladder(text, nodes, cores, wanted):
    assert replicas("ladder", text, nodes, cores) == wanted


@pytest.mark.parametrize(
    ("mode", "text", "wanted"),
    [
        ("linear", '{"nodesPerReplica":2}', 2),
        ("linear", f'{{"nodesPerReplica":2,{EVERY}}}', 5),
        ("linear", f'{{"coresPerReplica":10,{EVERY}}}', 4),
        ("linear", f'{{"nodesPerReplica":99,{SPREAD},{EVERY}}}', 2),
        ("ladder", '{"nodesToReplicas":[[0,0],[4,1],[10,9]]}', 1),
        ("ladder", f'{{"nodesToReplicas":[[0,0],[4,1],[10,9]],{EVERY}}}', 9),
        ("ladder", f'{{"coresToReplicas":[[0,0],[40,7]],{EVERY}}}', 7),
    ],
)
def test_unschedulable_nodes(mode, text, wanted):
    assert replicas(mode, text, 4, 16, every=(10, 40)) == wanted


@pytest.mark.parametrize(
    ("mode", "text", "parameters"),
    [
        ("linear", STOCK, Linear(256, 16, 1, 0, True, False)),
        ("linear", '{"NODESperREPLICA": 3, "Max": 4}', Linear(0, 3, 1, 4)),
        ("linear", '{"nodesPerReplica":3,"min":null,"other":[1e999]}', Linear(0, 3)),
        ("linear", ' \n{"nodesPerReplica":1,"nodesPerReplica":2}\t', Linear(0, 2)),
        ("linear", '{"nodesPerReplica":1e1,"min":-0}', Linear(0, 10)),
        ("ladder", STEPS, Ladder(((1, 1), (64, 3), (512, 5)), ((1, 1), (2, 2)))),
        ("ladder", '{"CORESTOREPLICAS":[[3,4]]}', Ladder(((3, 4),))),
    ],
)
def test_what_is_read(mode, text, parameters):
    assert parse({mode: text}) == parameters


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({}, "one key, linear or ladder, and has none"),
        ({"linear": STOCK, "ladder": "{}"}, "one key, linear or ladder, and has ladder, linear"),
        ({"linear": STOCK, "note": "x"}, "and has linear, note"),
        ({"Linear": STOCK}, "'Linear': it must be linear or ladder"),
        ({"linear": ""}, "linear: it is no JSON: Expecting value in line 1, column 1"),
        ({"linear": '{\n"min": 1,\n}'}, "double quotes in line 3, column 1"),
        ({"linear": "{} {}"}, "Extra data in line 1"),
        ({"linear": "[]"}, "must be a JSON object"),
        ({"linear": "null"}, "give coresPerReplica or nodesPerReplica"),
        ({"linear": "{}"}, "give coresPerReplica or nodesPerReplica"),
        ({"linear": '{"nodesPerReplica":-1}'}, "nodesPerReplica is -1: give 0 or more"),
        ({"linear": '{"nodesPerReplica":1,"coresPerReplica":-2.5}'}, "coresPerReplica is -2.5"),
        ({"linear": '{"nodesPerReplica":1,"min":-1}'}, "min is -1: give 0 or more"),
        ({"linear": '{"nodesPerReplica":1,"min":3,"max":2}'}, "max is 2: .* no less than min, 3"),
        ({"linear": '{"nodesPerReplica":1,"max":-2}'}, "max is -2"),
        ({"linear": '{"nodesPerReplica":"16"}'}, 'nodesPerReplica is "16": give a number'),
        ({"linear": '{"nodesPerReplica":true}'}, "nodesPerReplica is true: give a number"),
        ({"linear": '{"nodesPerReplica":NaN}'}, "NaN is no number"),
        ({"linear": '{"nodesPerReplica":1e999}'}, "beyond all numbers"),
        ({"linear": f'{{"nodesPerReplica":1{"0" * 400}}}'}, "beyond all numbers"),
        ({"linear": f'{{"nodesPerReplica":1{"0" * 5000}}}'}, "it is no JSON"),
        ({"linear": '{"nodesPerReplica":1,"min":2.0}'}, "min is 2.0: give a whole number"),
        ({"linear": '{"nodesPerReplica":1,"min":9223372036854775808}'}, "give a whole number"),
        ({"linear": f'{{"nodesPerReplica":1,{SPREAD[:-4]}1}}'}, "is 1: give true or false"),
        ({"linear": "[" * 100_000}, "linear: it is nested too deep"),
        ({"linear": f'{{"min":{"[" * 900}{"]" * 900}}}'}, "linear: "),
        ({"ladder": '{"nodesToReplicas":5}'}, "nodesToReplicas is 5: give a list"),
        ({"ladder": '{"nodesToReplicas":[5]}'}, "nodesToReplicas has 5: give pairs"),
        ({"ladder": '{"nodesToReplicas":[[1,-1]]}'}, r"has \[1, -1\]: give numbers of 0 or more"),
        ({"ladder": '{"nodesToReplicas":[[-1,1]]}'}, r"has \[-1, 1\]: give numbers of 0 or more"),
        ({"ladder": '{"coresToReplicas":[["1",1]]}'}, r'coresToReplicas: \["1", 1\] is "1"'),
        ({"ladder": '{"coresToReplicas":[[1.5,1]]}'}, "is 1.5: give a whole number"),
        ({"ladder": f'{{"coresToReplicas":"{"x" * 999}"}}'}, 'is "x{36}...: give a list'),
    ],
)
def test_bad(data, why):
    with pytest.raises(BadParameters, match=why) as caught:
        parse(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("linear", '{"nodesPerReplica":5e-324}'),
        ("linear", '{"nodesPerReplica":1,"min":2147483648}'),
        ("ladder", '{"nodesToReplicas":[[0,2147483648]]}'),
    ],
)
def test_more_than_can_be(mode, text):
    with pytest.raises(BadParameters, match="more than can be: 2147483647"):
        replicas(mode, text, 5, 0)
