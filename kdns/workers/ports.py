"""Ports that are held for worker processes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import ExitStack

from kdns.frontend.frontends import Pair, open_pairs
from kdns.frontend.sockets import deafen
from kdns.plugins.plan import Endpoint


class Ports:
    """Sockets that hold the ports of endpoints and get nothing that is sent there.

    While one is held another program is refused the port, though workers come and go.
    """

    def __init__(self) -> None:
        self._held: dict[Endpoint, list[Pair]] = {}

    def numbers(self) -> set[int]:
        """The ports that are held."""
        return {endpoint.port for endpoint in self._held}

    def hold(
        self, endpoints: Iterable[Endpoint], undo: ExitStack, shared: Collection[int]
    ) -> dict[Endpoint, list[Pair]]:
        """Sockets for those endpoints that are not held yet; `undo` closes them.

        Of `shared` ports this process has sockets itself. Raises ListenError.
        """
        taken = self.numbers() | set(shared)
        opened: dict[Endpoint, list[Pair]] = {}
        for endpoint in endpoints:
            if endpoint not in self._held:
                beside = endpoint.port in taken
                opened[endpoint] = list(open_pairs(endpoint, undo, beside=beside, listen=False))
                for pair in opened[endpoint]:
                    if not deafen(pair.udp):
                        pair.udp.close()  # it would get what is for the workers
                taken.add(endpoint.port)
        return opened

    def keep(self, endpoints: Collection[Endpoint], opened: dict[Endpoint, list[Pair]]) -> None:
        """Hold these endpoints, of which some are `opened`, and let go of all others."""
        self._held |= opened
        for endpoint in self._held.keys() - set(endpoints):
            for pair in self._held.pop(endpoint):
                pair.udp.close()
                pair.tcp.close()
