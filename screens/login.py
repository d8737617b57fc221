"""Logging in, and the lock: one screen in front of everything else, which shows nothing of what lies behind it.

At the start anybody may say who they are. When the console locks itself only whoever was logged in can open it again:
what lies behind is theirs. Anybody else leaves it, and starts it anew.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Footer, Input

from engine.errors import OffsiteError
from engine.service import CancelToken
from screens.base import Face
from screens.phrase import Phrase, Tone
from screens.widgets.bar import Bar, Question
from screens.widgets.fields import Field, Secret, Text
from screens.widgets.say import Say


class LoginScreen(Face[None]):
    """Name and password. It is a mode of its own: the pages are not drawn beneath it."""

    AUTO_FOCUS = ""
    QUITS = False
    BEHIND_LOCK = False
    HELP = "Who you are. An admin gives names and passwords: `offsitedb operator add NAME`."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "enter", "log in", id="login.enter", tooltip="Log in with what is entered"),
        Binding("escape", "back", "leave", id="login.back", tooltip="Leave the console; what runs goes on"),
        Binding("down,tab", "step(1)", "next", show=False, id="login.next", tooltip="The other field"),
        Binding("up,shift+tab", "step(-1)", "previous", show=False, id="login.previous", tooltip="The other field"),
    ]

    def compose(self) -> ComposeResult:
        yield Say(Phrase(" ") + Phrase("OffsiteDB", Tone.STRONG), id="sheet-title")
        with Vertical(id="body"):
            yield Say(id="login-about")
            yield Field("Operator", Text(), id="operator")
            yield Field("Password", Secret(), id="password")
        notice = Say(id="notice")
        notice.display = False
        yield notice
        with Horizontal(id="foot"):
            yield Say(id="status")
            yield Bar()
        yield Footer(show_command_palette=False, compact=True)

    def on_screen_resume(self) -> None:
        """Shown, for the first time or again: nothing stands in the fields but who was there."""
        name, why = self.console.left
        self.field("password").control.value = ""
        operator = self.field("operator")
        operator.control.value = name
        operator.control.disabled = bool(name)
        head = Phrase("Locked", Tone.STRONG) if name else Phrase("Log in", Tone.STRONG)
        told = [Phrase(why, Tone.WARN)] if why else []
        if name:
            told.append(Phrase("Your password and enter open it where it was left.", Tone.DIM))
            told.append(Phrase("Anybody else leaves it with esc, and starts it anew.", Tone.DIM))
        else:
            told.append(Phrase("Name, password, enter. What is done here is written down under", Tone.DIM))
            told.append(Phrase("your name.", Tone.DIM))
        self.query_one("#login-about", Say).show(head, Phrase(), *told)
        self.notice()
        self.field("password" if name else "operator").take_focus()

    def field(self, id: str) -> Field:
        return self.query_one(f"#{id}", Field)

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_enter()

    def action_step(self, by: int) -> None:
        """There are two fields: either way it is the other one."""
        del by
        name, password = self.field("operator"), self.field("password")
        to = password if self.focused is name.control or name.control.disabled else name
        self.set_focus(to.control)  # at once: what is typed next belongs there

    def action_enter(self) -> None:
        name, password = self.field("operator"), self.field("password")
        if not name.text:
            name.take_focus()
        elif not password.control.value:
            password.take_focus()
        elif not self.calls.running("login"):
            self._log_in(name.text, password.control.value)

    def _log_in(self, name: str, password: str) -> None:
        self.notice(Phrase("● ", Tone.BUSY) + Phrase("looking at the password", Tone.DIM))
        self.field("password").control.value = ""

        def log_in(_token: CancelToken) -> None:
            self.console.log_in(name, password)

        self.call("login", log_in, lambda _none: self.console.admit(), self._refused, keep=True)

    def _refused(self, error: OffsiteError) -> None:
        self.fail(error)
        self.field("password").take_focus()

    def action_back(self) -> None:
        def leave(_text: str) -> None:
            self.app.exit()

        self.ask(Question(Phrase("Leave the console?"), leave, placeholder="enter leaves, esc stays"))


__all__ = ["LoginScreen"]
