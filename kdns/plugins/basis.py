"""What an answer was made from, where it is made from several replies."""

from __future__ import annotations

from math import inf
from typing import Final, NamedTuple

from kdns.dns import codes
from kdns.dns.rdata import RRset
from kdns.dns.reply import STEADY, Reply

_LARGEST_TTL: Final = (1 << 31) - 1  # RFC 2181 §8


class Basis(NamedTuple):
    """Replies that an answer depends on, beside those that it shows.

    All of them hold until the second `ends` of the server's clock, and no longer than until one of
    `reads` changes; with `lasting` that is all there is to say of one. `ttl` is the least TTL of
    what they deny, among those that do not count down, and `expires` the second at which the
    least of the others is at 0.
    """

    ends: float = inf
    reads: tuple[bytes, ...] = ()
    lasting: bool = False
    ttl: int = _LARGEST_TTL
    expires: float = inf

    @property
    def memorable(self) -> bool:
        """Whether time alone says when it holds no longer."""
        return not self.lasting and not self.reads

    def within(self, other: Basis) -> Basis:
        """As this, for as long only as another holds too."""
        return self._replace(
            ends=min(self.ends, other.ends),
            reads=tuple(dict.fromkeys(self.reads + other.reads)),
            lasting=self.lasting or other.lasting,
        )

    def on(self, reply: Reply, now: int) -> Basis:
        """With one more reply, of which no record is passed on."""
        reads = tuple(dict.fromkeys(self.reads + reply.reads))
        if reply.lifetime is None:
            return self._replace(reads=reads, lasting=True)
        counted = now if reply.counted is None else reply.counted
        return self._replace(reads=reads, ends=min(self.ends, counted + reply.lifetime))

    def denied_by(self, reply: Reply, now: int) -> Basis:
        """With one more denial, as long as which an alias may hold: 0 seconds without an SOA."""
        basis = self.on(reply, now)
        least = min((each.ttl for each in reply.authority), default=0)
        if reply.lifetime is None or reply.steady >= STEADY:
            return basis._replace(ttl=min(self.ttl, least))
        counted = now if reply.counted is None else reply.counted
        return basis._replace(expires=min(self.expires, counted + least))


def denial(own: Reply, basis: Basis, now: int) -> Reply:
    """A denial that depends on more than its own zone's word. `basis` has that too."""
    if basis.ends == inf:
        return own.changed(reads=basis.reads, denial=None)
    counted = now if own.counted is None else own.counted
    return own.changed(
        reads=basis.reads,
        denial=None,
        lifetime=max(0, int(basis.ends - counted)),
        counted=counted,
        steady=STEADY if own.counted is None else own.steady,
    )


def alias(name: bytes, target: bytes, found: Reply, basis: Basis, now: int) -> Reply:
    """An alias from a denied name to another, and what was found there.

    `basis` has what the alias depends on.
    """
    counted = now if found.counted is None else found.counted
    left = int(basis.expires - counted) if basis.expires < inf else basis.ttl
    ends, steady = basis.ends, 1 + found.steady
    if found.counted is None:
        steady = STEADY
    if basis.expires < inf:
        # One number says which records count down: those of the answer that are behind the first.
        if basis.ttl <= left:
            ends = min(ends, basis.expires - basis.ttl)
        elif found.counted is not None and not found.steady:
            steady = 0
        else:
            ends = counted
    ttl = max(0, min(basis.ttl, left))
    lifetime = found.lifetime
    if ends < inf:
        lifetime = max(0, min(ends - counted, inf if lifetime is None else lifetime))
    return found.changed(
        answer=[RRset(name, codes.CNAME, ttl, (target,)), *found.answer],
        authoritative=False,
        authentic=False,
        reads=tuple(dict.fromkeys(basis.reads + found.reads)),
        lifetime=lifetime,
        counted=None if lifetime is None else counted,
        steady=steady if lifetime is not None else found.steady,
        denial=None,
    )
