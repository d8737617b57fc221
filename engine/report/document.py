"""What a report says, set once: chapters of headings, paragraphs, tables and charts, in plain words.

The terminal's text, the HTML page and the PDF are made from this description and from nothing else, so that they cannot
tell different things. Pure data: no colours, no sizes, no markup. Text from outside is made harmless in one pass over
the whole description (:func:`mapped`), not where it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any, TypeVar, cast

from engine.model.reportrows import DayState

T = TypeVar("T")


class Style(StrEnum):
    """What a piece of text is. Never the only carrier of a meaning: there is always a word."""

    PLAIN = "plain"
    STRONG = "strong"
    QUIET = "quiet"
    CODE = "code"
    TYPED = "typed"
    """Of a sentence, what is to be typed."""
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Span:
    text: str
    style: Style = Style.PLAIN


Text = tuple[Span, ...]


def said(*parts: str | Span | Text) -> Text:
    """``parts`` as one text."""
    out: list[Span] = []
    for part in parts:
        if isinstance(part, str):
            part = Span(part)
        out.extend((part,) if isinstance(part, Span) else part)
    return tuple(span for span in out if span.text)


def line(*parts: str | Span | Text) -> Fact:
    """A line below a row that needs no label."""
    return Fact("", said(*parts))


def plain(text: Text) -> str:
    """Without styles; what is to be typed stands in backticks."""
    return "".join(f"`{span.text}`" if span.style is Style.TYPED else span.text for span in text)


def strong(text: str) -> Span:
    return Span(text, Style.STRONG)


def code(text: str) -> Span:
    return Span(text, Style.CODE)


def quiet(text: str) -> Span:
    return Span(text, Style.QUIET)


def good(text: str) -> Span:
    return Span(text, Style.GOOD)


def warn(text: str) -> Span:
    return Span(text, Style.WARN)


def bad(text: str) -> Span:
    return Span(text, Style.BAD)


def marked(text: str) -> Text:
    """``text`` with what stands in backticks set as what is to be typed; a backtick without another one stays."""
    parts = re.split(r"`([^`]+)`", text)
    return said(*(Span(part, Style.TYPED) if n % 2 else part for n, part in enumerate(parts)))


# blocks


@dataclass(frozen=True, slots=True)
class Paragraph:
    """``small``: an explanation of what stands above it."""

    text: Text
    small: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """Within a chapter."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    items: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    label: str
    text: Text


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels and what belongs to them, one a line."""

    rows: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure that is read first. ``style``: good, warn, bad or plain."""

    value: str
    label: str
    style: Style = Style.PLAIN


@dataclass(frozen=True, slots=True)
class Tiles:
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """What must not be overlooked. ``style``: good, warn or bad."""

    style: Style
    title: str
    text: Text
    more: tuple[Text, ...] = ()


@dataclass(frozen=True, slots=True)
class Code:
    """Lines to type, or a document to the letter."""

    text: str


class Kind(StrEnum):
    """How a column is set: words break, numbers stand right, short texts do not break."""

    WORDS = "words"
    NUMBER = "number"
    SHORT = "short"


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    kind: Kind = Kind.WORDS


@dataclass(frozen=True, slots=True)
class Row:
    """``below``: lines across the whole table under the row, which stay with it; a label may be empty."""

    cells: tuple[Text, ...]
    below: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """``note`` stands below it. ``title`` is empty where a heading has said it."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""


# charts: the figures, and in words what they show


LETTERS = {
    DayState.PROVEN: "✓",
    DayState.SKIPS: "s",
    DayState.FAILED: "✗",
    DayState.UNVERIFIED: "?",
    DayState.UNDRILLED: "○",
    DayState.GAP: "!",
    DayState.NOTHING_DUE: "·",
    DayState.ABSENT: " ",
    DayState.AHEAD: " ",
}
"""What stands in a day's cell, in black and white as well."""
CALLED = {
    DayState.PROVEN: "proven",
    DayState.SKIPS: "proven with skips",
    DayState.FAILED: "a drill failed",
    DayState.UNVERIFIED: "a drill could not be carried out",
    DayState.UNDRILLED: "snapshot, but no drill",
    DayState.GAP: "missing: due, and none was made",
    DayState.NOTHING_DUE: "nothing was due",
}
"""The legend. Days without a connection, or after the report was built, stay empty."""


@dataclass(frozen=True, slots=True)
class Strip:
    """One connection's days."""

    label: str
    days: tuple[DayState, ...]


@dataclass(frozen=True, slots=True)
class Calendar:
    """``alt``: what it shows, in words."""

    title: str
    days: tuple[date, ...]
    strips: tuple[Strip, ...]
    alt: str


@dataclass(frozen=True, slots=True)
class Point:
    """One month of a connection; restore times in seconds, None where none was measured."""

    month: str
    p50_s: float | None
    worst_s: float | None


@dataclass(frozen=True, slots=True)
class Panel:
    label: str
    points: tuple[Point, ...]
    target_s: float | None


@dataclass(frozen=True, slots=True)
class Trend:
    """Restore times over months, a panel for each connection."""

    title: str
    panels: tuple[Panel, ...]
    alt: str


@dataclass(frozen=True, slots=True)
class Bar:
    """``parts`` in seconds, in the order of the chart's phases."""

    label: str
    parts: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Phases:
    """What a restore time consists of, a bar for each connection."""

    title: str
    phases: tuple[str, ...]
    bars: tuple[Bar, ...]
    alt: str


@dataclass(frozen=True, slots=True)
class Measure:
    """A duration held against its target, in seconds. ``said``: the verdict in words."""

    label: str
    value_s: float | None
    target_s: float | None
    said: str


@dataclass(frozen=True, slots=True)
class Against:
    """Durations held against targets, a bar for each connection."""

    title: str
    measures: tuple[Measure, ...]
    alt: str


Chart = Calendar | Trend | Phases | Against
Block = Paragraph | Heading | Bullets | Facts | Tiles | Notice | Code | Table | Chart


@dataclass(frozen=True, slots=True)
class Chapter:
    """``lead``: what the chapter answers, in a sentence or two."""

    title: str
    lead: Text
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """``running`` stands on every page; ``cover`` are the facts that come first."""

    title: str
    period: str
    running: str
    verdict: Notice
    cover: tuple[Fact, ...]
    chapters: tuple[Chapter, ...]


def mapped(value: T, change: Callable[[str], str]) -> T:
    """``value`` (a description or a part of it) with every text in it changed."""
    return cast("T", _mapped(value, change))


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, StrEnum | date):
        return value
    if isinstance(value, Code):  # of several lines by nature
        return Code("\n".join(map(change, value.text.split("\n"))))
    if isinstance(value, str):
        return change(value)
    if isinstance(value, tuple):
        return tuple(_mapped(item, change) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _mapped(getattr(value, f.name), change) for f in fields(value)})
    return value
