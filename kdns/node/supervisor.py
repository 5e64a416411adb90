"""The process that holds a node's rules and interface for as long as its child answers."""

from __future__ import annotations

from collections.abc import Sequence

from kdns.node.journal import Journal
from kdns.node.loop import Loop
from kdns.node.settings import Settings


class Supervisor:
    """Makes the interface, runs `command`, and sends the node's queries to it while it answers.

    `command` is argv of the serving process, an absolute path first; it inherits environment,
    working directory and standard streams. Others may put descriptors and timers on `loop`:
    what they do there must not block, since the rules wait meanwhile.
    """

    def __init__(self, settings: Settings, command: Sequence[str], journal: Journal) -> None:
        self.loop = Loop(lambda error: journal.warn(f"node-local: {error!r}"))
        self._settings = settings
        self._command = tuple(command)
        self._journal = journal

    def run(self) -> int:
        """Hold on until SIGTERM or SIGINT, then take everything back; the exit code."""
        raise NotImplementedError

    def reload(self) -> None:
        """Tell the serving process that its Corefile is another one now (SIGUSR1)."""
        raise NotImplementedError
