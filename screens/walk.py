"""The first run."""

from __future__ import annotations

from textual.app import ComposeResult

from screens.base import Page
from screens.phrase import Phrase
from screens.widgets.say import Say


class WalkPage(Page):
    """The first run: from nothing to a proven checkpoint."""

    MODE = "walk"

    def body(self) -> ComposeResult:
        yield Say(Phrase("walk"))
