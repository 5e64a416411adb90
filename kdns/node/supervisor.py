"""The process that holds a node's rules and interface for as long as its child answers.

It is another process than the one that serves, so that a server that hangs is noticed by somebody
who does not. Whatever ends the supervisor, the kernel ends its child, its tun device and its
nftables table with it.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Sequence
from typing import Final

from kdns.node.child import Child
from kdns.node.interface import Interface
from kdns.node.journal import Journal
from kdns.node.listening import listens
from kdns.node.loop import Loop, Timer
from kdns.node.marks import Marks
from kdns.node.packetfilter import PacketFilter
from kdns.node.pulse import INTERVAL, Pulse
from kdns.node.settings import Settings

_HANGS_AFTER: Final = 3.0
"""Seconds of silence after which a child that has answered before is killed."""
_MEND_EVERY: Final = 5.0
"""Seconds between looks at interface and rules while something is not as it should be."""
_STEADY: Final = 10.0
"""Seconds that a child must have lived to be started again at once."""
_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 30.0

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_PASSED_ON: Final = (signal.SIGUSR1, signal.SIGHUP)
_CAUGHT: Final = (*_ENDING, *_PASSED_ON, signal.SIGUSR2, signal.SIGCHLD)


class Supervisor:
    """Makes the interface, runs `command`, and sends the node's queries to it while it answers.

    `command` is argv of the serving process, an absolute path first; it inherits environment,
    working directory and standard streams. Others may put descriptors and timers on `loop`:
    what they do there must not block, since the rules wait meanwhile.
    """

    def __init__(self, settings: Settings, command: Sequence[str], journal: Journal) -> None:
        self.loop = Loop(lambda error: journal.warn(f"node-local: {error!r}"))
        self._settings = settings
        self._journal = journal
        self._child = Child(command)
        marks = Marks(settings.interface)
        self._interface = Interface(settings, marks, journal)
        self._filter = PacketFilter(settings, marks, journal)
        self._pulses = [
            Pulse(self.loop, address, settings.port, self._is_there, self._turned)
            for address in settings.addresses
        ]
        self._served: frozenset[str] = frozenset()
        self._settling: Timer | None = None
        self._reload_owed = False
        self._started_at = 0.0
        self._delay = 0.0
        self._ending = False
        self._ended = False

    def run(self) -> int:
        """Hold on until SIGTERM or SIGINT, then take everything back; the exit code."""
        woken, wake = socket.socketpair()
        for end in (woken, wake):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        for number in _CAUGHT:
            signal.signal(number, lambda *_: None)
        self.loop.watch(woken.fileno(), lambda: self._signalled(woken.recv(256)))
        try:
            self._interface.ensure()
            self._filter.open()
            self._start()
            self.loop.every(INTERVAL, self._beat)
            self.loop.every(self._settings.sync_interval, self._sync)
            self.loop.every(_MEND_EVERY, self._mend)
            self.loop.run(lambda: self._ended)
        finally:
            self._filter.close()
            self._child.kill()
            self._interface.release()
            signal.set_wakeup_fd(-1)
            self.loop.close()
            woken.close()
            wake.close()
        return 0

    def reload(self) -> None:
        """Tell the serving process that its Corefile is another one now (SIGUSR1)."""
        # One that still starts may have read the Corefile, and does not listen to signals yet.
        self._reload_owed = not any(each.alive for each in self._pulses)
        self._child.signal(signal.SIGUSR1)

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            if number in _ENDING:
                self._end()
            elif number == signal.SIGUSR1:
                self.reload()
            elif number in _PASSED_ON:
                self._child.signal(number)
        if signal.SIGCHLD in numbers and (how := self._child.reap()):
            self._lost(how)

    def _start(self) -> None:
        self._started_at = self.loop.clock()
        try:
            self._child.start()
        except OSError as error:
            self._lost(error.strerror or repr(error))

    def _lost(self, how: str) -> None:
        """The serving process is no more: others answer, at once."""
        if self._ending:
            self._ended = True
            return
        self._leave()
        if self.loop.clock() - self._started_at >= _STEADY:
            self._delay = 0.0
        else:
            self._delay = min(_LONGEST_DELAY, max(_FIRST_DELAY, 2 * self._delay))
        self._journal.warn(
            f"the serving process ended ({how}): queries go to the cluster's DNS Service; "
            f"it is started again in {self._delay:g} s"
        )
        self.loop.after(self._delay, self._start_again)

    def _start_again(self) -> None:
        if not self._ending:
            self._start()

    def _end(self) -> None:
        """Rules first, so that new queries go elsewhere; then the server may drain."""
        if self._ending:
            return
        self._ending = True
        self._filter.close()
        for pulse in self._pulses:
            pulse.forget()
        if self._child.process is None:
            self._ended = True
            return
        self._child.signal(signal.SIGTERM)
        self._child.signal(signal.SIGCONT)
        self.loop.after(self._settings.drain, self._child.kill)

    def _beat(self) -> None:
        if self._ending or self._child.process is None:
            return
        for pulse in self._pulses:
            pulse.beat()
        # One address that is lost says nothing of the server, which may serve on the others.
        silent = [self._silence(each) for each in self._pulses if each.proved]
        if silent and min(silent) > _HANGS_AFTER:
            self._journal.warn(f"no answer for {_HANGS_AFTER:g} s: the serving process is killed")
            self._leave()
            self._child.kill()

    def _silence(self, pulse: Pulse) -> float:
        return 0.0 if pulse.silent_since is None else self.loop.clock() - pulse.silent_since

    def _leave(self) -> None:
        """Send nothing here until another child has answered."""
        for pulse in self._pulses:
            pulse.forget()
        self._settle()

    def _is_there(self, address: str) -> bool:
        process = self._child.process
        return process is not None and listens(process, address, self._settings.port)

    def _turned(self) -> None:
        # Addresses turn together, and are one change to the rules.
        if self._settling is None:
            self._settling = self.loop.after(0, self._settle)

    def _settle(self) -> None:
        self._settling = None
        alive = frozenset(each.address for each in self._pulses if each.alive)
        gone, come = sorted(self._served - alive), sorted(alive - self._served)
        if not (gone or come):
            return
        self._served = alive
        self._filter.serve(alive)
        if come:
            self._journal.say(f"the node answers on {' '.join(come)}")
        if gone:
            self._journal.warn(f"the node does not answer on {' '.join(gone)}")
            self._interface.ensure()
        if self._reload_owed and come:
            self._reload_owed = False
            self._child.signal(signal.SIGUSR1)

    def _sync(self) -> None:
        if not self._ending:
            self._interface.ensure()
            self._filter.mend()

    def _mend(self) -> None:
        waiting = self._child.process is not None and not all(p.alive for p in self._pulses)
        if waiting or self._filter.owing:
            self._sync()
