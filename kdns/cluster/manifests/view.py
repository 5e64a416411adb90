"""What a folder of manifests comes to, one look after the other."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from kdns.cluster.manifests.addresses import Settings
from kdns.cluster.manifests.controlplane import ControlPlane, Item, Key, key
from kdns.cluster.manifests.files import Edit, Files, Report, by_place
from kdns.cluster.manifests.kinds import Declared, GivenSlice
from kdns.cluster.manifests.turns import Turns


class Changes(NamedTuple):
    """What makes the objects of the last time those of now."""

    gone: list[Key]
    upserted: list[Item]


UNCHANGED = Changes([], [])


class View:
    """Files and what was made of them last, in `objects`; blocking, for one thread.

    Other threads go on meanwhile. Nothing here keeps the interpreter's lock for milliseconds in one
    piece, as would a sort of all objects, or the collector's look at them; and once there are
    objects it takes `turns`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        settings: Settings,
        clock: Callable[[], float],
        turns: Turns | None = None,
    ) -> None:
        self.objects: dict[Key, Item] = {}
        self._turns = turns or Turns()
        self._files = Files(path, clock, self._turns)
        self._plane = ControlPlane(settings, self._turns)
        self._refused: list[Report] = []
        self._current = False

    @property
    def reports(self) -> list[Report]:
        """Everything that is wrong now, by path and line."""
        return by_place(self._files.reports + self._refused)

    def refresh(self) -> Changes:
        """Look again; what has changed in the objects."""
        with _uncollected():
            current, self._current = self._current, False  # until this has come to its end
            edits = self._files.refresh()
            changes = UNCHANGED
            if edits or not self.objects:
                changes = (self._redefine(edits) if current else None) or self._refill()
                current = True
            self._current = current
            self._turns.wanted = True
            return changes

    def _redefine(self, edits: list[Edit]) -> Changes | None:
        """The slices that were edited, where nothing was that other objects are made of."""
        redefined: dict[Key, Item] = {}
        for before, after in edits:
            if len(before) != len(after):
                return None
            for old, new in zip(before, after, strict=True):
                if old is new:
                    continue
                made = new.object
                if not isinstance(made, GivenSlice) or not _alike(old, new):
                    return None
                name = key(made)
                if redefined.get(name, self.objects.get(name)) is not old.object:
                    return None  # another that has the name is served
                redefined[name] = made
        self.objects |= redefined
        return Changes([], list(redefined.values()))

    def _refill(self) -> Changes:
        """What has changed in all that the control plane makes."""
        each = self._turns.each
        filled = self._plane.fill(self._files.declared)
        gone = [name for name in each(reversed(self.objects)) if name not in filled.objects]
        for name in gone:
            del self.objects[name]
        upserted: list[Item] = []
        for name, made in each(filled.objects.items()):
            before = self.objects.get(name)
            if before is made:
                continue
            if before != made:
                upserted.append(made)
            elif not isinstance(made, GivenSlice):
                continue  # the one that the reader of the feed has stays
            self.objects[name] = made
        self._refused = [Report(error, b"", held=False) for error in filled.errors]
        return Changes(gone, upserted)


def _alike(old: Declared, new: Declared) -> bool:
    """Whether both are slices, and alike in all that other objects and errors are made of."""
    before, after = old.object, new.object
    if not isinstance(before, GivenSlice) or not isinstance(after, GivenSlice):
        return False
    return (
        (old.path, old.line) == (new.path, new.line)
        and key(before) == key(after)
        and before.metadata.labels == after.metadata.labels
    )


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the cyclic collector, which a third of a large load's time would go to: a load makes
    containers by the 100,000, and no cycles."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
