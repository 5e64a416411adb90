"""Aliases that lead out of a zone, completed through the server's own chain."""

from __future__ import annotations

from kdns.dns import codes
from kdns.dns.names import to_text
from kdns.dns.query import RD, Query
from kdns.dns.reply import Reply
from kdns.dns.response import MAX_CHAIN
from kdns.plugins.plugin import Answer, Handler, then


def is_alias(reply: Reply, qtype: int) -> bool:
    """Whether a reply with an answer ends in a CNAME that stands in for what was asked."""
    return reply.answer[-1].type == codes.CNAME and qtype not in (codes.CNAME, codes.ANY)


def completed(query: Query, own: Reply, lookup: Handler) -> Answer:
    """`own`, which ends in an alias, and behind it what `lookup` says of where the alias leads.

    The rcode is that of the last name (RFC 6604 §3), and SERVFAIL where that is neither NOERROR nor
    NXDOMAIN: no such name was found, and none is missing. `own` alone is the answer to askers that
    want no recursion, to aliases that lead in a circle or too far, and where no plugin of this
    server answers for the name: who asks an authority follows its aliases.
    """
    target = own.answer[-1].rdatas[0]
    hops = query.hops + tuple(each.owner for each in own.answer)
    if not query.flags & RD or target in hops or len(hops) > MAX_CHAIN:
        return own
    answer = lookup(query.renamed(target, query.qtype, hops))
    return then(answer, lambda found: _joined(own, found))


def _joined(own: Reply, found: Reply) -> Reply:
    reads = tuple(dict.fromkeys(own.reads + found.reads))
    if not found.plugin:
        # So until a reload, unless records had a part in it.
        return own.changed(reads=reads, lifetime=0 if found.reads else own.lifetime)
    lifetimes = [each for each in (own.lifetime, found.lifetime) if each is not None]
    joined = found.changed(
        answer=own.answer + found.answer,
        authoritative=own.authoritative,
        authentic=False,
        extended_error=found.extended_error or own.extended_error,
        reads=reads,
        lifetime=min(lifetimes, default=None),
        steady=len(own.answer) + found.steady,
        denial=None,
        failure="",
        plugin=own.plugin,
    )
    if found.rcode in (codes.NOERROR, codes.NXDOMAIN):
        return joined
    target = to_text(own.answer[-1].rdatas[0])
    said = f"{target}, which this name stands for, is {codes.rcode_name(found.rcode)}"
    return joined.changed(
        rcode=codes.SERVFAIL, extended_error=found.extended_error or (codes.EDE_OTHER, said)
    )
