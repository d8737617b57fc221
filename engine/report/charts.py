"""Charts as SVG that stands by itself: no script, no style sheet, nothing fetched.

Every state differs in shape and letter, not only in colour: the charts are to be read on a black-and-white print, too.
Signs are drawn and not written, so that they look the same with any font.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from xml.sax.saxutils import escape, quoteattr

from engine.model.reportrows import DayState
from engine.report import words
from engine.report.document import CALLED, Against, Calendar, Chart, Panel, Phases, Trend

WIDTH = 680.0
LABELS = 150.0
"""Columns of names on the left."""
_INK, _DIM, _RULE = "#1c1c1c", "#5c5c5c", "#bdbdbd"
_GREEN, _PALE, _RED, _AMBER = "#1d5c38", "#dcece2", "#8c1d18", "#7a5200"
_CELL, _STEP, _LINE = 14.0, 17.0, 20.0
_PANEL, _PANEL_HEIGHT = 330.0, 128.0
_FILLS = ("#1f3b57", "#cfdbe6", "#6f8fac", "#ffffff", "#a9c0d4", "#3a3a3a")


def svg(chart: Chart, font: str) -> str:
    """``chart`` as an SVG element; ``font``: a family, or a list of them."""
    if isinstance(chart, Calendar):
        height, parts = _calendar(chart)
    elif isinstance(chart, Trend):
        height, parts = _trend(chart)
    elif isinstance(chart, Phases):
        height, parts = _phases(chart)
    else:
        height, parts = _against(chart)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" role="img"'
        f' aria-label={quoteattr(chart.alt)} font-family={quoteattr(font)} font-size="11">'
    )
    return head + "".join(parts) + "</svg>"


# the month, day by day


def _calendar(chart: Calendar) -> tuple[float, list[str]]:
    parts: list[str] = []
    for n, on in enumerate(chart.days):
        x = LABELS + n * _STEP
        weekend = on.weekday() >= 5
        parts.append(_text(x + _CELL / 2, 10, str(on.day), size=8, colour=_DIM if weekend else _INK, anchor="middle"))
    for n, strip in enumerate(chart.strips):
        y = 16 + n * _LINE
        parts.append(_label(y + 11, strip.label))
        for day, state in enumerate(strip.days):
            parts += _day(LABELS + day * _STEP, y, state, chart.days[day])
    top = 16 + len(chart.strips) * _LINE + 10
    legend, height = _calendar_legend(top)
    return height, [*parts, *legend]


def _calendar_legend(top: float) -> tuple[list[str], float]:
    parts: list[str] = []
    x, y = 0.0, top
    for state, called in CALLED.items():
        wide = 22 + 5.4 * len(called) + 14
        if x + wide > WIDTH:
            x, y = 0.0, y + _LINE
        parts += [*_day(x, y, state), _text(x + 20, y + 11, called, size=10)]
        x += wide
    return parts, y + _LINE


def _day(x: float, y: float, state: DayState, on: date | None = None) -> Iterator[str]:
    """One cell: a shape and a sign of its own for every state."""
    sign = _SIGNS.get(state)
    if sign is None:
        return
    told = f"<title>{words.short_day(on)}: {CALLED[state]}</title>" if on is not None else ""
    yield f'<g transform="translate({x:g} {y:g})">{told}{sign}</g>'


def _cell(fill: str, stroke: str, extra: str = "") -> str:
    return f'<rect x="0.5" y="0.5" width="13" height="13" rx="1.5" fill="{fill}" stroke="{stroke}"{extra}/>'


def _stroke(path: str, colour: str, width: float = 1.6) -> str:
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}" stroke-linecap="round"/>'


_SIGNS = {
    DayState.PROVEN: _cell(_PALE, _GREEN) + _stroke("M3.5 7.5L6 10L10.5 4.5", _GREEN),
    DayState.SKIPS: _cell(_PALE, _GREEN)
    + _stroke("M1 9L5 13M1 5L9 13M1 1L13 13M5 1L13 9M9 1L13 5", _GREEN, 0.5)
    + '<rect x="3.6" y="2.6" width="6.8" height="8.8" fill="#fff"/>'
    + f'<text x="7" y="10" font-size="10" font-weight="bold" text-anchor="middle" fill="{_GREEN}">s</text>',
    DayState.FAILED: _cell(_RED, _RED) + _stroke("M4 4L10 10M10 4L4 10", "#ffffff", 2),
    DayState.UNVERIFIED: _cell("#ffffff", _AMBER, ' stroke-dasharray="1.5 1.5"')
    + f'<text x="7" y="10.8" font-size="10.5" font-weight="bold" text-anchor="middle" fill="{_AMBER}">?</text>',
    DayState.UNDRILLED: _cell("#ffffff", "#777777")
    + '<circle cx="7" cy="7" r="3.2" fill="none" stroke="#444444" stroke-width="1.2"/>',
    DayState.GAP: _cell("#ffffff", _RED, ' stroke-width="1.6" stroke-dasharray="3.5 2"')
    + _stroke("M7 3.5L7 8", _RED, 2)
    + f'<circle cx="7" cy="10.6" r="1.1" fill="{_RED}"/>',
    DayState.NOTHING_DUE: '<circle cx="7" cy="7" r="1.1" fill="#9a9a9a"/>',
}


# restore times over the months


def _trend(chart: Trend) -> tuple[float, list[str]]:
    parts: list[str] = []
    for n, panel in enumerate(chart.panels):
        left, top = (n % 2) * (WIDTH - _PANEL), (n // 2) * _PANEL_HEIGHT
        parts += [f'<g transform="translate({left:g} {top:g})">', *_panel(panel), "</g>"]
    return -(-len(chart.panels) // 2) * _PANEL_HEIGHT, parts


def _panel(panel: Panel) -> Iterator[str]:
    measured = [s for p in panel.points for s in (p.p50_s, p.worst_s) if s is not None]
    top = max([*measured, panel.target_s or 0.0, 1e-3]) * 1.08
    left, right, base, high = 62.0, _PANEL - 4, 104.0, 72.0
    step = (right - left) / max(len(panel.points), 1)

    def y(s: float) -> float:
        return base - s / top * high

    yield _text(0, 12, words.name(panel.label, 40), weight="bold")
    peak = max(measured, default=0.0)
    yield _line(left, y(peak), right, y(peak), "#e2e2e2")
    yield _text(left - 6, y(peak) + 3, words.duration(peak), size=9, colour=_DIM, anchor="end")
    yield _line(left, base, right, base, _INK)
    yield _text(left - 6, base + 3, "0", size=9, colour=_DIM, anchor="end")
    for n, point in enumerate(panel.points):
        x = left + n * step
        month = int(point.month[5:7])
        yield _text(x + step / 2, base + 12, words.MONTHS[month - 1][0], size=9, colour=_DIM, anchor="middle")
        if point.p50_s is None or point.worst_s is None:
            continue
        wide, middle = step * 0.56, x + step / 2
        yield _rect(x + step * 0.22, y(point.p50_s), wide, base - y(point.p50_s), "#a9c0d4", "#1f3b57")
        yield _line(middle, y(point.p50_s), middle, y(point.worst_s), _INK, width=1.2)
        yield _line(middle - 4, y(point.worst_s), middle + 4, y(point.worst_s), _INK, width=1.2)
    if panel.target_s is not None:
        at = y(panel.target_s)
        yield _line(left, at, right, at, _RED, width=1.2, dash="5 3")
        label = f"target {words.span(panel.target_s)}"
        yield _text(right, 12, label, size=9, colour=_RED, anchor="end")


# what a restore consists of


def _phases(chart: Phases) -> tuple[float, list[str]]:
    parts: list[str] = []
    legend, top = _legend(chart.phases, 0)
    parts += legend
    wide = WIDTH - LABELS - 90
    for n, bar in enumerate(chart.bars):
        y = top + n * _LINE
        parts.append(_label(y + 11, bar.label))
        whole = sum(bar.parts)
        x = LABELS
        for part, seconds in enumerate(bar.parts):
            share = seconds / whole * wide if whole else 0.0
            parts.append(_rect(x, y, share, _CELL, _FILLS[part % len(_FILLS)], _INK))
            if part == 4:
                parts += _hatch(x, y, share)
            x += share
        parts.append(_text(LABELS + wide + 8, y + 11, words.duration(whole)))
    return top + len(chart.bars) * _LINE, parts


def _hatch(x: float, y: float, wide: float) -> Iterator[str]:
    """Strokes across a part of a bar, to tell it from its neighbours without colour."""
    at = x + 14
    while at < x + wide:
        yield _line(at - 14, y + _CELL, at, y, "#1f3b57", width=0.5)
        at += 10


def _legend(names: Sequence[str], top: float) -> tuple[list[str], float]:
    parts: list[str] = []
    x, y = LABELS, top
    for n, called in enumerate(names):
        wide = 18 + 5.4 * len(called) + 12
        if x + wide > WIDTH:
            x, y = LABELS, y + _LINE
        parts.append(_rect(x, y + 1, 11, 11, _FILLS[n % len(_FILLS)], _INK))
        if n == 4:
            parts.append(_line(x, y + 12, x + 11, y + 1, "#1f3b57", width=0.5))
        parts.append(_text(x + 16, y + 10, called, size=10))
        x += wide
    return parts, y + _LINE + 4


# durations against targets


def _against(chart: Against) -> tuple[float, list[str]]:
    parts: list[str] = []
    wide = WIDTH - LABELS - 170
    top = max([*(m.value_s or 0.0 for m in chart.measures), *(m.target_s or 0.0 for m in chart.measures), 1e-3])
    for n, measure in enumerate(chart.measures):
        y = n * _LINE
        parts.append(_label(y + 12, measure.label))
        value = measure.value_s or 0.0
        over = measure.target_s is not None and value > measure.target_s
        parts.append(_rect(LABELS, y + 3, value / top * wide, 10, "#a9c0d4", "#1f3b57"))
        if over:
            parts += _over(LABELS, y + 3, (measure.target_s or 0.0) / top * wide, value / top * wide)
        if measure.target_s is not None:
            x = LABELS + measure.target_s / top * wide
            parts.append(_line(x, y, x, y + 16, _INK, width=2.2))
        parts.append(_text(LABELS + wide + 10, y + 12, f"{words.duration(value)} · {measure.said}"))
    y = len(chart.measures) * _LINE + 4
    parts += [_line(LABELS, y, LABELS, y + 12, _INK, width=2.2), _text(LABELS + 8, y + 10, "target", size=10)]
    parts += [*_over(LABELS + 60, y + 1, 0, 24), _text(LABELS + 92, y + 10, "beyond it", size=10)]
    return y + _LINE, parts


def _over(left: float, y: float, begin: float, end: float) -> Iterator[str]:
    """The part of a bar beyond its target: dark, with light strokes."""
    yield _rect(left + begin, y, end - begin, 10, _RED, _RED)
    at = left + begin + 4
    while at < left + end - 1:
        yield _line(at, y + 9, at + 3, y + 1, "#ffffff", width=0.7)
        at += 7


# shapes


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: float = 11,
    colour: str = _INK,
    anchor: str = "start",
    weight: str = "normal",
) -> str:
    bold = ' font-weight="bold"' if weight == "bold" else ""
    side = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{colour}"{side}{bold}>{escape(text)}</text>'


def _label(y: float, text: str) -> str:
    """A name in the column on the left, which has room for so much."""
    return _text(0, y, words.name(text, 24))


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1, dash: str = "") -> str:
    broken = f' stroke-dasharray="{dash}"' if dash else ""
    ends = f'x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width:g}"{broken}/>'


def _rect(x: float, y: float, width: float, height: float, fill: str, stroke: str) -> str:
    size = f'x="{x:.2f}" y="{y:.2f}" width="{max(width, 0):.2f}" height="{max(height, 0):.2f}"'
    return f'<rect {size} fill="{fill}" stroke="{stroke}" stroke-width="0.7"/>'
