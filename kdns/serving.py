"""A process that serves a Corefile, from its start to the signal that ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from kdns.corefile.parser import Corefile
from kdns.feeds import open_feed
from kdns.process import loop_factory, prepare
from kdns.server import Role, Server, StartError

_log: Final = logging.getLogger("kdns")


def serve(
    read: Callable[[], Corefile],
    default: Corefile | None,
    pidfile: str | None,
    role: Role = Role(),  # noqa: B008 - it cannot change
) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. Arguments are as `Server` has them."""
    prepare()
    try:
        # uvloop takes 2.5 MB, and a tenth of the work of TCP off.
        factory = None if role.small else loop_factory()
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_until_stopped(read, default, pidfile, role))
    except StartError as error:
        _log.error("%s", error)
        return 1
    return 0


async def _until_stopped(
    read: Callable[[], Corefile], default: Corefile | None, pidfile: str | None, role: Role
) -> None:
    server = Server(read, Path(), open_feed, default, role)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    loop.add_signal_handler(signal.SIGUSR1, server.request_reload)
    # CoreDNS lives on too: a terminal that closes sends the one, and habit the other.
    for number in (signal.SIGHUP, signal.SIGUSR2):
        loop.add_signal_handler(number, lambda: None)
    try:
        await server.start()
        with _pidfile(Path(pidfile)) if pidfile else contextlib.nullcontext():
            await server.run()
    except BaseException:
        # uvloop waits without end for what is still open.
        await server.close()
        raise


@contextlib.contextmanager
def _pidfile(path: Path) -> Iterator[None]:
    """A file with the process ID for as long as the context lasts. Raises StartError."""
    try:
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise StartError(
            f"cannot write the pidfile {path}: {error.strerror}: choose another place"
        ) from error
    try:
        yield
    finally:
        # It may be gone by now, or its folder not ours to change.
        with contextlib.suppress(OSError):
            path.unlink()
