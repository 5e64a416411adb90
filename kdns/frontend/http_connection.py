"""An HTTP connection as aiohttp has it, less what it says of requests that failed.

Apart from `kdns.frontend.http` because this imports aiohttp, which a server without endpoints does
without.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Final

from aiohttp import web

_log: Final = logging.getLogger("kdns")


class Connection(web.RequestHandler):
    """Answers a malformed request with its status alone: whoever can reach the port must not be
    able to fill the log, or to have their own words sent back."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - quotes the request
    ) -> web.StreamResponse:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("the page %s could not be made", request.path, exc_info=exc)
        response = web.Response(status=status, text=f"{status}: {HTTPStatus(status).phrase}\n")
        response.force_close()
        return response
