"""The file in which records outlive a restart."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from kdns.records.snapshot import BadSnapshot, Header, pieces, restore
from kdns.records.store import Store

_log: Final = logging.getLogger("plugin/kubernetes")

EVERY: Final = 60.0
"""Seconds between two looks at whether there is something new to save."""

_FIRST: Final = 1.0


class SnapshotFile:
    """One store's records in one file; `identity` says whose they are.

    Trouble with the file is logged and counted in `failures`: it never is in the way of serving.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.failures = 0
        self.saved_at = 0.0
        self._path = path
        self._identity = identity
        self._serial = -1

    def load(self, store: Store) -> bool:
        """Fill an empty store with what was saved; whether there was anything of use."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return False
        except OSError as error:
            self._failed("cannot be read", error)
            return False
        try:
            header = restore(store, content, self._identity)
        except BadSnapshot as error:
            self._failed("is passed over", error)
            return False
        _log.info(
            "records of %gs ago are served until the API server answers, out of %s",
            round(time.time() - header.saved_at),
            self._path,
        )
        return True

    async def run(self, store: Store) -> None:
        """Save the store whenever it has changed, until cancelled."""
        while True:
            await self.save(store)
            await asyncio.sleep(EVERY if self.saved_at else _FIRST)

    async def save(self, store: Store) -> None:
        """Save the store if it has changed; the loop goes on meanwhile."""
        serial = store.services.serial.value + store.imports.serial.value
        if serial == self._serial or not store.synced:
            return
        content = bytearray()
        for piece in pieces(store, Header(self._identity, time.time())):
            content += piece
            await asyncio.sleep(0)
        try:
            await asyncio.to_thread(_write, self._path, bytes(content))
        except OSError as error:
            self._failed("cannot be written", error)
            return
        self._serial = serial
        self.saved_at = time.time()

    def _failed(self, what: str, error: Exception) -> None:
        self.failures += 1
        reason = error.strerror if isinstance(error, OSError) else error
        _log.warning("snapshot %s %s: %s", self._path, what, reason)


def _write(path: Path, content: bytes) -> None:
    """Replace the file whole: it is what it was or what it becomes, also if the machine stops."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
