"""What a cluster has of nodes and cores."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Final, NamedTuple

_QUANTITY: Final = re.compile(
    r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,3}))?", re.ASCII
)
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_NANO: Final = 10**9


class Node(NamedTuple):
    """What counts of a node. `cpu` is what it has to give, in billionths of a core."""

    schedulable: bool
    cpu: int


class Census(NamedTuple):
    """Nodes and whole cores: of those where pods may be placed, and of all."""

    schedulable_nodes: int
    schedulable_cores: int
    nodes: int
    cores: int


def count(nodes: Iterable[Node]) -> Census:
    """The census of these nodes. Cores are added up first and rounded up then."""
    every = list(nodes)
    schedulable = [node for node in every if node.schedulable]
    return Census(len(schedulable), _cores(schedulable), len(every), _cores(every))


def cpu(quantity: str) -> int:
    """Billionths of a core of a quantity such as "1930m"; finer ones are rounded up.

    Raises ValueError where it is none (apimachinery, resource.Quantity).
    """
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is no quantity")
    number, suffix, exponent = match.groups()
    value = Fraction(number)
    if suffix in _BINARY:
        value *= 2 ** _BINARY[suffix]
    else:
        value *= Fraction(10) ** (_DECIMAL[suffix] if suffix else int(exponent or 0))
    return math.ceil(value * _NANO)


def _cores(nodes: Iterable[Node]) -> int:
    return -(-sum(node.cpu for node in nodes) // _NANO)
