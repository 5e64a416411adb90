"""Lines and counts of the supervisor."""

from __future__ import annotations

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


def test_reader_that_went_away():
    def write(_):
        raise BrokenPipeError

    journal = Journal(write)
    journal.error("configmap", "heard by nobody")
    assert journal.setup_errors["configmap"] == 1
