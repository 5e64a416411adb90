"""`log [NAME...] [FORMAT] { class … }`: a line for each query and its answer."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from kdns.corefile.arguments import Properties, arguments, choice
from kdns.corefile.parser import Directive
from kdns.corefile.zones import origins
from kdns.dns import codes
from kdns.dns.edns import PLAIN_PAYLOAD
from kdns.dns.names import ROOT, from_text, suffixes, to_text
from kdns.dns.query import Query
from kdns.dns.render import message
from kdns.dns.reply import Reply
from kdns.plugins.plugin import Answer, Handler, then
from kdns.plugins.site import Site

_log: Final = logging.getLogger("query")

_COMMON: Final = (
    '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}"'
    " {rcode} {>rflags} {rsize} {duration}"
)
_COMBINED: Final = _COMMON + ' "{>opcode}"'
_FORMATS: Final = {"{common}": _COMMON, "{combined}": _COMBINED}
_FIELD: Final = re.compile(r"\{[^{}]*\}")
_CLASSES: Final = ("all", "success", "denial", "error")
_NOT_KNOWN: Final = "-"
_FLAGS: Final = ((15, "qr"), (10, "aa"), (9, "tc"), (8, "rd"), (7, "ra"), (5, "ad"), (4, "cd"))


@dataclass(frozen=True, slots=True)
class Exchange:
    """A query, its reply, that reply in wire form, and the seconds it took."""

    query: Query
    reply: Reply
    wire: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Rule:
    """Exchanges about names in `zones` (lower-case wire) and of one of `classes` get a line."""

    zones: frozenset[bytes]
    format: str
    classes: frozenset[str]

    def names(self, name: bytes) -> bool:
        return ROOT in self.zones or any(suffix in self.zones for _, suffix in suffixes(name))


class Log:
    """Writes the lines of every rule that an exchange meets."""

    name: ClassVar[str] = "log"
    uniform: ClassVar[bool] = False

    def __init__(self, rules: Sequence[Rule], clock: Callable[[], float]) -> None:
        self._rules = rules
        self._clock = clock

    def handle(self, query: Query, next_: Handler) -> Answer:
        rules = [rule for rule in self._rules if rule.names(query.name)]
        if not rules:
            return next_(query)
        begin = self._clock()
        return then(next_(query), lambda reply: self._logged(rules, query, reply, begin))

    def _logged(self, rules: list[Rule], query: Query, reply: Reply, begin: float) -> Reply:
        kind = class_of(reply)
        met = [rule for rule in rules if not rule.classes.isdisjoint(("all", kind))]
        if not met:
            return reply
        exchange = Exchange(query, reply, message(query, reply), self._clock() - begin)
        for rule in met:
            _log.info("%s", line(rule.format, exchange))
        return reply.changed(lifetime=0)


def class_of(reply: Reply) -> str:
    """The class of a reply, as CoreDNS sorts them: success, denial or error."""
    if reply.rcode == codes.NOERROR:
        return "success" if reply.answer or not reply.authority else "denial"
    return "denial" if reply.rcode == codes.NXDOMAIN else "error"


def line(form: str, exchange: Exchange) -> str:
    """A format with its fields filled in; one that is not known becomes `-`."""

    def fill(field: re.Match[str]) -> str:
        known = _FIELDS.get(field.group())
        return known(exchange) if known else _NOT_KNOWN

    return _FIELD.sub(fill, form)


def setup(directives: Sequence[Directive], site: Site) -> Log:
    """Each directive is one rule."""
    return Log([_rule(directive, site) for directive in directives], site.facilities.clock)


def _rule(directive: Directive, site: Site) -> Rule:
    tokens = list(arguments(directive, "[NAME...]"))
    form = _COMMON
    if tokens and "{" in tokens[-1].text:
        form = _FORMATS.get(tokens[-1].text, tokens[-1].text)
        tokens.pop()
    zones = [zone for token in tokens for zone in origins(token)]
    with Properties(directive) as properties:
        classes = frozenset(properties.values("class", choice(*_CLASSES)))
    named = zones or [key.zone for key in site.keys]
    return Rule(frozenset(map(from_text, named)), form, classes or frozenset(("all",)))


def _client(exchange: Exchange) -> tuple[str, str]:
    client = exchange.query.client
    if client is None:
        return _NOT_KNOWN, _NOT_KNOWN
    return (f"[{client.host}]" if ":" in client.host else client.host), str(client.port)


def _flags(exchange: Exchange) -> str:
    flags = int.from_bytes(exchange.wire[2:4], "big")
    return ",".join(name for bit, name in _FLAGS if flags >> bit & 1)


def _dnssec_ok(exchange: Exchange) -> str:
    edns = exchange.query.edns
    return str(edns is not None and edns.dnssec_ok).lower()


def _payload(exchange: Exchange) -> str:
    edns = exchange.query.edns
    return str(max(PLAIN_PAYLOAD, edns.payload) if edns else PLAIN_PAYLOAD)


_FIELDS: Final[dict[str, Callable[[Exchange], str]]] = {
    "{type}": lambda exchange: codes.type_name(exchange.query.qtype),
    "{name}": lambda exchange: to_text(exchange.query.name),
    "{class}": lambda exchange: codes.class_name(exchange.query.qclass),
    "{proto}": lambda exchange: exchange.query.transport,
    "{remote}": lambda exchange: _client(exchange)[0],
    "{port}": lambda exchange: _client(exchange)[1],
    "{size}": lambda exchange: str(len(exchange.query.packet)),
    "{rcode}": lambda exchange: codes.rcode_name(exchange.reply.rcode),
    "{rsize}": lambda exchange: str(len(exchange.wire)),
    "{duration}": lambda exchange: f"{exchange.seconds:.9f}s",
    "{>id}": lambda exchange: str(exchange.query.id),
    "{>opcode}": lambda _: "0",
    "{>do}": _dnssec_ok,
    "{>bufsize}": _payload,
    "{>rflags}": _flags,
}
