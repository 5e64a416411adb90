"""The contract between a plugin and the chain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, Protocol

from kdns.dns.query import Query
from kdns.dns.reply import Reply

Answer = Reply | Awaitable[Reply]
"""A reply that is there, or one that has to be waited for.

Local answers are there at once: no coroutine and no task is made for them.
"""

Handler = Callable[[Query], Answer]


class Plugin(Protocol):
    """One directive of a server block at work.

    `uniform` promises that what it does with a query depends on neither the name nor the client,
    unless it answers itself; a zone's word about all of its missing names passes through uniform
    plugins alone.
    """

    name: ClassVar[str]
    uniform: ClassVar[bool]

    def handle(self, query: Query, next_: Handler) -> Answer:
        """Answer the query, or say what `next_` says, changed or not.

        Touches no socket. May raise: the frontend answers SERVFAIL and counts it.
        """


def then(answer: Answer, work: Callable[[Reply], Reply]) -> Answer:
    """`work` done on a reply on its way back, now or when it is there."""
    if isinstance(answer, Reply):
        return work(answer)
    return _awaited(answer, work)


async def _awaited(answer: Awaitable[Reply], work: Callable[[Reply], Reply]) -> Reply:
    return work(await answer)
