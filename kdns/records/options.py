"""What a zone of the cluster is told about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ZoneOptions:
    """The options of CoreDNS's `kubernetes` directive that change answers.

    `ttl` is in seconds. `namespaces` are the names of those exposed, None for all.
    """

    ttl: int = 5
    pods: Literal["disabled", "insecure", "verified"] = "disabled"
    namespaces: frozenset[str] | None = None
    ignore_empty_service: bool = False
    noendpoints: bool = False
    zonal: bool = False
