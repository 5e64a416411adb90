"""`kdns autoscaler`: puts the room together and runs it until it is told to end."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from kdns import __version__
from kdns.autoscaler.api import ApiError, KubernetesApi, access
from kdns.autoscaler.nodes import NodeWatch
from kdns.autoscaler.options import parse_flags
from kdns.autoscaler.pages import Pages, served
from kdns.autoscaler.scaler import Scaler
from kdns.telemetry import logs

_log: Final = logging.getLogger(__name__)

PORT: Final = 8080


def main(
    words: Sequence[str], environment: Mapping[str, str] = os.environ, port: int = PORT
) -> int:
    """Run a command line, without the word `autoscaler`; the exit code.

    1 where it cannot start, or ends because of --max-sync-failures. For the main thread.
    """
    options = parse_flags(words, environment)
    if options.version:
        print(__version__)
        return 0
    logs.configure()
    if options.verbose:
        logging.getLogger("kdns.autoscaler").setLevel(logging.DEBUG)
    try:
        api = KubernetesApi(access(options.kubeconfig, environment), options.namespace)
    except ApiError as error:
        _log.error("%s", error)
        return 1
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    nodes = NodeWatch(api, options.selector, time.monotonic, ended.wait)
    scaler = Scaler(api, nodes, options.order, time.monotonic)
    with ExitStack() as open_pages:
        try:
            open_pages.enter_context(served(Pages(scaler, nodes, time.monotonic), port))
        except OSError as error:
            _log.error("cannot listen on port %d: %s", port, error.strerror or error)
            return 1
        targets = ", ".join(map(str, options.order.targets))
        _log.info("kdns %s scales %s in %s", __version__, targets, options.namespace)
        # The first poll is to know the nodes.
        nodes.step()
        # A watch may block for a minute, and has nothing to tidy up.
        threading.Thread(target=nodes.run, name="nodes", daemon=True).start()
        return 0 if scaler.run(ended.wait) else 1
