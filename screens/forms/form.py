"""What every form has: fields from top to bottom, Enter to the next one and at the last one to try it.

Nothing is saved untried. While something is tried the fields keep what they hold; Escape stops it at once.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Button, Input

from engine.errors import OffsiteError
from screens.base import Sheet
from screens.phrase import Phrase, Tone
from screens.widgets.fields import ENTRY, Choice, Field

T = TypeVar("T")


class FormBody(VerticalScroll, can_focus=False):
    """The fields; scrolls to the one that takes the keys where there are more than there is room for."""


class Form(Sheet[T]):
    """A sheet with fields. ``submit`` is called by its button, by ctrl+t, and by Enter in the last field."""

    AUTO_FOCUS = f".{ENTRY}"
    QUITS = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", id="form.back", tooltip="Stop what is being tried, or leave the form"),
        Binding("down,tab", "step(1)", "next", show=False, id="form.next", tooltip="The next field"),
        Binding("up,shift+tab", "step(-1)", "previous", show=False, id="form.previous", tooltip="The field before"),
        Binding(
            "ctrl+t", "submit", "test", key_display="^t", id="form.submit", tooltip="Try what is entered, for real"
        ),
        Binding("ctrl+y", "copy", "copy", show=False, key_display="^y", id="form.copy", tooltip="Copy what is to do"),
    ]

    def __init__(self, progress: Phrase | None = None) -> None:
        """``progress``: where this form stands in the first run."""
        super().__init__()
        self._progress = progress
        self._failed: OffsiteError | None = None

    def on_mount(self) -> None:
        if self._progress is not None:
            self.title_line(self._progress)

    def submit(self) -> None:
        """Check the fields, then try it in the background."""
        raise NotImplementedError

    @property
    def trying(self) -> bool:
        """Whether something is being tried."""
        return self.calls.running("try")

    def stopped(self) -> None:
        """What was being tried was stopped."""
        self.notice(Phrase("stopped; nothing was saved", Tone.DIM))

    def field(self, id: str) -> Field:
        return self.query_one(f"#{id}", Field)

    def refuse(self, field: str, text: str, hint: str = "") -> None:
        """A field does not do: say why beneath it, and go there."""
        where = self.field(field)
        where.say(Phrase("✗ ", Tone.BAD) + Phrase(text), *((Phrase(hint, Tone.DIM),) if hint else ()))
        where.take_focus()

    def fail(self, error: OffsiteError) -> None:
        self._failed = error
        super().fail(error)

    def copyable(self) -> tuple[str, str] | None:
        return None if self._failed is None else ("what is to do", self._failed.hint)

    @on(Input.Submitted)
    @on(Choice.Submitted)
    def entered(self, event: Input.Submitted | Choice.Submitted) -> None:
        event.stop()
        entries = [widget for widget in self._stops() if widget.has_class(ENTRY)]
        if entries and self.focused is entries[-1]:
            self.action_submit()
        else:
            self.action_step(1)

    @on(Button.Pressed, "#submit")
    def pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.action_submit()

    def action_step(self, by: int) -> None:
        stops = self._stops()
        if stops:
            at = stops.index(self.focused) if self.focused in stops else -1
            to = stops[(at + by) % len(stops)]
            self.set_focus(to)
            if isinstance(to, Input):
                to.cursor_position = len(to.value)

    def _stops(self) -> list[Widget]:
        """What takes the keys, from top to bottom. Textual's own order is wrong until what has just appeared is laid
        out."""
        return [
            widget
            for widget in self.query(f".{ENTRY}, Button").results(Widget)
            if all(node.display for node in widget.ancestors_with_self if isinstance(node, Widget))
        ]

    def action_submit(self) -> None:
        if not self.trying:
            self.notice()
            self._failed = None
            self.submit()

    def action_back(self) -> None:
        if self.trying:
            self.calls.cancel("try")
            self.stopped()
            return
        super().action_back()


def button(label: str, id: str) -> Button:
    """A button of one line; ``label`` is a word of ours."""
    return Button(Phrase(label).text, id=id, compact=True)
