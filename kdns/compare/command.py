"""The command line of `kdns compare`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

from kdns.cluster.feed import FeedError, Synced, Upsert
from kdns.cluster.manifests import ManifestError, Settings
from kdns.cluster.objects import Object
from kdns.cluster.source import ApiServer, Selection, Source
from kdns.compare import comparison
from kdns.compare.asking import Asker, Server
from kdns.compare.comparison import Tally, compare
from kdns.compare.questions import BadLine, Question, of_dump, of_lines, of_records
from kdns.compare.report import FORMS
from kdns.corefile.zones import DNS_PORT
from kdns.dns.names import BadName, from_text
from kdns.feeds import open_feed
from kdns.manifest_records import ZONE_TTL, manifest_records, object_records

LISTING: Final = 60.0
"""Seconds that an API server has to list a cluster."""

_ZONE: Final = "cluster.local"
_SOURCES: Final = "cluster | manifests DIR | pcap-text FILE | FILE"


class _NoNames(Exception):
    """Why there is nothing to ask, and what to do."""


def main(words: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run a command line without the word `compare`; 1 where anything differs."""
    options = _arguments(words)
    a, b = options.server
    try:
        tally, wrong = asyncio.run(_compare(a, b, options, environment))
    except _NoNames as error:
        print(f"kdns compare: {error}", file=sys.stderr)
        return 1
    print(FORMS[options.output](tally, a, b), end="")
    for each in wrong:
        print(f"kdns compare: not asked: {each}", file=sys.stderr)
    return 1 if tally.differences or wrong else 0


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    arguments = argparse.ArgumentParser(
        prog="kdns compare",
        description="Ask two servers the same questions and print where their answers differ."
        " Exit code 0: nowhere; 1: somewhere, or not everything could be asked.",
    )
    arguments.add_argument(
        "--server",
        action="append",
        type=_server,
        default=[],
        metavar="HOST[:PORT]",
        help="a server to ask; twice: the first is called A, the second B",
    )
    arguments.add_argument(
        "--names-from",
        nargs="+",
        default=["cluster"],
        metavar="SOURCE",
        help=f"what to ask: {_SOURCES}, of which a FILE has lines `name [type]` and that of"
        " pcap-text what tcpdump prints; - is standard input (default: cluster)",
    )
    arguments.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="of the cluster (default: $KUBECONFIG, else that of the pod this runs in)",
    )
    arguments.add_argument("--zone", type=_zone, default=_ZONE, help="the cluster's zone")
    arguments.add_argument(
        "--service-range",
        action="append",
        default=[],
        metavar="CIDR",
        help="range of the ClusterIPs of manifests; again for the other address family",
    )
    arguments.add_argument(
        "--rate",
        type=_positive,
        default=comparison.RATE,
        metavar="N",
        help="questions a second to each server (default: %(default)s)",
    )
    arguments.add_argument(
        "--ttl",
        type=_seconds,
        metavar="SECONDS",
        help="TTLs that are further apart are differences too; caches count them down",
    )
    arguments.add_argument("--output", choices=tuple(FORMS), default="text")
    options = arguments.parse_args(words)
    if len(options.server) != 2:
        arguments.error(
            f"there are two servers to compare: write --server twice, not"
            f" {len(options.server)} times"
        )
    kind, *rest = options.names_from
    if len(rest) != (kind in ("manifests", "pcap-text")):
        arguments.error(f"argument --names-from: write one of {_SOURCES}")
    return options


async def _compare(
    a: Server, b: Server, options: argparse.Namespace, environment: Mapping[str, str]
) -> tuple[Tally, Sequence[ManifestError]]:
    """What came of it, and what is wrong with manifests, whose names are not among the questions.

    Raises _NoNames.
    """
    found, wrong = await _questions(options, environment)
    questions = list(found)
    if not questions:
        raise _NoNames("there is nothing to ask: --names-from has no names")
    try:
        async with Asker(a) as asker_a, Asker(b) as asker_b:
            tally = await compare(asker_a, asker_b, questions, options.rate, options.ttl)
    except OSError as error:
        raise _NoNames(f"a server cannot be asked: {error.strerror or error}") from error
    return tally, wrong


async def _questions(
    options: argparse.Namespace, environment: Mapping[str, str]
) -> tuple[Iterable[Question], Sequence[ManifestError]]:
    kind, *rest = options.names_from
    if kind == "cluster":
        objects = await _objects(options.kubeconfig or environment.get("KUBECONFIG", ""))
        return of_records(object_records(objects, options.zone, ZONE_TTL)), ()
    if kind == "manifests":
        return _of_manifests(Path(rest[0]), options)
    try:
        if kind == "pcap-text":
            return of_dump(_read(rest[0])), ()
        return list(of_lines(_read(kind), kind)), ()
    except BadLine as error:
        raise _NoNames(str(error)) from error


def _of_manifests(
    folder: Path, options: argparse.Namespace
) -> tuple[Iterable[Question], Sequence[ManifestError]]:
    try:
        settings = Settings.of(options.service_range)
        records, wrong = manifest_records(folder, options.zone, ZONE_TTL, settings)
    except (ManifestError, ValueError) as error:
        raise _NoNames(str(error)) from error
    return of_records(records), wrong


async def _objects(kubeconfig: str) -> list[Object]:
    """All objects that names are made of. Raises _NoNames."""
    # What the feed logs is why it has nothing, and the only word of it.
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    api = ApiServer(kubeconfig=Path(kubeconfig)) if kubeconfig else ApiServer()
    objects: list[Object] = []
    try:
        feed = open_feed(Source(api=api, selection=Selection(pods=True)))
        async with asyncio.timeout(LISTING), aclosing(feed.events()) as events:
            async for event in events:
                if isinstance(event, Synced):
                    return objects
                if isinstance(event, Upsert):
                    objects.append(event.object)
    except (FeedError, ValueError) as error:
        raise _NoNames(f"{error}; or give --kubeconfig FILE") from error
    except TimeoutError:
        pass
    raise _NoNames(
        f"the API server did not list the cluster in {LISTING:g} s: look at what is said above; the"
        " user must be allowed to list and watch namespaces, services, endpointslices and pods"
    )


def _read(path: str) -> list[str]:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(errors="replace")
    except OSError as error:
        raise _NoNames(
            f"--names-from: {path} cannot be read ({error.strerror}): write one of {_SOURCES}"
        ) from error
    return text.splitlines()


def _server(text: str) -> Server:
    host, port = text, ""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise _no_server(text)
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise _no_server(text)
    if not host:
        raise _no_server(text)
    return Server(host, int(port or DNS_PORT))


def _no_server(text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(
        f"{text!r} is no server: write an address or a name, and a port behind a colon"
    )


def _positive(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no rate: write questions a second, from 1")


def _seconds(text: str) -> int:
    if text.isascii() and text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")


def _zone(text: str) -> str:
    try:
        from_text(text)
    except BadName as error:
        raise argparse.ArgumentTypeError(f"{error}: give a domain such as cluster.local") from None
    return text
