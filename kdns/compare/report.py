"""A tally as text for people, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final

from kdns.compare.asking import Server
from kdns.compare.comparison import Tally
from kdns.dns.codes import type_name
from kdns.dns.names import to_text


def text(tally: Tally, a: Server, b: Server) -> str:
    """Differences, each with what either server says and why that may be, and a summary."""
    return "".join(f"{line}\n" for line in _lines(tally, a, b))


def _lines(tally: Tally, a: Server, b: Server) -> Iterator[str]:
    if tally.differences:
        yield f"A is {a}, B is {b}"
    for difference in tally.differences:
        yield str(difference.question)
        for part in difference.parts:
            yield f"  {part.part}"
            yield f"    A: {part.a}"
            yield f"    B: {part.b}"
        if difference.why:
            yield f"  why: {difference.why}"
    yield (
        f"{tally.questions} questions: {tally.same} answered the same, {len(tally.differences)} not"
    )
    for name in sorted(tally.timeouts):
        if tally.unanswered[name] or tally.timeouts[name]:
            unanswered, timeouts = tally.unanswered[name], tally.timeouts[name]
            yield f"{name} left {unanswered} unanswered, with {timeouts} timeouts"
    if tally.changed:
        yield f"{tally.changed} differed at first and not when asked again"
    if tally.passed:
        passed = ", ".join(f"{what} ({tally.passed[what]})" for what in sorted(tally.passed))
        yield f"no difference, though not the same: {passed}"


def json_text(tally: Tally, a: Server, b: Server) -> str:
    """The same as a JSON object."""
    said = {
        "servers": {"A": str(a), "B": str(b)},
        "questions": tally.questions,
        "same": tally.same,
        "differences": [
            {
                "name": to_text(each.question.name),
                "type": type_name(each.question.type),
                "parts": [part._asdict() for part in each.parts],
                "why": each.why,
            }
            for each in tally.differences
        ],
        "changed": tally.changed,
        "unanswered": {name: tally.unanswered[name] for name in tally.timeouts},
        "timeouts": tally.timeouts,
        "passed": dict(sorted(tally.passed.items())),
    }
    return json.dumps(said, indent=2) + "\n"


FORMS: Final[dict[str, Callable[[Tally, Server, Server], str]]] = {"text": text, "json": json_text}
