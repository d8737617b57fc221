"""The report as text of 78 columns: for a terminal, a pager or a mail. No escape codes, no styles."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence

from engine.model.report import Report
from engine.model.reportrows import DayState
from engine.report import words
from engine.report.chapters import describe
from engine.report.document import (
    CALLED,
    LETTERS,
    Against,
    Block,
    Bullets,
    Calendar,
    Chapter,
    Code,
    Document,
    Fact,
    Facts,
    Heading,
    Kind,
    Notice,
    Paragraph,
    Phases,
    Table,
    Tiles,
    Trend,
    plain,
)
from engine.report.words import NBSP, cells

WIDTH = 78
"""Of a terminal with 80 columns, less what a pager or the console has at its edges."""
_INDENT = "  "
_GAP = 2
_NARROWEST = 9
"""Columns that a column of words keeps where a table is too wide."""
_WORD = 14
"""Columns that it gets for its longest word before others give room."""
_SIGNS = {"good": "✓", "warn": "!", "bad": "✗"}


def render(report: Report) -> str:
    """The whole report. Lines of at most 78 columns, except where a name alone is longer than they are."""
    return written(describe(report))


def written(document: Document) -> str:
    lines = [*_cover(document)]
    for number, chapter in enumerate(document.chapters, start=1):
        lines += ["", "", *_chapter(number, chapter)]
    return "\n".join(line.replace(NBSP, " ").rstrip() for line in lines) + "\n"


def _cover(document: Document) -> Iterator[str]:
    yield _between(document.title.upper(), document.period)
    yield "═" * WIDTH
    yield ""
    yield from _notice(document.verdict)
    yield ""
    yield from _facts(document.cover)
    yield ""
    yield "Contents"
    for number, chapter in enumerate(document.chapters, start=1):
        yield f"{_INDENT}{number}  {chapter.title}"


def _chapter(number: int, chapter: Chapter) -> Iterator[str]:
    yield f"{number}  {chapter.title.upper()}"
    yield "─" * WIDTH
    yield from _wrapped(plain(chapter.lead))
    for block in chapter.blocks:
        yield ""
        yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    for kind, write in _WRITERS:
        if isinstance(block, kind):
            yield from write(block)
            return
    raise TypeError(type(block))


# words


def _paragraph(block: Paragraph) -> Iterator[str]:
    yield from _wrapped(plain(block.text))


def _heading(block: Heading) -> Iterator[str]:
    yield block.text
    yield "·" * min(cells(block.text), WIDTH)


def _bullets(block: Bullets) -> Iterator[str]:
    for item in block.items:
        yield from _wrapped(plain(item), first="  • ", rest="    ")


def _facts(rows: Iterable[Fact]) -> Iterator[str]:
    rows = tuple(rows)
    label = min(max((cells(row.label) for row in rows), default=0), 24) + _GAP
    for row in rows:
        first = f"{_INDENT}{_padded(row.label, label)}"
        yield from _wrapped(plain(row.text), first=first, rest=" " * cells(first))


def _tiles(block: Tiles) -> Iterator[str]:
    wide = max(cells(tile.value) for tile in block.tiles)
    half = -(-len(block.tiles) // 2)
    for left, right in zip(block.tiles[:half], block.tiles[half:], strict=False):
        first = f"{_INDENT}{_padded(left.value, wide, right=True)} {left.label}"
        yield f"{_padded(first, WIDTH // 2)}{_padded(right.value, wide, right=True)} {right.label}"


def _notice(block: Notice) -> Iterator[str]:
    yield f"{_SIGNS.get(block.style, '·')} {block.title.upper()}"
    for text in (block.text, *block.more):
        yield from _wrapped(plain(text), first=_INDENT, rest=_INDENT)


def _code(block: Code) -> Iterator[str]:
    """To the letter: a command that is broken is no command."""
    for line in block.text.split("\n"):
        yield f"    {line}"


def _wrapped(text: str, first: str = "", rest: str = "") -> Iterator[str]:
    lines = wrap(text, WIDTH - cells(first)) or [""]
    yield first + lines[0]
    for line in lines[1:]:
        yield rest + line


def wrap(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` columns. Words are broken only where one is wider than a line."""
    if cells(text) <= width and "\n" not in text:
        return [text] if text else []
    out: list[str] = []
    for part in text.split("\n"):
        line = ""
        for word in part.split(" "):
            longer = f"{line} {word}" if line else word
            if cells(longer) <= width:
                line = longer
                continue
            if line:
                out.append(line)
            *whole, line = _broken(word, width)
            out += whole
        out.append(line)
    return out


def _broken(word: str, width: int) -> list[str]:
    if word.isascii():
        return textwrap.wrap(word, max(width, 1), break_on_hyphens=False) or [""]
    out = [""]
    for ch in word:
        if cells(out[-1]) + cells(ch) > width:
            out.append("")
        out[-1] += ch
    return out


def _padded(text: str, width: int, *, right: bool = False) -> str:
    space = " " * max(width - cells(text), 0)
    return space + text if right else text + space


def _between(left: str, right: str) -> str:
    return left + " " * max(WIDTH - cells(left) - cells(right), 1) + right


# tables


def _table(block: Table) -> Iterator[str]:
    if block.title:
        yield block.title
    if not block.rows:
        yield f"{_INDENT}(none)"
        return
    body = [[plain(cell) for cell in row.cells] for row in block.rows]
    titles = [column.title for column in block.columns]
    numbers = [column.kind is Kind.NUMBER for column in block.columns]
    widths = _widths(titles, body, [column.kind for column in block.columns])
    yield from _cells(titles, widths, numbers)
    yield _INDENT + (" " * _GAP).join("─" * width for width in widths)
    for row, line in zip(block.rows, body, strict=True):
        yield from _cells(line, widths, numbers)
        label = max((cells(fact.label) for fact in row.below), default=0)
        for fact in row.below:
            first = _INDENT * 2 + (_padded(fact.label, label + 1) if label else "")
            yield from _wrapped(plain(fact.text), first=first, rest=" " * cells(first) if label else _INDENT * 3)
    if block.note:
        yield from _wrapped(block.note, first=_INDENT, rest=_INDENT)


def _widths(titles: Sequence[str], body: Sequence[Sequence[str]], kinds: Sequence[Kind]) -> list[int]:
    """Columns that do not break get what they need; those of words share what is left, as they need it."""
    room = WIDTH - len(_INDENT) - _GAP * (len(titles) - 1)
    widest = [max(cells(title), *(cells(row[n]) for row in body)) for n, title in enumerate(titles)]
    least = [max(_longest_word(title), *(_longest_word(row[n]) for row in body)) for n, title in enumerate(titles)]
    widths = [
        least[n] if kind is Kind.NUMBER else widest[n] if kind is Kind.SHORT else min(least[n], _WORD)
        for n, kind in enumerate(kinds)
    ]
    while sum(widths) > room and max(widths) > 1:
        at = max((n for n in range(len(widths)) if widths[n] > _NARROWEST), key=lambda n: widths[n], default=None)
        if at is None:
            break
        widths[at] -= 1
    wanted = [n for n, kind in enumerate(kinds) if kind is not Kind.SHORT]
    while sum(widths) < room:
        short = [n for n in wanted if widths[n] < widest[n]]
        if not short:
            break
        widths[max(short, key=lambda n: (kinds[n] is Kind.WORDS, widest[n] / widths[n]))] += 1
    return widths


def _longest_word(text: str) -> int:
    return max((cells(word) for word in text.split(" ")), default=0)


def _cells(texts: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> Iterator[str]:
    columns = [wrap(text, width) or [""] for text, width in zip(texts, widths, strict=True)]
    for n in range(max(map(len, columns))):
        parts = [
            _padded(column[n] if n < len(column) else "", width, right=to_right)
            for column, width, to_right in zip(columns, widths, right, strict=True)
        ]
        yield _INDENT + (" " * _GAP).join(parts)


# charts

_LABEL = 28
_BARS = 26


def _calendar(block: Calendar) -> Iterator[str]:
    yield block.title
    margin = " " * (len(_INDENT) + _LABEL + _GAP)
    yield margin + "".join(str(on.day // 10) if on.day % 10 == 0 else " " for on in block.days)
    yield margin + "".join(str(on.day % 10) for on in block.days)
    for strip in block.strips:
        line = "".join(LETTERS[state] for state in strip.days)
        yield f"{_INDENT}{_padded(strip.label, _LABEL + _GAP)}{line}"
    seen = {state for strip in block.strips for state in strip.days}
    told = [
        f"{LETTERS[state]}{NBSP}{CALLED[state].replace(' ', NBSP)}"
        for state in DayState
        if state in CALLED.keys() & seen
    ]
    yield from _wrapped(",  ".join(told), first=_INDENT, rest=_INDENT)


def _trend(block: Trend) -> Iterator[str]:
    yield block.title
    for panel in block.panels:
        target = f" (target {words.span(panel.target_s)})" if panel.target_s is not None else ""
        yield f"{_INDENT}{panel.label}{target}"
        top = max((p.worst_s or 0.0 for p in panel.points), default=0.0)
        measured = [n for n, point in enumerate(panel.points) if point.worst_s is not None]
        for point in panel.points[min(measured, default=0) :]:
            if point.p50_s is None or point.worst_s is None:
                yield f"{_INDENT * 2}{point.month}  nothing was proven"
                continue
            bar = _bar(point.p50_s, top)
            rest = "─" * max(round(point.worst_s / top * _BARS) - len(bar), 0) if top else ""
            times = f"median {words.duration(point.p50_s)}, worst {words.duration(point.worst_s)}"
            yield f"{_INDENT * 2}{point.month}  {_padded(bar + rest, _BARS)}  {times}"


def _phases(block: Phases) -> Iterator[str]:
    yield block.title
    for bar in block.bars:
        whole = sum(bar.parts)
        shares = [
            f"{name} {words.share(round(part * 1000), round(whole * 1000))}"
            for name, part in zip(block.phases, bar.parts, strict=True)
        ]
        first = f"{_INDENT}{_padded(bar.label, _LABEL + _GAP)}"
        yield from _wrapped(
            ", ".join(share.replace(" ", NBSP) for share in shares), first=first, rest=" " * cells(first)
        )


def _against(block: Against) -> Iterator[str]:
    yield block.title
    top = max((max(m.value_s or 0.0, m.target_s or 0.0) for m in block.measures), default=0.0)
    for measure in block.measures:
        bar = _bar(measure.value_s or 0.0, top, 20)
        if measure.target_s is not None and top:
            at = min(round(measure.target_s / top * 20), 19)
            bar = _padded(bar, 20)[:at] + "│" + _padded(bar, 20)[at + 1 :]
        times = f"{words.duration(measure.value_s or 0.0)} · {measure.said}"
        yield f"{_INDENT}{_padded(measure.label, _LABEL)}  {_padded(bar, 20)}  {times}"
    yield f"{_INDENT}│ is the target."


def _bar(value: float, top: float, wide: int = _BARS) -> str:
    return "█" * max(round(value / top * wide), 1 if value else 0) if top else ""


_WRITERS: tuple[tuple[type, Callable[..., Iterator[str]]], ...] = (
    (Paragraph, _paragraph),
    (Heading, _heading),
    (Bullets, _bullets),
    (Facts, lambda block: _facts(block.rows)),
    (Tiles, _tiles),
    (Notice, _notice),
    (Code, _code),
    (Table, _table),
    (Calendar, _calendar),
    (Trend, _trend),
    (Phases, _phases),
    (Against, _against),
)
