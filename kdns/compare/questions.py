"""What to ask: every name of a cluster or of manifests, lines of a file, tcpdump's text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from kdns.dns import codes
from kdns.dns.codes import TYPE_NAMES, type_name
from kdns.dns.names import BadName, from_text, labels, to_text
from kdns.dns.rdata import RRset

_ADDRESSES: Final = (codes.A, codes.AAAA)
_HOSTS: Final = frozenset((*_ADDRESSES, codes.CNAME, codes.SRV))
_TYPES: Final = {name: number for number, name in TYPE_NAMES.items()}
_NOT_ASKED: Final = frozenset((codes.OPT, codes.TSIG, codes.TKEY, codes.AXFR, codes.IXFR))
_NUMBERED: Final = re.compile(r"TYPE([0-9]{1,5})")
_REVERSE: Final = (from_text("in-addr.arpa"), from_text("ip6.arpa"))
# `A? web.shop.svc.cluster.local.` in a line of tcpdump's, whatever stands around it.
_DUMPED: Final = re.compile(r"(?<!\S)([A-Za-z]+[0-9]*)\? (\S+)")


class Question(NamedTuple):
    """One name and type to ask of class IN; `name` is a wire name in lower case."""

    name: bytes
    type: int

    def __str__(self) -> str:
        return f"{to_text(self.name)} {type_name(self.type)}"


class BadLine(ValueError):
    """A line that is no question: `file:line: what, and what to write`."""


def of_records(rrsets: Iterable[RRset]) -> Iterator[Question]:
    """Each record set's own question, and A and AAAA at names of hosts, whichever they have.

    Clients ask for both, and to have no address of a family is an answer too.
    """
    seen: set[bytes] = set()
    for rrset in rrsets:
        is_host = rrset.type in _HOSTS and not labels(rrset.owner)[0].startswith(b"_")
        if not is_host or rrset.type not in _ADDRESSES:
            yield Question(rrset.owner, rrset.type)
        if is_host and rrset.owner not in seen:
            seen.add(rrset.owner)
            yield from (Question(rrset.owner, each) for each in _ADDRESSES)


def of_lines(lines: Iterable[str], file: str) -> Iterator[Question]:
    """Questions of lines `name [type]`, each once; `#` begins a comment. Raises BadLine.

    Without a type a name is asked for A and AAAA, or PTR below in-addr.arpa and ip6.arpa.
    """
    seen: set[Question] = set()
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            found = _line(words)
        except ValueError as error:
            raise BadLine(f"{file}:{number}: {error}") from None
        yield from (each for each in found if each not in seen)
        seen.update(found)


def of_dump(lines: Iterable[str]) -> Iterator[Question]:
    """Questions that lines of tcpdump's text tell of, each once; other lines are passed over."""
    seen: set[Question] = set()
    for line in lines:
        for kind, text in _DUMPED.findall(line):
            try:
                question = Question(from_text(text).lower(), _type(kind))
            except ValueError:
                continue
            if question not in seen:
                seen.add(question)
                yield question


def _line(words: list[str]) -> list[Question]:
    if len(words) > 2:
        raise ValueError(f"{words[2]!r} is too much: write a name and a type")
    try:
        name = from_text(words[0]).lower()
    except BadName as error:
        raise ValueError(f"{error}: write a name such as web.shop.svc.cluster.local") from None
    if len(words) == 2:
        return [Question(name, _type(words[1]))]
    types = (codes.PTR,) if name.endswith(_REVERSE) else _ADDRESSES
    return [Question(name, each) for each in types]


def _type(text: str) -> int:
    """Raises ValueError, also for what is asked in no query of this kind."""
    upper = text.upper()
    number = _TYPES.get(upper)
    if number is None and (numbered := _NUMBERED.fullmatch(upper)):
        number = int(numbered[1])
    if number is None or not 0 < number < 1 << 16 or number in _NOT_ASKED:
        raise ValueError(f"{text!r} is no type to ask for: write A, AAAA, SRV, PTR or another one")
    return number
