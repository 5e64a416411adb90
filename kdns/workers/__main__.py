"""A worker process: `python -m kdns.workers DESCRIPTOR`, which its parent starts."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys

from kdns.process import loop_factory, prepare
from kdns.telemetry import logs
from kdns.workers.channel import Channel, ChannelClosed
from kdns.workers.worker import Worker


async def _work(descriptor: int) -> None:
    channel = await Channel.over(socket.socket(fileno=descriptor))
    try:
        await Worker(channel, asyncio.get_running_loop()).run()
    except ChannelClosed:
        pass
    finally:
        await channel.close()


def main() -> None:
    """Run until the parent says stop, or is gone."""
    # A terminal or a service manager tells every process; the parent alone knows what is to follow.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    logs.configure()
    prepare()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_work(int(sys.argv[1])))


if __name__ == "__main__":
    main()
