"""The tokens of a Corefile in order, with imports and environment variables put in.

An import's tokens stand in its own place before blocks are looked for, so an imported file may hold
whole server blocks, some directives, or some properties.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from kdns.corefile.tokens import (
    CorefileError,
    Line,
    Notice,
    Position,
    Token,
    decode,
    shown,
    split,
)

MAX_IMPORTS: Final = 10_000
MAX_TOKENS: Final = 1_000_000
MAX_FILE_SIZE: Final = 16 << 20  # bytes
MAX_SUBSTITUTIONS: Final = 1_000  # in one token
MAX_SUBSTITUTED: Final = 64 << 10  # characters that they may add to it
_REFERENCES: Final = (("{%", "%}"), ("{$", "}"))


class SourceFile(NamedTuple):
    """A file that was read, and the SHA-256 of its content in hexadecimal."""

    path: str
    digest: str


class _Source(NamedTuple):
    lines: Sequence[Line]
    digest: str


class _Snippet(NamedTuple):
    lines: Sequence[Line]
    position: Position


class _Frame:
    """Lines that are being read and how far; their origin is a path, a glob, or `(snippet)`."""

    __slots__ = ("column", "lines", "origin", "row")

    def __init__(self, lines: Sequence[Line], origin: str) -> None:
        self.lines = lines
        self.origin = origin
        self.row = 0
        self.column = 0


class TokenStream:
    """The tokens of `content` and of what it imports, one after the other.

    `peek` first: `take`, `at_line_start` and `expand_import` are for a token that is there. Texts
    are as written, `substitute` puts in the environment: which of the two decides differs from
    place to place, as in CoreDNS.
    """

    def __init__(self, content: bytes | str, file: str, environ: Mapping[str, str]) -> None:
        self.last: Token | None = None
        self._environ = environ
        self._snippets: dict[str, _Snippet] = {}
        self._sources: dict[str, _Source] = {}
        self._notices: dict[Notice, None] = {}
        self._frames: list[_Frame] = []
        self._open: set[str] = set()  # origins of the frames
        self._imports = 0
        self._size = 0
        self._push(self._keep(content, file), os.path.normpath(file), Position(file, 1, 1))

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """What was read so far, each once, the first first."""
        return tuple(SourceFile(path, source.digest) for path, source in self._sources.items())

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What was noticed so far, each once."""
        return tuple(self._notices)

    def notice(self, message: str, position: Position) -> None:
        self._notices[Notice(message, position)] = None

    def peek(self) -> Token | None:
        """The next token; None at the end."""
        while self._frames:
            frame = self._frames[-1]
            if frame.row < len(frame.lines):
                return frame.lines[frame.row][frame.column]
            self._open.discard(self._frames.pop().origin)
        return None

    def at_line_start(self) -> bool:
        """Whether the next token is the first of its line."""
        return self._frames[-1].column == 0

    def take(self) -> Token:
        """The next token, which becomes `last`."""
        self.last = self._advance()
        return self.last

    def take_body(self) -> list[Line] | None:
        """What stands before the `}` of the brace just taken; None where it is never closed."""
        lines: list[list[Token]] = []
        depth = 1
        while self.peek() is not None:
            begins = self.at_line_start()
            token = self.take()
            depth += (token.text == "{") - (token.text == "}")
            if depth == 0:
                return list(lines)
            if begins or not lines:
                lines.append([token])
            else:
                lines[-1].append(token)
        return None

    def define(self, name: str, lines: Sequence[Line], position: Position) -> None:
        """Keep a snippet for later imports. Raises CorefileError for a name that is taken."""
        if earlier := self._snippets.get(name):
            raise CorefileError(
                f"snippet {shown(name)} is defined at {earlier.position} already: give this one"
                " another name",
                position,
            )
        self._snippets[name] = _Snippet(lines, position)

    def substitute(self, token: Token) -> Token:
        """The token with `{$NAME}` and `{%NAME%}` replaced, also in what a value brings with it.

        A variable that is not set reads as nothing, with a notice. Raises CorefileError where the
        replacing does not end, or brings in what UTF-8 cannot hold.
        """
        text = token.text
        if "{$" not in text and "{%" not in text:
            return token
        for opening, closing in _REFERENCES:
            text = self._replace(text, opening, closing, token)
        return Token(text, token.position, token.quoted)

    def expand_import(self) -> None:
        """Put what the next token, an `import`, names in its place. Raises CorefileError."""
        keyword = self._advance()
        rest = self._rest_of_line()
        if not rest:
            raise CorefileError(
                "import names nothing: write import SNIPPET, import FILE or import GLOB",
                keyword.position,
            )
        if len(rest) > 1:
            raise CorefileError(
                f"import takes one argument, {rest[1].shown} is another: begin a new line after"
                " it, and import each file for itself or with a glob",
                rest[1].position,
            )
        self._imports += 1
        if self._imports > MAX_IMPORTS:
            raise CorefileError(
                f"more than {MAX_IMPORTS} imports: import whole files or a glob instead",
                keyword.position,
            )
        argument = self.substitute(rest[0])
        if not argument.text or "\0" in argument.text:
            raise CorefileError(
                f"{rest[0].shown} names nothing: write the name of a snippet, a file or a glob",
                argument.position,
            )
        if snippet := self._snippets.get(argument.text):
            self._push(snippet.lines, f"({argument.text})", argument.position)
        else:
            self._import_files(argument)

    def _import_files(self, argument: Token) -> None:
        pattern, position = argument.text, argument.position
        folder = Path(position.file).parent
        target = os.path.normpath(folder / pattern)
        if "*" not in pattern and "?" not in pattern:
            return self._push(self._source(target, argument).lines, target, position)
        if max(pattern.count("*"), pattern.count("?")) > 1 or "[" in pattern or "\\" in pattern:
            raise CorefileError(
                f"glob {argument.shown} is too wide: it may have one * and one ?, but neither [ nor"
                " a backslash",
                position,
            )
        # A leading dot hides nothing from Go's glob, which CoreDNS asks.
        names = glob.glob(pattern, root_dir=folder, include_hidden=True)  # noqa: PTH207 - Path.glob refuses absolute patterns
        if not names:
            self.notice(f"no file matches {shown(target)}", position)
        paths = sorted((os.path.normpath(folder / name) for name in names), key=_components)
        lines = [line for path in paths for line in self._source(path, argument).lines]
        return self._push(lines, target, position)

    def _source(self, path: str, argument: Token) -> _Source:
        """The file at `path`, read once."""
        if source := self._sources.get(path):
            return source
        position = argument.position
        try:
            mode = Path(path).stat().st_mode
            # Opening a FIFO waits for a writer, and a device may never end.
            if not stat.S_ISREG(mode):
                raise CorefileError(
                    f"{shown(path)} is not a regular file: import a text file", position
                )
            with Path(path).open("rb") as file:
                content = file.read(MAX_FILE_SIZE + 1)
        except FileNotFoundError:
            raise CorefileError(
                f"there is no file {shown(path)}, nor a snippet {argument.shown} above this line:"
                " correct the name",
                position,
            ) from None
        except (OSError, ValueError) as error:
            raise CorefileError(
                f"{shown(path)} cannot be read ({reason(error)}): correct its name or permissions",
                position,
            ) from None
        if len(content) > MAX_FILE_SIZE:
            raise CorefileError(
                f"{shown(path)} has more than {MAX_FILE_SIZE} bytes: is it a Corefile?", position
            )
        self._keep(content, path)
        return self._sources[path]

    def _keep(self, content: bytes | str, path: str) -> Sequence[Line]:
        text = content if isinstance(content, str) else decode(content, path)
        lines, notices = split(text, path)
        raw = content.encode() if isinstance(content, str) else content
        self._sources[path] = _Source(lines, hashlib.sha256(raw).hexdigest())
        self._notices.update(dict.fromkeys(notices))
        return lines

    def _push(self, lines: Sequence[Line], origin: str, position: Position) -> None:
        """Read `lines` next."""
        if origin in self._open:
            origins = [frame.origin for frame in self._frames]
            path = " -> ".join((*origins[origins.index(origin) :], origin))
            raise CorefileError(
                f"import goes in a circle, {shown(path)}: take this one out", position
            )
        self._size += sum(len(line) for line in lines)
        if self._size > MAX_TOKENS:
            raise CorefileError(f"more than {MAX_TOKENS} words: split or import less", position)
        self._frames.append(_Frame(lines, origin))
        self._open.add(origin)

    def _advance(self) -> Token:
        frame = self._frames[-1]
        line = frame.lines[frame.row]
        token = line[frame.column]
        frame.column += 1
        if frame.column == len(line):
            frame.row += 1
            frame.column = 0
        return token

    def _rest_of_line(self) -> Sequence[Token]:
        frame = self._frames[-1]
        if frame.column == 0:
            return ()
        rest = frame.lines[frame.row][frame.column :]
        frame.row += 1
        frame.column = 0
        return rest

    def _replace(self, text: str, opening: str, closing: str, token: Token) -> str:
        """All references of one form replaced; one without a name or an end stops it."""
        limit = len(text) + MAX_SUBSTITUTED
        for _ in range(MAX_SUBSTITUTIONS):
            start = text.find(opening)
            end = text.find(closing, start) if start >= 0 else -1
            if end <= start + len(opening):
                return text
            name = text[start + len(opening) : end]
            text = text.replace(f"{opening}{name}{closing}", self._variable(name, token))
            if len(text) > limit:
                break
        raise CorefileError(
            f"the environment variables in {token.shown} refer to each other without an end:"
            " set them to plain text",
            token.position,
        )

    def _variable(self, name: str, token: Token) -> str:
        value = self._environ.get(name)
        if value is None:
            self.notice(
                f"environment variable {shown(name)} is not set and reads as nothing",
                token.position,
            )
            return ""
        try:
            value.encode()
        except UnicodeEncodeError:
            raise CorefileError(
                f"environment variable {shown(name)} is not UTF-8: set it to plain text",
                token.position,
            ) from None
        return value


def _components(path: str) -> tuple[str, ...]:
    """Go's order of a glob's files: folder by folder, `a/z` before `a-b/a`."""
    return Path(path).parts


def reason(error: OSError | ValueError) -> str:
    """Why a file could not be read; a ValueError is of its name."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
