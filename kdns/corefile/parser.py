"""A Corefile as server blocks: `load` a file, or `parse` what was read elsewhere.

The grammar is Caddy 1's, to whose parser CoreDNS 1.14.7 hands its Corefile. What that accepts and
can hardly be meant is accepted too, with a notice. Refused beyond it: a `{` at the start of a line
and words behind a directive's `}`, which CoreDNS's parser passes on to plugins that nearly all
refuse them. A directive's name is not checked: which there are, its plugins know.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kdns.corefile.stream import SourceFile, TokenStream, reason
from kdns.corefile.tokens import CorefileError, Notice, Position, Token, shown
from kdns.corefile.zones import (
    DNS_PORT,
    Listener,
    ZoneKey,
    is_preferred,
    refuse_overlap,
    zone_keys,
)

MAX_DEPTH: Final = 100
_SEPARATING: Final = frozenset(("bind", "view"))  # these let two blocks share a zone


@dataclass(frozen=True, slots=True)
class Directive:
    """A directive or, in a block, a property; `block` is None without braces."""

    name: Token
    args: tuple[Token, ...] = ()
    block: tuple[Directive, ...] | None = None

    @property
    def position(self) -> Position:
        return self.name.position


@dataclass(frozen=True, slots=True)
class ServerBlock:
    """What a set of zones has in common. There is at least one key."""

    keys: tuple[ZoneKey, ...]
    directives: tuple[Directive, ...]

    @property
    def position(self) -> Position:
        return self.keys[0].position

    @property
    def zones(self) -> tuple[str, ...]:
        """The names of its zones, which plugins serve that are given none; a name may repeat."""
        return tuple(key.zone for key in self.keys)


@dataclass(frozen=True, slots=True)
class Corefile:
    """Server blocks in the order written, the files they came from, and what is odd in them.

    Without blocks, as an empty file has none, CoreDNS serves `whoami` and `log` for the root.
    """

    blocks: tuple[ServerBlock, ...]
    files: tuple[SourceFile, ...]
    notices: tuple[Notice, ...]

    def digest(self) -> str:
        """SHA-512, in hexadecimal, of what the Corefile says with imports and variables put in.

        Comments, white space, places and the order of different directives have no effect on it.
        """
        content = [
            [[str(key) for key in block.keys], sorted(map(_plain, block.directives), key=_name)]
            for block in self.blocks
        ]
        return hashlib.sha512(json.dumps(content).encode()).hexdigest()


def load(path: str | Path, environ: Mapping[str, str], default_port: int = DNS_PORT) -> Corefile:
    """The Corefile at `path`. Raises CorefileError, also where a file cannot be read."""
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise CorefileError(
            f"the Corefile cannot be read ({reason(error)}): correct its path or permissions",
            Position(str(path)),
        ) from None
    return parse(content, str(path), environ, default_port)


def parse(
    content: bytes | str, file: str, environ: Mapping[str, str], default_port: int = DNS_PORT
) -> Corefile:
    """The Corefile that `content` is.

    `file` names it in positions; imports are relative to its folder. `environ` is what `{$NAME}`
    reads. `default_port` is for zones of plain DNS that have none. Raises CorefileError and no
    other exception.
    """
    stream = TokenStream(content, file, environ)
    try:
        blocks = _blocks(stream, default_port)
    except CorefileError as error:
        error.notices = stream.notices
        raise
    return Corefile(tuple(blocks), stream.files, stream.notices)


def _blocks(stream: TokenStream, default_port: int) -> list[ServerBlock]:
    parser = _Parser(stream, default_port)
    blocks: list[ServerBlock] = []
    while stream.peek() is not None:
        block = parser.server_block()
        if block is not None:
            blocks.append(block)
    refuse_overlap(
        Listener(key)
        for block in blocks
        if _SEPARATING.isdisjoint(directive.name.text for directive in block.directives)
        for key in block.keys
    )
    return blocks


class _Parser:
    """Recursive descent over a stream; `depth` is 0 for directives and grows with each brace."""

    def __init__(self, stream: TokenStream, default_port: int) -> None:
        self._stream = stream
        self._default_port = default_port

    def server_block(self) -> ServerBlock | None:
        """The server block or snippet that comes next; None for what is not a server block."""
        stream = self._stream
        keys = self._keys()
        opening = stream.peek()
        if opening is not None and len(keys) == 1 and _is_snippet(keys[0]):
            self._snippet(keys[0], opening)
            return None
        directives = self._server_body(opening) if opening is not None else ()
        if not keys:
            if opening is not None:
                stream.notice("this server block has no zone and is left out", opening.position)
            return None
        zones = tuple(zone for key in keys for zone in self._zones(key))
        return ServerBlock(zones, directives)

    def _keys(self) -> list[Token]:
        """The keys up to a brace, or to the end of a line that does not end in a comma."""
        stream = self._stream
        keys: list[Token] = []
        first, comma = True, None
        while (token := stream.peek()) is not None:
            begins_line = stream.at_line_start()
            if begins_line and not first and comma is None:
                return keys
            key = stream.substitute(token)
            if key.text == "import" and begins_line:
                stream.expand_import()
                continue
            if key.text == "{":
                if comma is not None:
                    raise _no_key_after(comma)
                return keys
            stream.take()
            first = False
            if key.text:
                comma = key if key.text.endswith(",") else None
                keys.append(_without_comma(key))
        if comma is not None:
            raise _no_key_after(comma)
        return keys

    def _zones(self, key: Token) -> tuple[ZoneKey, ...]:
        zones = zone_keys(key, self._default_port)
        for zone in zones:
            if not is_preferred(zone.zone):
                self._stream.notice(
                    f"zone {shown(zone.zone)} is not of letters, digits and hyphens: is it right?",
                    key.position,
                )
        return zones

    def _snippet(self, key: Token, opening: Token) -> None:
        stream = self._stream
        if opening.text != "{":
            raise CorefileError(
                f"snippet {key.shown} has no body: put it in braces", opening.position
            )
        stream.take()
        body = stream.take_body()
        if body is None:
            raise _never_closed(opening)
        stream.define(key.text[1:-1], body, key.position)

    def _server_body(self, opening: Token) -> tuple[Directive, ...]:
        """The directives in braces; without them all up to a stray brace or the end."""
        stream = self._stream
        braced = opening.text == "{"
        if braced:
            stream.take()
        directives, closed = self._directives(depth=0)
        if braced and not closed:
            # Caddy looks for the brace in the last word of all, which a directive's own may be.
            if stream.last is None or stream.last.text != "}":
                raise _never_closed(opening)
            stream.notice(
                "this '{' is never closed: put the missing '}' at the end", opening.position
            )
        return directives

    def _directives(self, depth: int) -> tuple[tuple[Directive, ...], bool]:
        """Directives up to a `}`, which is taken, or the end; and whether there was one."""
        stream = self._stream
        directives: list[Directive] = []
        while (token := stream.peek()) is not None:
            if token.text == "}":
                stream.take()
                return tuple(directives), True
            # Within a directive's braces CoreDNS imports at the start of a line alone.
            if token.text == "import" and (depth == 0 or stream.at_line_start()):
                stream.expand_import()
            else:
                directives.append(self._directive(depth))
        return tuple(directives), False

    def _directive(self, depth: int) -> Directive:
        stream = self._stream
        name = stream.substitute(stream.take())
        if name.text == "{":
            raise CorefileError("'{' belongs at the end of its directive's line", name.position)
        if not name.text and depth == 0:
            raise CorefileError(
                "a directive's name is empty: write one or take the line out", name.position
            )
        args: list[Token] = []
        while (token := stream.peek()) is not None and not stream.at_line_start():
            if token.text == "{":
                return Directive(name, tuple(args), self._block(depth + 1))
            if token.text == "}":
                if depth == 0:
                    raise CorefileError(
                        "'}' closes nothing here: put it on a line of its own", token.position
                    )
                break
            args.append(stream.substitute(stream.take()))
        return Directive(name, tuple(args))

    def _block(self, depth: int) -> tuple[Directive, ...]:
        stream = self._stream
        opening = stream.take()
        if depth > MAX_DEPTH:
            raise CorefileError(
                f"braces are nested more than {MAX_DEPTH} deep: close some", opening.position
            )
        properties, closed = self._directives(depth)
        if not closed:
            raise _never_closed(opening)
        behind = stream.peek()
        if behind is None or stream.at_line_start() or (behind.text == "}" and depth > 1):
            return properties
        raise CorefileError(
            f"{behind.shown} stands behind a '}}': begin a new line after it", behind.position
        )


def _is_snippet(key: Token) -> bool:
    return key.text.startswith("(") and key.text.endswith(")")


def _without_comma(key: Token) -> Token:
    return Token(key.text.removesuffix(","), key.position, key.quoted)


def _no_key_after(comma: Token) -> CorefileError:
    return CorefileError(
        f"no zone follows the comma of {comma.shown}: write one or take the comma out",
        comma.position,
    )


def _never_closed(opening: Token) -> CorefileError:
    return CorefileError("this '{' is never closed: put a '}' on a line after it", opening.position)


def _plain(directive: Directive) -> list[object]:
    block = directive.block
    return [
        directive.name.text,
        [arg.text for arg in directive.args],
        None if block is None else [_plain(entry) for entry in block],
    ]


def _name(plain: list[object]) -> str:
    return str(plain[0])
