"""The file in which records outlive a restart."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Final

from kdns.records.snapshot import BadSnapshot, Header, opened, pieces
from kdns.records.store import Saved, Store

_log: Final = logging.getLogger("plugin/kubernetes")

EVERY: Final = 60.0
"""Seconds between two looks at whether there is something new to save."""

_FIRST: Final = 1.0
_ABANDONED: Final = 600.0
"""Seconds after which nobody is writing a file any more that was not given its name."""


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

    async def load(self, store: Store) -> bool:
        """Fill an empty store with what was saved; whether there was anything of use.

        The loop goes on meanwhile.
        """
        try:
            header, parts = await asyncio.to_thread(self._read)
        except FileNotFoundError:
            return False
        except OSError as error:
            self._failed("cannot be read", error)
            return False
        except BadSnapshot as error:
            self._failed("is passed over", error)
            return False
        for items in parts:
            store.restore(items)
            await asyncio.sleep(0)
        _log.info(
            "records of %gs ago are served until the API server answers, out of %s",
            round(time.time() - header.saved_at),
            self._path,
        )
        return True

    async def run(self, store: Store) -> None:
        """Save the store whenever it has changed, until cancelled."""
        while True:
            try:
                await self.save(store)
            except Exception as error:  # noqa: BLE001 - a defect here must not end the saving
                self._failed("cannot be made", error)
            await asyncio.sleep(EVERY if store.synced else _FIRST)

    async def save(self, store: Store) -> None:
        """Save the store if it has changed; the loop goes on meanwhile.

        Whoever is cancelled here leaves when the file is written.
        """
        serials = store.services.serial, store.imports.serial
        serial = sum(each.value for each in serials)
        if serial == self._serial or not store.synced:
            return
        for each in serials:
            each.hand_out()
        content = bytearray()
        for piece in pieces(store, Header(self._identity, time.time())):
            content += piece
            await asyncio.sleep(0)
        writing = asyncio.ensure_future(asyncio.to_thread(_write, self._path, content))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise
        except OSError as error:
            self._failed("cannot be written", error)
            return
        self._serial = serial
        self.saved_at = time.time()

    def supersede(self) -> None:
        """Somebody else has written the file: save the store again, changed or not."""
        self._serial = -1

    def _read(self) -> tuple[Header, list[list[Saved]]]:
        return opened(self._path.read_bytes(), self._identity)

    def _failed(self, what: str, error: Exception) -> None:
        self.failures += 1
        reason = error.strerror if isinstance(error, OSError) else error or type(error).__name__
        _log.warning("snapshot %s %s: %s", self._path, what, reason)


def _write(path: Path, content: bytes | bytearray) -> None:
    """Replace the file whole: it is what it was or what it becomes, also if the machine stops."""
    prefix, suffix = f".{path.name}.", ".part"
    for part in path.parent.glob(f"{escape(prefix)}*{suffix}"):
        # Left by a process that was killed as it wrote.
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _ABANDONED:
                part.unlink()
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=path.parent)
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
