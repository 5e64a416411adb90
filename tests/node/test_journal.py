"""Lines and counts of the supervisor."""

from __future__ import annotations

import contextlib
import os

from kdns.node.journal import Journal
from kdns.node.settings import SETUP_ERRORS


def test_lines_and_counts():
    lines = []
    journal = Journal(lines.append)
    journal.say("all is well")
    journal.warn("less so")
    journal.error("iptables", "not at all\nforged")
    assert lines == [
        "[INFO] all is well\n",
        "[WARNING] less so\n",
        "[ERROR] not at all\\010forged\n",
    ]
    assert journal.setup_errors == dict.fromkeys(SETUP_ERRORS, 0) | {"iptables": 1}


def test_nobody_reads(monkeypatch):
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, bytes(4096))
    os.set_blocking(write, True)
    monkeypatch.setattr("kdns.node.journal._STDOUT", write)
    Journal().say("dropped, without waiting for anybody")
    os.read(read, 8192)
    while os.read(read, 65536).count(0) == 65536:
        pass
    Journal().say("heard")
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read().lstrip(b"\0") == b"[INFO] heard\n"


def test_reader_that_went_away():
    def write(_):
        raise BrokenPipeError

    journal = Journal(write)
    journal.error("configmap", "heard by nobody")
    assert journal.setup_errors["configmap"] == 1
