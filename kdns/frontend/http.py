"""The HTTP endpoints: health, ready and metrics.

Paths are fixed, nothing of a request comes back in a response, and a client that sends its request
slowly, or a large one, is cut off.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from kdns.frontend.sockets import ListenError, open_tcp

if TYPE_CHECKING:
    from aiohttp import web

_BACKLOG: Final = 64
_KEEPALIVE: Final = 30.0
_MAX_LINE: Final = 2048
_MAX_CONNECTIONS: Final = 256


class Page(NamedTuple):
    """What a path answers: status, body and its content type."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


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


class _Refused(asyncio.Protocol):
    """A connection over the limit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()


class _HttpFrontend:
    """Serves pages on one bound TCP socket until closed."""

    def __init__(self, sock: socket.socket) -> None:
        self.pages: Pages = {}
        self._socket = sock
        self._server: asyncio.Server | None = None
        self._web: web.Server | None = None

    async def start(self) -> None:
        # A server without endpoints does without the 10 MB of aiohttp.
        from aiohttp import web  # noqa: PLC0415

        from kdns.frontend.http_connection import Connection  # noqa: PLC0415

        loop = asyncio.get_running_loop()
        manager = self._web = web.Server(self._handle)

        def connection() -> asyncio.Protocol:
            if len(manager.connections) >= _MAX_CONNECTIONS:
                return _Refused()
            return Connection(
                manager,
                loop=loop,
                access_log=None,  # type: ignore[arg-type] # as web.Server passes it on
                keepalive_timeout=_KEEPALIVE,
                max_line_size=_MAX_LINE,
                max_field_size=_MAX_LINE,
                lingering_time=0,
            )

        self._server = await loop.create_server(connection, sock=self._socket, backlog=_BACKLOG)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._web is not None:
            await self._web.shutdown(timeout=1)
        self._socket.close()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        from aiohttp import web  # noqa: PLC0415 - imported by now

        page = self.pages.get(request.path)
        if page is None:
            return web.Response(status=404, text="404: there is no such page\n")
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="405: pages can be read, and no more\n")
        made = page()
        status, body, content_type = made if isinstance(made, Page) else await made
        return web.Response(status=status, body=body, headers={"Content-Type": content_type})


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
