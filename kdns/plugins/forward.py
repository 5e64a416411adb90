"""`forward FROM TO... { … }`: names of others, asked of upstreams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import ClassVar, Final

from kdns.corefile.parser import Directive
from kdns.corefile.tokens import CorefileError, Token
from kdns.dns import codes
from kdns.dns.names import ROOT
from kdns.dns.query import Query
from kdns.dns.reply import Reply
from kdns.forwarding.names import Unresolved, lookup
from kdns.forwarding.roster import START_PATIENCE
from kdns.plugins.forward_options import Written, read
from kdns.plugins.plugin import Answer, Handler
from kdns.plugins.site import Forwarder, Forwarding, Site
from kdns.records.zone import within

_log: Final = logging.getLogger("plugin/forward")

_SOON: Final = 1.0
"""Seconds after which upstreams that failed leave no time to ask others."""


class Part:
    """One `forward` of a block at work."""

    def __init__(self, written: Written, forwarder: Forwarder) -> None:
        self.forwarder = forwarder
        self._written = written
        self._takes_all = ROOT in written.origins and not written.excepted

    @property
    def final(self) -> bool:
        """Whether every reply is its last word."""
        return not self._written.next and not self._written.next_on_nodata

    def takes(self, name: bytes) -> bool:
        """Whether a lower-case name is for these upstreams.

        The zone's own name is, whatever `except` says (CoreDNS).
        """
        if self._takes_all:
            return True
        origins, excepted = self._written.origins, self._written.excepted
        if not any(within(name, origin) for origin in origins):
            return False
        return name in origins or not any(within(name, origin) for origin in excepted)

    def passes_on(self, reply: Reply, seconds: float) -> bool:
        """Whether the next `forward` is to be asked after this reply, which took so long.

        Upstreams that do not answer are a SERVFAIL of theirs, as long as there is time.
        """
        if reply.failure and (reply.rcode != codes.SERVFAIL or seconds > _SOON):
            return False
        if self._written.next_on_nodata and reply.rcode == codes.NOERROR and not reply.answer:
            return True
        return reply.rcode in self._written.next


class Forward:
    """Asks the upstreams of the first `forward` whose FROM a name is in."""

    name: ClassVar[str] = "forward"
    uniform: ClassVar[bool] = True

    def __init__(self, parts: Sequence[Part], clock: Callable[[], float]) -> None:
        self._parts = parts
        self._clock = clock

    def handle(self, query: Query, next_: Handler) -> Answer:
        for at, part in enumerate(self._parts):
            if part.takes(query.name):
                if part.final:
                    return part.forwarder.ask(query)
                return self._ask_on(at, query)
        return next_(query)

    def _ask_on(self, at: int, query: Query) -> Answer:
        """Ask a part, and after a reply that is not its last word the next that takes the name."""
        part, name = self._parts[at], query.name
        behind = (i for i in range(at + 1, len(self._parts)) if self._parts[i].takes(name))
        following = next(behind, None)
        began = self._clock()
        answer = part.forwarder.ask(query)
        if following is None:
            return answer
        if not isinstance(answer, Reply):
            return self._await_on(answer, part, following, query, began)
        if part.passes_on(answer, 0.0):
            return self._ask_on(following, query)
        return answer

    async def _await_on(
        self, answer: Awaitable[Reply], part: Part, following: int, query: Query, began: float
    ) -> Reply:
        reply = await answer
        if not part.passes_on(reply, self._clock() - began):
            return reply
        after = self._ask_on(following, query)
        return after if isinstance(after, Reply) else await after


def setup(directives: Sequence[Directive], site: Site) -> Forward:
    """Read all `forward` of a block, which are asked in the order that they are written in."""
    parts = []
    for directive in directives:
        written = read(directive, site.folder)
        forwarder = site.facilities.forwarder(written.options)
        parts.append(Part(written, forwarder))
        words = " ".join(token.text for token in (directive.name, *directive.args))
        site.forwardings += [Forwarding(forwarder, origin, words) for origin in written.origins]
        for host, token in written.hosts.items():
            site.requests.checks.append(partial(_refuse_absent, host, written, token))
    return Forward(parts, site.facilities.clock)


async def _refuse_absent(host: str, written: Written, token: Token) -> None:
    """Raise CorefileError for a name that surely has no address (CoreDNS).

    A resolver that does not answer, as one that is this very server, says nothing about that.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(START_PATIENCE):
            await lookup(host, written.options.resolver, loop)
    except TimeoutError:
        _log.warning("upstream %s: nobody says in time what its address is", token.text)
    except Unresolved as error:
        if error.absent:
            raise CorefileError(
                f"{token.shown} has no address ({error}): correct the name, or write an address",
                token.position,
            ) from None
