"""`errors`: lines in the log for queries that failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from kdns.corefile.arguments import arguments, no_block
from kdns.corefile.parser import Directive
from kdns.dns.codes import type_name
from kdns.dns.names import to_text
from kdns.dns.query import Query
from kdns.dns.reply import Reply
from kdns.plugins.plugin import Answer, Handler, then
from kdns.plugins.site import Site, only

_log: Final = logging.getLogger("plugin/errors")

_FOLDED: Final = 10.0
"""Seconds in which one reason is told once."""

_REASONS: Final = 64
"""Reasons that are told of one by one at a time; all others are one: upstreams may word them."""

_OTHERS: Final = ""


class Errors:
    """Logs why a plugin further on could not answer.

    A reason that many queries have at a time is one line, of the first of them; the next line tells
    how many others there were. Times are in seconds of `clock`.
    """

    name: ClassVar[str] = "errors"
    uniform: ClassVar[bool] = True

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: dict[str, tuple[float, int]] = {}

    def handle(self, query: Query, next_: Handler) -> Answer:
        answer = next_(query)
        if isinstance(answer, Reply) and not answer.failure:
            return answer
        return then(answer, lambda reply: self._logged(query, reply))

    def _logged(self, query: Query, reply: Reply) -> Reply:
        if not reply.failure:
            return reply
        now, reason = self._clock(), reply.failure
        if reason not in self._told and len(self._told) >= _REASONS:
            self._told = {why: of for why, of in self._told.items() if now < of[0] + _FOLDED}
            if len(self._told) >= _REASONS:
                reason = _OTHERS
        told, others = self._told.get(reason, (-_FOLDED, 0))
        if now < told + _FOLDED:
            self._told[reason] = told, others + 1
            return reply
        self._told[reason] = now, 0
        name, mnemonic = to_text(query.name), type_name(query.qtype)
        more = f" (and {others} other queries before)" if others else ""
        _log.error("%d %s %s: %s%s", reply.rcode, name, mnemonic, reply.failure, more)
        return reply


def setup(directives: Sequence[Directive], site: Site) -> Errors:
    """`errors` takes nothing."""
    directive = only(directives)
    arguments(directive, "")
    no_block(directive)
    return Errors(site.facilities.clock)
