"""One line of names, one of which is here: the sections of a page."""

from __future__ import annotations

from dataclasses import dataclass

from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from screens.phrase import Phrase

_GAP = 2


class Tabs(Widget, can_focus=False):
    """A click on a name goes there; the page says which keys do."""

    COMPONENT_CLASSES = {"tabs--here"}  # noqa: RUF012 - Textual's way

    @dataclass
    class Clicked(Message):
        """Somebody wants to go to this one."""

        n: int

    def __init__(self, *titles: str, id: str | None = None) -> None:
        super().__init__(id=id)
        self._titles = titles
        self._here = 0

    def show(self, n: int) -> None:
        """The name at ``n`` is where one is."""
        if n != self._here:
            self._here = n
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Textual's line API: one line of the widget."""
        del y
        width, seen = self.size.width, self._seen()
        made, at = [Segment("‹" if seen[0][0] else " ", self.rich_style)], 1
        for n, start, title in seen:
            style = self.get_component_rich_style("tabs--here") if n == self._here else self.rich_style
            made += [Segment(" " * (start - at), self.rich_style), Segment(title, style)]
            at = start + Phrase(title).cells
        if seen[-1][0] < len(self._titles) - 1:
            made += [Segment(" " * (width - 1 - at), self.rich_style), Segment("›", self.rich_style)]
        return Strip(made).adjust_cell_length(width, self.rich_style)

    def on_click(self, event: events.Click) -> None:
        """A click on a mark of more goes one on."""
        if event.x in (0, self.size.width - 1):
            step = 1 if event.x else -1
            self.post_message(self.Clicked(min(max(self._here + step, 0), len(self._titles) - 1)))
        for n, start, title in self._seen():
            if start <= event.x < start + Phrase(title).cells:
                self.post_message(self.Clicked(n))

    def _seen(self) -> list[tuple[int, int, str]]:
        """What there is room for: number, column and text of each name, the one that one is at among them."""
        room = self.size.width - 1
        for first in range(self._here + 1):
            at = 1
            seen: list[tuple[int, int, str]] = []
            for n, title in enumerate(self._titles[first:], first):
                end = at + Phrase(title).cells + 2
                if end > room and seen:
                    break
                seen.append((n, at, f" {title} "))
                at = end + _GAP - 1
            if seen[-1][0] >= self._here:
                return seen
        return seen
