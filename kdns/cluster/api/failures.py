"""What can go wrong between the API server and here, as one exception with a reason."""

from __future__ import annotations

import os
import ssl
from enum import StrEnum
from http import HTTPStatus
from typing import Final

import msgspec
from msgspec import Struct

LONGEST_RETRY_AFTER: Final = 300.0
"""Seconds; what a server asks for beyond this is not believed."""

UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises about bytes that are not what they should be."""

_EXCERPT: Final = 300


class Reason(StrEnum):
    """Why a list or watch failed; the label under which it is counted."""

    EXPIRED = "expired"
    TOO_LARGE = "too_large_version"
    OVERLOADED = "too_many_requests"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    INVALID = "invalid"
    SERVER = "server_error"
    UNEXPECTED = "unexpected"
    CONNECTION = "connection"
    TLS = "tls"
    TIMEOUT = "timeout"
    CREDENTIALS = "credentials"
    SILENT = "silent"
    SHORT = "very_short_watch"
    GARBLED = "garbled"
    INCONSISTENT = "inconsistent"


_BY_CODE: Final = {
    HTTPStatus.GONE: Reason.EXPIRED,
    HTTPStatus.TOO_MANY_REQUESTS: Reason.OVERLOADED,
    HTTPStatus.UNAUTHORIZED: Reason.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN: Reason.FORBIDDEN,
    HTTPStatus.NOT_FOUND: Reason.NOT_FOUND,
    HTTPStatus.BAD_REQUEST: Reason.INVALID,
    HTTPStatus.UNPROCESSABLE_ENTITY: Reason.INVALID,
}


class Failure(Exception):
    """One failed attempt. `retry_after`: seconds that the server asks to be left alone."""

    def __init__(self, reason: Reason, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class _Cause(Struct):
    reason: str = ""
    message: str = ""


class _Details(Struct, rename="camel"):
    causes: list[_Cause] = []
    retry_after_seconds: float = 0


class Status(Struct):
    """The API's `Status` object: the body of an HTTP error, or the object of an ERROR event."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: _Details | None = None

    def failure(self) -> Failure:
        """What this status means to one who lists and watches."""
        details = self.details or _Details()
        message = f"{self.code} {self.reason}: {self.message}"[:_EXCERPT]
        retry_after = min(max(details.retry_after_seconds, 0.0), LONGEST_RETRY_AFTER)
        return Failure(self._meaning(details), message, retry_after)

    def _meaning(self, details: _Details) -> Reason:
        # Servers before 1.19 say it in a message alone.
        said = [self.message, *(f"{cause.reason} {cause.message}" for cause in details.causes)]
        if any("ResourceVersionTooLarge" in s or "Too large resource version" in s for s in said):
            return Reason.TOO_LARGE
        if self.reason in {"Expired", "Gone"}:
            return Reason.EXPIRED
        if self.code in _BY_CODE:
            return _BY_CODE[HTTPStatus(self.code)]
        return Reason.SERVER if self.code >= HTTPStatus.INTERNAL_SERVER_ERROR else Reason.UNEXPECTED


def of_answer(code: int, body: bytes, retry_after: str) -> Failure:
    """The meaning of an HTTP answer other than 200; `retry_after` is the header's text, or ""."""
    try:
        status = msgspec.json.decode(body, type=Status)
    except UNDECODABLE:
        status = Status(message=body[:_EXCERPT].decode(errors="replace").strip())
    status.code = code
    failure = status.failure()
    if retry_after.isascii() and retry_after.isdigit():
        failure.retry_after = min(float(retry_after), LONGEST_RETRY_AFTER)
    return failure


def of_transport(error: Exception) -> Failure:
    """The meaning of what an exchange over the network raised."""
    import aiohttp  # noqa: PLC0415 - 10 MB, which whoever raised it has loaded

    if isinstance(error, aiohttp.ClientSSLError):
        return Failure(Reason.TLS, _said(error))
    if isinstance(error, TimeoutError):
        return Failure(Reason.TIMEOUT, str(error) or "no answer in time")
    return Failure(Reason.CONNECTION, _said(error) or type(error).__name__)


def _said(error: Exception) -> str:
    """In words, without what aiohttp says of its own objects."""
    where = f"{getattr(error, 'host', '')}:{getattr(error, 'port', '')}"
    if untrusted := getattr(error, "certificate_error", None):
        return f"no trust in {where}: {untrusted}"
    why = getattr(error, "os_error", None)
    if why is None:
        return str(error)
    if isinstance(why, ssl.SSLError) or (why.errno or 0) <= 0:
        return f"cannot connect to {where}: {getattr(why, 'reason', '') or why.strerror or why}"
    # asyncio puts the address where the system's words would be.
    return f"cannot connect to {where}: {os.strerror(why.errno)}"
