"""Names as a stub resolver makes them of its search list, read back from the first of them."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Literal, NamedTuple

from kdns.dns.names import MAX_NAME, ROOT, label, suffixes
from kdns.records.address import IN_ADDR_ARPA, IP6_ARPA

REVERSE: Final = frozenset((IN_ADDR_ARPA, IP6_ARPA))

_SVC: Final = label("svc")

Kind = Literal["svc", "zone", "search", "bare"]
"""What a name of a search has behind the bare name: `svc.<zone>`, the zone, a domain that pods
search besides, or nothing."""


class Step(NamedTuple):
    """One more name that a stub resolver asks for."""

    kind: Kind
    name: bytes


class Searched(NamedTuple):
    """A name that is the first step of a search, in namespace `ns`, for a bare name.

    `namespace` is `ns.svc.<zone>`. If any of `doubts` exists the name may mean something else: see
    `SearchList.read`. All names are absolute and lower-case wire names.
    """

    name: bytes
    namespace: bytes
    doubts: tuple[bytes, ...]
    steps: tuple[Step, ...]


class _Cut(NamedTuple):
    zone: bytes
    last: int
    namespace: int
    end: int
    """Offsets of the bare name's last label, the namespace and what is behind it."""


class SearchList:
    """What Kubernetes writes into a pod's resolv.conf, for pods of any namespace.

    `zones` are those of clusters and `domains` what the pods search besides, as lower-case wire
    names. Bare names with `dots` dots or more are not looked for in the list first.
    """

    def __init__(self, zones: Sequence[bytes], domains: Sequence[bytes], dots: int) -> None:
        self._below = {_SVC + zone: zone for zone in zones}
        self._domains = tuple(domains)
        self._whole = REVERSE.union(zones)
        self._dots = dots

    def takes(self, name: bytes) -> bool:
        """Whether `read` makes something of a well-formed name."""
        return self._cut(name) is not None

    def read(self, name: bytes) -> Searched | None:
        """A name `<bare>.<ns>.svc.<zone>` as the first step of a search for the bare name.

        None for what it cannot or should not be: names without a dot, which are those of services;
        those below a cluster's zone, whole or together with the namespace; names of SRV records
        and their like, which begin with `_`; reverse names. The same name may be the second step
        of a search for `<bare>.<ns>` in another namespace, the third of one for `<bare>.<ns>.svc`,
        and the name of a pod. Wherever there is something to be found so, one of the `doubts`
        exists: they are `<last label of bare>.<ns>`, with and without `svc`, in all domains.
        """
        cut = self._cut(name)
        if cut is None:
            return None
        bare, above = name[: cut.namespace], name[cut.last : cut.end]
        domains: tuple[tuple[Kind, bytes], ...] = (
            ("svc", _SVC + cut.zone),
            ("zone", cut.zone),
            *(("search", domain) for domain in self._domains),
            ("bare", ROOT),
        )
        doubts = [start + domain for start in (above, above + _SVC) for _, domain in domains]
        return Searched(
            name,
            name[cut.namespace :],
            tuple(doubt for doubt in dict.fromkeys(doubts) if len(doubt) <= MAX_NAME),
            tuple(Step(kind, bare + e) for kind, e in domains if len(bare + e) <= MAX_NAME),
        )

    def _cut(self, name: bytes) -> _Cut | None:
        offsets = []
        for at, suffix in suffixes(name):
            zone = self._below.get(suffix)
            if zone is not None:
                break
            if name[at + 1] == ord("_") and name[at]:
                return None
            offsets.append(at)
        else:
            return None
        if not 2 <= len(offsets) - 1 <= self._dots:
            return None
        last, namespace = offsets[-2:]
        # Whether the namespace is a part of the name or not.
        if any(within(name[:cut] + ROOT, self._whole) for cut in (namespace, at)):
            return None
        return _Cut(zone, last, namespace, at)


def within(name: bytes, origins: AbstractSet[bytes]) -> bool:
    """Whether an absolute name is at or below one of several."""
    return any(suffix in origins for _, suffix in suffixes(name))
