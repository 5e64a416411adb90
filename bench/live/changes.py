"""Changes to a cluster one after the other, and from when on each of them is answered."""

from __future__ import annotations

import time
from collections import Counter, deque
from multiprocessing.sharedctypes import RawArray
from typing import TYPE_CHECKING

from bench.change import moved
from bench.live.replies import Said, address_query, asked, read
from bench.live.steady import receive, stamped_socket
from bench.live.urgency import WRITER, urgent
from bench.live.writing import Writer
from bench.query import A

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.dataset import Service

LOST_AFTER = 1_000_000_000  # nanoseconds after which a name is asked for again
PROPAGATION = 250_000_000
"""Nanoseconds from a change being done until a query is sent that must not be answered with what
was before. An order of magnitude more than the API server takes at its worst to tell of it."""
AGAIN_AFTER = 5_000_000  # nanoseconds from an answer to a change until it is asked for once more
_HEAD_START = 0.5  # seconds in which what was put in order is heard of

GARBLED = "garbled"
NEVER = "what never was"
BACK = "older than what was answered before"
OUTDATED = f"what had been no more for {PROPAGATION / 1e6:g} ms when it was asked for"
AHEAD = "what had not been written yet"


class Times:
    """When each change was begun and done, in nanoseconds since the epoch; 0 while it is not.

    Changes are numbered from 1. Shared with the process that makes them.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.begun = RawArray("q", count + 1)
        self.done = RawArray("q", count + 1)

    def all_done(self) -> bool:
        return bool(self.done[self.count])


def make(kubeconfig: Path, services: Sequence[Service], times: Times, apart: float) -> None:
    """Change the services in turn, one every `apart` seconds. Raises Refused."""
    with Writer(kubeconfig) as api:
        for service in services:
            api.put(service.slice_manifest())
        start = time.monotonic() + _HEAD_START
        with urgent(WRITER):
            for number in range(1, times.count + 1):
                manifest = moved(services[number % len(services)], number).slice_manifest()
                time.sleep(max(0.0, start + number * apart - time.monotonic()))
                times.begun[number] = time.time_ns()
                api.put(manifest)
                times.done[number] = time.time_ns()


def put_back(kubeconfig: Path, services: Sequence[Service]) -> None:
    """Undo all changes. Raises Refused."""
    with Writer(kubeconfig) as api:
        for service in services:
            api.put(service.slice_manifest())


class Witness:
    """Judges answers for services that change as `make` changes them.

    An answer is right that shows one state of its service, whole, which was being written when it
    came, is no older than the one answered before, and was not over PROPAGATION before it was asked
    for; wrong ones are counted in `wrong`. `seen` has when the first answer came that showed each
    change, or a later one of the same service.
    """

    def __init__(self, services: Sequence[Service], times: Times) -> None:
        self.seen = [0] * (times.count + 1)
        self.wrong: Counter[str] = Counter()
        self.judged = 0
        self._times = times
        self._every = len(services)
        self._begun = 0
        self._again: deque[tuple[int, int]] = deque()
        self._latest = [0] * self._every
        self._states = [
            {
                _right(moved(service, number) if number else service): number
                for number in (0, *range(index or self._every, times.count + 1, self._every))
            }
            for index, service in enumerate(services)
        ]

    def pending(self) -> list[int]:
        """The services that have a change begun and not seen, as indexes."""
        begun = self._times.begun
        while self._begun < self._times.count and begun[self._begun + 1]:
            self._begun += 1
        last = range(self._begun, max(0, self._begun - self._every), -1)
        return [number % self._every for number in last if not self.seen[number]]

    def due_again(self, now: int) -> int | None:
        """A service to be asked for once more, to see that its change is not taken back."""
        if not self._again or self._again[0][0] > now:
            return None
        return self._again.popleft()[1]

    def judge(self, service: int, sent: int, at: int, said: Said | None) -> None:
        """An answer for a service, when it was asked for and when it came.

        None where it cannot be read.
        """
        self.judged += 1
        if said is None:
            self.wrong[GARBLED] += 1
            return
        number = self._states[service].get(said)
        if number is None:
            self.wrong[NEVER] += 1
        elif number < self._latest[service]:
            self.wrong[BACK] += 1
        elif number and not 0 < self._times.begun[number] <= at:
            self.wrong[AHEAD] += 1
        elif self._was_over(service, number, sent - PROPAGATION):
            self.wrong[OUTDATED] += 1
        else:
            if number != self._latest[service]:
                self._again.append((at + AGAIN_AFTER, service))
            self._latest[service] = number
            while number > 0 and not self.seen[number]:
                self.seen[number] = at
                number -= self._every

    def _was_over(self, service: int, number: int, at: int) -> bool:
        """Whether the change that came after one of a service was done at a time."""
        after = number + self._every if number else service or self._every
        return after <= self._times.count and 0 < self._times.done[after] < at

    def delays(self) -> list[float]:
        """Milliseconds from each change being done until it was seen; negative where before."""
        both = zip(self.seen, self._times.done, strict=True)
        return [(seen - done) / 1e6 for seen, done in both if seen and done]


def _right(service: Service) -> Said:
    return asked(service.dns_name, A, service.endpoints).right


class Prober:
    """Asks for what is pending with each turn, one query outstanding."""

    def __init__(self, port: int, services: Sequence[Service], witness: Witness) -> None:
        self._socket = stamped_socket(port)
        self._queries = [address_query(service.dns_name)[2:] for service in services]
        self._witness = witness
        self._id = 0
        self._service = 0
        self._sent_at = 0
        self._turns = 0
        self.lost = 0

    def close(self) -> None:
        self._socket.close()

    def turn(self) -> bool:
        """Take in the reply and ask again; whether a reply is due."""
        if self._sent_at:
            came = receive(self._socket)
            if came and int.from_bytes(came[0][:2]) == self._id:
                self._judge(*came)
                self._sent_at = 0
            elif time.time_ns() - self._sent_at > LOST_AFTER:
                self._sent_at = 0
                self.lost += 1
            else:
                return True
        pending = self._witness.pending()
        if pending:
            self._turns += 1
            self._ask(pending[self._turns % len(pending)])
        elif (again := self._witness.due_again(time.time_ns())) is not None:
            self._ask(again)
        return bool(pending)

    def _ask(self, service: int) -> None:
        self._id = (self._id + 1) % (1 << 16)
        self._service = service
        self._sent_at = time.time_ns()
        self._socket.send(self._id.to_bytes(2) + self._queries[service])

    def _judge(self, reply: bytes, at: int) -> None:
        said: Said | None
        try:
            said = read(reply)
        except ValueError:
            said = None
        self._witness.judge(self._service, self._sent_at, at, said)
