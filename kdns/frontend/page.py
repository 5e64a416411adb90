"""What an HTTP path answers."""

from __future__ import annotations

from typing import NamedTuple


class Page(NamedTuple):
    """Status, body and its content type."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
