"""Which of several upstreams that do equally well is asked first."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from kdns.forwarding.options import Policy

T = TypeVar("T")


class Order(Protocol):
    """A policy at work; each question gets its order from it."""

    def first(self, upstreams: Sequence[T]) -> T:
        """Whom to ask, of one at least."""

    def all(self, upstreams: Sequence[T]) -> list[T]:
        """Whom to ask after whom."""


class _Random:
    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance

    def first(self, upstreams: Sequence[T]) -> T:
        return upstreams[int(self._chance() * len(upstreams))]

    def all(self, upstreams: Sequence[T]) -> list[T]:
        return sorted(upstreams, key=lambda _: self._chance())


class _RoundRobin:
    def __init__(self) -> None:
        self._turn = -1

    def first(self, upstreams: Sequence[T]) -> T:
        self._turn += 1
        return upstreams[self._turn % len(upstreams)]

    def all(self, upstreams: Sequence[T]) -> list[T]:
        turn = (self._turn + 1) % (len(upstreams) or 1)
        return [*upstreams[turn:], *upstreams[:turn]]


class _Sequential:
    def first(self, upstreams: Sequence[T]) -> T:
        return upstreams[0]

    def all(self, upstreams: Sequence[T]) -> list[T]:
        return list(upstreams)


def order(policy: Policy, chance: Callable[[], float] = random.random) -> Order:
    """What a policy's name stands for; `chance` is from 0 to below 1, and no secret: whom a
    question goes to protects nobody."""
    if policy == "random":
        return _Random(chance)
    return _RoundRobin() if policy == "round_robin" else _Sequential()
