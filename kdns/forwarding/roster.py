"""Whom a forwarder asks: its targets as IP addresses, kept up to date."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Final

from kdns.forwarding.names import Unresolved, lookup
from kdns.forwarding.options import Options, ResolvFile, Target
from kdns.forwarding.resolv import Watched, address

_log: Final = logging.getLogger("plugin/forward")

FILES_EVERY: Final = 5.0
"""Seconds from one look at files to the next; also at names that have no address yet."""

NAMES_EVERY: Final = 30.0
"""Seconds from one look-up of a name to the next."""

START_PATIENCE: Final = 3.0
"""Seconds that a start waits for look-ups."""

Lookup = Callable[[str], Awaitable[tuple[str, ...]]]
"""The addresses of a host name. Raises Unresolved."""


class Roster:
    """The upstreams of `options` as they are now; tells `changed` of each change.

    What was known stays for as long as nothing better is: a file that is gone or empty, a name that
    nobody can resolve, change nothing and are logged once.
    """

    def __init__(
        self,
        options: Options,
        loop: asyncio.AbstractEventLoop,
        changed: Callable[[tuple[Target, ...]], None],
        look_up: Lookup | None = None,
    ) -> None:
        self._options = options
        self._changed = changed
        self._look_up = look_up or partial(lookup, resolvers=options.resolver, loop=loop)
        self._files: dict[ResolvFile, Watched] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._complaints: dict[str, str] = {}
        for target in options.targets:
            if isinstance(target, ResolvFile):
                self._files[target] = Watched(target.path)
            elif not address(target.host):
                self._names[target.host] = ()
        self._known = self.targets()
        self._loop = loop
        self._tasks: list[asyncio.Task[None]] = []

    def targets(self) -> tuple[Target, ...]:
        """Those that are known by now; one address and port but once, as in CoreDNS."""
        found: dict[str, Target] = {}
        for target in self._options.targets:
            for each in self._expanded(target):
                found.setdefault(str(each), each)
        return tuple(found.values())

    async def start(self) -> None:
        """Find all of them, as far as that can be done in 3 seconds, and go on to keep up.

        Once: to be called again does nothing.
        """
        if self._tasks:
            return
        if self._files:
            self.look_at_files()
            self._begin(self._watch_files())
        lookups = [self._begin(self.look_up(host)) for host in self._names]
        if lookups:
            await asyncio.wait(lookups, timeout=START_PATIENCE)
        for host, first in zip(self._names, lookups, strict=True):
            self._begin(self._watch_name(host, first))

    def close(self) -> None:
        """Keep up no more."""
        for task in self._tasks:
            task.cancel()

    def look_at_files(self) -> None:
        """Read all files again."""
        changes = [watched.changed() for watched in self._files.values()]
        if any(changes):
            self._tell()

    async def look_up(self, host: str) -> None:
        """Look one name up again."""
        try:
            addresses = await self._look_up(host)
        except Unresolved as error:
            complaint = str(error)
            if complaint != self._complaints.get(host):
                former = ", ".join(self._names[host])
                _log.warning(
                    "upstream %s has no address (%s), %s",
                    *(host, complaint, f"{former} is asked on" if former else "none is asked"),
                )
            self._complaints[host] = complaint
            return
        self._complaints.pop(host, None)
        if addresses != self._names[host]:
            self._names[host] = addresses
            self._tell()

    async def _watch_files(self) -> None:
        while True:
            await asyncio.sleep(FILES_EVERY)
            self.look_at_files()

    async def _watch_name(self, host: str, first: asyncio.Task[None]) -> None:
        await first
        while True:
            await asyncio.sleep(NAMES_EVERY if self._names[host] else FILES_EVERY)
            await self.look_up(host)

    def _begin(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.append(task)
        return task

    def _tell(self) -> None:
        targets = self.targets()
        if targets != self._known:
            self._known = targets
            _log.info("upstreams are now %s", ", ".join(map(str, targets)) or "none")
            self._changed(targets)

    def _expanded(self, target: Target | ResolvFile) -> tuple[Target, ...]:
        if isinstance(target, ResolvFile):
            return self._files[target].targets
        addresses = self._names.get(target.host)
        if addresses is None:
            return (target,)
        if target.way != "dns" and not self._options.tls.server_name:
            # Whoever resolves the name must not be able to say who may answer to it.
            target = target._replace(server_name=target.server_name or target.host)
        return tuple(target._replace(host=each) for each in addresses)
