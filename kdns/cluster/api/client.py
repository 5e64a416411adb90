"""Requests to the API server: credentials, limits, counts, and failures with a meaning."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from kdns import __version__
from kdns.cluster.api.access import Access, AccessError, Credentials
from kdns.cluster.api.failures import Failure, Reason, of_answer, of_transport
from kdns.cluster.api.limits import Limiter, Limits
from kdns.cluster.api.stats import Durations, FeedStats
from kdns.cluster.api.timing import Timing

JSON: Final = "application/json"
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

CONNECT_PATIENCE: Final = 10.0
ANSWER_PATIENCE: Final = 70.0
"""Seconds until an answer begins. The API server itself gives up after 60."""

_METHOD: Final = "GET"
_NO_ANSWER: Final = "<error>"
_READ_BUFFER: Final = 2**16
_ERROR_BODY: Final = 2**16


class Body:
    """The body of an answer as it arrives."""

    def __init__(self, response: aiohttp.ClientResponse, timing: Timing) -> None:
        self._response = response
        self._timing = timing

    async def read(self, patience: float) -> bytes:
        """What has arrived; b"" at the end. Raises Failure, also after `patience` seconds of
        nothing."""
        content = self._response.content
        try:
            # A time-out costs more than what it guards where something is there already.
            if chunk := content.read_nowait():
                return chunk
            async with self._timing.timeout(patience):
                return await content.readany()
        except TimeoutError as error:
            raise Failure(Reason.SILENT, f"no byte for {patience:.0f}s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise of_transport(error) from error

    def close(self) -> None:
        """Let go of the connection; whoever reads gets a Failure."""
        self._response.close()


class Client:
    """Asks the API server. Belongs to the running event loop; `close` it."""

    def __init__(self, access: Access, limits: Limits, timing: Timing, stats: FeedStats) -> None:
        self._access = access
        self._limiter = Limiter(limits, timing)
        self._timing = timing
        self._stats = stats
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=watched_socket),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_PATIENCE),
            # Without compression: on the way from a server nearby it costs more than it saves,
            # and a watch has none anyway.
            headers={"Accept-Encoding": "identity", "User-Agent": f"kdns/{__version__}"},
            read_bufsize=_READ_BUFFER,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    @asynccontextmanager
    async def get(
        self, path: str, parameters: Mapping[str, str], accept: str = JSON
    ) -> AsyncIterator[Body]:
        """The body of a 200 answer. Raises Failure for any other, and for none.

        Where the server refuses the credentials, or is refused, once more with renewed ones.
        """
        response = await self._answer(path, parameters, accept)
        try:
            if response.status != HTTPStatus.OK:
                raise await self._failure(response)
            yield Body(response, self._timing)
        finally:
            response.close()

    async def close(self) -> None:
        await self._session.close()
        # Connections that are cut close their sockets at the loop's next turn.
        await asyncio.sleep(0)

    async def _answer(
        self, path: str, parameters: Mapping[str, str], accept: str
    ) -> aiohttp.ClientResponse:
        try:
            credentials = await self._access.credentials()
            self._stats.server = credentials.url
            renewed = credentials
            try:
                response = await self._send(credentials, path, parameters, accept)
            except aiohttp.ClientSSLError:
                renewed = await self._access.renew(credentials)
                if renewed is credentials:
                    raise
            else:
                if response.status != HTTPStatus.UNAUTHORIZED:
                    return response
                renewed = await self._access.renew(credentials)
                if renewed is credentials:
                    return response
                response.close()
            return await self._send(renewed, path, parameters, accept)
        except AccessError as error:
            raise Failure(Reason.CREDENTIALS, str(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise of_transport(error) from error

    async def _send(
        self, credentials: Credentials, path: str, parameters: Mapping[str, str], accept: str
    ) -> aiohttp.ClientResponse:
        requests = self._stats.requests
        host = urlsplit(credentials.url).netloc
        series = _METHOD, host
        headers = {"Accept": accept}
        if credentials.authorization:
            headers["Authorization"] = credentials.authorization
        async with self._limiter.turn() as waited:
            requests.limiter.setdefault(series, Durations()).observe(waited)
            began = self._timing.clock()
            code = _NO_ANSWER
            try:
                async with self._timing.timeout(ANSWER_PATIENCE):
                    response = await self._session.get(
                        credentials.url + path,
                        params=parameters,
                        headers=headers,
                        ssl=credentials.tls or True,
                        server_hostname=credentials.server_name,
                        proxy=credentials.proxy,
                        # A token is for this server, not for where it may point.
                        allow_redirects=False,
                    )
                code = str(response.status)
            finally:
                requests.total[code, _METHOD, host] += 1
                spent = self._timing.clock() - began
                requests.durations.setdefault(series, Durations()).observe(spent)
        return response

    async def _failure(self, response: aiohttp.ClientResponse) -> Failure:
        body = Body(response, self._timing)
        content = b""
        try:
            while len(content) < _ERROR_BODY and (chunk := await body.read(CONNECT_PATIENCE)):
                content += chunk
        except Failure:
            pass  # the status alone says enough
        return of_answer(response.status, content, response.headers.get("Retry-After", ""))


def watched_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A TCP socket that notices within half a minute when its peer is gone without a word."""
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
    return made
