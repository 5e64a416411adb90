"""Corefile text to lines of tokens, each token with the place it was written.

Words are split as CoreDNS splits them, whose lexer is Caddy 1's:

- Unicode white space separates words; a carriage return is dropped wherever it stands.
- `"` opens a string only where a word would begin; `\\"` in it is a quote, any other backslash is
  itself, and a string may span lines.
- `#` where a word would begin is a comment up to the end of the line. Inside a word it ends the
  word and drops what is glued to it, no more.
- Nothing continues a line: a backslash at its end is a word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

_SPACE: Final = "\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_SEPARATOR: Final = _SPACE.replace("\r", "")
_LEXEME: Final = re.compile(
    rf"""
    (?P<space> [{_SPACE}]++ )
    | (?P<comment> \#[^\n]*+ )
    | "(?P<string> [^"\\]*+ (?: \\. [^"\\]*+ )*+ ) (?P<close> " | \\?\Z )
    | (?P<word> [^{_SEPARATOR}\#]++ ) (?P<cut> \#[^{_SEPARATOR}]*+ )?
    """,
    re.DOTALL | re.VERBOSE,
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MAX_SHOWN: Final = 200  # characters
_BYTE_ORDER_MARK: Final = "\ufeff"


class Position(NamedTuple):
    """A place in a file; line and column count characters from 1, and 0 is the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}"


class CorefileError(Exception):
    """A Corefile that cannot be used; prints as `file:line:column: the fault and its cure`.

    `notices` are what was odd in it up to there.
    """

    notices: Sequence[Notice] = ()

    def __init__(self, message: str, position: Position) -> None:
        super().__init__(message, position)
        self.message = message
        self.position = position

    def __str__(self) -> str:
        return f"{self.position}: {self.message}"


class Notice(NamedTuple):
    """Something CoreDNS accepts that is hardly what was meant; for `kdns check` and the log."""

    message: str
    position: Position

    def __str__(self) -> str:
        return f"{self.position}: {self.message}"


@dataclass(frozen=True, slots=True)
class Token:
    """A word or a string (`quoted`), its quotes and escapes undone.

    Quoting changes no meaning: to CoreDNS `"{"` is a brace too.
    """

    text: str
    position: Position
    quoted: bool = False

    def __str__(self) -> str:
        return self.text

    @property
    def shown(self) -> str:
        """The text for a message, see `shown`."""
        return shown(self.text)


Line = Sequence[Token]


def shown(text: str) -> str:
    """As much of `text` as belongs in a message, in quotes and on one line."""
    return repr(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "...")


def decode(content: bytes, file: str) -> str:
    """The text of a file's bytes. Raises CorefileError at the first byte that is not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode().removeprefix(_BYTE_ORDER_MARK)
        raise CorefileError(
            f"byte 0x{content[error.start]:02x} is not UTF-8: save the file as UTF-8",
            _place(before, len(before), file),
        ) from None


def split(text: str, file: str) -> tuple[list[Line], list[Notice]]:
    """The lines of `text` that have tokens, none of them empty, and what is odd in them.

    A string that spans lines keeps what follows it on the line it began. Raises CorefileError at a
    surrogate, which UTF-8 cannot hold.
    """
    text = text.removeprefix(_BYTE_ORDER_MARK)
    if bad := _SURROGATE.search(text):
        raise CorefileError(
            f"character U+{ord(bad[0]):04X} is not UTF-8: take it out",
            _place(text, bad.start(), file),
        )
    lines: list[Line] = []
    notices: list[Notice] = []
    current: list[Token] = []
    row, row_start = 1, 0
    for lexeme in _LEXEME.finditer(text):
        position = Position(file, row, lexeme.start() - row_start + 1)
        if newlines := lexeme[0].count("\n"):
            row += newlines
            row_start = lexeme.start() + lexeme[0].rindex("\n") + 1
        if lexeme["space"] is not None:
            if newlines and current:
                lines.append(current)
                current = []
        elif lexeme["comment"] is None:
            token = _token(lexeme, position, notices)
            if token is not None:
                current.append(token)
    if current:
        lines.append(current)
    return lines, notices


def _token(lexeme: re.Match[str], position: Position, notices: list[Notice]) -> Token | None:
    """The token of a string or word; None for a quote with nothing behind it, as in Caddy."""
    string = lexeme["string"]
    if string is None:
        if lexeme["cut"] is not None:
            notices.append(
                Notice(
                    f"{lexeme['cut']!r} is left out as a comment: quote the word to keep it",
                    position,
                )
            )
        return Token(lexeme["word"].replace("\r", ""), position)
    if lexeme["close"] != '"':
        notices.append(
            Notice("this string is never closed: put the missing '\"' at its end", position)
        )
        if not string:
            return None
    return Token(string.replace('\\"', '"'), position, quoted=True)


def _place(text: str, at: int, file: str) -> Position:
    return Position(file, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))
