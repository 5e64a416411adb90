"""The manifest files below a folder: which there are, which have changed, and what they declare."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, TypeAlias

from kdns.cluster.manifests.declarations import read
from kdns.cluster.manifests.documents import ManifestError
from kdns.cluster.manifests.kinds import Declared
from kdns.cluster.manifests.turns import Turns

SUFFIXES = (".yaml", ".yml", ".json")

_SETTLED = 0.1  # seconds

Signature: TypeAlias = tuple[int, ...]


class Seen(NamedTuple):
    """One look at the folder: files by path, and what could not be looked at."""

    files: dict[str, os.stat_result]
    troubles: dict[str, str]


class Edit(NamedTuple):
    """What one file declared, and what it declares now. What stayed as it was is the same object in
    both, where it kept its place."""

    before: list[Declared]
    after: list[Declared]


class Report(NamedTuple):
    """What is wrong now. `digest` is the content's, b"" where none could be read; `held`: what was
    there before stays served."""

    error: ManifestError
    digest: bytes
    held: bool


class _File(NamedTuple):
    """A file as last read. `signature` None: look again. `declared` is of this content, or of the
    one before (`held`); `whole` says that the content which it is of had no errors."""

    signature: Signature | None
    digest: bytes
    declared: list[Declared]
    errors: list[ManifestError]
    whole: bool
    held: bool


class Files:
    """The files of `root` (a folder, or one file) and their content; blocking, for one thread.

    `clock` gives the seconds that the file system's time stamps count. A file modified within the
    last tenth of a second is left for the next look: so a write in progress is not taken for an
    edit, and of two writes within one tick of the file system's clock the second is not missed.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        clock: Callable[[], float],
        turns: Turns | None = None,
    ) -> None:
        self.root = os.fspath(root)
        self._clock = clock
        self._turns = turns or Turns()
        self._files: dict[str, _File] = {}
        self._paths: list[str] = []  # kept in order, so that a sort takes no time
        self._troubles: dict[str, str] = {}
        self._loaded = False

    def refresh(self) -> list[Edit]:
        """Look, and read what has changed: what makes `declared` of the last time that of now.

        Looks again after reading: a folder that is swapped under its link meanwhile (a mounted
        ConfigMap) comes out as of after the swap, never as half of each.
        """
        edits: list[Edit] = []
        for _ in range(3):
            found = self._take(look(self.root, self._turns))
            edits += found
            if not found:
                break
        self._loaded = True
        return edits

    @property
    def declared(self) -> Iterator[Declared]:
        """In the order of their places."""
        self._paths.sort()
        return (item for path in self._paths for item in self._files[path].declared)

    @property
    def reports(self) -> list[Report]:
        """Everything that is wrong now."""
        found = [
            Report(ManifestError(path, 0, "", problem), b"", any(self._below(path)))
            for path, problem in self._troubles.items()
        ]
        for file in self._files.values():
            found += [Report(error, file.digest, file.held) for error in file.errors]
        return found

    def _take(self, seen: Seen) -> list[Edit]:
        self._troubles = dict(seen.troubles)
        edits: list[Edit] = []
        quiet = True
        now = self._clock()
        for path, status in self._turns.each(seen.files.items()):
            signature = _signature(status)
            known = self._files.get(path)
            if known is not None and known.signature == signature:
                continue
            settled = not 0 <= now - max(status.st_mtime, status.st_ctime) < _SETTLED
            quiet = quiet and settled
            if settled or not self._loaded:
                edits += self._read(path, signature if settled else None)
        if quiet:  # else a file that has gone may be the one that has come, renamed
            edits += self._forget(seen)
        return edits

    def _forget(self, seen: Seen) -> list[Edit]:
        """Drop the files that are gone."""
        kept = {path for trouble in seen.troubles for path in self._below(trouble)}
        gone = [path for path in self._files if path not in seen.files and path not in kept]
        edits = [Edit(self._files.pop(path).declared, []) for path in gone]
        if gone:
            self._paths = [path for path in self._paths if path in self._files]
        return edits

    def _below(self, place: str) -> Iterator[str]:
        """Known files that are, or lie in, a place that could not be looked at."""
        folder = place.rstrip("/") + "/"
        return (path for path in self._files if path == place or path.startswith(folder))

    def _read(self, path: str, signature: Signature | None) -> list[Edit]:
        """Read one file; no edit where its content is what it was."""
        known = self._files.get(path)
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            self._troubles[path] = unreadable(error)
            return []
        digest = blake2b(content, digest_size=16).digest()
        if known is not None and known.digest == digest:
            self._files[path] = known._replace(signature=signature)
            return []
        declared, errors = read(path, content, self._turns)
        whole = not errors
        if not content and known is not None and known.declared:
            problem = "empty: delete the file if its objects shall go"
            errors = [ManifestError(path, 0, "", problem)]
        held = bool(errors) and known is not None and (known.whole or not content)
        before = known.declared if known is not None else []
        if known is None:
            self._paths.append(path)
        if known is not None and held:
            declared, whole = known.declared, known.whole
        _keep(before, declared)
        self._files[path] = _File(signature, digest, declared, errors, whole, held)
        return [Edit(before, declared)]


def _keep(before: list[Declared], declared: list[Declared]) -> None:
    """Put what says the same as before, in the same place, back where it was."""
    for index, (old, new) in enumerate(zip(before, declared, strict=False)):
        if old == new:
            declared[index] = old


def by_place(reports: list[Report]) -> list[Report]:
    """Sorted by path and line."""
    return sorted(reports, key=lambda report: (report.error.path, report.error.line))


def look(root: str, turns: Turns | None = None) -> Seen:
    """Every manifest file below `root`, links followed, hidden entries passed over."""
    seen = Seen({}, {})
    try:
        status = Path(root).stat()
    except OSError as error:
        seen.troubles[root] = unreadable(error)
        return seen
    if stat.S_ISDIR(status.st_mode):
        _walk(root, ((status.st_dev, status.st_ino),), seen, turns or Turns())
    else:
        _add(root, status, seen)
    return seen


def _walk(folder: str, above: tuple[tuple[int, int], ...], seen: Seen, turns: Turns) -> None:
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.path) for entry in entries]
    except OSError as error:
        seen.troubles[folder] = unreadable(error)
        return
    for name, path in turns.each(found):
        if name.startswith("."):
            continue
        wanted = name.endswith(SUFFIXES)
        try:
            status = os.stat(path)  # noqa: PTH116 - many times a second: no Path for each
        except OSError as error:
            gone = isinstance(error, FileNotFoundError) and not os.path.islink(path)  # noqa: PTH114 - as above
            if not gone:
                seen.troubles[path] = unreadable(error)
            continue
        if stat.S_ISDIR(status.st_mode):
            identity = status.st_dev, status.st_ino
            if identity not in above:  # a link to a folder that it lies in
                _walk(path, (*above, identity), seen, turns)
        elif wanted:
            _add(path, status, seen)


def _add(path: str, status: os.stat_result, seen: Seen) -> None:
    if stat.S_ISREG(status.st_mode):
        seen.files[path] = status
    else:
        seen.troubles[path] = "not a regular file: take it out of the folder"


def _signature(status: os.stat_result) -> Signature:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def unreadable(error: OSError) -> str:
    """Why the file system refused, and the cure."""
    cures = {
        FileNotFoundError: "give a file or folder that is there, or mend the link",
        PermissionError: "let kdns read it",
    }
    cure = cures.get(type(error), "see that it can be read")
    return f"{error.strerror or error}: {cure}"
