"""Serial numbers of zones."""

from __future__ import annotations

from typing import Final

from kdns.dns.reply import EPOCH

SERIAL: Final = EPOCH + b"serial"
"""The store name that every Reply with the serial of the cluster's own zones reads."""

IMPORTS_SERIAL: Final = SERIAL + b" of imports"
EXTERNAL_SERIAL: Final = SERIAL + b" of external addresses"
"""The same for zones of a cluster set, and for zones of addresses outside of the cluster."""


class Serial:
    """The serial of all zones that are made of one part of a store.

    `value` is the Unix time in seconds of the last visible change, 0 before any; `token` is the
    store name that is touched when it moves.
    """

    __slots__ = ("_handed_out", "token", "value")

    def __init__(self, token: bytes) -> None:
        self.token = token
        self.value = 0
        self._handed_out = False

    def move(self, now: float, touched: set[bytes]) -> None:
        """A visible change, `now` in seconds. The value never goes back."""
        value = max(int(now), self.value + self._handed_out)
        if value > self.value:
            self.value = value
            self._handed_out = False
            touched.add(self.token)

    def hand_out(self) -> None:
        """The zone is copied elsewhere as it is now: a change in this second has to show too."""
        self._handed_out = True

    def copy(self) -> Serial:
        """One that stays as this one is now."""
        made = Serial(self.token)
        made.value = self.value
        return made
