"""Log lines as CoreDNS writes them."""

from __future__ import annotations

import logging

import pytest

from kdns.telemetry.logs import LineFormatter, configure


def record(message: str, *args: object, name="kdns", level=logging.INFO) -> logging.LogRecord:
    return logging.LogRecord(name, level, "file.py", 1, message, args, None)


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (record("listening on %s", "dns://:53"), "[INFO] listening on dns://:53"),
        (record("up", name="plugin/reload"), "[INFO] plugin/reload: up"),
        (record("x", name="plugin/errors", level=logging.ERROR), "[ERROR] plugin/errors: x"),
        (record("x", level=logging.WARNING), "[WARNING] x"),
        (record("x", level=logging.DEBUG), "[DEBUG] x"),
        (record("x", level=logging.CRITICAL), "[FATAL] x"),
        (record("x", name="asyncio", level=logging.ERROR), "[ERROR] x"),
        (record("%s", "a\n[INFO] forged\r"), r"[INFO] a\010[INFO] forged\013"),
        (record("tab\tnul\0del\x7fesc\x1b[31m"), r"[INFO] tab\009nul\000del\127esc\027[31m"),
        (record("Größe"), "[INFO] Größe"),
        (record(r"back\slash"), r"[INFO] back\slash"),
    ],
)
def test_lines(made: logging.LogRecord, line: str) -> None:
    assert LineFormatter().format(made) == line


def test_a_traceback_follows() -> None:
    made = record("failed")
    try:
        raise ValueError("why")
    except ValueError as error:
        made.exc_info = (ValueError, error, error.__traceback__)
    first, *rest = LineFormatter().format(made).splitlines()
    assert first == "[INFO] failed"
    assert rest[0].startswith("Traceback")
    assert rest[-1] == "ValueError: why"


@pytest.fixture
def root():
    """The root logger, put back as it was."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_lines_go_to_stdout(root, capsys) -> None:
    configure()
    logging.getLogger("kdns").debug("not this")
    logging.getLogger("kdns").info("this")
    logging.getLogger("plugin/log").warning("and this")
    assert capsys.readouterr().out == "[INFO] this\n[WARNING] plugin/log: and this\n"
