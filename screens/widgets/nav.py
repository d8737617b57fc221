"""The bar of screens on top: where one is, and where the number keys go."""

from __future__ import annotations

from rich.segment import Segment
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from screens.phrase import Phrase

PAGES: tuple[tuple[str, str], ...] = (
    ("ledger", "Ledger"),
    ("connections", "Connections"),
    ("snapshots", "Snapshots"),
    ("drill", "Drill"),
    ("reports", "Reports"),
    ("settings", "Settings"),
)
"""Mode and title of each page, in the order of the keys 1 to 6."""
_NAME = " OffsiteDB "


class Nav(Widget, can_focus=False):
    """One line; a click on a name goes there."""

    COMPONENT_CLASSES = {"nav--name", "nav--here"}  # noqa: RUF012 - Textual's way

    def __init__(self, here: str) -> None:
        super().__init__()
        self._here = here

    def _cells(self) -> list[tuple[str, str, str]]:
        """Text, style class and mode of every piece."""
        shown = [f"{n} {title}" for n, (_, title) in enumerate(PAGES, 1)]
        if len(_NAME) + sum(len(text) + 1 for text in shown) > self.size.width:
            shown = [f"{n} {title[:4]}" for n, (_, title) in enumerate(PAGES, 1)]
        pieces = [(_NAME, "nav--name", "")]
        for text, (mode, _) in zip(shown, PAGES, strict=True):
            pieces += [(" ", "", ""), (text, "nav--here" if mode == self._here else "", mode)]
        return pieces

    def render_line(self, y: int) -> Strip:
        del y
        made = [
            Segment(text, self.get_component_rich_style(style) if style else self.rich_style)
            for text, style, _ in self._cells()
        ]
        return Strip(made).adjust_cell_length(self.size.width, self.rich_style).simplify()

    async def on_click(self, event: events.Click) -> None:
        at = 0
        for text, _, mode in self._cells():
            if at <= event.x < at + Phrase(text).cells and mode:
                await self.run_action(f"app.page('{mode}')")
            at += Phrase(text).cells
