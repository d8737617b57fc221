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
        made = [Segment(" ", self.rich_style)]
        for n, title in enumerate(self._titles):
            here = n == self._here
            style = self.get_component_rich_style("tabs--here") if here else self.rich_style
            made += [Segment(f" {title} ", style), Segment(" " * (_GAP - 1), self.rich_style)]
        return Strip(made).adjust_cell_length(self.size.width, self.rich_style)

    def on_click(self, event: events.Click) -> None:
        at = 1
        for n, title in enumerate(self._titles):
            end = at + Phrase(title).cells + 2
            if at <= event.x < end:
                self.post_message(self.Clicked(n))
            at = end + _GAP - 1
