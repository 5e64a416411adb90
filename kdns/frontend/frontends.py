"""All DNS sockets of the process, kept in step with what there is to serve."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace

from kdns.frontend.responder import Lane, Responder
from kdns.frontend.sockets import ListenError, descriptors, open_tcp, open_udp, take_turns
from kdns.frontend.tcp import Limits, TcpFrontend
from kdns.frontend.udp import UdpFrontend
from kdns.plugins.chain import Router
from kdns.plugins.plan import Endpoint
from kdns.telemetry.counts import Sockets
from kdns.telemetry.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Pair:
    """The sockets of one address: UDP and TCP go together."""

    host: str
    udp: socket.socket
    tcp: socket.socket


Opened = Mapping[Endpoint, list[Pair]]
"""Sockets that are bound and not yet served."""


@dataclass(frozen=True, slots=True)
class _Serving:
    udp: UdpFrontend
    tcp: TcpFrontend


class Frontends:
    """Serves each endpoint by its router, and changes both while queries come in.

    With `beside` another instance may have the same endpoints, and takes over as this one ends.
    """

    def __init__(
        self,
        traffic: Traffic,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        *,
        beside: bool = False,
    ) -> None:
        self._beside = beside
        self._traffic = traffic
        self._loop = loop
        self._clock = clock
        self._serving: dict[Endpoint, list[_Serving]] = {}

    def open(
        self, endpoints: Iterable[Endpoint], undo: ExitStack, shared: Collection[int] = ()
    ) -> Opened:
        """Bind the sockets of those endpoints that are not served yet; `undo` closes them.

        Of `shared` ports other processes of this server have sockets. Raises ListenError.
        """
        opened: dict[Endpoint, list[Pair]] = {}
        ports = self.ports() | set(shared)
        for endpoint in endpoints:
            if endpoint not in self._serving:
                beside = self._beside or endpoint.port in ports
                opened[endpoint] = list(open_pairs(endpoint, undo, beside=beside))
                ports.add(endpoint.port)
                for pair in opened[endpoint] if self._beside else ():
                    take_turns(pair.tcp)
        return opened

    async def serve(self, routers: Mapping[Endpoint, Router], opened: Opened) -> None:
        """Serve these endpoints and no others.

        A socket that was open stays open: no packet in it is lost.
        """
        for endpoint, serving in self._serving.items():
            for one in serving if endpoint in routers else ():
                one.udp.responder.reroute(routers[endpoint])
                one.tcp.responder.reroute(routers[endpoint])
        for endpoint, pairs in opened.items():
            router = routers[endpoint]
            self._serving[endpoint] = [await self._start(endpoint, pair, router) for pair in pairs]
        for endpoint in [endpoint for endpoint in self._serving if endpoint not in routers]:
            await self._stop(self._serving.pop(endpoint))

    def forget(self, names: Collection[bytes]) -> None:
        """Store names changed: what was answered from them holds no longer."""
        for serving in self._all():
            serving.udp.responder.forget(names)
            serving.tcp.responder.forget(names)

    def forget_all(self) -> None:
        """Nothing that was answered holds any longer."""
        for serving in self._all():
            serving.udp.responder.forget_all()
            serving.tcp.responder.forget_all()

    async def close(self) -> None:
        """Answer what is there, then close every socket."""
        await self._stop(list(self._all()))
        self._serving.clear()

    def could_not(self) -> Sockets:
        """What the sockets that are open could not do."""
        serving = list(self._all())
        return Sockets(
            unsent=sum(each.udp.unsent for each in serving),
            dropped=sum(each.udp.dropped for each in serving),
            refused=sum(each.tcp.refused for each in serving),
        )

    def ports(self) -> set[int]:
        """The ports of what is served."""
        return {endpoint.port for endpoint in self._serving}

    def _all(self) -> Iterator[_Serving]:
        for serving in self._serving.values():
            yield from serving

    async def _start(self, endpoint: Endpoint, pair: Pair, router: Router) -> _Serving:
        family = 6 if ":" in pair.host else 4
        udp = Lane(endpoint.server, "udp", family)
        tcp = Lane(endpoint.server, "tcp", family)
        limits = Limits()
        limits = replace(limits, connections=min(limits.connections, descriptors()))
        stream = TcpFrontend(pair.tcp, self._responder(tcp, router), self._loop, limits)
        await stream.start()
        return _Serving(UdpFrontend(pair.udp, self._responder(udp, router), self._loop), stream)

    async def _stop(self, serving: list[_Serving]) -> None:
        for one in serving:
            await one.udp.drain()
            await one.tcp.drain(beside=self._beside)
            one.udp.close()
            one.tcp.close()

    def _responder(self, lane: Lane, router: Router) -> Responder:
        return Responder(lane, router, self._traffic, self._clock)


def open_pairs(
    endpoint: Endpoint, undo: ExitStack, *, beside: bool, listen: bool = True
) -> Iterator[Pair]:
    """The sockets of one endpoint; with `beside` others have its port at other addresses.

    Without `listen` those of TCP hold the port and no more. Raises ListenError.
    """
    if endpoint.host:
        yield _open_pair(endpoint.host, endpoint.port, undo, beside=beside, listen=listen)
        return
    anywhere = "0.0.0.0"  # noqa: S104 - asked from anywhere
    yield _open_pair(anywhere, endpoint.port, undo, beside=beside, listen=listen)
    try:
        yield _open_pair("::", endpoint.port, undo, beside=beside, listen=listen)
    except ListenError as error:
        if not error.no_family:
            raise


def _open_pair(host: str, port: int, undo: ExitStack, *, beside: bool, listen: bool) -> Pair:
    udp = open_udp(host, port, beside=beside)
    undo.callback(udp.close)
    tcp = open_tcp(host, port, beside=beside, listen=listen)
    undo.callback(tcp.close)
    return Pair(host, udp, tcp)
