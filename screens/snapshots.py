"""Snapshots."""

from __future__ import annotations

from textual.app import ComposeResult

from screens.base import Page
from screens.phrase import Phrase
from screens.widgets.say import Say


class SnapshotsPage(Page):
    """Snapshots."""

    MODE = "snapshots"

    def body(self) -> ComposeResult:
        yield Say(Phrase("Snapshots"))
