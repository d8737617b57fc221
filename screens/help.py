"""The keys of a screen, from its own bindings."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.screen import Screen

from screens.base import Sheet
from screens.phrase import Phrase
from screens.widgets.say import Say


class HelpSheet(Sheet[None]):
    """What the keys do."""

    TITLE_TEXT = "Help"

    def __init__(self, about: Screen[object]) -> None:
        super().__init__()
        self._about = about

    def body(self) -> ComposeResult:
        yield Say(Phrase("help"))
