"""Looking now and then whether a watch has missed something, for no watch says so itself."""

from __future__ import annotations

import logging
from typing import Final

import msgspec
from msgspec import Struct

from kdns.cluster.api.changes import Partial
from kdns.cluster.api.client import ANSWER_PATIENCE, METADATA_ONLY, Client
from kdns.cluster.api.failures import UNDECODABLE, Failure, Reason
from kdns.cluster.api.known import Fingerprint
from kdns.cluster.api.lines import ListMeta
from kdns.cluster.api.reflector import PAGE, Reflector
from kdns.cluster.api.stats import ResourceStats
from kdns.cluster.api.timing import Timing

_log: Final = logging.getLogger("plugin/kubernetes")

BETWEEN_LOOKS: Final = (10.0, 20.0)
"""Seconds in which a watch that works has told what was new at the first look."""

_LONGEST_PAGE: Final = 64 * 2**20


class _PartialList(Struct):
    metadata: ListMeta
    items: list[Partial] | None = None


_page: Final = msgspec.json.Decoder(_PartialList).decode


class Consistency:
    """Compares what a reflector knows with what the API server has, metadata only.

    `every` are the bounds in seconds of the time between two checks. What differs in the same way
    at two looks, with no word from the watch about it in between, was missed: the reflector lists
    again, which is counted and logged. It does so once as well for what it could not decode.
    """

    def __init__(
        self,
        reflector: Reflector,
        client: Client,
        stats: ResourceStats,
        timing: Timing,
        every: tuple[float, float],
    ) -> None:
        self._reflector = reflector
        self._client = client
        self._stats = stats
        self._timing = timing
        self._every = every
        self._read_again: set[tuple[str, Fingerprint]] = set()

    async def run(self) -> None:
        """Check for ever; raises nothing."""
        while True:
            await self._timing.sleep(self._timing.uniform(*self._every))
            try:
                await self._check()
            except Failure:
                continue  # the reflector is the one to find out, and to say so
            except Exception:  # noqa: BLE001 - a defect here must not end the feed
                _log.exception("%s: consistency not checked", self._reflector.resource.path)

    async def _check(self) -> None:
        if not self._reflector.watching:
            return
        lists = self._stats.lists
        missed = await self._look()
        if missed:
            await self._timing.sleep(self._timing.uniform(*BETWEEN_LOOKS))
            again = await self._look()
            missed = {key: had for key, had in missed.items() if again.get(key, 0) == had}
        if self._stats.lists != lists or not self._reflector.watching:
            return
        self._stats.checks += 1
        left_out = set(self._reflector.skipped.items())
        unsure, self._read_again = left_out - self._read_again, left_out
        if missed:
            self._stats.mismatches += 1
            _log.error(
                "%s: the watch has missed %d changes, %s among them; listing again",
                self._reflector.resource.path,
                len(missed),
                min(missed).removeprefix("/"),
            )
            self._reflector.relist()
        elif unsure:
            _log.info(
                "%s: listing again, for it may have been on the way that objects became unreadable",
                self._reflector.resource.path,
            )
            self._reflector.relist()

    async def _look(self) -> dict[str, Fingerprint | None]:
        """What is known of each object that the API server has otherwise, or has not."""
        known, skipped = self._reflector.known, self._reflector.skipped
        unlisted = known.keys()
        differing: dict[str, Fingerprint | None] = {}
        parameters = {**self._reflector.resource.selectors(), "limit": str(PAGE)}
        while True:
            page = await self._fetch(parameters)
            for item in page.items or ():
                key, there = item.metadata.key, item.metadata.fingerprint
                unlisted.discard(key)
                # What could not be decoded is known to be different.
                if known.get(key) != there and skipped.get(key) != there:
                    differing[key] = known.get(key)
            if not page.metadata.continue_:
                break
            parameters["continue"] = page.metadata.continue_
        differing.update((key, known.get(key)) for key in unlisted if key in known)
        return differing

    async def _fetch(self, parameters: dict[str, str]) -> _PartialList:
        content = bytearray()
        path = self._reflector.resource.path
        async with self._client.get(path, parameters, METADATA_ONLY) as body:
            while chunk := await body.read(ANSWER_PATIENCE):
                content += chunk
                if len(content) > _LONGEST_PAGE:
                    raise Failure(Reason.GARBLED, f"a page of more than {_LONGEST_PAGE} bytes")
        try:
            return _page(content)
        except UNDECODABLE as error:
            raise Failure(Reason.GARBLED, f"no list of metadata: {error}") from error
