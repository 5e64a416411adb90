"""Rules in the tables of iptables, with the words and comments of node-cache."""

from __future__ import annotations

import errno
import os
import select
import signal
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from kdns.node.rules import MARK, Locked, Rule

_PATH: Final = ("/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin")
_LOCK_WAIT: Final = 5
"""Seconds that a program waits for the xtables lock."""
_PATIENCE: Final = 10.0
"""Seconds until a program that does not end is killed."""
_ABSENT: Final = 1
_LOCKED: Final = "holding the xtables lock"
_MOST_COPIES: Final = 100
_SAID: Final = 4096

Run = Callable[[Sequence[str]], tuple[int, str]]
"""Runs a program to its end: exit code, what it said on stderr."""


class Iptables:
    """The rules of this instance, one by one: added where they lack, removed where they are.

    What fails raises OSError, Locked where it was the lock; the other rules are seen to first.
    Rules outlive the process, and are those of every instance that serves on the addresses.
    """

    shared = True

    def __init__(self, left: Sequence[Rule] = (), run: Run | None = None) -> None:
        """`left` is what an instance before may have left: the first `hold` removes it."""
        self._run = run or run_program
        self._rules: tuple[Rule, ...] = ()
        self._unwanted = tuple(left)

    def try_out(self, rules: Sequence[Rule]) -> None:
        """Whether rules such as the first can be had."""
        there = self._there(rules[0])
        self._add(rules[0])
        if not there:
            self._delete(rules[0])

    def hold(self, rules: Sequence[Rule]) -> None:
        """Have these rules, and none that was held before."""
        before = dict.fromkeys((*self._unwanted, *self._rules))
        self._unwanted = tuple(each for each in before if each not in rules)
        self._rules = tuple(rules)
        self.mend()

    def mend(self) -> None:
        """Add the rules that lack, and remove what could not be removed before."""
        try:
            self._withdraw()
        finally:
            # What is added last comes first in its chain.
            _each(self._add, self._rules)

    def remove(self) -> None:
        """Take all rules back."""
        self.hold(())

    def close(self) -> None:
        """Nothing is held open."""

    def _there(self, rule: Rule) -> bool:
        return self._call(rule, "-C", _ABSENT) == 0

    def _add(self, rule: Rule) -> None:
        if not self._there(rule):
            self._call(rule, "-I")

    def _withdraw(self) -> None:
        # Each program takes milliseconds: first what sends the queries of pods to this node.
        ordered = sorted(
            self._unwanted, key=lambda each: (each.table != "raw", each.chain != "PREROUTING")
        )
        _each(self._delete, ordered)
        _each(self._delete_copies, ordered)
        self._unwanted = ()

    def _delete(self, rule: Rule) -> bool:
        """Whether the rule was there."""
        return self._call(rule, "-D", _ABSENT) == 0

    def _delete_copies(self, rule: Rule) -> None:
        for _ in range(_MOST_COPIES):
            if not self._delete(rule):
                return

    def _call(self, rule: Rule, command: str, also: int = 0) -> int:
        program = "ip6tables" if ":" in rule.source + rule.destination else "iptables"
        words = [program, "-w", str(_LOCK_WAIT), "-t", rule.table, command, rule.chain]
        code, said = self._run([*words, *arguments(rule)])
        if code in (0, also):
            return code
        complaint = f"{program}: {said or f'exit code {code}'}"
        if _LOCKED in said:  # the exit code is that of other troubles too
            raise Locked(errno.EAGAIN, complaint)
        raise OSError(errno.EIO, complaint)


def arguments(rule: Rule) -> list[str]:
    """The rule in the words of iptables."""
    words = ["-p", rule.protocol]
    for flag, address in (("-s", rule.source), ("-d", rule.destination)):
        words += [flag, address] if address else []
    for flag, port in (("--sport", rule.source_port), ("--dport", rule.destination_port)):
        words += [flag, str(port)] if port else []
    words += ["-m", "socket", "--nowildcard"] if rule.listening else []
    words += ["-m", "mark", "--mark", hex(MARK)] if rule.probing else []
    words += ["-j", "NOTRACK" if rule.table == "raw" else "ACCEPT"]
    return [*words, "-m", "comment", "--comment", rule.comment]


def run_program(words: Sequence[str]) -> tuple[int, str]:
    """Exit code of a program and what it said on stderr; killed after a while. Raises OSError."""
    program = _found(words[0])
    heard, said = os.pipe()
    try:
        actions = [(os.POSIX_SPAWN_DUP2, said, 2), (os.POSIX_SPAWN_DUP2, said, 1)]
        process = os.posix_spawn(program, list(words), os.environ, file_actions=actions)
    finally:
        os.close(said)
    try:
        text = _heard(heard, process)
    finally:
        os.close(heard)
        status = os.waitpid(process, 0)[1]
    return os.waitstatus_to_exitcode(status), " ".join(text.decode(errors="replace").split())


def _found(name: str) -> str:
    # `shutil.which` brings the compression libraries along.
    for folder in (*os.environ.get("PATH", "").split(":"), *_PATH):
        program = f"{folder}/{name}"
        if folder and os.access(program, os.X_OK):
            return program
    raise OSError(errno.ENOENT, f"{name} is not installed")


def _heard(pipe: int, process: int) -> bytes:
    """What comes from a pipe until its end, or until patience does, and the process with it."""
    text = b""
    ready = select.poll()
    ready.register(pipe, select.POLLIN)
    while ready.poll(_PATIENCE * 1000):
        part = os.read(pipe, _SAID)
        if not part:
            return text
        text = (text + part)[:_SAID]
    os.kill(process, signal.SIGKILL)
    return text + b" (killed: it did not end)"


def _each(act: Callable[[Rule], object], rules: Iterable[Rule]) -> None:
    """Do all there is to do, then raise what went wrong first; a lock is not waited for twice."""
    wrong: OSError | None = None
    for rule in rules:
        try:
            act(rule)
        except Locked:
            raise
        except OSError as error:
            wrong = wrong or error
    if wrong:
        raise wrong
