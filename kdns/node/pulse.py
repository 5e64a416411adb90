"""The pulse of an address: what its probes have come to lately."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kdns.node.loop import Loop
from kdns.node.probe import AUTHORITATIVE, LOST, Probe

INTERVAL: Final = 0.15
"""Seconds from a round of probes to the next, which is how long an answer may take."""
LOST_IN_A_ROW: Final = 3
_BEATS_TO_RETURN: Final = 3
_STREAM_EVERY: Final = 7


class Pulse:
    """Probes an address by UDP every round, by TCP every seventh while that goes well.

    `alive` turns true with the first answers of both, once `ours` says that they can be those of
    the server that this is about and not of another on the same address. It turns false when one
    of them has lost three in a row; from then on it takes three good rounds to be believed again.
    `changed` is called after each turn. `proved` says that it was this node's own answer at least
    once.
    """

    def __init__(
        self,
        loop: Loop,
        address: str,
        port: int,
        ours: Callable[[str], bool],
        changed: Callable[[], None],
    ) -> None:
        self.address = address
        self.alive = False
        self.proved = False
        self.silent_since: float | None = None
        """The loop's time of the first probe that was lost of those lost in a row."""
        self._loop = loop
        self._port = port
        self._ours = ours
        self._changed = changed
        self._rounds = 0
        self._missing = 1
        self._lost = {False: 0, True: 0}
        self._good = {False: 0, True: 0}
        self._asked: dict[bool, Probe] = {}

    def beat(self) -> None:
        """End the last round, and start the next."""
        for stream in (False, True):
            probe = self._asked.pop(stream, None)
            if probe and probe.open:
                probe.give_up()
                self._note(stream, LOST)
        self._rounds += 1
        for stream in (False, True):
            if not stream or not self.alive or self._lost[True] or not self._rounds % _STREAM_EVERY:
                self._ask(stream)

    def forget(self) -> None:
        """Start anew: there is another server, or none."""
        for probe in self._asked.values():
            probe.give_up()
        self._asked.clear()
        self._missing = 1
        self._lost = {False: 0, True: 0}
        self._good = {False: 0, True: 0}
        self.alive = self.proved = False
        self.silent_since = None

    def _ask(self, stream: bool) -> None:
        self._asked[stream] = Probe(
            self._loop,
            self.address,
            self._port,
            stream,
            lambda outcome: self._note(stream, outcome),
        )

    def _note(self, stream: bool, outcome: int) -> None:
        if outcome == LOST:
            self._lost[stream] += 1
            self._good[stream] = 0
            if self.silent_since is None:
                self.silent_since = self._loop.clock()
            if self.alive and self._lost[stream] >= LOST_IN_A_ROW:
                self._missing = _BEATS_TO_RETURN
                self._turn(False)
            return
        self._lost[stream] = 0
        self._good[stream] += 1
        self.proved = self.proved or outcome == AUTHORITATIVE
        if not any(self._lost.values()):
            self.silent_since = None
        if (
            not self.alive
            and min(self._good.values()) >= self._missing
            and self._ours(self.address)
        ):
            self._turn(True)

    def _turn(self, alive: bool) -> None:
        self.alive = alive
        self._changed()
