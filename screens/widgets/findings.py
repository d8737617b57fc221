"""What a look at a database found: each with what it means and its cure, a cursor on one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from screens.phrase import Phrase, Tone, paragraphs
from screens.present_connections import Finding
from screens.widgets.lines import wrap
from screens.widgets.tones import TONE_CLASSES, segments

_HINT = "y copies"


class Findings(ScrollView, can_focus=True):
    """Findings one beneath the other, wrapped. Down and up go from one to the next, and through a long one."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"findings--cursor", "findings--cursor-blurred", *TONE_CLASSES}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="findings.up", tooltip="The finding above"),
        Binding("down,j", "move(1)", "Down", show=False, id="findings.down", tooltip="The finding below"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="findings.page-up", tooltip="A page up"),
        Binding("pagedown,space", "page(1)", "Page down", show=False, id="findings.page-down", tooltip="A page down"),
        Binding("home,g", "end(0)", "First", show=False, id="findings.first", tooltip="The first finding"),
        Binding("end,G", "end(-1)", "Last", show=False, id="findings.last", tooltip="The last finding"),
    ]

    @dataclass
    class Moved(Message):
        """The cursor stands on another finding now."""

        findings: Findings

        @property
        def control(self) -> Findings:
            return self.findings

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._items: tuple[Finding, ...] = ()
        self._cursor = 0
        self._laid: list[tuple[int, Phrase]] = []
        """Every line with the number of its finding."""
        self._laid_for = -1

    @property
    def item(self) -> Finding | None:
        """The finding under the cursor."""
        return self._items[self._cursor] if self._items else None

    @property
    def text(self) -> str:
        """All of it, for tests."""
        return "\n".join(line.text.rstrip() for _, line in self._lines())

    def show(self, items: Sequence[Finding]) -> None:
        """Show ``items`` instead, from the first."""
        self._items, self._cursor, self._laid_for = tuple(items), 0, -1
        self._measure()
        self.scroll_to(0, 0, animate=False, immediate=True)
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        del event
        self._measure()

    def on_click(self, event: events.Click) -> None:
        lines, y = self._lines(), event.y + self.scroll_offset.y
        if 0 <= y < len(lines):
            self._go(lines[y][0])

    def action_move(self, by: int) -> None:
        """To the next finding; through the one under the cursor first where it is longer than what is in view."""
        first, last = self._span(self._cursor)
        top, bottom = self.scroll_offset.y, self.scroll_offset.y + self.size.height - 1
        if by > 0 and last > bottom:
            self._scroll(min(last - bottom, self.size.height - 1))
        elif by < 0 and first < top:
            self._scroll(-min(top - first, self.size.height - 1))
        else:
            self._go(self._cursor + by)

    def action_page(self, by: int) -> None:
        """A page of lines; the cursor comes along."""
        self._scroll(by * max(1, self.size.height - 1))
        lines, top = self._lines(), self.scroll_offset.y
        if lines:
            at = min(len(lines) - 1, top if by > 0 else top + self.size.height - 1)
            self._put(lines[at][0])

    def action_end(self, to: int) -> None:
        if self._items:
            self._go(to % len(self._items))

    def render_line(self, y: int) -> Strip:
        """Textual's line API: one line of the widget."""
        lines, n, width = self._lines(), y + self.scroll_offset.y, self.size.width
        if n >= len(lines):
            return Strip.blank(width, self.rich_style)
        item, phrase = lines[n]
        under = None
        if item == self._cursor and (n == 0 or lines[n - 1][0] != item):
            under = self.get_component_rich_style("findings--cursor" if self.has_focus else "findings--cursor-blurred")
        return Strip(segments(self, phrase.fit(width), under), width).simplify()

    def _lines(self) -> list[tuple[int, Phrase]]:
        width = self.size.width
        if width != self._laid_for:
            self._laid = [(n, line) for n, item in enumerate(self._items) for line in _worded(item, max(20, width))]
            self._laid_for = width
        return self._laid

    def _span(self, item: int) -> tuple[int, int]:
        """First and last line of a finding."""
        own = [n for n, (owner, _) in enumerate(self._lines()) if owner == item]
        return (own[0], own[-1]) if own else (0, 0)

    def _go(self, to: int) -> None:
        """The cursor to a finding, as much of it in view as there is room for, from its beginning."""
        if not self._items:
            return
        self._put(max(0, min(len(self._items) - 1, to)))
        first, last = self._span(self._cursor)
        top, height = self.scroll_offset.y, self.size.height
        if first < top or last - first >= height:
            self.scroll_to(0, first, animate=False, immediate=True)
        elif last >= top + height:
            self.scroll_to(0, last - height + 1, animate=False, immediate=True)

    def _put(self, cursor: int) -> None:
        if cursor != self._cursor:
            self._cursor = cursor
            self.post_message(self.Moved(self))
            self.refresh()

    def _scroll(self, by: int) -> None:
        self.scroll_to(0, self.scroll_offset.y + by, animate=False, immediate=True)

    def _measure(self) -> None:
        self.virtual_size = Size(0, len(self._lines()))


def _worded(item: Finding, width: int) -> list[Phrase]:
    """The lines of a finding: what it means, then its cure as it is to be run."""
    if not item.sql:
        return [Phrase(" ") + line for line in wrap(item.phrase, width - 2)]
    room = width - 2 - len(_HINT) - 2
    first, *more = wrap(item.phrase, room - 1)  # a line may have a blank more at its end
    out = [Phrase(" ") + first.fit(room) + Phrase(f"  {_HINT}", Tone.DIM), *(Phrase(" ") + line for line in more)]
    for line in paragraphs(item.sql, Tone.CODE):
        out += [Phrase("     ") + part for part in wrap(line, width - 6)]
    return [*out, Phrase()]
