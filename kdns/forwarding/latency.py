"""How long an upstream takes to answer, and when it is late by its own history."""

from __future__ import annotations

from typing import Final

_SOONEST_HEDGE: Final = 0.01
"""Below that nobody feels it, and a busy machine is late by as much."""

_SOONEST_LOSS: Final = 0.4
_LATEST: Final = 1.0
_UNKNOWN_HEDGE: Final = 0.2
_UNKNOWN_LOSS: Final = 0.5


class Latency:
    """Mean and deviation of the answers' times, weighted as in RFC 6298; all in seconds."""

    __slots__ = ("_deviation", "_known", "_mean", "hedge", "loss")

    def __init__(self) -> None:
        self.hedge = _UNKNOWN_HEDGE
        """From then on it is worth asking another upstream too."""
        self.loss = _UNKNOWN_LOSS
        """From then on question or answer have most likely been lost."""
        self._mean = 0.0
        self._deviation = 0.0
        self._known = False

    def took(self, seconds: float) -> None:
        """An answer came after so long."""
        if not self._known:
            self._known = True
            self._mean, self._deviation = seconds, seconds / 2
        else:
            error = seconds - self._mean
            self._mean += error / 8
            self._deviation += ((error if error > 0 else -error) - self._deviation) / 4
        late = self._mean + 4 * self._deviation
        self.hedge = _SOONEST_HEDGE if late < _SOONEST_HEDGE else min(late, _LATEST)
        self.loss = _SOONEST_LOSS if late < _SOONEST_LOSS / 3 else min(3 * late, _LATEST)
