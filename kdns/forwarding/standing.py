"""How well an upstream does, from what was heard of it and what was not."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

_TRUST: Final = 8
"""Questions in a row without any answer, until an upstream is asked a few at a time."""

_FADES: Final = 10.0
"""Seconds after which an answer counts for half."""

_ENOUGH: Final = 5.0
"""Bad answers from which on their share says something."""

_SHARE: Final = 0.3
_SHUNNED: Final = 5.0
_SUSPECT: Final = 2.0
"""Seconds for each question that went without an answer; a probe may be answered before."""

_LONGEST_SUSPECT: Final = 30.0


class Rank(IntEnum):
    """Which upstream to ask before which; the least first."""

    GOOD = 0
    SHUNNED = 1
    """Too many of its answers are of no use, or come after another's."""
    SUSPECT = 2
    """It owes an answer since a while ago."""
    DOWN = 3
    """It has failed its probes."""


class Standing:
    """One upstream's standing; `max_fails` as in a Corefile: 0 means that it is never down.

    Answers that are of no use are of a rcode that makes others be asked. Times are in seconds of
    one clock.
    """

    __slots__ = ("_answers", "_bad", "_faded", "_max_fails", "fails", "silence", "until")

    def __init__(self, max_fails: int) -> None:
        self.fails = 0
        """Probes failed since anything was heard."""
        self.silence = 0
        """Questions that went without an answer since anything was heard."""
        self.until = 0.0
        """When its rank may become better by itself."""
        self._max_fails = max_fails
        self._answers = 0.0
        self._bad = 0.0
        self._faded = 0.0

    @property
    def mute(self) -> bool:
        """Whether it is to be asked a few questions at a time, as most likely all are in vain."""
        return self.silence >= _TRUST or self.down

    @property
    def down(self) -> bool:
        """Whether it has failed more than `max_fails` probes."""
        return 0 < self._max_fails < self.fails

    def rank(self, now: float) -> Rank:
        if self.down:
            return Rank.DOWN
        if now >= self.until:
            return Rank.GOOD
        return Rank.SUSPECT if self.silence else Rank.SHUNNED

    def heard(self) -> bool:
        """Any answer came, to a question or a probe; whether that changes its rank."""
        self._answers += 1
        if not self.silence and not self.fails:
            return False
        self.silence = self.fails = 0
        self.until = 0.0
        return True

    def missed(self, now: float) -> None:
        """There was no answer."""
        self.silence += 1
        self.until = now + min(_SUSPECT * self.silence, _LONGEST_SUSPECT)

    def failed_probe(self, now: float) -> None:
        """There was no answer to a probe."""
        self.fails += 1
        self.until = max(self.until, now + _SUSPECT)

    def bad(self, now: float) -> bool:
        """The answer was of no use, or came too late to be; whether that changes its rank."""
        fade = 0.5 ** ((now - self._faded) / _FADES)
        self._faded = now
        self._answers *= fade
        self._bad = self._bad * fade + 1
        if self._bad < _ENOUGH or self._bad < _SHARE * self._answers or self.silence:
            return False
        self.until = now + _SHUNNED
        return True
