"""`health`, `ready` and `prometheus`: pages over HTTP that tell how the process is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kdns.corefile.arguments import (
    Address,
    Properties,
    address,
    arguments,
    choice,
    duration,
)
from kdns.corefile.parser import Directive
from kdns.plugins.site import Health, Ready, Site, only

_HEALTH: Final = Address("", 8080)
_READY: Final = Address("", 8181)
_METRICS: Final = Address("localhost", 9153)


def setup_health(directives: Sequence[Directive], site: Site) -> None:
    """`health [ADDRESS] { lameduck DURATION }`."""
    directive = only(directives)
    at = _address(directive, _HEALTH)
    with Properties(directive) as properties:
        site.requests.health.append(Health(at, properties.value("lameduck", duration(), 0.0)))


def setup_ready(directives: Sequence[Directive], site: Site) -> None:
    """`ready [ADDRESS] { monitor until-ready|continuously }`."""
    directive = only(directives)
    at = _address(directive, _READY)
    with Properties(directive) as properties:
        monitor = properties.value("monitor", choice("until-ready", "continuously"), "until-ready")
        site.requests.ready.append(Ready(at, sticky=monitor == "until-ready"))


def setup_prometheus(directives: Sequence[Directive], site: Site) -> None:
    """`prometheus [ADDRESS] { runtime_metrics }`; metrics of the process are always there."""
    directive = only(directives)
    site.metrics = True
    site.requests.metrics.append(_address(directive, _METRICS))
    with Properties(directive) as properties:
        properties.flag("runtime_metrics")


def _address(directive: Directive, default: Address) -> Address:
    for token in arguments(directive, "[ADDRESS]"):
        return address()(token)
    return default
