"""One line of a detail: what it says, under which label, and what `y` copies there. Pure: no Textual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from screens.phrase import Phrase, Tone, visible

LABEL = 13
"""Columns of a label, with the blanks behind it."""


@dataclass(frozen=True, slots=True)
class Fact:
    """``text`` is wrapped to the room that there is. With ``label`` (may be empty, for a line under one) it stands
    right of the labels; ``head`` begins a section. ``cells`` are columns at the right edge, never wrapped.
    """

    text: Phrase
    label: str | None = None
    copy: tuple[str, str] | None = None
    """What it is, in words, and the text."""
    head: bool = False
    cells: tuple[tuple[Phrase, int], ...] = ()
    """Each with its width."""


BLANK = Fact(Phrase())


def named(label: str, text: Phrase | str, copy: tuple[str, str] | None = None) -> Fact:
    """``SHA-256      858e…``; copies its own text unless told otherwise."""
    phrase = text if isinstance(text, Phrase) else Phrase(text)
    return Fact(phrase, label, copy or (f"the {label.lower()}" if label else "the line", phrase.text))


def under(text: Phrase | str, copy: tuple[str, str] | None = None) -> Fact:
    """A further line in the column of a label's text."""
    phrase = text if isinstance(text, Phrase) else Phrase(text)
    return Fact(phrase, "", copy or ("the line", phrase.text.strip()))


def section(title: str, more: Phrase | str = "", copy: tuple[str, str] | None = None) -> tuple[Fact, Fact]:
    """A blank line and the head of a section. Without ``copy`` `y` copies there what the section says."""
    return BLANK, Fact(Phrase(title, Tone.STRONG) + "  " + more, head=True, copy=copy)


def code(text: str, what: str, indent: int = 4) -> tuple[Fact, ...]:
    """Lines of SQL or of a command; `y` on any of them copies all."""
    lines = text.expandtabs(4).strip("\n").split("\n")
    return tuple(Fact(Phrase(" " * indent) + Phrase(line, Tone.CODE), copy=(what, harmless(text))) for line in lines)


def harmless(text: str) -> str:
    """``text`` to be copied: what other people named must not press keys in the terminal that it is pasted into."""
    return visible(text, keep="\n\t")


def table_line(name: str, cells: Sequence[tuple[Phrase, int]], copied: str) -> Fact:
    """A row of a table inside a detail: a name and right-aligned columns."""
    return Fact(Phrase("  ") + Phrase(name), copy=("the row", harmless(copied)), cells=tuple(cells))
