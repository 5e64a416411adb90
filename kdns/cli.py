"""The command line: CoreDNS's flags as they stand, and the subcommands of kdns.

Exit codes: 0 for success, 1 for what was found or could not be done, 2 for a command line that
makes no sense.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from kdns import __version__
from kdns.corefile import parser
from kdns.corefile.parser import Corefile
from kdns.corefile.zones import DNS_PORT
from kdns.dns.names import BadName, from_text
from kdns.telemetry import logs

_log: Final = logging.getLogger("kdns")

_MAX_TTL: Final = 2**31 - 1  # RFC 2181 §8

DEFAULT_COREFILE: Final = ".:{port} {{\n  whoami\n  log\n}}\n"
"""What CoreDNS serves where there is no Corefile, or nothing in it."""

_ZONE: Final = "cluster.local"
_MANIFESTS_PORT: Final = 1053
_MANIFESTS: Final = """\
.:{port} {{
  bind 127.0.0.1
  errors
  any
  loadbalance
  kubernetes {zone} in-addr.arpa ip6.arpa {{
    manifests {directory}
    pods verified{ranges}
  }}
}}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, `sys.argv` without its first word by default; the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    command = _COMMANDS.get(words[0]) if words else None
    if command is None:
        arguments = _server_arguments()
        options = arguments.parse_args(words)
        if idle := _without_effect(options):
            arguments.error(idle)
        return _serve(options)
    return command(words[1:])


def _server_arguments() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(
        prog="kdns",
        description="A Kubernetes cluster DNS server.",
        epilog=f"Subcommands, each with -h of its own: {', '.join(_COMMANDS)}.",
        allow_abbrev=False,
        add_help=False,
    )
    arguments.add_argument("-h", "-help", "--help", action="help", help="show this and end")

    def flag(name: str, **settings: object) -> None:
        arguments.add_argument(f"-{name}", f"--{name}", **settings)  # type: ignore[arg-type]

    flag("conf", metavar="FILE", help="Corefile to load (default: Corefile in this folder, if any)")
    arguments.add_argument(
        *("-dns.port", "--dns.port", "-p", "--p"),
        dest="port",
        type=_port,
        metavar="PORT",
        help=f"default port (default: {DNS_PORT})",
    )
    flag("pidfile", metavar="FILE", help="file to write the process ID to")
    flag("quiet", action="store_true", help="say nothing when all is well at the start")
    flag("version", action="store_true", help="show the version")
    flag("plugins", action="store_true", help="list the plugins in the order they are asked")
    flag("manifests", metavar="DIR", help="serve the names of a folder of manifests, on loopback")
    _take_service_ranges(arguments)
    flag("zone", type=_zone, help=f"the cluster's zone, with --manifests (default: {_ZONE})")
    arguments.add_argument(
        "--port",
        type=_port,
        dest="manifests_port",
        metavar="PORT",
        help=f"port, with --manifests (default: {_MANIFESTS_PORT})",
    )
    return arguments


def _without_effect(options: argparse.Namespace) -> str | None:
    """What is wrong with flags that do nothing beside the others, if there are any."""
    if options.manifests:
        if options.conf:
            return "-conf has no effect with --manifests: take one of the two out"
        if options.port is not None:
            return "-dns.port has no effect with --manifests: write --port"
        return None
    if options.manifests_port is not None:
        return "--port has no effect without --manifests: write -dns.port"
    if options.zone:
        return "--zone has no effect without --manifests: write the zone into the Corefile"
    if options.service_range:
        return "--service-range has no effect without --manifests: write it into the Corefile"
    return None


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
    from kdns.serving import serve  # noqa: PLC0415 - each command imports what it needs

    return serve(*_configuration(options), pidfile=options.pidfile)


def _configuration(options: argparse.Namespace) -> tuple[Callable[[], Corefile], Corefile | None]:
    """What reads the Corefile, and what is served where that is empty."""
    if options.manifests:
        zone = options.zone or _ZONE
        port = _MANIFESTS_PORT if options.manifests_port is None else options.manifests_port
        text = manifests_corefile(options.manifests, zone, port, options.service_range)
        return lambda: parser.parse(text, "--manifests", {}), None
    path = options.conf or ("Corefile" if Path("Corefile").is_file() else None)
    port = DNS_PORT if options.port is None else options.port
    text = DEFAULT_COREFILE.format(port=port)
    default = parser.parse(text, "default Corefile", {})
    if path is None:
        return lambda: default, None
    content = sys.stdin.buffer.read() if path == "stdin" else b""

    def read() -> Corefile:
        if path == "stdin":
            return parser.parse(content, path, os.environ, port)
        return parser.load(path, os.environ, port)

    return read, default


def manifests_corefile(
    directory: str, zone: str, port: int, service_ranges: Sequence[str] = ()
) -> str:
    """The Corefile that `--manifests` stands for: a folder's names on loopback addresses."""
    quoted = '"' + directory.replace('"', '\\"') + '"'
    ranges = "".join(f"\n    service_range {each}" for each in service_ranges)
    return _MANIFESTS.format(directory=quoted, zone=zone, port=port, ranges=ranges)


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
    from kdns.cluster.manifests import ManifestError, Settings  # noqa: PLC0415 - as in `_check`
    from kdns.manifest_records import ZONE_TTL, manifest_records  # noqa: PLC0415
    from kdns.recordtext import FORMS, records  # noqa: PLC0415

    arguments = argparse.ArgumentParser(
        prog="kdns records",
        description="Print every name and record that a folder of manifests would get.",
    )
    arguments.add_argument("manifests", metavar="DIR")
    arguments.add_argument("--zone", type=_zone, default="cluster.local")
    arguments.add_argument("--ttl", type=_ttl, default=ZONE_TTL, metavar="SECONDS")
    _take_service_ranges(arguments)
    arguments.add_argument("--output", choices=tuple(FORMS), default="table")
    options = arguments.parse_args(words)
    try:
        settings = Settings.of(options.service_range)
    except ValueError as error:
        arguments.error(f"argument --service-range: {error}")
    try:
        found, errors = manifest_records(
            Path(options.manifests), options.zone, options.ttl, settings
        )
    except ManifestError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        print(FORMS[options.output](records(found)), end="", flush=True)
    except BrokenPipeError:  # whoever reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    for wrong in errors:
        print(wrong, file=sys.stderr)
    return 1 if errors else 0


def _autoscaler(words: Sequence[str]) -> int:
    from kdns.autoscaler.command import main as autoscaler  # noqa: PLC0415 - as in `_check`

    return autoscaler(words)


def _compare(words: Sequence[str]) -> int:
    from kdns.compare.command import main as compare  # noqa: PLC0415 - as in `_check`

    return compare(words)


def _migrate(words: Sequence[str]) -> int:
    from kdns.migrate.command import main as migrate  # noqa: PLC0415 - as in `_check`

    return migrate(words)


def _node_cache(words: Sequence[str]) -> int:
    # `kdns.__main__` takes a shorter way, which leaves this module out.
    from kdns.node_cache import main as node_cache  # noqa: PLC0415 - as in `_check`

    return node_cache(words)


_COMMANDS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "autoscaler": _autoscaler,
    "check": _check,
    "compare": _compare,
    "migrate": _migrate,
    "records": _records,
    "node-cache": _node_cache,
}


def _port(text: str) -> int:
    if text.isdecimal() and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 0 to 65535")


def _ttl(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) <= _MAX_TTL:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no TTL: give 0 to {_MAX_TTL} seconds")


def _take_service_ranges(arguments: argparse.ArgumentParser) -> None:
    arguments.add_argument(
        "--service-range",
        action="append",
        default=[],
        type=_cidr,
        metavar="CIDR",
        help="range of the ClusterIPs of manifests; again for the other address family",
    )


def _cidr(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no range of addresses: give one such as 10.96.0.0/16"
        ) from None


def _zone(text: str) -> str:
    try:
        from_text(text)
    except BadName as error:
        raise argparse.ArgumentTypeError(f"{error}: give a domain such as cluster.local") from None
    return text
