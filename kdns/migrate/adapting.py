"""From a Corefile of CoreDNS's to what of it kdns serves, and notes about all that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from kdns.check import Unstarted
from kdns.corefile.parser import Corefile, Directive, ServerBlock
from kdns.corefile.tokens import CorefileError, Position, Token
from kdns.migrate.advice import OPTIONS, PLUGINS, UNKNOWN
from kdns.plugins.order import NAMES
from kdns.plugins.plan import plan

_REPLACED: Final = {"proxy": "forward"}
"""Plugins of old by those that came in their place, with options of the same names."""


class Note(NamedTuple):
    """Something that changes or has to be known; `lost` where clients may notice."""

    text: str
    position: Position | None = None
    lost: bool = False

    def __str__(self) -> str:
        return f"{self.position}: {self.text}" if self.position else self.text


class Adapted(NamedTuple):
    """Server blocks that kdns serves as they are, and what became of the others."""

    blocks: tuple[ServerBlock, ...]
    notes: tuple[Note, ...]


def adapt(corefile: Corefile) -> Adapted:
    """Take out of a Corefile what kdns does not know, piece by piece, until it serves the rest."""
    notes: list[Note] = [Note(each.message, each.position) for each in corefile.notices]
    blocks = [
        replace(block, directives=tuple(_known(block.directives, notes)))
        for block in corefile.blocks
    ]
    blocks = [each for each in blocks if each.directives]
    unchecked: set[Position] = set()
    while True:
        checked = Corefile(tuple(_without(blocks, unchecked)), corefile.files, ())
        try:
            plan(checked, Path(), Unstarted())
        except CorefileError as error:
            where = error.position
            directive = _directive_at(blocks, where)
            if directive is not None and directive.name.text == "bind":
                # Interfaces are those of the nodes.
                unchecked.add(directive.position)
                notes.append(Note(f"kept as it is, though here {error.message}", where))
                continue
            blocks, note = _taken_out(blocks, error, directive)
            notes.append(note)
        else:
            break
    notes += _idle(blocks)
    return Adapted(tuple(blocks), tuple(notes))


def _known(directives: Iterable[Directive], notes: list[Note]) -> Iterator[Directive]:
    for directive in directives:
        name, where = directive.name.text, directive.position
        if name in NAMES:
            yield directive
        elif (new := _REPLACED.get(name)) is not None:
            notes.append(Note(f"{name} is called {new} now, and has other options", where))
            yield replace(directive, name=Token(new, where))
        else:
            advice = PLUGINS.get(name, UNKNOWN)
            notes.append(Note(f"{name} is left out: {advice.text}", where, advice.lost))


def _without(blocks: Iterable[ServerBlock], unchecked: set[Position]) -> Iterator[ServerBlock]:
    for block in blocks:
        kept = tuple(each for each in block.directives if each.position not in unchecked)
        yield replace(block, directives=kept)


def _directive_at(blocks: Iterable[ServerBlock], where: Position) -> Directive | None:
    for block in blocks:
        for directive in block.directives:
            if where in _positions(directive):
                return directive
    return None


def _positions(directive: Directive) -> Iterator[Position]:
    """Those of a directive's words and of all in its braces."""
    yield directive.position
    yield from (each.position for each in directive.args)
    for entry in directive.block or ():
        yield from _positions(entry)


def _taken_out(
    blocks: Sequence[ServerBlock], error: CorefileError, directive: Directive | None
) -> tuple[list[ServerBlock], Note]:
    """The blocks less the property, directive or zone that is wrong. Raises `error` for others."""
    where = error.position
    if directive is not None:
        entry = next((each for each in directive.block or () if where in _positions(each)), None)
        if entry is None:
            kept = _mapped(blocks, lambda each: None if each is directive else each)
            note = Note(f"{directive.name} is left out: {error.message}", where, lost=True)
            return kept, note
        entries = tuple(each for each in directive.block or () if each is not entry)
        less = replace(directive, block=entries or None)
        advice = OPTIONS.get((directive.name.text, entry.name.text))
        text = f"{directive.name} {entry.name} is left out: "
        text += advice.text if advice is not None else error.message
        kept = _mapped(blocks, lambda each: less if each is directive else each)
        return kept, Note(text, where, advice.lost if advice is not None else True)
    for block in blocks:
        keys = tuple(key for key in block.keys if key.position != where)
        if len(keys) < len(block.keys):
            kept = [replace(each, keys=keys) if each is block else each for each in blocks]
            note = Note(f"this zone is left out: {error.message}", where, lost=True)
            return [each for each in kept if each.keys], note
    raise error


def _mapped(
    blocks: Iterable[ServerBlock], change: Callable[[Directive], Directive | None]
) -> list[ServerBlock]:
    changed = (
        replace(block, directives=tuple(filter(None, map(change, block.directives))))
        for block in blocks
    )
    return [each for each in changed if each.directives]


def _idle(blocks: Iterable[ServerBlock]) -> Iterator[Note]:
    """Options that are kept and mean nothing."""
    for block in blocks:
        zones = {
            arg.text.strip(".")
            for directive in block.directives
            if directive.name.text == "kubernetes"
            for arg in directive.args
        }
        for directive in block.directives:
            for entry in directive.block or ():
                words = [arg.text.strip(".") for arg in entry.args]
                if (directive.name.text, entry.name.text) == ("cache", "disable") and zones & set(
                    words[1:]
                ):
                    yield Note(
                        f"cache disable {' '.join(words)} stays and means nothing: kdns never"
                        " caches names of the cluster",
                        entry.position,
                    )
