"""The CPU a query of every server, a panel a scenario, as an SVG of its own."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from bench.report import times_less
from bench.scenarios import SCENARIOS
from bench.servers import COREDNS, KDNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.measure import Summary
    from bench.report import Results
    from bench.scenarios import Scenario

COLUMNS = 2
_SVG = "http://www.w3.org/2000/svg"
_PANEL, _NAMES, _NUMBERS = 400, 98, 96  # widths: of a panel, and beside its bars
_LINE, _BAR, _TITLE, _GAP = 16, 10, 22, 14  # heights
_MARGIN, _HEAD = 16, 44

_STYLE = """\
text { font: 11px system-ui, sans-serif; fill: #24292f }
.head { font-size: 15px; font-weight: 600 }
.title { font-size: 12px; font-weight: 600 }
.note { fill: #57606a }
.name { text-anchor: end }
rect { fill: #b6bfc9 }
.coredns { fill: #7d8894 }
.kdns { fill: #1f7a4d }
.ground { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .note { fill: #9198a1 } .ground { fill: #0d1117 }
  rect { fill: #4a535d } .coredns { fill: #7d8894 } .kdns { fill: #3fb27f }
}"""


def svg(results: Results) -> str:
    """The chart as a whole document: shorter bars are better, each panel on a scale of its own."""
    found = results.summaries()
    servers = list(results.versions)
    asked = [s for s in SCENARIOS if any((s.name, name) in found for name in servers)]
    panel = _TITLE + _LINE * len(servers) + _GAP
    rows = -(-len(asked) // COLUMNS)
    width, height = _MARGIN * 2 + _PANEL * COLUMNS, _HEAD + panel * rows + _MARGIN
    lines = [
        f'<svg xmlns="{_SVG}" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{width}" height="{height}"/>',
        _text(_MARGIN, 24, "CPU a query, µs (times less than CoreDNS)", "head"),
    ]
    for number, scenario in enumerate(asked):
        x = _MARGIN + _PANEL * (number % COLUMNS)
        y = _HEAD + panel * (number // COLUMNS)
        lines += _panel(scenario, servers, found, x, y)
    return "\n".join([*lines, "</svg>", ""])


def _panel(
    scenario: Scenario,
    servers: Sequence[str],
    found: dict[tuple[str, str], Summary],
    x: int,
    y: int,
) -> Iterator[str]:
    yield _text(x, y + 12, scenario.title, "title")
    widest = max(found[key].cpu_us for key in found if key[0] == scenario.name) or 1.0
    room = _PANEL - _NAMES - _NUMBERS
    for line, server in enumerate(servers):
        top = y + _TITLE + _LINE * line
        yield _text(x + _NAMES - 6, top + 9, server, "name")
        one = found.get((scenario.name, server))
        if one is None:
            yield _text(x + _NAMES, top + 9, "not measured", "note")
            continue
        bar = max(1.0, room * one.cpu_us / widest)
        kind = {KDNS: "kdns", COREDNS: "coredns"}.get(server, "peer")
        yield (
            f'<rect class="{kind}" x="{x + _NAMES}" y="{top}" width="{bar:.1f}" height="{_BAR}"/>'
        )
        less = times_less(found, scenario.name, server)
        ratio = f" ({less:.1f}x)" if less and server != COREDNS else ""
        yield _text(x + _NAMES + bar + 5, top + 9, f"{one.cpu_us:.1f}{ratio}")


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
