"""The transport that an upstream is asked over."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from kdns.forwarding.exchange import Heard, Lost, Question, Transport
from kdns.forwarding.options import Options, Target
from kdns.forwarding.streams import TcpTransport
from kdns.forwarding.udp import UdpTransport


def transport(
    target: Target, stream: bool, options: Options, loop: asyncio.AbstractEventLoop
) -> Transport:
    """A new one, over TCP rather than UDP if `stream`, where a target has both.

    One that cannot be made, as for want of a certificate, says so when it is asked.
    """
    try:
        if target.way == "tls":
            from kdns.forwarding.tls import TlsTransport  # noqa: PLC0415 - few need it

            return TlsTransport(target, options, loop)
        if target.way == "https":
            from kdns.forwarding.https import HttpsTransport  # noqa: PLC0415 - as above

            return HttpsTransport(target, options, loop)
        make = TcpTransport if stream else UdpTransport
        return make(target, options, loop)
    except (OSError, ValueError) as error:
        return Broken(str(error), loop)


class Broken:
    """As `Transport`, for want of one; as `Pending`, too."""

    proto: ClassVar = "none"

    def __init__(self, reason: str, loop: asyncio.AbstractEventLoop) -> None:
        self.hits = 0
        self.misses = 0
        self._lost = Lost(reason)
        self._loop = loop

    def send(self, _: Question, heard: Heard) -> Broken:
        self._loop.call_soon(heard, self._lost)
        return self

    def give_up(self) -> None:
        pass

    def close(self) -> None:
        pass
