"""Plugins in a row, and server blocks by zone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kdns.dns import codes
from kdns.dns.names import ROOT, suffixes
from kdns.dns.query import Query
from kdns.dns.reply import Reply
from kdns.plugins.plugin import Answer, Handler, Plugin, then


@dataclass(frozen=True, slots=True)
class Block:
    """What one zone of a listening address does with its queries.

    `zone` is its text, as metrics show it, and `origin` its lower-case wire name. `handler` is None
    where the server block has no plugin that answers. `metrics`: whether its queries are counted.
    """

    zone: str
    origin: bytes
    handler: Handler | None
    metrics: bool = False
    view: str = ""


class Router:
    """The server blocks of one listening address, found by the longest zone that holds a name."""

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self._blocks = {block.origin: block for block in blocks}

    def route(self, name: bytes, qtype: int) -> Block | None:
        """The block for a lower-case wire name; None if there is none.

        A DS record belongs to the parent's side of a zone cut (RFC 4035 §3.1.4.1).
        """
        names = [suffix for _, suffix in suffixes(name)] + [ROOT]
        if qtype == codes.DS and names[0] in self._blocks and len(names) > 1:
            parent = self._nearest(names[1:])
            if parent is not None:
                return parent
        return self._nearest(names)

    def undivided(self, origin: bytes) -> bool:
        """Whether all names below `origin` belong to the block that `origin` itself belongs to."""
        return not any(
            other != origin
            and (origin == ROOT or any(suffix == origin for _, suffix in suffixes(other)))
            for other in self._blocks
        )

    def _nearest(self, names: Sequence[bytes]) -> Block | None:
        return next((self._blocks[name] for name in names if name in self._blocks), None)


def chain(plugins: Sequence[Plugin]) -> Handler | None:
    """One handler of several plugins, the first asked first; None for none.

    A query that no plugin answers gets SERVFAIL, as from CoreDNS.
    """
    if not plugins:
        return None
    handler: Handler = _unanswered
    for plugin in reversed(plugins):
        handler = _link(plugin, handler)
    return handler


def _unanswered(_: Query) -> Reply:
    return Reply(rcode=codes.SERVFAIL, lifetime=0)


def _link(plugin: Plugin, next_: Handler) -> Handler:
    handle = plugin.handle
    if plugin.uniform:
        return lambda query: handle(query, next_)

    def guarded(query: Query) -> Answer:
        return then(handle(query, next_), _without_denial)

    return guarded


def _without_denial(reply: Reply) -> Reply:
    return reply if reply.denial is None else reply.changed(denial=None)
