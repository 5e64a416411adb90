"""`whoami`: tells clients their own address and port."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import ClassVar

from kdns.corefile.arguments import arguments, no_block
from kdns.corefile.parser import Directive
from kdns.dns import codes
from kdns.dns.names import MAX_NAME, ROOT, label
from kdns.dns.query import Query
from kdns.dns.rdata import RRset, srv
from kdns.dns.reply import Reply
from kdns.plugins.plugin import Answer, Handler
from kdns.plugins.site import Site, only


class Whoami:
    """Answers every query with its client's address, and an SRV record of its port.

    The record is left out where there is no room for its owner below the name asked.
    """

    name: ClassVar[str] = "whoami"
    uniform: ClassVar[bool] = False

    def handle(self, query: Query, next_: Handler) -> Answer:
        if query.client is None:
            return next_(query)
        host, port = query.client
        ipv6 = ":" in host
        address = socket.inet_pton(socket.AF_INET6 if ipv6 else socket.AF_INET, host)
        owner = label(f"_{query.transport}") + query.name
        additional = [RRset(query.name, codes.AAAA if ipv6 else codes.A, 0, [address])]
        if len(owner) <= MAX_NAME:
            additional.append(RRset(owner, codes.SRV, 0, [srv(0, 0, port, ROOT)]))
        return Reply(additional=additional, authoritative=True, lifetime=0, plugin=self.name)


def setup(directives: Sequence[Directive], _: Site) -> Whoami:
    """`whoami` takes nothing."""
    directive = only(directives)
    arguments(directive, "")
    no_block(directive)
    return Whoami()
