"""A detail to read line by line: labels, wrapped text, sections, tables; the cursor says what `y` copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from screens.fact import LABEL, Fact
from screens.phrase import Phrase, Tone
from screens.widgets.lines import wrap
from screens.widgets.rows import Column, Rows

TABLE = 92
"""Columns of a table at the most: an eye must get from its names to its numbers."""


@dataclass(frozen=True, slots=True)
class Part:
    """One line on the screen: a fact, or a part of one that had to be wrapped."""

    key: str
    fact: Fact
    text: Phrase


class Facts(Rows[Part]):
    """Shows facts. A name that does not fit keeps its beginning; what `y` copies is always whole."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "open", show=False, id="facts.open", tooltip="Open what the cursor is on"),
        Binding("right_square_bracket", "section(1)", "Next section", show=False, key_display="]", id="facts.next"),
        Binding(
            "left_square_bracket", "section(-1)", "Section before", show=False, key_display="[", id="facts.previous"
        ),
    ]

    def __init__(self, id: str | None = None) -> None:
        super().__init__((Column("", 10, grow=1),), key=lambda part: part.key, cells=self._worded, head=False, id=id)
        self._facts: tuple[Fact, ...] = ()
        self._wrapped_at = -1

    @property
    def facts(self) -> tuple[Fact, ...]:
        return self._facts

    @property
    def fact(self) -> Fact | None:
        """What the cursor is on."""
        return self.item.fact if self.item is not None else None

    @property
    def copyable(self) -> tuple[str, str] | None:
        """What the cursor is on, to be copied: a line, or at the head of a section all of it."""
        fact = self.fact
        if fact is None or fact.copy is not None or not fact.head:
            return fact.copy if fact is not None else None
        start = self._facts.index(fact)
        after = next((n for n in range(start + 1, len(self._facts)) if self._facts[n].head), len(self._facts))
        return "the section", "\n".join(_whole(f) for f in self._facts[start:after]).rstrip()

    @property
    def text(self) -> str:
        """All that is said, unwrapped: for tests."""
        return "\n".join(_whole(fact) for fact in self._facts)

    def tell(self, facts: Sequence[Fact], *, anew: bool = False) -> None:
        """Show ``facts`` instead; with ``anew`` from the top."""
        same = self._facts == facts
        self._facts = tuple(facts)
        if not same:
            self.show(self._wrap())
        if anew:
            self.action_go(0)
            self.scroll_home(animate=False)

    def on_resize(self, event: events.Resize) -> None:
        del event
        if self._room() != self._wrapped_at:
            self.show(self._wrap())

    def action_page(self, by: int) -> None:
        """A page on, the cursor with it: this is read, not picked from."""
        step = by * max(1, self.size.height - 1)
        to = self.scroll_offset.y + step
        self.action_move(step)
        self.scroll_to(y=max(0, min(to, self.max_scroll_y)), animate=False, immediate=True)

    def action_section(self, by: int) -> None:
        """To the next head of a section, or the one before."""
        heads = [n for n, part in enumerate(self.items) if part.fact.head or not n]
        after = [n for n in heads if (n > self.cursor if by > 0 else n < self.cursor)]
        if after:
            self.action_go(after[0] if by > 0 else after[-1])
            self.scroll_to(y=min(self.cursor, self.max_scroll_y), animate=False, immediate=True)

    def _room(self) -> int:
        return max(20, self.size.width - 2)

    def _wrap(self) -> list[Part]:
        room = self._wrapped_at = self._room()
        parts: list[Part] = []
        for n, fact in enumerate(self._facts):
            if fact.cells:
                parts.append(Part(f"{n}", fact, fact.text))
                continue
            columns = room if fact.label is None else room - LABEL
            for m, line in enumerate(wrap(fact.text, columns)):
                parts.append(Part(f"{n}.{m}", fact, _labelled(fact, line, first=not m)))
        return parts

    def _worded(self, part: Part) -> tuple[Phrase, ...]:
        cells = part.fact.cells
        if not cells:
            return (part.text,)
        line = part.text.fit(max(1, min(self._room(), TABLE) - sum(width + 1 for _, width in cells)))
        for phrase, width in cells:
            line = line + Phrase(" ") + phrase.fit(width, right=True)
        return (line,)


def _labelled(fact: Fact, line: Phrase, *, first: bool) -> Phrase:
    if fact.label is None:
        return line
    if first:
        return Phrase(fact.label, Tone.DIM).fit(LABEL) + line
    out = Phrase(" " * LABEL)  # what follows stands under what came first, not further in
    for text, tone in line.pieces[1:]:
        out = out + Phrase(text, tone)
    return out


def _whole(fact: Fact) -> str:
    cells = "".join(f"  {phrase.text}" for phrase, _ in fact.cells)
    return f"{fact.label:<{LABEL}}{fact.text.text}" if fact.label is not None else fact.text.text + cells
