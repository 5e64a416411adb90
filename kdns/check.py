"""`kdns check`: what is wrong with a Corefile, found without starting a server."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path

from kdns.cluster.source import Source
from kdns.corefile import parser
from kdns.corefile.tokens import CorefileError, Notice
from kdns.dns.query import Query
from kdns.dns.reply import Reply, refusal
from kdns.forwarding.cache import Settings
from kdns.forwarding.exchange import Heard, Pending, Question
from kdns.forwarding.options import Options
from kdns.frontend.interfaces import interfaces
from kdns.plugins.plan import plan
from kdns.plugins.site import Interface
from kdns.records.store import Store
from kdns.stores import new_store
from kdns.telemetry.series import SeriesRegistry


def findings(corefile: str, default_port: int) -> tuple[list[str], list[str]]:
    """Errors and notices about a Corefile, each `file:line:column: what, and what to do`."""
    notices: Sequence[Notice] = ()
    try:
        parsed = parser.load(corefile, os.environ, default_port)
        notices = parsed.notices
        plan(parsed, Path(), Unstarted())
    except CorefileError as error:
        return [str(error)], [str(notice) for notice in notices or error.notices]
    return [], [str(notice) for notice in notices]


class Unstarted:
    """Facilities of a process that serves nothing: every store stays empty."""

    def __init__(self) -> None:
        self.series = SeriesRegistry()
        self.secret = bytes(16)
        self.cache = Settings()

    def store(self, source: Source) -> Store:
        return new_store(source)

    def spawn(self, _: Awaitable[Reply]) -> bool:
        return False

    def forget_answers(self) -> None:
        pass

    def forwarder(self, _: Options) -> _Nobody:
        return _Nobody()

    def age(self, _: Source) -> float:
        return 0.0

    def interfaces(self) -> Sequence[Interface]:
        return interfaces()

    def clock(self) -> float:
        return time.perf_counter()


class _Nobody:
    """The forwarder of a process that serves nothing: no upstream is asked."""

    def ask(self, _: Query) -> Reply:
        return refusal()

    def aside(self, target: str, reason: str) -> None:
        pass

    def back(self, target: str) -> None:
        pass

    def targets(self) -> list[str]:
        return []

    def probe(self, target: str, question: Question, heard: Heard) -> Pending | None: ...
