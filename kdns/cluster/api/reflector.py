"""Keeping up with one resource: list it, watch it, and find back after whatever goes wrong.

The contract is that of client-go's reflector, with the differences that objects are passed on as
they arrive, that a list is applied as a difference, and that silence is not taken for peace.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from msgspec.json import Decoder

from kdns.cluster.api.changes import Change, Identity, envelope, partial
from kdns.cluster.api.client import ANSWER_PATIENCE, METADATA_ONLY, Body, Client
from kdns.cluster.api.failures import UNDECODABLE, Failure, Reason, Status
from kdns.cluster.api.known import Fingerprint, Known, fingerprint
from kdns.cluster.api.lines import Items, Lines, ListMeta, Unread
from kdns.cluster.api.outage import Outage
from kdns.cluster.api.resources import Resource
from kdns.cluster.api.stats import ResourceStats
from kdns.cluster.api.timing import Backoff, Timing
from kdns.cluster.feed import Delete, Event, Upsert

_log: Final = logging.getLogger("plugin/kubernetes")

PAGE: Final = 500
WATCH_SECONDS: Final = (300.0, 600.0)
SILENCE: Final = (90.0, 120.0)
"""Seconds without a byte after which a watch is taken for dead; bookmarks come every minute."""
INITIAL_SILENCE: Final = 10.0
"""Seconds without a byte after which a server is taken not to stream lists."""
SHORT: Final = 1.0
PROMPT_AGAIN: Final = 30.0
"""Seconds between two retries without a delay."""
RETRY_SPREAD: Final = (1.0, 1.25)
INTERNAL_ERRORS: Final = 5
"""ERROR events with code 500 in a row, about a minute of them, after which a list is due."""

_TOGETHER: Final = 64
_COMPLAINTS: Final = 100
_status: Final = Decoder(Status).decode
_OF_THE_VERSION: Final = {Reason.EXPIRED, Reason.TOO_LARGE}
_STREAMS_NO_LISTS: Final = {
    Reason.INVALID,
    Reason.SERVER,
    Reason.UNEXPECTED,
    Reason.SILENT,
    Reason.SHORT,
}


class Reflector:
    """Lists and watches one resource until it is cancelled.

    `emit` is given events in pieces and may take its time, during which nothing is read. `listed`
    is called after the events of each complete list. `known` is what the reader of the events has;
    `skipped` the versions of objects that could not be decoded, of which an earlier one may be
    known.
    """

    def __init__(
        self,
        resource: Resource,
        client: Client,
        outage: Outage,
        stats: ResourceStats,
        timing: Timing,
        emit: Callable[[Sequence[Event]], Awaitable[None]],
        listed: Callable[[], Awaitable[None]],
    ) -> None:
        self.resource = resource
        self.known = Known()
        self.skipped: dict[str, Fingerprint] = {}
        self._client = client
        self._outage = outage
        self._stats = stats
        self._timing = timing
        self._emit = emit
        self._listed = listed
        self._backoff = Backoff(timing)
        self._change: Decoder[Any] = Decoder(Change[resource.type])  # type: ignore[name-defined]
        self._object: Decoder[Any] = Decoder(resource.type)
        self._version = ""
        self._must_list = True
        self._relist_asked = False
        # Not to believe: that the version known is one of this server's, and what has it.
        self._distrust = False
        # Whether the server may be another than before, with a history that is shorter.
        self._doubt = False
        self._unpaged = False
        self._listing = False
        # Those of `skipped` that the list has not told of yet.
        self._unlisted: set[str] = set()
        self._nameless = False
        self._body: Body | None = None
        self._heard = False
        self._bookmarked = False
        self._silences = 0
        self._internal_errors = 0
        self._prompted_at = float("-inf")
        # Whether the last failure was another one than of the version.
        self._returning = False

    @property
    def watching(self) -> bool:
        """Whether a watch is open and `known` is whole."""
        return self._body is not None and not self._listing

    def relist(self) -> None:
        """List again, from what most of etcd agrees on."""
        self._relist_asked = True
        if self._body is not None:
            self._body.close()

    async def run(self) -> None:
        """List and watch for ever; raises nothing."""
        while True:
            if self._relist_asked:
                self._relist_asked = False
                self._must_list = self._distrust = True
            try:
                if self._must_list:
                    await self._list()
                else:
                    if self._doubt:
                        await self._ask_version()
                    await self._stream()
            except Failure as failure:
                await self._recover(failure)
            except Exception as error:  # noqa: BLE001 - a defect must not end the watch
                _log.exception("%s: watch broken off", self.resource.path)
                self._must_list = True
                await self._recover(Failure(Reason.UNEXPECTED, repr(error)))

    async def _list(self) -> None:
        """Bring `known` up to date: by a stream, which goes on as a watch, or by pages."""
        self._begin()
        try:
            await self._stream()
        except Failure as failure:
            if not self._must_list or failure.reason not in _STREAMS_NO_LISTS:
                raise
            self.known.abandon()
            self._begin()
            await self._pages()

    def _begin(self) -> None:
        self.known.begin(distrust=self._distrust)
        self._unlisted = set(self.skipped)
        self._listing = True

    async def _pages(self) -> None:
        """List in pages. Where the watch cache can answer, it does so in one."""
        version = "" if self._distrust else self._version or "0"
        parameters = {**self.resource.selectors()}
        if version:
            parameters["resourceVersion"] = version
        if version in {"", "0"} and not self._unpaged:
            parameters["limit"] = str(PAGE)
        meta = await self._page(parameters)
        while meta.continue_:
            parameters.pop("resourceVersion", None)
            parameters["continue"] = meta.continue_
            try:
                meta = await self._page(parameters)
            except Failure as failure:
                self._unpaged = failure.reason is Reason.EXPIRED
                raise
        if not meta.resource_version:
            raise Failure(Reason.GARBLED, "a list without a resourceVersion")
        events: list[Event] = []
        self._end_list(meta.resource_version, events)
        await self._send(events)
        await self._complete()

    async def _page(self, parameters: dict[str, str]) -> ListMeta:
        items = Items(self._object.decode)
        async with self._client.get(self.resource.path, parameters) as body:
            while chunk := await body.read(ANSWER_PATIENCE):
                self._stats.last_heard = self._timing.clock()
                await self._take_items(iter(items.feed(chunk)))
        rest, meta = items.end()
        await self._take_items(rest)
        return meta

    async def _ask_version(self) -> None:
        """Raises Failure where the server is not as far as the version to go on from.

        So it is when etcd was restored from a backup. A watch would wait there without a word, and
        never tell of what has changed meanwhile.
        """
        parameters = {**self.resource.selectors(), "limit": "1"}
        parameters["resourceVersion"] = self._version
        parameters["resourceVersionMatch"] = "NotOlderThan"
        async with self._client.get(self.resource.path, parameters, METADATA_ONLY) as body:
            while await body.read(ANSWER_PATIENCE):
                pass
        self._doubt = False

    async def _stream(self) -> None:
        """Watch until the server ends it; while listing, from initial events on."""
        parameters = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(self._timing.uniform(*WATCH_SECONDS))),
            **self.resource.selectors(),
        }
        if self._listing:
            parameters["sendInitialEvents"] = "true"
            parameters["resourceVersionMatch"] = "NotOlderThan"
        if self._version and not self._distrust:
            parameters["resourceVersion"] = self._version
        lines = Lines()
        began = self._timing.clock()
        version = self._version
        self._heard = False
        async with self._client.get(self.resource.path, parameters) as body:
            self._body = body
            opened = self._timing.clock()
            try:
                if not self._listing:
                    self._outage.recovered(self.resource.kind)
                while chunk := await body.read(self._patience()):
                    self._stats.last_heard = self._timing.clock()
                    self._heard = True
                    self._silences = 0
                    for some in _pieces(lines.feed(chunk)):
                        await self._take(some)
            finally:
                self._body = None
                # Where nothing happens, a good watch says nothing for a minute.
                self._heard |= self._timing.clock() - opened >= SHORT
        if self._listing:
            raise Failure(Reason.SHORT, "the stream ended before its initial events did")
        if self._version == version and self._timing.clock() - began < SHORT:
            raise Failure(Reason.SHORT, f"a watch that was over in less than {SHORT:g}s")

    def _patience(self) -> float:
        return INITIAL_SILENCE if self._listing else self._timing.uniform(*SILENCE)

    async def _take(self, lines: Sequence[bytes]) -> None:
        """Take in lines of a watch. Raises Failure where one says so, after what came before."""
        events: list[Event] = []
        was_listing = self._listing
        failure = None
        try:
            self._read(lines, events)
        except Failure as raised:
            failure = raised
        await self._send(events)
        if was_listing and not self._listing:
            self._stats.streamed_lists += 1
            await self._complete()
        if failure is not None:
            raise failure

    def _read(self, lines: Sequence[bytes], events: list[Event]) -> None:
        for line in lines:
            try:
                change = self._change.decode(line)
            except UNDECODABLE as error:
                self._read_special(line, error, events)
                continue
            metadata = change.object.metadata
            if change.type in {"ADDED", "MODIFIED"}:
                self._take_object(change.object, events)
            elif change.type == "DELETED":
                self._drop(metadata.namespace, metadata.name, events)
            else:
                self._read_special(line, ValueError(f"unknown type {change.type!r}"), events)
                continue
            self._advance(metadata.resource_version)

    def _read_special(self, line: bytes, error: Exception, events: list[Event]) -> None:
        """A line that is no plain change. Raises Failure: it is an error, or no line of a watch."""
        try:
            said = envelope(line)
        except UNDECODABLE:
            raise Failure(Reason.GARBLED, f"no line of a watch: {line[:80]!r} ({error})") from error
        if said.type == "ERROR":
            raise self._told(bytes(said.object))
        identity = _identity(bytes(said.object))
        if said.type == "BOOKMARK" and identity is not None:
            self._take_bookmark(identity, events)
        elif said.type == "DELETED" and identity is not None and identity.name:
            self._drop(identity.namespace, identity.name, events)
            self._advance(identity.resource_version)
        else:
            self._skip(identity, error)

    def _told(self, status: bytes) -> Failure:
        try:
            failure = _status(status).failure()
        except UNDECODABLE:
            failure = Failure(Reason.UNEXPECTED, f"ERROR event {status[:80]!r}")
        self._internal_errors += failure.reason is Reason.SERVER
        return failure

    def _take_bookmark(self, identity: Identity, events: list[Event]) -> None:
        self._bookmarked = True
        self._stats.last_bookmark = self._timing.clock()
        if not self._listing:
            self._advance(identity.resource_version)
        elif identity.ends_initial_events:
            if not identity.resource_version:
                raise Failure(Reason.GARBLED, "a list without a resourceVersion")
            self._end_list(identity.resource_version, events)

    def _advance(self, version: str) -> None:
        """A watch can go on from here. Initial events come in no order, and prove nothing."""
        if not self._listing and version:
            self._version = version
            self._internal_errors = 0

    async def _take_items(self, items: Iterator[Any]) -> None:
        while some := list(islice(items, _TOGETHER)):
            events: list[Event] = []
            for item in some:
                if isinstance(item, Unread):
                    self._skip(_identity(item.content), item.error)
                else:
                    self._take_object(item, events)
            await self._send(events)

    def _take_object(self, item: Any, events: list[Event]) -> None:
        metadata = item.metadata
        key = f"{metadata.namespace}/{metadata.name}"
        if self.known.take(key, fingerprint(metadata.uid, metadata.resource_version)):
            events.append(Upsert(item))
        if self.skipped:
            self.skipped.pop(key, None)

    def _drop(self, namespace: str, name: str, events: list[Event]) -> None:
        key = f"{namespace}/{name}"
        self.skipped.pop(key, None)
        if self.known.drop(key):
            events.append(Delete(self.resource.kind, namespace, name))

    def _skip(self, identity: Identity | None, error: Exception) -> None:
        """Leave out what cannot be decoded; what is known of the object stays."""
        self._stats.skipped += 1
        key = identity.key if identity is not None and identity.name else ""
        told = key in self.skipped or len(self.skipped) >= _COMPLAINTS if key else self._nameless
        if not told:
            name = key.removeprefix("/") or "of unknown name"
            _log.warning("%s %s is left out: %s", self.resource.kind, name, error)
        if identity is None or not key:
            self._nameless = True
            return
        self.known.confirm(key)
        self._unlisted.discard(key)
        self.skipped[key] = identity.fingerprint
        self._advance(identity.resource_version)

    def _end_list(self, version: str, events: list[Event]) -> None:
        """All that exists has been told: what was not told of is gone."""
        for key in self.known.end():
            namespace, _, name = key.partition("/")
            events.append(Delete(self.resource.kind, namespace, name))
        for key in self._unlisted:
            self.skipped.pop(key, None)
        self._unlisted = set()
        self._version = version
        self._listing = self._must_list = self._distrust = False
        self._unpaged = self._doubt = False
        self._internal_errors = 0

    async def _complete(self) -> None:
        """What follows a list, when its reader has been given all of it."""
        self._stats.lists += 1
        self._stats.last_list = self._timing.clock()
        self._stats.objects = len(self.known)
        self._stats.synced = True
        self._outage.recovered(self.resource.kind)
        await self._listed()

    async def _send(self, events: list[Event]) -> None:
        if events:
            self._stats.events += len(events)
            self._stats.last_event = self._timing.clock()
            self._stats.objects = len(self.known)
            await self._emit(events)

    async def _recover(self, failure: Failure) -> None:
        """Decide how to go on, and wait for as long as that should take."""
        if self._listing:
            self.known.abandon()
            self._listing = False
        if self._relist_asked:
            return
        self._stats.errors[failure.reason] += 1
        expired = failure.reason in _OF_THE_VERSION
        # That history is gone is what one learns on the way back, and no failure of its own.
        on_the_way, self._returning = expired and self._returning, not expired
        now = self._timing.clock()
        if self._judge(failure.reason) and (on_the_way or now - self._prompted_at > PROMPT_AGAIN):
            if not on_the_way:
                self._prompted_at = now
            return
        self._outage.failed(self.resource.kind, str(failure))
        # Those who are told the same do not all come back at once.
        told = failure.retry_after * self._timing.uniform(*RETRY_SPREAD)
        await self._timing.sleep(max(self._backoff.next(), told))

    def _judge(self, reason: Reason) -> bool:
        """Whether to list again; the answer is whether to try again at once."""
        if reason in _OF_THE_VERSION:
            # The first list after an expired watch may still not go back in time.
            self._distrust |= self._must_list or reason is Reason.TOO_LARGE
            self._must_list = True
            return True
        self._doubt |= reason in {Reason.CONNECTION, Reason.SILENT}
        if reason is Reason.SILENT:
            self._silences += 1
            if self._silences > 1 and self._bookmarked:
                self._must_list = self._distrust = True
            return True
        if reason is Reason.INVALID:
            # What else could be wrong with what is asked for than a version of another server?
            self._must_list = self._distrust = True
        garbled = reason in {Reason.GARBLED, Reason.UNEXPECTED}
        self._must_list |= garbled or self._internal_errors >= INTERNAL_ERRORS
        heard, self._heard = self._heard, False
        return reason is Reason.CONNECTION and heard


def _identity(item: bytes) -> Identity | None:
    try:
        return partial(item).metadata
    except UNDECODABLE:
        return None


def _pieces(items: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Few enough at a time that decoding them holds up nobody."""
    for start in range(0, len(items), _TOGETHER):
        yield items[start : start + _TOGETHER]
