"""The loop: how many replicas there are to be, and the scales that are told so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kdns.autoscaler.api import Api, ApiError, Target
from kdns.autoscaler.census import Census
from kdns.autoscaler.nodes import NodeWatch
from kdns.autoscaler.parameters import BadParameters, Parameters, parse

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be scaled, by which ConfigMap, and how often that is looked at."""

    targets: Sequence[Target]
    configmap: str
    period: float = 10.0
    """Seconds."""
    defaults: Mapping[str, str] | None = None
    """Data of the ConfigMap where there is none."""
    max_failures: int = 0
    """Polls in a row that may fail, 0 for any number."""


@dataclass(slots=True)
class Polls:
    """What came of the polls so far."""

    ended: float
    """When the last one did, by the scaler's clock; when the scaler was made before the first."""
    count: int = 0
    failures: int = 0
    failures_in_a_row: int = 0
    error: str = ""
    """Of the last one, "" where it did what was to be done."""
    census: Census | None = None
    wanted: int | None = None
    """Replicas, None where that is not known."""
    writes: int = 0


class Scaler:
    """Polls for as long as it is told to. `clock` gives seconds."""

    def __init__(
        self, api: Api, nodes: NodeWatch, order: Order, clock: Callable[[], float]
    ) -> None:
        self.polls = Polls(clock())
        self.order = order
        self._api = api
        self._nodes = nodes
        self._clock = clock
        self._parameters: Parameters | None = None
        self._version = ""

    def run(self, pause: Callable[[float], bool]) -> bool:
        """Poll at once and every period from then on, until `pause` (seconds) says to end.

        Whether that was it, and not too many failures.
        """
        due = self._clock()
        while True:
            self.poll()
            if 0 < self.order.max_failures <= self.polls.failures_in_a_row:
                _log.error("%d polls in a row failed, which ends this", self.order.max_failures)
                return False
            due = max(due + self.order.period, self._clock())
            if pause(due - self._clock()):
                return True

    def poll(self) -> None:
        """Look at the cluster and scale. Never raises: what went wrong is in `polls`."""
        polls = self.polls
        polls.count += 1
        try:
            self._scale()
        except (ApiError, BadParameters) as error:
            polls.failures += 1
            polls.failures_in_a_row += 1
            polls.error = str(error)
            _log.error("%s", error)
        else:
            polls.failures_in_a_row = 0
            polls.error = ""
        polls.ended = self._clock()

    def _scale(self) -> None:
        census = self.polls.census = self._nodes.census()
        try:
            wanted = self._current().replicas(census)
        except BadParameters as error:
            self.polls.wanted = None
            raise BadParameters(
                f"nothing is scaled until ConfigMap {self.order.configmap} is mended: {error}"
            ) from error
        except ApiError:
            self.polls.wanted = None
            raise
        self.polls.wanted = wanted
        _log.debug("%s, so there are to be %d replicas", _told(census), wanted)
        errors = []
        for target in self.order.targets:
            try:
                self._apply(target, wanted, census)
            except ApiError as error:
                errors.append(str(error))
        if errors:
            raise ApiError("; ".join(errors))

    def _current(self) -> Parameters:
        """By the ConfigMap as it is now. Raises ApiError, BadParameters."""
        name, defaults = self.order.configmap, self.order.defaults
        settings = self._api.settings(name)
        if settings is None:
            if defaults is None:
                raise ApiError(f"there is no ConfigMap {name}: create it, or give --default-params")
            settings = self._api.create_settings(name, defaults)
            _log.info("created ConfigMap %s with the default parameters", name)
        if self._parameters is None or settings.version != self._version:
            # Nothing is scaled by what was right before.
            self._parameters = None
            self._parameters = parse(settings.data)
            self._version = settings.version
            _log.info("scaling by ConfigMap %s: %s", name, self._parameters)
        return self._parameters

    def _apply(self, target: Target, wanted: int, census: Census) -> None:
        scale = self._api.scale(target)
        if scale.replicas == wanted:
            return
        self._api.rescale(target, scale, wanted)
        self.polls.writes += 1
        # A ladder may say 0, and then there is nobody left to answer.
        level = logging.INFO if wanted else logging.WARNING
        told = _told(census)
        _log.log(level, "%s: from %d to %d replicas, for %s", target, scale.replicas, wanted, told)


def _told(census: Census) -> str:
    return (
        f"{census.nodes} nodes with {census.cores} cores, of them {census.schedulable_nodes}"
        f" with {census.schedulable_cores} schedulable"
    )
