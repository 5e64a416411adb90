"""A server as a child process: pinned to cores, accounted with all its children, and stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_SCHEDULED = 2  # CPUCLOCK_SCHED of clock_getcpuclockid(3): all the time a process has run
_POLL = 0.005  # seconds
_PATIENCE = 0.5  # seconds
_SOA_OF_THE_CLUSTER = bytes.fromhex("2a2a00000001000000000000") + b"\7cluster\5local\0\0\6\0\1"


class NotStarted(RuntimeError):
    """A server ended or stayed silent instead of becoming ready; the message has its last lines."""


def free_ports(count: int) -> list[int]:
    """Ports that are free on loopback for UDP and TCP alike, all different."""
    taken: list[socket.socket] = []
    ports: list[int] = []
    while len(ports) < count:
        stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        taken += stream, datagram
        stream.bind(("127.0.0.1", 0))
        try:
            datagram.bind(stream.getsockname())
        except OSError:
            continue  # free for TCP alone
        ports.append(stream.getsockname()[1])
    for used in taken:
        used.close()
    return ports


def answers(port: int) -> bool:
    """Whether a DNS server answers anything at all on 127.0.0.1, UDP and TCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(_PATIENCE)
        try:
            udp.connect(("127.0.0.1", port))
            udp.send(_SOA_OF_THE_CLUSTER)
            udp.recv(512)
            socket.create_connection(("127.0.0.1", port), _PATIENCE).close()
        except OSError:
            return False
    return True


def core_seconds(core: int) -> float:
    """Time a core has been busy since boot, whoever used it, in ticks of 10 ms; steal included."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _iowait, *interrupts = map(int, line.split()[1:9])
            return (user + nice + system + sum(interrupts)) * _TICK
    raise ValueError(f"there is no core {core}")


@contextmanager
def running_on(cores: Iterable[int] | None) -> Iterator[None]:
    """Pins this thread to `cores` for the while; a child started meanwhile stays on them."""
    before = os.sched_getaffinity(0)
    if cores is not None:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class ServerProcess:
    """A child process that serves, with its output in the file `log`."""

    def __init__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        log: Path,
        *,
        cores: Iterable[int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.argv = [os.fspath(word) for word in argv]
        self.log = log
        with log.open("wb") as output, running_on(cores):
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self.pid = self._child.pid
        _keep_priority(self.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Returns once `ready()` holds. Raises NotStarted at its end, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while not ready():
            ended = self._child.poll()
            if ended is None and time.monotonic() < deadline:
                time.sleep(_POLL)
                continue
            how = f"not ready after {seconds:g} s" if ended is None else f"exit status {ended}"
            raise NotStarted(f"{' '.join(self.argv)}: {how}\n{self.last_lines()}")

    def last_lines(self, count: int = 15) -> str:
        """The end of what the process has written."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def pids(self) -> list[int]:
        """The process and all that descend from it."""
        found = [self.pid]
        for pid in found:  # grows while it is walked
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, _read(children).split())
        return found

    def cpu_seconds(self) -> float:
        """User and system time of the whole tree so far, children that have ended included.

        To the nanosecond for what lives, to a tick (10 ms) for what has ended.
        """
        total = 0.0
        for pid in self.pids():
            try:
                total += time.clock_gettime((~pid << 3) | _SCHEDULED)
            except OSError:
                continue  # ended since it was listed
            fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
            total += sum(map(int, fields[13:15])) * _TICK  # cutime and cstime
        return total

    def resident_bytes(self) -> int:
        """Memory the tree holds now; pages shared between its processes count once."""
        pids = self.pids()
        unit = "Pss" if len(pids) > 1 else "Rss"
        return sum(_kilobytes(pid, "smaps_rollup", unit) for pid in pids) * 1024

    def peak_bytes(self) -> int:
        """The most that the process itself has ever held."""
        return _kilobytes(self.pid, "status", "VmHWM") * 1024

    def stop(self, with_signal: int = signal.SIGKILL, seconds: float = 15.0) -> int:
        """Ends the whole tree and returns the exit status; a server that stays is killed."""
        if self._child.poll() is None:
            for pid in reversed(self.pids()):
                _kill(pid, with_signal)
            try:
                self._child.wait(seconds)
            except subprocess.TimeoutExpired:
                self._child.kill()
        return self._child.wait()


def _keep_priority(pid: int) -> None:
    """Give a new session the priority that ours has among sessions (autogroups of sched(7))."""
    ours = _read(Path("/proc/self/autogroup")).rpartition(" ")[2].strip()
    if ours not in {"", "0"}:
        with suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(ours)


def _kill(pid: int, with_signal: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, with_signal)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _kilobytes(pid: int, file: str, name: str) -> int:
    for line in _read(Path(f"/proc/{pid}/{file}")).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0
