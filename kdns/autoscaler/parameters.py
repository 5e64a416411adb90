"""What a ConfigMap says of replicas, and what follows from it for a cluster.

ConfigMap and formula are cluster-proportional-autoscaler's, as the code of its version 1.9 has
them. JSON is read as Go reads it: the case of keys does not matter, null is the same as nothing,
unknown keys are passed over, and a whole number is written without a point.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kdns.autoscaler.census import Census

_INT64: Final = 2**63
_MAX_REPLICAS: Final = 2**31 - 1


class BadParameters(Exception):
    """They cannot be scaled by; the text says what to write instead, in one line."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A replica for so many cores and for so many nodes; 0 where that does not matter."""

    cores_per_replica: float = 0
    nodes_per_replica: float = 0
    min: int = 1
    max: int = 0
    prevent_single_point_failure: bool = False
    include_unschedulable_nodes: bool = False

    def replicas(self, census: Census) -> int:
        """The more of both. Raises BadParameters where no Deployment can have that many."""
        nodes, cores = _those_that_count(census, everything=self.include_unschedulable_nodes)
        by_cores = self._by(cores, self.cores_per_replica)
        by_nodes = self._by(nodes, self.nodes_per_replica)
        # After `max`, which this may exceed.
        if self.prevent_single_point_failure and nodes > 1:
            by_nodes = max(by_nodes, 2)
        return _possible(max(by_cores, by_nodes))

    def _by(self, count: int, per: float) -> float:
        if per == 0:
            return 1
        quotient = count / per
        replicas = math.ceil(quotient) if math.isfinite(quotient) else quotient
        if self.max:
            replicas = min(self.max, replicas)
        return max(self.min, replicas)


@dataclass(frozen=True, slots=True)
class Ladder:
    """Steps of (cores or nodes, replicas), in order. Without any, and on a step of 0, it is 0."""

    by_cores: tuple[tuple[int, int], ...] = ()
    by_nodes: tuple[tuple[int, int], ...] = ()
    include_unschedulable_nodes: bool = False

    def replicas(self, census: Census) -> int:
        """The more of both. Raises BadParameters where no Deployment can have that many."""
        nodes, cores = _those_that_count(census, everything=self.include_unschedulable_nodes)
        return _possible(max(_step(cores, self.by_cores), _step(nodes, self.by_nodes)))


Parameters = Linear | Ladder


def parse(data: Mapping[str, str]) -> Parameters:
    """What the data of a ConfigMap says. Raises BadParameters."""
    if len(data) != 1:
        has = ", ".join(sorted(data)) or "none"
        raise BadParameters(f"it must have one key, linear or ladder, and has {has}")
    [(mode, text)] = data.items()
    if mode not in _MODES:
        raise BadParameters(f"its key is {mode!r}: it must be linear or ladder")
    try:
        return _MODES[mode](_object(text))
    except BadParameters as error:
        raise BadParameters(f"{mode}: {error}") from error
    except RecursionError as error:
        raise BadParameters(f"{mode}: it is nested too deep") from error


def _linear(fields: Mapping[str, Any]) -> Linear:
    cores = _number(fields, "coresPerReplica")
    nodes = _number(fields, "nodesPerReplica")
    least, most = _whole(fields, "min"), _whole(fields, "max")
    single = _switch(fields, "preventSinglePointFailure")
    everything = _switch(fields, "includeUnschedulableNodes")
    if least < 0:
        raise BadParameters(f"min is {least}: give 0 or more")
    least = least or 1
    if most != 0 and most < least:
        raise BadParameters(f"max is {most}: give 0 for no limit, or no less than min, {least}")
    if cores == 0 and nodes == 0:
        raise BadParameters("give coresPerReplica or nodesPerReplica, more than 0")
    for name, value in (("coresPerReplica", cores), ("nodesPerReplica", nodes)):
        if value < 0:
            raise BadParameters(f"{name} is {value:g}: give 0 or more")
    return Linear(cores, nodes, least, most, single, everything)


def _ladder(fields: Mapping[str, Any]) -> Ladder:
    return Ladder(
        _steps(fields, "coresToReplicas"),
        _steps(fields, "nodesToReplicas"),
        _switch(fields, "includeUnschedulableNodes"),
    )


_MODES: Final[dict[str, Callable[[Mapping[str, Any]], Parameters]]] = {
    "linear": _linear,
    "ladder": _ladder,
}


def _those_that_count(census: Census, *, everything: bool) -> tuple[int, int]:
    if everything:
        return census.nodes, census.cores
    return census.schedulable_nodes, census.schedulable_cores


def _step(count: int, steps: tuple[tuple[int, int], ...]) -> int:
    if not steps:
        return 0
    position = bisect_right(steps, count, key=lambda step: step[0])
    return steps[max(position - 1, 0)][1]


def _possible(replicas: float) -> int:
    if replicas > _MAX_REPLICAS:
        raise BadParameters(f"that makes {replicas:g} replicas, more than can be: {_MAX_REPLICAS}")
    return int(replicas)


def _object(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_fields, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadParameters(f"it is no JSON: {error.msg} in {where}") from error
    except ValueError as error:  # a number beyond reason
        raise BadParameters(f"it is no JSON: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadParameters("it must be a JSON object, in braces")
    return value


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name.lower(): value for name, value in pairs if value is not None}


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _number(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name.lower(), 0)
    if type(value) not in (int, float):
        raise BadParameters(f"{name} is {_said(value)}: give a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadParameters(f"{name} is beyond all numbers: give a smaller one")
    return number


def _whole(fields: Mapping[str, Any], name: str) -> int:
    return _whole_number(fields.get(name.lower(), 0), name)


def _whole_number(value: Any, where: str) -> int:
    if type(value) is not int or not -_INT64 <= value < _INT64:
        said = _said(value)
        raise BadParameters(f"{where} is {said}: give a whole number, without a point")
    return value


def _switch(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name.lower(), False)
    if not isinstance(value, bool):
        raise BadParameters(f"{name} is {_said(value)}: give true or false")
    return value


def _steps(fields: Mapping[str, Any], name: str) -> tuple[tuple[int, int], ...]:
    entries = fields.get(name.lower(), [])
    if not isinstance(entries, list):
        raise BadParameters(f"{name} is {_said(entries)}: give a list such as [[1, 1], [64, 3]]")
    return tuple(sorted((_entry(each, name) for each in entries), key=lambda step: step[0]))


def _entry(entry: Any, name: str) -> tuple[int, int]:
    """Go's arrays of two: what is missing is 0, and what is more is passed over."""
    if entry is None:
        return 0, 0
    if not isinstance(entry, list):
        raise BadParameters(f"{name} has {_said(entry)}: give pairs such as [64, 3]")
    count, replicas = (
        0 if value is None else _whole_number(value, f"{name}: {_said(entry)}")
        for value in [*entry, 0, 0][:2]
    )
    if count < 0 or replicas < 0:
        raise BadParameters(f"{name} has {_said(entry)}: give numbers of 0 or more")
    return count, replicas


def _said(value: Any) -> str:
    """Bounded: what is wrong may be long."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
