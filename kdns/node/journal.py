"""What the supervisor has to say: log lines as the server writes them, and counted setup errors."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Final

from kdns.node.settings import SETUP_ERRORS

_STDOUT: Final = 1
_AT_ONCE: Final = 4096  # what a pipe takes whole when it says that it can be written (pipe(7))


def to_stdout(line: str) -> None:
    """Write a line, or drop it where nobody reads: whoever waits for a log holds no rules.

    Raises OSError.
    """
    ready = select.poll()
    ready.register(_STDOUT, select.POLLOUT)
    if ready.poll(0):
        os.write(_STDOUT, line.encode()[:_AT_ONCE])


class Journal:
    """One event a line, `[LEVEL] text`; `setup_errors` counts the errors by their type."""

    def __init__(self, write: Callable[[str], None] = to_stdout) -> None:
        self.setup_errors: dict[str, int] = dict.fromkeys(SETUP_ERRORS, 0)
        self._write = write

    def say(self, text: str) -> None:
        self._line("INFO", text)

    def warn(self, text: str) -> None:
        self._line("WARNING", text)

    def error(self, kind: str, text: str) -> None:
        """Say what went wrong with the setup, and count it as `kind`, one of SETUP_ERRORS."""
        self.setup_errors[kind] += 1
        self._line("ERROR", text)

    def _line(self, level: str, text: str) -> None:
        one_line = "".join(c if c.isprintable() else f"\\{ord(c):03d}" for c in text)
        try:
            self._write(f"[{level}] {one_line}\n")
        except OSError:
            return  # a reader that went away takes nobody's DNS with it
