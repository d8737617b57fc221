"""A text to read and to copy: a policy, a grants recipe."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from screens.base import Sheet
from screens.phrase import Phrase, Tone, paragraphs
from screens.widgets.lines import Lines
from screens.widgets.say import Say


class TextSheet(Sheet[None]):
    """Shows one text, or one of several in turn. ``texts``: what each is, in words, what to know, and the text."""

    AUTO_FOCUS = "Lines"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", id="text.back", tooltip="Back to the form"),
        Binding("tab", "other", "the other", id="text.other", tooltip="The other text", priority=True),
        Binding("y", "copy", "copy", id="text.copy", tooltip="Copy the text, through the terminal (OSC 52)"),
    ]

    def __init__(self, title: str, *texts: tuple[str, tuple[str, ...], str]) -> None:
        super().__init__()
        self._titled = title
        self._texts = texts
        self._shown = 0

    def body(self) -> ComposeResult:
        yield Say(id="text-about")
        yield Lines(id="text")

    def on_mount(self) -> None:
        self._show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "other" and len(self._texts) < 2:
            return False
        return super().check_action(action, parameters)

    def copyable(self) -> tuple[str, str] | None:
        what, _, text = self._texts[self._shown]
        return what, text

    def action_other(self) -> None:
        self._shown = (self._shown + 1) % len(self._texts)
        self.notice()
        self._show()

    def _show(self) -> None:
        what, about, text = self._texts[self._shown]
        number = f"  ({self._shown + 1} of {len(self._texts)})" if len(self._texts) > 1 else ""
        self.title_line(Phrase(self._titled, Tone.STRONG) + Phrase(f" · {what}{number}"))
        self.query_one("#text-about", Say).show(*(Phrase(line, Tone.DIM) for line in about))
        board = self.query_one("#text", Lines)
        board.show(*paragraphs(text, Tone.CODE))
        board.scroll_to(0, 0, animate=False)
