"""The lines of a form: a label, what is entered, and beneath it what there is to say about that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from screens.phrase import Phrase
from screens.widgets.say import Say
from screens.widgets.tones import plain_glyphs

ENTRY = "entry"
"""The class of everything in a form that takes the keys."""
_GAP = 3


class Text(Input):
    """One line to type in. Its cursor does not blink: nothing goes to the terminal while nothing happens."""

    def __init__(self, value: str = "", *, placeholder: str = "", hidden: bool = False) -> None:
        super().__init__(
            value, placeholder=placeholder, password=hidden, compact=True, select_on_focus=False, classes=ENTRY
        )
        self.cursor_blink = False

    def on_key(self, event: events.Key) -> None:
        """On a screen that knows its fields, tab goes by their order."""
        step = getattr(self.screen, "action_step", None)
        if step is not None and event.key in ("tab", "shift+tab"):
            event.stop()
            event.prevent_default()
            step(1 if event.key == "tab" else -1)

    def on_paste(self, event: events.Paste) -> None:
        """The first line that says something: copying from a page often brings an empty one along."""
        said = next((line.strip() for line in event.text.splitlines() if line.strip()), "")
        event.prevent_default()
        event.stop()
        if said:
            self.replace(said, *self.selection)


class Secret(Text):
    """A line that never shows what it holds, nor gives it back to the clipboard."""

    def __init__(self, *, placeholder: str = "") -> None:
        super().__init__(placeholder=placeholder, hidden=True)

    def action_copy(self) -> None:
        """Nothing."""

    def action_cut(self) -> None:
        """Take the selection away, and nowhere else."""
        self.delete_selection()


class Choice(Widget, can_focus=True):
    """One of a few, all of them in view: left and right choose, a click does."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"choice--chosen", "choice--other", "choice--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "choose(-1)", "choose", show=False, id="choice.previous", tooltip="The one before"),
        Binding("right,space", "choose(1)", "choose", show=False, id="choice.next", tooltip="The next one"),
        Binding("enter", "agree", "next", show=False, id="choice.agree", tooltip="On to the next field"),
    ]

    @dataclass
    class Changed(Message):
        """Another one is chosen."""

        choice: Choice
        value: str

        @property
        def control(self) -> Choice:
            return self.choice

    @dataclass
    class Submitted(Message):
        """Enter: on to the next field."""

        choice: Choice

        @property
        def control(self) -> Choice:
            return self.choice

    def __init__(self, options: Sequence[tuple[str, str]], value: str | None = None) -> None:
        """``options``: pairs of a value and how it is called."""
        super().__init__(classes=ENTRY)
        self._options = tuple(options)
        self._at = 0
        if value is not None:
            self.value = value

    @property
    def value(self) -> str:
        return self._options[self._at][0] if self._options else ""

    @value.setter
    def value(self, value: str) -> None:
        self._at = next((n for n, (name, _) in enumerate(self._options) if name == value), self._at)
        self.refresh()

    def offer(self, options: Sequence[tuple[str, str]]) -> None:
        """Other options instead; what is chosen stays chosen if it is among them."""
        value = self.value
        self._options, self._at = tuple(options), 0
        self.value = value
        self.refresh(layout=True)

    def action_choose(self, by: int) -> None:
        if self._options:
            self._go((self._at + by) % len(self._options))

    def action_agree(self) -> None:
        self.post_message(self.Submitted(self))

    def on_click(self, event: events.Click) -> None:
        for n, (line, at, text) in enumerate(self._places(self.size.width)):
            if event.y == line and at <= event.x < at + Phrase(text).cells:
                self._go(n)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Textual's question to a widget of automatic height."""
        del container, viewport
        return max((line for line, _, _ in self._places(width)), default=0) + 1

    def render_line(self, y: int) -> Strip:
        """Textual's line API: one line of the widget."""
        made: list[Segment] = []
        used = 0
        for n, (line, at, text) in enumerate(self._places(self.size.width)):
            if line != y:
                continue
            made.append(Segment(" " * (at - used), self.rich_style))
            chosen = n == self._at
            style = "choice--cursor" if chosen and self.has_focus else "choice--chosen" if chosen else "choice--other"
            made.append(Segment(text, self.get_component_rich_style(style)))
            used = at + Phrase(text).cells
        return Strip(made).adjust_cell_length(self.size.width, self.rich_style).simplify()

    def _go(self, to: int) -> None:
        if to != self._at:
            self._at = to
            self.refresh()
            self.post_message(self.Changed(self, self.value))

    def _places(self, width: int) -> list[tuple[int, int, str]]:
        """Line, column and text of every option."""
        found: list[tuple[int, int, str]] = []
        line = at = 0
        for n, (_, title) in enumerate(self._options):
            phrase = Phrase(f"{'●' if n == self._at else '○'} {title}")
            shown = phrase.in_ascii() if plain_glyphs(self) else phrase
            if at and at + shown.cells > width:
                line, at = line + 1, 0
            found.append((line, at, shown.text))
            at += shown.cells + _GAP
        return found


class Field(Vertical):
    """A label and its control. ``say`` puts something beneath it; with nothing to say it takes one line."""

    def __init__(self, label: str, control: Text | Choice, *, id: str, note: Phrase | None = None) -> None:
        super().__init__(id=id)
        self.control = control
        self._label = Say(Phrase(label), classes="field-label")
        self._note = Say(*((note,) if note else ()), classes="field-note")
        self._note.display = bool(note)

    def compose(self) -> ComposeResult:
        with Horizontal(classes="field-line"):
            yield self._label
            yield self.control
        yield self._note

    @property
    def label(self) -> str:
        return self._label.text

    @property
    def text(self) -> str:
        """What is entered, without blanks around it."""
        return self.control.value.strip()

    @property
    def said(self) -> str:
        """What stands beneath it."""
        return self._note.text if self._note.display else ""

    def on_descendant_focus(self) -> None:
        """The label stands out while the keys go here."""
        self._label.add_class("field-here")

    def on_descendant_blur(self) -> None:
        self._label.remove_class("field-here")

    def rename(self, label: str) -> None:
        """Another label, a word of ours."""
        self._label.show(Phrase(label))

    def say(self, *lines: Phrase) -> None:
        self._note.show(*lines)
        self._note.display = bool(lines)

    def take_focus(self) -> None:
        self.control.focus()
