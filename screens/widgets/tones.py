"""How tones look: component classes for line widgets, theme variables for text widgets, one set of rules for both."""

from __future__ import annotations

from itertools import groupby

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.content import Content
from textual.widget import Widget

from screens.phrase import Phrase, Tone

TONE_CLASSES = frozenset(f"tone--{tone}" for tone in Tone)
"""COMPONENT_CLASSES of a widget that calls :func:`segments`."""

_CONTENT_STYLE = {
    Tone.PLAIN: "",
    Tone.DIM: "$text-muted",
    Tone.STRONG: "bold",
    Tone.GOOD: "$text-success",
    Tone.WARN: "bold $text-warning",
    Tone.BAD: "bold $text-error",
    Tone.BUSY: "$text-accent",
    Tone.CODE: "$text-secondary",
}


def plain_glyphs(widget: Widget) -> bool:
    """Whether the terminal has no glyphs beyond ASCII, as the app found."""
    return bool(getattr(widget.app, "ascii_only", False))


def content(widget: Widget, lines: tuple[Phrase, ...]) -> Content:
    """``lines`` for a text widget. Nothing in them is parsed."""
    ascii_only = plain_glyphs(widget)
    parts: list[str | tuple[str, str]] = []
    for n, line in enumerate(lines):
        if n:
            parts.append("\n")
        shown = line.in_ascii() if ascii_only else line
        parts += [(text, _CONTENT_STYLE[tone]) for text, tone in shown.pieces]
    return Content.assemble(*parts)


def segments(
    widget: Widget, phrase: Phrase, under: RichStyle | None = None, behind: RichStyle | None = None
) -> list[Segment]:
    """``phrase`` for a line widget; ``under`` (a cursor) takes over the colours and leaves the words, ``behind`` only
    the background and the line under it.

    Neighbours of one tone become one segment: every segment costs forty bytes of colours on the wire.
    """
    shown = phrase.in_ascii() if plain_glyphs(widget) else phrase
    if under is not None:
        return [Segment(shown.text, under)]
    back = RichStyle(bgcolor=behind.bgcolor, underline=behind.underline) if behind is not None else RichStyle.null()
    return [
        Segment("".join(text for text, _ in pieces), widget.get_component_rich_style(f"tone--{tone}") + back)
        for tone, pieces in groupby(shown.pieces, key=lambda piece: piece[1])
    ]
