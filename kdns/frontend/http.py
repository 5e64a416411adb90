"""The HTTP endpoints: health, ready and metrics.

Paths are fixed, nothing of a request comes back in a response, and a client that sends its request
slowly, or a large one, is cut off.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from kdns.frontend.page import Page
from kdns.frontend.sockets import ListenError, open_tcp

if TYPE_CHECKING:
    from kdns.frontend.http_connection import Connection

_BACKLOG: Final = 64
_KEEPALIVE: Final = 30.0
_MAX_CONNECTIONS: Final = 256


Pages = Mapping[str, Callable[[], Page | Awaitable[Page]]]
"""Pages by path; a page is made when it is asked for."""

Place = tuple[str, int]
"""Where pages are served: an address in text, "" for all, or "localhost"; and a port."""


class HttpFrontends:
    """Serves the pages of each place, and changes both while requests come in.

    With `beside` another instance may have the same places.
    """

    def __init__(self, *, beside: bool = False) -> None:
        self._beside = beside
        self._serving: dict[Place, list[_HttpFrontend]] = {}

    def open(
        self, places: Mapping[Place, Pages], undo: ExitStack
    ) -> dict[Place, list[socket.socket]]:
        """Bind the sockets of those places that are not served yet; `undo` closes them.

        Raises ListenError.
        """
        opened: dict[Place, list[socket.socket]] = {}
        for place in places:
            if place not in self._serving:
                opened[place] = list(_open(*place, undo, beside=self._beside))
        return opened

    async def serve(
        self, places: Mapping[Place, Pages], opened: Mapping[Place, list[socket.socket]]
    ) -> None:
        """Serve these places and no others; a socket that was open stays open."""
        for place, sockets in opened.items():
            self._serving[place] = [_HttpFrontend(sock) for sock in sockets]
            for frontend in self._serving[place]:
                await frontend.start()
        for place in list(self._serving):
            for frontend in self._serving[place]:
                if place in places:
                    frontend.pages = places[place]
                else:
                    await frontend.close()
            if place not in places:
                del self._serving[place]

    async def close(self) -> None:
        """Close every socket."""
        await self.serve({}, {})


class _HttpFrontend:
    """Serves pages on one bound TCP socket until closed."""

    def __init__(self, sock: socket.socket) -> None:
        self.pages: Pages = {}
        self._socket = sock
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()

    async def start(self) -> None:
        # A server without endpoints does without h11.
        from kdns.frontend.http_connection import Connection  # noqa: PLC0415

        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._page, _KEEPALIVE, self._admit, self._connections.discard),
            sock=self._socket,
            backlog=_BACKLOG,
        )

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()
        self._socket.close()

    def _page(self, path: str) -> Page | Awaitable[Page] | None:
        page = self.pages.get(path)
        return None if page is None else page()

    def _admit(self, connection: Connection) -> bool:
        """Whether one more connection is within the limit."""
        if len(self._connections) >= _MAX_CONNECTIONS:
            return False
        self._connections.add(connection)
        return True


def _open(host: str, port: int, undo: ExitStack, *, beside: bool) -> Iterator[socket.socket]:
    """The sockets of one place; a family that this machine does not have is left out."""
    wildcard = ["0.0.0.0", "::"]  # noqa: S104 - probes and scrapes come from other hosts
    hosts = {"": wildcard, "localhost": ["127.0.0.1", "::1"]}.get(host, [host])
    for index, address in enumerate(hosts):
        try:
            sock = open_tcp(address, port, beside=beside)
        except ListenError as error:
            if index and error.no_family:
                continue
            raise
        undo.callback(sock.close)
        yield sock
