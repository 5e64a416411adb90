"""`any`: a short word for whoever asks for everything (RFC 8482 §4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from kdns.corefile.arguments import arguments, no_block
from kdns.corefile.parser import Directive
from kdns.dns import codes
from kdns.dns.query import Query
from kdns.dns.rdata import RRset, txt
from kdns.dns.reply import Reply
from kdns.plugins.plugin import Answer, Handler
from kdns.plugins.site import Site, only

_TTL: Final = 8482
_HINFO: Final = txt(b"ANY obsoleted", b"See RFC 8482")


class Any:
    """Answers queries of type ANY with one HINFO record."""

    name: ClassVar[str] = "any"
    uniform: ClassVar[bool] = True

    def handle(self, query: Query, next_: Handler) -> Answer:
        if query.qtype != codes.ANY:
            return next_(query)
        hinfo = RRset(query.name, codes.HINFO, _TTL, [_HINFO])
        # Not kept: every name has this answer, and would push out those of names that exist.
        return Reply(answer=[hinfo], lifetime=0, plugin=self.name)


def setup(directives: Sequence[Directive], _: Site) -> Any:
    """`any` takes nothing."""
    directive = only(directives)
    arguments(directive, "")
    no_block(directive)
    return Any()
