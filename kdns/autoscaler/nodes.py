"""The nodes of the cluster, listed once and watched from then on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from kdns.autoscaler.api import Api, ApiError, TooOld
from kdns.autoscaler.census import Census, Node, count

_log: Final = logging.getLogger(__name__)

_WATCH: Final = 60
"""Seconds that a watch lasts. Short, so that a dead connection cannot look like a quiet cluster."""

_PAUSE: Final = 1.0
_MAX_PAUSE: Final = 30.0

STALE: Final = 150.0
"""Seconds without a word of the API server, after which what is known of the nodes is old."""


class NodeWatch:
    """Follows the nodes with some labels, in a thread of its own; the census is for any thread.

    `clock` gives seconds; `pause` waits for seconds, and says whether it is time to end.
    """

    def __init__(
        self, api: Api, selector: str, clock: Callable[[], float], pause: Callable[[float], bool]
    ) -> None:
        self._api = api
        self._selector = selector
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()
        self._nodes: dict[str, Node] = {}
        self._listed = False
        self._version = ""
        self._failures = 0
        self._heard = clock()
        self.why = "they were not asked for yet"

    @property
    def silence(self) -> float:
        """Seconds since the API server last said how the nodes are, or since the beginning."""
        return self._clock() - self._heard

    def census(self) -> Census:
        """What the nodes make together. Raises ApiError until they were listed once."""
        with self._lock:
            if not self._listed:
                raise ApiError(self.why)
            return count(self._nodes.values())

    def run(self) -> None:
        """Until `pause` says that it is time to end."""
        while not self._pause(self.pause_before_next()):
            self.step()

    def pause_before_next(self) -> float:
        """Seconds: longer with every failure, and never none, whatever the API server does."""
        return min(_PAUSE * 2.0 ** max(self._failures - 1, 0), _MAX_PAUSE)

    def step(self) -> None:
        """List the nodes if that is due, else watch them until the watch ends."""
        try:
            if self._version:
                self._follow()
            else:
                self._list()
        except ApiError as error:
            if isinstance(error, TooOld) and self._version:
                # It is there and answers, so there is no reason to wait long.
                self._version = ""
                self._failures = 0
            if str(error) != self.why or not self._failures:
                _log.warning("%s", error)
            self.why = str(error)
            self._failures = min(self._failures + 1, 10)
        else:
            if self._failures:
                _log.info("nodes are followed again")
            self._failures = 0

    def _list(self) -> None:
        nodes, self._version = self._api.nodes(self._selector)
        with self._lock:
            self._nodes = nodes
            self._listed = True
        self._heard = self._clock()

    def _follow(self) -> None:
        for name, node, version in self._api.changes(self._selector, self._version, _WATCH):
            self._heard = self._clock()
            self._version = version
            with self._lock:
                if node is not None:
                    self._nodes[name] = node
                else:
                    self._nodes.pop(name, None)
        self._heard = self._clock()
