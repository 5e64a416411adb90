"""The command line: CoreDNS's flags as they stand, and the subcommands of kdns.

Exit codes: 0 for success, 1 for what was found or could not be done, 2 for a command line that
makes no sense.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from kdns import __version__
from kdns.corefile import parser
from kdns.corefile.parser import Corefile
from kdns.dns.names import BadName, from_text
from kdns.telemetry import logs

_log: Final = logging.getLogger("kdns")

DEFAULT_COREFILE: Final = ".:{port} {{\n  whoami\n  log\n}}\n"
"""What CoreDNS serves where there is no Corefile, or nothing in it."""

_MANIFESTS: Final = """\
.:{port} {{
  bind 127.0.0.1
  errors
  any
  loadbalance
  kubernetes {zone} in-addr.arpa ip6.arpa {{
    manifests {directory}
    pods verified
  }}
}}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, `sys.argv` without its first word by default; the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    command = _COMMANDS.get(words[0]) if words else None
    if command is None:
        return _serve(_server_arguments().parse_args(words))
    return command(words[1:])


def _server_arguments() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(
        prog="kdns",
        description="A Kubernetes cluster DNS server.",
        epilog=f"Subcommands, each with -h of its own: {', '.join(_COMMANDS)}.",
        allow_abbrev=False,
    )

    def flag(name: str, **settings: object) -> None:
        arguments.add_argument(f"-{name}", f"--{name}", **settings)  # type: ignore[arg-type]

    flag("conf", metavar="FILE", help="Corefile to load (default: Corefile in this folder, if any)")
    flag("dns.port", dest="port", type=_port, default=53, metavar="PORT", help="default port")
    flag("pidfile", metavar="FILE", help="file to write the process ID to")
    flag("quiet", action="store_true", help="say nothing when all is well at the start")
    flag("version", action="store_true", help="show the version")
    flag("plugins", action="store_true", help="list the plugins in the order they are asked")
    flag("manifests", metavar="DIR", help="serve the names of a folder of manifests, on loopback")
    flag("zone", type=_zone, default="cluster.local", help="the cluster's zone, with --manifests")
    arguments.add_argument(
        "--port", type=_port, dest="manifests_port", default=1053, help="port, with --manifests"
    )
    return arguments


def _serve(options: argparse.Namespace) -> int:
    if options.version:
        print(f"kdns-{__version__}")
        print(f"{sys.platform}/{platform.machine()}, python{platform.python_version()}")
        return 0
    if options.plugins:
        from kdns.plugins.order import NAMES  # noqa: PLC0415 - each command imports what it needs

        print("\n".join(f"dns.{name}" for name in NAMES))
        return 0
    logs.configure()
    if options.quiet:
        _log.setLevel(logging.WARNING)
    return _run(*_configuration(options), pidfile=options.pidfile)


def _configuration(options: argparse.Namespace) -> tuple[Callable[[], Corefile], Path]:
    """What reads the Corefile, and the folder that its relative paths begin at."""
    here = Path()
    if options.manifests:
        text = manifests_corefile(options.manifests, options.zone, options.manifests_port)
        return lambda: parser.parse(text, "--manifests", {}), here
    path = options.conf or ("Corefile" if Path("Corefile").is_file() else None)
    text = DEFAULT_COREFILE.format(port=options.port)
    default = parser.parse(text, "default Corefile", {})
    if path is None:
        return lambda: default, here
    content = sys.stdin.buffer.read() if path == "stdin" else b""

    def read() -> Corefile:
        if path == "stdin":
            corefile = parser.parse(content, path, os.environ, options.port)
        else:
            corefile = parser.load(path, os.environ, options.port)
        return corefile if corefile.blocks else default

    return read, here


def manifests_corefile(directory: str, zone: str, port: int) -> str:
    """The Corefile that `--manifests` stands for: a folder's names on loopback addresses."""
    quoted = '"' + directory.replace('"', '\\"') + '"'
    return _MANIFESTS.format(directory=quoted, zone=zone, port=port)


def _run(read: Callable[[], Corefile], folder: Path, pidfile: str | None) -> int:
    from kdns.server import StartError  # noqa: PLC0415 - each command imports what it needs

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_until_stopped(read, folder, pidfile))
    except StartError as error:
        _log.error("%s", error)
        return 1
    return 0


async def _until_stopped(read: Callable[[], Corefile], folder: Path, pidfile: str | None) -> None:
    from kdns.feeds import open_feed  # noqa: PLC0415 - as in `_run`
    from kdns.server import Server  # noqa: PLC0415

    server = Server(read, folder, open_feed)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    loop.add_signal_handler(signal.SIGUSR1, server.request_reload)
    try:
        await server.start()
        if pidfile:
            _write_pidfile(Path(pidfile))
        await server.run()
    except BaseException:
        # uvloop waits without end for what is still open.
        await server.close()
        raise


def _write_pidfile(path: Path) -> None:
    from kdns.server import StartError  # noqa: PLC0415 - as in `_run`

    try:
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise StartError(
            f"cannot write the pidfile {path}: {error.strerror}: choose another place"
        ) from error


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - Linux alone has it
    except ImportError:
        return None
    return uvloop.new_event_loop


def _check(words: Sequence[str]) -> int:
    from kdns.check import findings  # noqa: PLC0415 - each command imports what it needs

    arguments = argparse.ArgumentParser(
        prog="kdns check", description="Validate a Corefile without starting a server."
    )
    arguments.add_argument("corefile", nargs="?", default="Corefile", metavar="COREFILE")
    arguments.add_argument("-dns.port", "--dns.port", dest="port", type=_port, default=53)
    options = arguments.parse_args(words)
    errors, notices = findings(options.corefile, options.port)
    for text in (*errors, *notices):
        print(text, file=sys.stderr)
    if not errors:
        print(f"{options.corefile} is good")
    return 1 if errors else 0


def _records(words: Sequence[str]) -> int:
    from kdns.cluster.manifests import ManifestError  # noqa: PLC0415 - as in `_check`
    from kdns.manifest_records import ZONE_TTL, manifest_records  # noqa: PLC0415
    from kdns.recordtext import FORMS, records  # noqa: PLC0415

    arguments = argparse.ArgumentParser(
        prog="kdns records",
        description="Print every name and record that a folder of manifests would get.",
    )
    arguments.add_argument("manifests", metavar="DIR")
    arguments.add_argument("--zone", type=_zone, default="cluster.local")
    arguments.add_argument("--ttl", type=int, default=ZONE_TTL, metavar="SECONDS")
    arguments.add_argument("--output", choices=tuple(FORMS), default="table")
    options = arguments.parse_args(words)
    try:
        found, errors = manifest_records(Path(options.manifests), options.zone, options.ttl)
    except ManifestError as error:
        print(error, file=sys.stderr)
        return 1
    print(FORMS[options.output](records(found)), end="")
    for wrong in errors:
        print(wrong, file=sys.stderr)
    return 1 if errors else 0


_COMMANDS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "check": _check,
    "records": _records,
}


def _port(text: str) -> int:
    if text.isdecimal() and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 0 to 65535")


def _zone(text: str) -> str:
    try:
        from_text(text)
    except BadName as error:
        raise argparse.ArgumentTypeError(f"{error}: give a domain such as cluster.local") from None
    return text
