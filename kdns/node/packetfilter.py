"""The packet filter of a node: which backend holds the rules, and for which addresses they are."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator, Sequence
from typing import Final, Protocol

from kdns.node import rules
from kdns.node.journal import Journal
from kdns.node.marks import Marks
from kdns.node.nftables import Nftables
from kdns.node.rules import Rule
from kdns.node.settings import Settings

_AUTO: Final = ("nft", "iptables-socket", "iptables")
_ATTEMPTS: Final = 3
"""At the end, when nobody comes after who would try again."""
_RIGHTS: Final = (errno.EPERM, errno.EACCES)


class Backend(Protocol):
    """What has rules in place. Each method raises OSError for what it cannot do."""

    @property
    def shared(self) -> bool:
        """Whether the rules are those of all instances on the interface, and outlive this one."""
        ...

    def try_out(self, rules: Sequence[Rule], /) -> None:
        """Whether such rules can be had."""
        ...

    def hold(self, rules: Sequence[Rule], /) -> None:
        """Have these rules, and none that was held before."""
        ...

    def mend(self) -> None:
        """Put back what somebody took away."""
        ...

    def remove(self) -> None:
        """Take all rules back."""
        ...

    def close(self) -> None:
        """Hold nothing open."""
        ...


class PacketFilter:
    """Sends an address's queries to this node, or leaves them to kube-proxy.

    Errors are said and counted; they never raise. `kind` is the backend that is in use.
    """

    def __init__(self, settings: Settings, marks: Marks, journal: Journal) -> None:
        self._settings = settings
        self._marks = marks
        self._journal = journal
        self._served: frozenset[str] = frozenset()
        self._backend: Backend | None = None
        self.kind = "none"
        self.owing = False
        """Whether the last change failed: `mend` tries again."""

    def open(self) -> None:
        """Choose a backend, and take away what an instance that was killed has left."""
        wanted = self._settings.filter
        kinds = _AUTO if wanted == "auto" else () if wanted == "none" else (wanted,)
        complaints = []
        for kind in kinds:
            try:
                self._backend = self._opened(kind)
            except OSError as error:
                complaints.append((kind, error))
                continue
            self.kind = kind
            break
        if self._backend is None and kinds:
            for kind, complaint in complaints:
                self._complain(complaint, f"cannot have {kind} rules")
        elif complaints:
            said = "; ".join(f"no {kind}: {why.strerror}" for kind, why in complaints)
            self._journal.say(f"rules are held by {self.kind} ({said})")
        self.serve(())

    def serve(self, addresses: Collection[str]) -> None:
        """Send the queries to these addresses to this node, and those to all others to others."""
        self._served = frozenset(addresses)
        if self._backend is None:
            return
        try:
            if self._served:
                self._marks.hold("rules")
            elif not self._marks.release("rules") and self._backend.shared:
                return  # another instance answers
            self.owing = True
            self._backend.hold(tuple(self._rules(self.kind)))
            self.owing = False
        except OSError as error:
            self._complain(error, "cannot change the rules")

    def mend(self) -> None:
        """Put back what somebody took away."""
        if self._backend is None:
            return
        try:
            self._backend.mend()
            self.owing = False
        except OSError as error:
            self._complain(error, "cannot put the rules back")

    def close(self) -> None:
        """Take all rules back, unless another instance serves by them or they are to stay."""
        backend, self._backend = self._backend, None
        if backend is None:
            return
        last = self._marks.release("rules")
        if not backend.shared or (last and not self._settings.skip_teardown):
            for _ in range(_ATTEMPTS):
                try:
                    backend.remove()
                except rules.Locked as error:
                    self._complain(error, "cannot take the rules back yet")
                    continue
                except OSError as error:
                    self._complain(error, "cannot take the rules back")
                break
        backend.close()

    def _opened(self, kind: str) -> Backend:
        backend: Backend
        if kind.startswith("nft"):
            backend = Nftables(self._settings.interface, kind == "nft-socket")
        else:
            from kdns.node.iptables import Iptables  # noqa: PLC0415 - for those who use it

            left = (*self._all_serving("iptables"), *self._all_serving("iptables-socket"))
            backend = Iptables(tuple(dict.fromkeys(left)))
        try:
            backend.try_out(self._all_serving(kind))
        except rules.Locked as error:
            self._complain(error, f"cannot tell yet whether {kind} rules can be had")
        except OSError:
            backend.close()
            raise
        return backend

    def _all_serving(self, kind: str) -> list[Rule]:
        return [each for ip in self._settings.addresses for each in self._serving(kind, ip)]

    def _rules(self, kind: str) -> Iterator[Rule]:
        for address in self._settings.addresses:
            if address in self._served:
                yield from self._serving(kind, address)
            else:
                yield from rules.waiting(address, self._settings.port)

    def _serving(self, kind: str, address: str) -> Sequence[Rule]:
        if kind.endswith("-socket"):
            return rules.serving_while_listening(address, self._settings.port)
        return rules.serving(address, self._settings.port, self._settings.health_port)

    def _complain(self, error: OSError, what: str) -> None:
        kind = "iptables_lock" if isinstance(error, rules.Locked) else "iptables"
        said = f"{what}: {error.strerror}"
        if error.errno in _RIGHTS:
            said += ": give the container NET_ADMIN, or say -setupiptables=false"
        self._journal.error(kind, said)
