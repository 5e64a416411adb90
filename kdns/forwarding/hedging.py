"""How much more may be asked than was asked for."""

from __future__ import annotations

from typing import Final

SHARE: Final = 0.1
"""Second questions for each first one: an upstream that is slow altogether is not asked twice as
much for it."""

_BURST: Final = 10.0


class HedgeBudget:
    """A bucket that first questions fill and second ones empty."""

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        self._tokens = _BURST

    def earn(self) -> None:
        """A question was asked."""
        if self._tokens < _BURST:
            self._tokens += SHARE

    def spend(self) -> bool:
        """Whether one may be asked again."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
