"""Doing things by name: type a few letters of what you want, Enter does it.

Textual's own palette sends 57 kB when it opens and 30 kB for every letter; this one is a field and a list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.fuzzy import Matcher
from textual.widgets import Input

from screens.base import Sheet
from screens.phrase import Phrase, Tone
from screens.widgets.rows import Column, Rows
from screens.widgets.say import Say


@dataclass(frozen=True, slots=True)
class Command:
    """What can be done, in words, and doing it."""

    text: str
    why: str
    run: Callable[[], object]


class PaletteSheet(Sheet[Command]):
    """Ends with the command that was chosen, or none."""

    TITLE_TEXT = "What do you want to do?"
    AUTO_FOCUS = "#palette-text"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "do it", key_display="enter", id="palette.take", tooltip="Do what the cursor is on"),
        Binding("escape", "back", "leave", id="palette.leave", tooltip="Back to where you were"),
        Binding("up", "move(-1)", "up", show=False, id="palette.up", tooltip="The line above"),
        Binding("down", "move(1)", "down", show=False, id="palette.down", tooltip="The line below"),
        Binding("pageup", "move(-10)", "page up", show=False, id="palette.page-up", tooltip="Ten lines up"),
        Binding("pagedown", "move(10)", "page down", show=False, id="palette.page-down", tooltip="Ten lines down"),
    ]

    def __init__(self, commands: Sequence[Command]) -> None:
        super().__init__()
        self._all = tuple(commands)

    def body(self) -> ComposeResult:
        field = Input(placeholder="a few letters of it", id="palette-text", compact=True)
        field.cursor_blink = False
        yield field
        rows = Rows[Command](
            (Column("", 34, grow=1), Column("", 30, grow=1, drop=1)),
            key=lambda c: c.text,
            cells=lambda c: (Phrase(c.text), Phrase(c.why, Tone.DIM)),
            head=False,
            id="palette-hits",
        )
        rows.can_focus = False
        rows.show(self._all)
        yield rows
        yield Say(Phrase("  nothing is called that", Tone.DIM), id="palette-none")

    @on(Input.Changed, "#palette-text")
    def typed(self, event: Input.Changed) -> None:
        event.stop()
        self._match(event.value)

    @on(Input.Submitted, "#palette-text")
    def submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_take()

    @on(Rows.Chosen, "#palette-hits")
    def clicked(self) -> None:
        self.action_take()

    def action_move(self, by: int) -> None:
        self.query_one("#palette-hits", Rows).action_move(by)

    def action_take(self) -> None:
        item = self.query_one("#palette-hits", Rows).item
        if isinstance(item, Command):
            self.dismiss(item)

    def _match(self, text: str) -> None:
        found = self._all
        if text.strip():
            matcher = Matcher(text.strip())
            scored = [(matcher.match(c.text), c) for c in self._all]
            found = tuple(c for score, c in sorted(scored, key=lambda s: -s[0]) if score > 0)
        rows = self.query_one("#palette-hits", Rows)
        rows.show(found)
        rows.action_go(0)
        self.query_one("#palette-none").display = not found
