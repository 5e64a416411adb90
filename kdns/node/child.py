"""The serving process: started, told, ended, and never left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_NO_PROGRAM: Final = 127


class Child:
    """A program in a process group of its own, which the kernel kills when this process ends.

    (A program with file capabilities loses that promise: prctl(2). In a container the promise
    holds anyway where this process is the first.)
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self.process: int | None = None

    def start(self) -> None:
        """Run the program. Raises OSError where there can be no process."""
        parent = os.getpid()
        process = os.fork()
        if process == 0:
            self._become(parent)
        self.process = process

    def signal(self, number: int) -> None:
        """Send a signal to the program alone, if it runs."""
        if self.process is not None:
            os.kill(self.process, number)

    def kill(self) -> None:
        """End the program and what it started, now."""
        if self.process is not None:
            _kill_group(self.process)

    def reap(self) -> str | None:
        """How the program ended, if it has; what else has ended is buried on the way."""
        said = None
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return said
            if process == 0:
                return said
            if process == self.process:
                self.process = None
                # Workers that are left would answer with nobody to tell them anything.
                _kill_group(process)
                code = os.waitstatus_to_exitcode(status)
                said = f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    def _become(self, parent: int) -> None:
        try:
            import ctypes  # noqa: PLC0415 - for this one call, in a process that is about to change

            os.setpgid(0, 0)
            for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
                # Until the program says what they mean, they would kill it.
                signal.signal(number, signal.SIG_IGN)
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            if os.getppid() == parent:
                os.execv(self._command[0], self._command)  # noqa: S606 - the command is ours
        finally:
            os._exit(_NO_PROGRAM)


def _kill_group(process: int) -> None:
    for kill in (os.killpg, os.kill):
        try:
            kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
