"""`loadbalance [round_robin]`: the addresses of a name take turns at being first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kdns.corefile.arguments import arguments, choice, no_block
from kdns.corefile.parser import Directive
from kdns.dns.query import Query
from kdns.dns.reply import Reply
from kdns.plugins.plugin import Answer, Handler, then
from kdns.plugins.site import Site, only


class Loadbalance:
    """Lets the address set of an answer rotate."""

    name: ClassVar[str] = "loadbalance"
    uniform: ClassVar[bool] = True

    def handle(self, query: Query, next_: Handler) -> Answer:
        return then(next_(query), _rotating)


def setup(directives: Sequence[Directive], _: Site) -> Loadbalance:
    """Round robin is the policy there is."""
    directive = only(directives)
    for policy in arguments(directive, "[round_robin]"):
        choice("round_robin")(policy)
    no_block(directive)
    return Loadbalance()


def _rotating(reply: Reply) -> Reply:
    return reply.changed(rotate=True) if reply.answer else reply
