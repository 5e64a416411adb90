"""`reload [INTERVAL] [JITTER]`: a changed Corefile is served without a restart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kdns.corefile.arguments import arguments, duration, no_block
from kdns.corefile.parser import Directive
from kdns.plugins.site import Reload, Site, only

_INTERVAL: Final = 30.0
_JITTER: Final = 15.0


def setup(directives: Sequence[Directive], site: Site) -> None:
    """Defaults are 30s and 15s; jitter is at most half of the interval, as in CoreDNS."""
    directive = only(directives)
    given = arguments(directive, "[INTERVAL] [JITTER]")
    no_block(directive)
    interval = duration(low=2)(given[0]) if given else _INTERVAL
    jitter = duration(low=1)(given[1]) if len(given) > 1 else _JITTER
    site.requests.reload = Reload(interval, min(jitter, interval / 2))
