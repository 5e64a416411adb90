"""node-cache's command line: its flags, read as Go's flag package reads them."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from kdns.node.settings import FILTERS, LINKS, Settings

KUBE_DNS_FOLDER: Final = "/etc/kube-dns"
"""Where the kube-dns ConfigMap is looked for when no flag says so."""

_TRUE: Final = ("1", "t", "T", "TRUE", "true", "True")
_FALSE: Final = ("0", "f", "F", "FALSE", "false", "False")
_DURATION: Final = re.compile(r"\+?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+")
_STEP: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_LINK_LOCAL: Final = re.compile("fe[89ab]", re.IGNORECASE)


class BadFlags(Exception):
    """A command line that makes no sense: which flag, and what to write."""


class Asked(Exception):
    """The command line wants to be told something: `what` is "help", "version" or "plugins"."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Place(NamedTuple):
    """Where a page is served: an address in text, "" for all of them, and a port."""

    host: str
    port: int


class Flags(NamedTuple):
    """What node-cache is told. `template` is the base Corefile, `corefile` what it becomes."""

    settings: Settings
    template: str
    corefile: str
    kube_dns: str
    """Folder of the kube-dns ConfigMap; "" for KUBE_DNS_FOLDER if that is there."""
    upstream_service: str
    metrics: Place
    """Where setup errors are told."""
    endpoint: str
    """What the template gets as the address of its `prometheus`."""
    pidfile: str
    quiet: bool
    idle: tuple[str, ...]
    """Flags that were given and have no effect here, each with the reason."""


class _Flag(NamedTuple):
    default: str
    help: str
    switch: bool = False


FLAGS: Final[dict[str, _Flag]] = {
    "localip": _Flag("", "addresses to serve on, with commas between; IPv4, IPv6 or both"),
    "setupinterface": _Flag("true", "make an interface with these addresses", switch=True),
    "interfacename": _Flag("nodelocaldns", "its name"),
    "interfacetype": _Flag("auto", f"what it is: {', '.join(LINKS)}"),
    "setupiptables": _Flag("true", "put packet-filter rules in place", switch=True),
    "packetfilter": _Flag("auto", f"by what: {', '.join(FILTERS)}"),
    "syncinterval": _Flag("60", "seconds, or a duration such as 60s, between checks of both"),
    "skipteardown": _Flag("false", "leave interface and rules at the end", switch=True),
    "basecorefile": _Flag("/etc/coredns/Corefile.base", "template of the Corefile"),
    "corefile": _Flag("/etc/Corefile", "where to write the Corefile made of it"),
    "conf": _Flag("", "the same; has the say where both are given"),
    "kubednscm": _Flag("", f"folder of the kube-dns ConfigMap (default: {KUBE_DNS_FOLDER})"),
    "upstreamsvc": _Flag("kube-dns", "Service of the cluster DNS, in the namespace of this pod"),
    "metrics-listen-address": _Flag("0.0.0.0:9353", "where setup errors are told"),
    "prometheus-listen-address": _Flag(":9253", "what __PROMETHEUS__ENDPOINT__ stands for"),
    "health-port": _Flag("8080", "port of health in the Corefile, for the rules"),
    "reloadwithsignal": _Flag("false", "no effect: kdns always does", switch=True),
    "dns.port": _Flag("53", "port to serve on"),
    "pidfile": _Flag("", "file to write the ID of the serving process to, once it serves"),
    "quiet": _Flag("false", "say nothing when all is well at the start", switch=True),
    "version": _Flag("false", "show the version", switch=True),
    "plugins": _Flag("false", "list the plugins", switch=True),
    "initialdelay": _Flag("0", "no effect: rules follow the probe"),
    "setupebtables": _Flag("false", "no effect: kdns has no rules for bridges", switch=True),
}
"""The flags of node-cache and of the CoreDNS in it, `interfacetype` and `packetfilter`, which are
of kdns alone, and two that node-cache had once."""

_ALIASES: Final = {"p": "dns.port"}
_ASKED: Final = ("version", "plugins")
_IDLE: Final = {
    "initialdelay": "rules are put in place as soon as a probe is answered",
    "setupebtables": "kdns has no rules for bridges",
}


def usage(program: str) -> str:
    """What the flags are, one a line."""
    rows = [
        f"  -{name:<26} {flag.help}" + (f" (default: {flag.default})" if flag.default else "")
        for name, flag in FLAGS.items()
    ]
    title = f"usage: {program} -localip ADDRESS[,ADDRESS...] [-FLAG=VALUE...]"
    return "\n".join((title, "", "A DNS cache for the node that it runs on.", "", *rows))


def read(words: Sequence[str]) -> Flags:
    """The flags of a command line, less its first word. Raises BadFlags and Asked.

    As in Go: one dash or two, `-flag=value` or `-flag value`, but `-flag=false` alone for a switch.
    """
    given = dict(_given(words))
    for name in _ASKED:
        if name in given and _switch(name, given[name]):
            raise Asked(name)

    def value(name: str) -> str:
        return given.get(name, FLAGS[name].default)

    settings = Settings(
        addresses=tuple(_addresses(value("localip"))),
        interface=_interface(value("interfacename")),
        link=_choice("interfacetype", value("interfacetype"), LINKS),
        setup_interface=_switch("setupinterface", value("setupinterface")),
        filter=_choice("packetfilter", value("packetfilter"), FILTERS),
        port=_port("dns.port", value("dns.port")),
        health_port=_port("health-port", value("health-port")),
        sync_interval=_interval(value("syncinterval")),
        skip_teardown=_switch("skipteardown", value("skipteardown")),
    )
    if not _switch("setupiptables", value("setupiptables")):
        settings = settings._replace(filter="none")
    return Flags(
        settings,
        template=value("basecorefile"),
        corefile=value("conf") or value("corefile"),
        kube_dns=value("kubednscm"),
        upstream_service=value("upstreamsvc"),
        metrics=_place("metrics-listen-address", value("metrics-listen-address")),
        endpoint=value("prometheus-listen-address"),
        pidfile=value("pidfile"),
        quiet=_switch("quiet", value("quiet")),
        idle=tuple(f"-{name} has no effect: {why}" for name, why in _IDLE.items() if name in given),
    )


def _given(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    rest = iter(words)
    for word in rest:
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        name = _ALIASES.get(name, name)
        if not word.startswith("-") or word in ("-", "--"):
            left = [*rest] if word == "--" else [word, *rest]
            if left:
                raise BadFlags(f"{left[0]!r} is no flag: take it out, or write its flag before it")
            return
        if name in ("h", "help"):
            raise Asked("help")
        flag = FLAGS.get(name)
        if flag is None:
            raise BadFlags(f"there is no flag -{name}: -help lists those that there are")
        if flag.switch:
            value = value if equals else "true"
        elif not equals:
            following = next(rest, None)
            if following is None:
                raise BadFlags(f"-{name} needs a value: write -{name}=VALUE")
            value = following
        yield name, value


def _switch(name: str, written: str) -> bool:
    if written in _TRUE:
        return True
    if written in _FALSE:
        return False
    raise BadFlags(f"-{name}={written} cannot be read: write -{name}=true or -{name}=false")


def _choice(name: str, written: str, words: Iterable[str]) -> str:
    if written in words:
        return written
    raise BadFlags(f"-{name} {written!r} is not known: write one of {', '.join(words)}")


def _port(name: str, written: str) -> int:
    if written.isascii() and written.isdecimal() and 0 < int(written) < 1 << 16:
        return int(written)
    raise BadFlags(f"-{name} {written!r} is no port: give a number from 1 to 65535")


def _interface(written: str) -> str:
    """What the kernel takes as the name of a device."""
    if 0 < len(written.encode()) < 16 and not re.search(r"[\s/:]", written) and written[0] != ".":
        return written
    raise BadFlags(f"-interfacename {written!r} is no name of a device: give up to 15 characters")


def _addresses(written: str) -> Iterator[str]:
    """Addresses in their canonical form, each once.

    An empty one is passed over: it is what __PILLAR__DNS__SERVER__ leaves where that is nothing.
    """
    seen: set[str] = set()
    for word in filter(None, (word.strip() for word in written.split(","))):
        address = canonical(word)
        if address is None:
            raise BadFlags(f"-localip {word!r} is no address: give one such as 169.254.20.10")
        if _LINK_LOCAL.match(address):
            raise BadFlags(
                f"-localip {word!r} is an address of one link, which pods cannot ask: give one such"
                " as fd00::10"
            )
        if address not in seen:
            seen.add(address)
            yield address
    if not seen:
        raise BadFlags("-localip is missing: give the addresses to serve on, as 169.254.20.10")


def canonical(address: str) -> str | None:
    """An IPv4 or IPv6 address in its one form; None for anything else."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, address))
        except (OSError, ValueError):
            continue
    return None


def _interval(written: str) -> float:
    """Seconds. node-cache multiplies by a second what Go reads as nanoseconds, so that `60ns` is
    its minute; `60` and `60s` say what was meant."""
    number = written.removesuffix("ns") if written[:-2].isdecimal() else written
    if number.isascii() and number.isdecimal():
        seconds = float(number)
    elif _DURATION.fullmatch(written):
        seconds = sum(float(count) * _UNITS[unit] for count, unit in _STEP.findall(written))
    else:
        seconds = 0.0
    if not 0.001 <= seconds <= 365 * 86400:
        raise BadFlags(f"-syncinterval {written!r} is no time to wait: give seconds, or as in 60s")
    return seconds


def _place(name: str, written: str) -> Place:
    host, colon, port = written.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    anywhere = not host and not bracketed
    address = canonical(host) is not None and bracketed == (":" in host)
    if colon and (anywhere or host == "localhost" or address):
        return Place({"localhost": "127.0.0.1"}.get(host, host), _port(name, port))
    raise BadFlags(f"-{name} {written!r} is no address with a port: give one such as 0.0.0.0:9353")
