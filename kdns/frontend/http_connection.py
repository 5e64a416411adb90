"""One HTTP connection: requests for pages in turn, each answered before the next is looked at.

Apart from `kdns.frontend.http` because this imports h11, which a server without endpoints does
without.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, cast

import h11

from kdns.frontend.page import Page

_log: Final = logging.getLogger("kdns")

_LARGEST: Final = 4096  # bytes of a request's head; scrapers send some hundred


_READ_ALONE: Final = Page(405, b"405: pages can be read, and no more\n")
_NONE: Final = Page(404, b"404: there is no such page\n")


class Connection(asyncio.Protocol):
    """Answers by `page`, which is given a path, for as long as requests come.

    A client has `patience` seconds for each request and for taking its answer. `begun` and `ended`
    are told of the connection; it is cut off where `begun` says no. A malformed request is answered
    with its status alone: whoever can reach the port must not be able to fill the log, or to have
    their own words sent back.
    """

    def __init__(
        self,
        page: Callable[[str], Page | Awaitable[Page] | None],
        patience: float,
        begun: Callable[[Connection], bool],
        ended: Callable[[Connection], None],
    ) -> None:
        self._page = page
        self._patience = patience
        self._begun = begun
        self._ended = ended
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST)
        self._received = 0
        self._last = False
        self._bare = False
        self._making: asyncio.Task[None] | None = None
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        if self._begun(self):
            self._wait()
        else:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._timer is not None:
            self._timer.cancel()
        if self._making is not None:
            self._making.cancel()
        self._ended(self)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > _LARGEST:
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        self._http.receive_data(data)
        self._go_on()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._go_on()

    def close(self) -> None:
        """Close once what was written is sent, which the client has its time for."""
        self._transport.close()

    def _wait(self) -> None:
        """The client's time begins."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._patience, self._transport.abort)

    def _go_on(self) -> None:
        while self._making is None and not self._paused and not self._transport.is_closing():
            try:
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    # A body that is still to come is nothing to wait for.
                    self._last = not isinstance(self._http.next_event(), h11.EndOfMessage)
            except h11.RemoteProtocolError:
                self._refuse(HTTPStatus.BAD_REQUEST)
                return
            if isinstance(event, h11.ConnectionClosed):
                self.close()
            if not isinstance(event, h11.Request):
                return
            self._answer(event)

    def _answer(self, request: h11.Request) -> None:
        self._bare = request.method == b"HEAD"
        if request.method not in (b"GET", b"HEAD"):
            self._send(_READ_ALONE)
            return
        path = request.target.decode("ascii", "replace").partition("?")[0]
        try:
            made = self._page(path)
        except Exception:  # noqa: BLE001 - whatever it was, other pages are served on
            self._broken(path)
            return
        if made is None or isinstance(made, Page):
            self._send(made or _NONE)
        else:
            self._making = self._loop.create_task(self._answer_later(path, made))

    async def _answer_later(self, path: str, made: Awaitable[Page]) -> None:
        try:
            page = await made
        except Exception:  # noqa: BLE001 - as above
            self._making = None
            self._broken(path)
        else:
            self._making = None
            self._send(page)
        self._go_on()

    def _broken(self, path: str) -> None:
        _log.exception("the page %s could not be made", path)
        self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _refuse(self, status: HTTPStatus) -> None:
        if self._making is None and self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._last = True
            self._send(Page(status, f"{status}: {status.phrase}\n".encode()))
        self.close()

    def _send(self, page: Page) -> None:
        if self._transport.is_closing():
            return
        http = self._http
        headers = [("Content-Type", page.content_type), ("Content-Length", str(len(page.body)))]
        if self._last:
            headers.append(("Connection", "close"))
        parts = [http.send(h11.Response(status_code=int(page.status), headers=headers))]
        if not self._bare:
            parts.append(http.send(h11.Data(page.body)))
        parts.append(http.send(h11.EndOfMessage()))
        self._transport.write(b"".join(filter(None, parts)))
        self._wait()
        if http.our_state is h11.MUST_CLOSE:
            self.close()
        else:
            http.start_next_cycle()
            self._received = len(http.trailing_data[0])
