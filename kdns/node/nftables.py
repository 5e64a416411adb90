"""Rules in a table of nftables, exchanged whole in one transaction (linux/netfilter/nf_tables.h).

With the owner flag (Linux 5.12) the table is tied to our netlink socket: nobody else can change
it, and the kernel takes it away with the process, however that ends.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from kdns.node import netlink
from kdns.node.netlink import Message, Netlink, Refused, attribute, nested, text
from kdns.node.rules import MARK, Rule

_SUBSYSTEM: Final = 10
_BATCH_BEGIN: Final = 0x10
_BATCH_END: Final = 0x11
_NEWTABLE: Final = 0
_GETTABLE: Final = 1
_DELTABLE: Final = 2
_NEWCHAIN: Final = 3
_GETCHAIN: Final = 4
_NEWRULE: Final = 6

_INET: Final = 1  # NFPROTO_INET
_GENERAL: Final = struct.Struct(">BBH")
_U32: Final = struct.Struct(">I")
_LIST_ELEMENT: Final = 1
_NAME: Final = 1
_TABLE_FLAGS: Final = 2
_OWNER: Final = 2
_CHAIN_NAME: Final = 3
_HOOK: Final = 4
_CHAIN_TYPE: Final = 7
_RULE_CHAIN: Final = 2
_EXPRESSIONS: Final = 4
_USER_DATA: Final = 7

_HOOKS: Final = {"PREROUTING": 0, "OUTPUT": 3}
_RAW_PRIORITY: Final = -300 & 0xFFFFFFFF
_FAMILIES: Final = {socket.AF_INET: 2, socket.AF_INET6: 10}  # NFPROTO_IPV4, NFPROTO_IPV6
_NUMBERS: Final = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
_META_NFPROTO: Final = 15
_META_L4PROTO: Final = 16
_META_MARK: Final = 3
_NETWORK: Final = 1
_TRANSPORT: Final = 2
_NAMES_TRIED: Final = 8


class Nftables:
    """A table of this instance's own. What fails raises OSError.

    `listening` is for kernels without owners: one table for all instances on an interface, with
    rules that match only while a socket listens. Rules of filter tables are left out: what an own
    table accepts, the tables of others may drop all the same.
    """

    def __init__(self, interface: str, listening: bool = False) -> None:
        self._interface = interface
        self._listening = listening
        self._netlink = Netlink(netlink.NETFILTER)
        self._rules: tuple[Rule, ...] = ()
        self._placed = False
        self._chain = f"{interface}-{{}}"
        try:
            self.name = self._free_name()
        except OSError:
            self.close()
            raise

    @property
    def shared(self) -> bool:
        """Whether other instances use these rules too."""
        return self._listening

    def try_out(self, rules: Sequence[Rule]) -> None:
        """Whether the kernel takes such rules: they come and go in one transaction."""
        name = f"{self.name}-trial"
        self._send([*self._table(rules, name), *self._removal(name)])

    def hold(self, rules: Sequence[Rule]) -> None:
        """Have these rules, and no others, from one moment to the next."""
        self._rules = tuple(rules)
        self._placed = False
        self._send([*self._removal(self.name), *self._table(rules, self.name)])
        self._placed = True

    def mend(self) -> None:
        """Make the table again, if it may be another than it should be."""
        sure = self._placed and not self._listening
        if not (sure and self._exists(_GETTABLE, text(_NAME, self.name))):
            self.hold(self._rules)

    def remove(self) -> None:
        """Take the table away."""
        self._rules = ()
        self._send(self._removal(self.name))

    def close(self) -> None:
        """Let go of the socket, and of the table where it is tied to that."""
        self._netlink.close()

    def _free_name(self) -> str:
        """A name that no table of others has."""
        # Port numbers are the kernel's, one to a socket of the network namespace; the number of
        # the process is 1 in every container.
        stem = f"kdns-{self._interface if self._listening else self._netlink.port}"
        for number in range(1, _NAMES_TRIED + 1):
            name = stem if number == 1 else f"{stem}-{number}"
            if not self._exists(_GETTABLE, text(_NAME, name)):
                return name
            if self._listening and self._left_behind(name):
                return name
        raise Refused(errno.EEXIST, f"tables of others have the names {stem} to {name}")

    def _left_behind(self, name: str) -> bool:
        chain = text(_NAME, name) + text(_CHAIN_NAME, self._chain.format("prerouting"))
        return self._exists(_GETCHAIN, chain)

    def _exists(self, message: int, body: bytes) -> bool:
        try:
            self._netlink.ask(_kind(message), 0, _general() + body)
        except Refused as refused:
            if refused.errno == errno.ENOENT:
                return False
            raise
        return True

    def _removal(self, name: str) -> list[Message]:
        # What is made first is there to be deleted.
        return [self._new_table(name), _message(_DELTABLE, 0, text(_NAME, name))]

    def _new_table(self, name: str) -> Message:
        flags = b"" if self._listening else attribute(_TABLE_FLAGS, _U32.pack(_OWNER))
        return _message(_NEWTABLE, netlink.CREATE, text(_NAME, name) + flags)

    def _table(self, rules: Iterable[Rule], name: str) -> list[Message]:
        made = [self._new_table(name)]
        for chain, hook in _HOOKS.items():
            place = attribute(1, _U32.pack(hook)) + attribute(2, _U32.pack(_RAW_PRIORITY))
            body = text(1, name) + text(_CHAIN_NAME, self._chain.format(chain.lower()))
            body += nested(_HOOK, place) + text(_CHAIN_TYPE, "filter")
            made.append(_message(_NEWCHAIN, netlink.CREATE, body))
        for rule in rules:
            if rule.table != "raw":
                continue
            body = text(1, name) + text(_RULE_CHAIN, self._chain.format(rule.chain.lower()))
            body += nested(_EXPRESSIONS, *_expressions(rule))
            body += attribute(_USER_DATA, _comment(rule.comment))
            made.append(_message(_NEWRULE, netlink.CREATE | netlink.APPEND, body))
        return made

    def _send(self, messages: Iterable[Message]) -> None:
        edge = _GENERAL.pack(0, 0, _SUBSYSTEM)
        begin, end = Message(_BATCH_BEGIN, 0, edge), Message(_BATCH_END, 0, edge)
        self._netlink.send([begin, *messages, end])


def _kind(message: int) -> int:
    return _SUBSYSTEM << 8 | message


def _general() -> bytes:
    return _GENERAL.pack(_INET, 0, 0)


def _message(message: int, flags: int, body: bytes) -> Message:
    return Message(_kind(message), flags | netlink.ACK, _general() + body)


def _expressions(rule: Rule) -> list[bytes]:
    family = socket.AF_INET6 if ":" in rule.source + rule.destination else socket.AF_INET
    source_at, destination_at = (8, 24) if family == socket.AF_INET6 else (12, 16)
    found = [
        *_meta(_META_NFPROTO, bytes((_FAMILIES[family],))),
        *_meta(_META_L4PROTO, bytes((_NUMBERS[rule.protocol],))),
    ]
    if rule.source:
        found += _field(_NETWORK, source_at, socket.inet_pton(family, rule.source))
    if rule.destination:
        found += _field(_NETWORK, destination_at, socket.inet_pton(family, rule.destination))
    if rule.source_port:
        found += _field(_TRANSPORT, 0, rule.source_port.to_bytes(2, "big"))
    if rule.destination_port:
        found += _field(_TRANSPORT, 2, rule.destination_port.to_bytes(2, "big"))
    if rule.probing:
        found += _meta(_META_MARK, MARK.to_bytes(4, sys.byteorder))
    if rule.listening:
        # Any socket says whether it is transparent. Whether it is bound to a wildcard, one that
        # is still shaking hands does not, and a TCP connection would break at its second packet.
        found += [_expression("socket", _number(1, 0), _number(2, 1)), _equal(b"\0")]
    found.append(_expression("notrack"))
    return found


def _meta(key: int, value: bytes) -> tuple[bytes, bytes]:
    return _expression("meta", _number(1, 1), _number(2, key)), _equal(value)


def _field(base: int, offset: int, value: bytes) -> tuple[bytes, bytes]:
    place = (_number(1, 1), _number(2, base), _number(3, offset), _number(4, len(value)))
    return _expression("payload", *place), _equal(value)


def _equal(value: bytes) -> bytes:
    return _expression("cmp", _number(1, 1), _number(2, 0), nested(3, attribute(1, value)))


def _expression(name: str, *data: bytes) -> bytes:
    return nested(_LIST_ELEMENT, text(1, name), nested(2, *data))


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, _U32.pack(value))


def _comment(words: str) -> bytes:
    value = words.encode() + b"\0"
    return bytes((0, len(value))) + value
