"""Log lines as CoreDNS writes them: `[INFO] plugin/reload: …`, one event a line, on stdout."""

from __future__ import annotations

import logging
import sys
from typing import Final

_LEVELS: Final = {
    logging.DEBUG: "DEBUG",
    logging.INFO: "INFO",
    logging.WARNING: "WARNING",
    logging.ERROR: "ERROR",
    logging.CRITICAL: "FATAL",
}

CONTROL: Final = {code: f"\\{code:03d}" for code in (*range(32), 127)}
"""Translation of control characters, so that no name or address can forge a line."""


class LineFormatter(logging.Formatter):
    """`[LEVEL] origin: message`; the origin is left out for the program's own lines.

    A message stays on one line; a traceback follows on lines of its own.
    """

    def format(self, record: logging.LogRecord) -> str:
        level = _LEVELS.get(record.levelno, record.levelname)
        origin = f"{record.name}: " if record.name.startswith("plugin/") else ""
        line = f"[{level}] {origin}{record.getMessage().translate(CONTROL)}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure() -> None:
    """Send log lines of INFO and above to stdout."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
