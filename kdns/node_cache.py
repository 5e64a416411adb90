"""`kdns node-cache`: NodeLocal DNSCache's command line, put to work.

This process is the supervisor, and what it imports it keeps: of the house `kdns.node` alone.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

from kdns.node.configuration import POLL, Configuration
from kdns.node.flags import Asked, BadFlags, Flags, read, usage
from kdns.node.journal import Journal, to_stdout
from kdns.node.page import ErrorPage
from kdns.node.supervisor import Supervisor

_PROGRAM: Final = "kdns node-cache"


def main(words: Sequence[str]) -> int:
    """Hold a node's DNS until SIGTERM; the exit code."""
    try:
        flags = read(words)
    except Asked as asked:
        if asked.what == "help":
            print(usage(_PROGRAM))
            return 0
        from kdns.cli import main as command  # noqa: PLC0415 - dear, and not for the supervisor

        return command([f"-{asked.what}"])
    except BadFlags as wrong:
        print(f"{_PROGRAM}: {wrong}", file=sys.stderr)
        return 2
    return _run(flags, Journal(_loud) if flags.quiet else Journal())


def _run(flags: Flags, journal: Journal) -> int:
    # The first process of a container gets no signal that it does not ask for.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    for notice in flags.idle:
        journal.warn(notice)
    supervisor = Supervisor(flags.settings, _serving(flags), journal)
    loop = supervisor.loop
    configuration = Configuration(flags, os.environ, journal)
    try:
        ErrorPage(flags.metrics, journal.setup_errors, loop)
    except OSError as error:
        journal.warn(
            f"cannot tell of setup errors on {flags.metrics.host}:{flags.metrics.port}:"
            f" {error.strerror}: choose another place with -metrics-listen-address"
        )

    def look() -> None:
        if configuration.refresh():
            supervisor.reload()

    configuration.refresh()
    loop.every(POLL, look)
    if not configuration.served():
        if configuration.lacks_service:
            return 1  # the next start may be told of it
        journal.warn(f"there is no {flags.corefile} to serve: others answer until there is one")
    loop.run(configuration.served)
    return supervisor.run()


def _serving(flags: Flags) -> list[str]:
    """The command line of the serving process, as `kdns.node_serving` has it."""
    words = [flags.corefile, str(flags.settings.port), flags.pidfile]
    return [sys.executable, "-m", "kdns.node_serving", *words, *(["quiet"] if flags.quiet else [])]


def _loud(line: str) -> None:
    """What is said in spite of -quiet."""
    if not line.startswith("[INFO]"):
        to_stdout(line)
