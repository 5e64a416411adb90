"""`errors`: a line in the log for each query that failed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
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


class Errors:
    """Logs why a plugin further on could not answer."""

    name: ClassVar[str] = "errors"
    uniform: ClassVar[bool] = True

    def handle(self, query: Query, next_: Handler) -> Answer:
        answer = next_(query)
        if isinstance(answer, Reply) and not answer.failure:
            return answer
        return then(answer, lambda reply: _logged(query, reply))


def setup(directives: Sequence[Directive], _: Site) -> Errors:
    """`errors` takes nothing."""
    directive = only(directives)
    arguments(directive, "")
    no_block(directive)
    return Errors()


def _logged(query: Query, reply: Reply) -> Reply:
    if reply.failure:
        name, mnemonic = to_text(query.name), type_name(query.qtype)
        _log.error("%d %s %s: %s", reply.rcode, name, mnemonic, reply.failure)
    return reply
