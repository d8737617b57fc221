"""One line at the bottom that asks: a tag, a filter, a name typed back. Never a window over the screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Input

from screens.phrase import Phrase, Tone
from screens.widgets.say import Say


@dataclass(frozen=True, slots=True)
class Question:
    """``answered`` gets what was typed when Enter is pressed; ``changed`` at every change; ``left`` on Escape."""

    prompt: Phrase
    answered: Callable[[str], None]
    changed: Callable[[str], None] | None = None
    left: Callable[[], None] | None = None
    value: str = ""
    placeholder: str = ""
    hidden: bool = False
    """What is typed is a secret: dots stand for it, and it does not stay in the field."""


class Bar(Horizontal):
    """Hidden until it asks; gives the focus back where it was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "answer", "agree", id="bar.answer", tooltip="Answer with what is typed"),
        Binding("escape", "leave", "leave", id="bar.leave", tooltip="Do nothing"),
    ]

    def __init__(self, id: str | None = "bar") -> None:
        super().__init__(id=id)
        self._question: Question | None = None
        self.display = False

    def compose(self) -> ComposeResult:
        yield Say(id="bar-prompt")
        field = Input(id="bar-input", compact=True, select_on_focus=False)
        field.cursor_blink = False  # a blink costs 370 bytes
        yield field

    @property
    def asking(self) -> bool:
        return self._question is not None

    def ask(self, question: Question) -> None:
        """Show the question and take the keys until it is answered or left."""
        self._question = question
        self.query_one(Say).show(question.prompt + Phrase(" "))
        field = self.query_one(Input)
        with self.prevent(Input.Changed):
            field.value = question.value
        field.placeholder = question.placeholder
        field.password = question.hidden
        field.cursor_position = len(question.value)
        self._show(asking=True)
        self.screen.set_focus(field)  # at once: what is typed next belongs here

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._question is not None and self._question.changed is not None:
            self._question.changed(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        question = self._close()
        if question is not None:
            question.answered(event.value)

    async def action_answer(self) -> None:
        await self.query_one(Input).action_submit()

    def action_leave(self) -> None:
        question = self._close()
        if question is not None and question.left is not None:
            question.left()

    def _close(self) -> Question | None:
        question, self._question = self._question, None
        self._show(asking=False)
        if question is not None and question.hidden:
            with self.prevent(Input.Changed):
                self.query_one(Input).value = ""
        return question

    def _show(self, *, asking: bool) -> None:
        """In the place of what else stands in the line."""
        assert isinstance(self.parent, Widget)
        for widget in self.parent.children:
            widget.display = asking is (widget is self)


def confirm(what: str, name: str, agreed: Callable[[], None], refused: Callable[[], None] | None = None) -> Question:
    """Asks for ``name`` typed back before something that cannot be undone; anything else is a no."""

    def answered(text: str) -> None:
        if text.strip() == name:
            agreed()
        elif refused is not None:
            refused()

    prompt = Phrase(f"{what} Type ", Tone.WARN) + Phrase(name, Tone.STRONG) + Phrase(" to agree:", Tone.WARN)
    return Question(prompt, answered, left=refused)
