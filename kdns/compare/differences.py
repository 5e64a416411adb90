"""What differs between two answers to one question, what does not count, and a guess why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from kdns.compare.answers import Answer, Record, Silence
from kdns.compare.questions import Question
from kdns.dns import codes
from kdns.dns.codes import rcode_name, type_name


class Passed(StrEnum):
    """What was not the same and is no difference."""

    ORDER = "order of records"
    SERIAL = "SOA serial"
    TTL = "TTL"
    GLUE = "additional records that one of them has"


class Part(NamedTuple):
    """One part of the two replies that is not the same, each in text."""

    part: str
    a: str
    b: str


class Difference(NamedTuple):
    """A question that two servers answer differently; `why` is a guess, "" for none."""

    question: Question
    parts: tuple[Part, ...]
    why: str


class Verdict(NamedTuple):
    """Of one question; `difference` is None where both say the same."""

    difference: Difference | None
    passed: frozenset[Passed] = frozenset()


def judge(
    question: Question, a: Answer | Silence, b: Answer | Silence, ttl: int | None = None
) -> Verdict:
    """Compare two replies: rcode, flags, and records as sets.

    `ttl` is how many seconds TTLs may be apart; None: as many as they like.
    """
    if isinstance(a, Silence) or isinstance(b, Silence):
        return Verdict(Difference(question, (Part("reply", _said(a), _said(b)),), ""))
    passed: set[Passed] = set()
    parts = tuple(_parts(a, b, ttl, passed))
    difference = Difference(question, parts, _why(a, b)) if parts else None
    return Verdict(difference, frozenset(passed))


def _parts(a: Answer, b: Answer, ttl: int | None, passed: set[Passed]) -> Iterator[Part]:
    if a.rcode != b.rcode:
        yield Part("rcode", rcode_name(a.rcode), rcode_name(b.rcode))
    if a.flags != b.flags:
        yield Part("flags", _flags(a), _flags(b))
    for name, of_a, of_b in (
        ("answer", a.answer, b.answer),
        ("authority", a.authority, b.authority),
    ):
        yield from _section(name, of_a, of_b, ttl, passed)
    yield from _section("additional", *_shared(a.additional, b.additional, passed), ttl, passed)


def _section(
    name: str,
    a: tuple[Record, ...],
    b: tuple[Record, ...],
    ttl: int | None,
    passed: set[Passed],
) -> Iterator[Part]:
    of_a, of_b = {_key(each): each for each in a}, {_key(each): each for each in b}
    if of_a.keys() != of_b.keys():
        yield Part(
            name,
            _texts(of_a[key] for key in of_a.keys() - of_b.keys()),
            _texts(of_b[key] for key in of_b.keys() - of_a.keys()),
        )
    elif list(of_a) != list(of_b):
        passed.add(Passed.ORDER)
    both = sorted(of_a.keys() & of_b.keys())
    if any(of_a[key].serial != of_b[key].serial for key in both):
        passed.add(Passed.SERIAL)
    apart = [key for key in both if of_a[key].ttl != of_b[key].ttl]
    far = [key for key in apart if ttl is not None and abs(of_a[key].ttl - of_b[key].ttl) > ttl]
    if far:
        yield Part(
            f"{name} TTL",
            "; ".join(f"{of_a[key]}: {of_a[key].ttl}" for key in far),
            "; ".join(f"{of_b[key]}: {of_b[key].ttl}" for key in far),
        )
    if len(apart) > len(far):
        passed.add(Passed.TTL)


def _shared(
    a: tuple[Record, ...], b: tuple[Record, ...], passed: set[Passed]
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Additional records of the sets that both have: a server may leave out any (RFC 2181 §9)."""
    sets_a, sets_b = ({(each.owner, each.type) for each in section} for section in (a, b))
    if sets_a != sets_b:
        passed.add(Passed.GLUE)
    both = sets_a & sets_b
    shared_a, shared_b = (
        tuple(each for each in section if (each.owner, each.type) in both) for section in (a, b)
    )
    return shared_a, shared_b


def _key(record: Record) -> tuple[str, int, str]:
    return record.owner, record.type, record.data


def _said(reply: Answer | Silence) -> str:
    if isinstance(reply, Silence):
        return reply.reason
    return f"{rcode_name(reply.rcode)}, {len(reply.answer)} in the answer"


def _flags(answer: Answer) -> str:
    return " ".join(sorted(answer.flags)) or "none"


def _texts(records: Iterable[Record]) -> str:
    """The records that the other one does not have."""
    return "; ".join(sorted(map(str, records))) or "nothing more"


def _why(a: Answer, b: Answer) -> str:
    """The likeliest reason, from what is most telling to what is least."""
    aliases = [bool(each.answer) and _is_alias(each) for each in (a, b)]
    if any(aliases) and all(
        alias or not each.answer for alias, each in zip(aliases, (a, b), strict=True)
    ):
        return (
            "an ExternalName whose target has no such address: kdns and CoreDNS do not say the same"
            " of it (docs/differences.md, ExternalName)"
        )
    for name, one, other in (("A", a, b), ("B", b, a)):
        if one.rcode == other.rcode:
            continue
        if one.error:
            return f"{name} says {one.error}"
        if one.rcode == codes.REFUSED:
            return f"{name} has no server block for this name"
        if one.rcode == codes.SERVFAIL:
            return f"{name} could not find out: its log says why"
    rcodes = {a.rcode, b.rcode}
    if rcodes == {codes.NOERROR, codes.NXDOMAIN}:
        if not a.answer and not b.answer:
            return "they have no such record and do not agree whether there is the name"
        lacking = "A" if a.rcode == codes.NXDOMAIN else "B"
        return f"{lacking} does not know the name: another cluster, or it has not heard of it yet"
    if any(each.type == codes.CNAME for each in (*a.answer, *b.answer)):
        return "what is behind a CNAME record comes from elsewhere, and may change with each query"
    kinds = {each.type for each in set(a.answer) ^ set(b.answer)}
    if kinds & {codes.A, codes.AAAA, codes.SRV, codes.PTR}:
        said = ", ".join(sorted(map(type_name, kinds)))
        return f"other {said} records: another cluster, or one of them is behind"
    if a.flags != b.flags and not kinds:
        return "ra tells whether a server forwards, aa whether the records are its own"
    return ""


def _is_alias(reply: Answer) -> bool:
    """Whether there are CNAME records in the answer and nothing at their end."""
    return all(each.type == codes.CNAME for each in reply.answer)
