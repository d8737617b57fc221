"""What every screen has: the bar of screens on top, a notice, the line that asks, the state of things, the keys.

A page is one of the six screens and stays alive behind the others; a sheet lies on top of one and goes. Both talk to
the engine through :meth:`Face.call` where that may take longer than a blink, never touch a widget from a thread, and
say a failure in a notice that stays until it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, Protocol, TypeVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer

from engine.errors import OffsiteError
from engine.model.recovery import Recovered
from engine.model.watch import Overview
from engine.service import CancelToken, Engine, Initialised, RecoveryPlace
from screens import present
from screens.calls import Calls
from screens.messages import Answered
from screens.phrase import Phrase, Tone, next_steps
from screens.widgets.bar import Bar, Question
from screens.widgets.nav import Nav
from screens.widgets.say import Say

T = TypeVar("T")

SESSION_OVER = ("access.login-required", "access.session-ended")


class Console(Protocol):
    """What a screen may ask of the program around it."""

    ascii_only: bool

    @property
    def engine(self) -> Engine: ...
    @property
    def overview(self) -> Overview | None: ...
    def nudge(self) -> None:
        """Look at the catalog now rather than at the next tick."""

    def repaint(self) -> None:
        """Send the whole screen to the terminal anew."""

    def go(self, mode: str, **where: str) -> None:
        """Show another page, there at ``where`` (a snapshot's, job's, drill's or connection's id or name)."""

    def initialise(self) -> Initialised:
        """Make the installation and open it."""

    def recover(self, place: RecoveryPlace, code: str, catalog_id: str | None, cancel: CancelToken) -> Recovered:
        """Rebuild a lost installation and open it."""

    def start_worker(self) -> str:
        """Start a worker for this session; what was started, in words."""

    def copy_to_clipboard(self, text: str) -> None: ...

    # logging in

    @property
    def locked(self) -> bool:
        """Whether the login screen stands in front of everything."""

    @property
    def left(self) -> tuple[str, str]:
        """Who was logged in when the console locked (empty: nobody), and why it did."""

    def lock(self, error: OffsiteError | None = None) -> None:
        """Nothing is shown any more until somebody logs in."""

    def log_in(self, name: str, password: str) -> None:
        """From now on the engine acts for this operator. Raises AccessDenied."""

    def admit(self) -> None:
        """Somebody has logged in: show what was there."""

    def when_open(self, then: Callable[[], Any]) -> None:
        """Do it when the console is not locked any more."""


class Face(Screen[T]):
    """The part that pages and sheets share."""

    AUTO_FOCUS = "#body Rows, #body Input"
    QUITS: ClassVar[bool] = True
    """Whether `q` leaves the program from here. Not where letters are typed."""
    BEHIND_LOCK: ClassVar[bool] = True
    """Whether it waits while the console is locked: an answer that comes then must not show anything."""
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)
    """Textual repaints the whole screen when the focus moves; the two widgets that it moves between are enough."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", show=False, id="back", tooltip="Close what is open, or go back"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.calls = Calls(self.post_message)

    @property
    def console(self) -> Console:
        return cast("Console", self.app)

    @property
    def engine(self) -> Engine:
        return self.console.engine

    def now(self) -> datetime:
        """The present instant, by the engine's clock."""
        return self.engine.clock.now()

    # what a screen overrides

    def body(self) -> ComposeResult:
        """The widgets between the bar of screens and the notice."""
        raise NotImplementedError

    def look(self, overview: Overview) -> None:
        """The catalog as it is now, at every look of the poller while this screen is shown."""
        del overview

    def copyable(self) -> tuple[str, str] | None:
        """What `y` copies: what it is, in words, and the text."""
        return None

    # what a screen uses

    def call(
        self,
        name: str,
        verb: Callable[[CancelToken], Any],
        then: Callable[[Any], Any],
        failed: Callable[[OffsiteError], Any] | None = None,
        *,
        keep: bool = False,
    ) -> None:
        """Run ``verb`` in the background; see :class:`screens.calls.Calls`. A failure becomes a notice by default.

        A dangerous verb that wants the password once more gets it, and is tried again.
        """

        def refused(error: OffsiteError) -> None:
            if error.code in SESSION_OVER:
                self.console.lock(error)
            elif error.code == "access.confirm":
                self._ask_password(lambda: self.call(name, verb, then, failed, keep=keep))
            else:
                (failed or self.fail)(error)

        self.calls.start(name, verb, then, refused, keep=keep)

    def _ask_password(self, then: Callable[[], None]) -> None:
        def typed(password: str) -> None:
            operators = self.engine.operators
            self.call("password", lambda _t: operators.confirm(operators.token or "", password), lambda _none: then())

        prompt = Phrase("Your password, once more:", Tone.WARN)
        self.ask(Question(prompt, typed, placeholder="hidden; esc leaves it", hidden=True))

    def notice(self, *lines: Phrase) -> None:
        """Say something that stays until Escape or the next notice."""
        board = self.query_one("#notice", Say)
        board.show(*lines)
        board.display = bool(lines)

    def done(self, text: str) -> None:
        """A notice that something went well."""
        self.notice(Phrase("✓ ", Tone.GOOD) + Phrase(text))

    def fail(self, error: OffsiteError) -> None:
        """A notice of what went wrong and what to do next."""
        self.notice(*error_lines(error))

    def ask(self, question: Question) -> None:
        """Ask in the line at the bottom."""
        focused = self.focused
        bar = self.query_one("#bar", Bar)

        def back(then: Callable[..., Any] | None) -> Callable[..., None]:
            def run(*answer: str) -> None:
                if focused is not None and focused.is_attached:
                    self.set_focus(focused)
                if then is not None:
                    then(*answer)

            return run

        bar.ask(replace(question, answered=back(question.answered), left=back(question.left)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While the line at the bottom asks, the keys are its own."""
        del parameters
        if action in ("back", "leave") or not self.is_mounted:  # the footer below asks before this one is composed
            return True
        return not self.query_one("#bar", Bar).asking

    def on_answered(self, answer: Answered) -> None:
        answer.stop()
        if not self.is_attached:
            return
        if self.BEHIND_LOCK and self.console.locked:
            self.console.when_open(lambda: self.post_message(Answered(answer.name, answer.token, answer.then)))
            return
        self.calls.settle(answer)

    def on_unmount(self) -> None:
        self.calls.cancel_all()

    def action_copy(self) -> None:
        found = self.copyable()
        if found is None:
            self.notice(Phrase("there is nothing to copy here", Tone.DIM))
            return
        self.copy(*found)

    def copy(self, what: str, text: str) -> None:
        """Hand ``text`` to the terminal's clipboard and say so."""
        self.console.copy_to_clipboard(text)
        self.notice(
            Phrase("✓ ", Tone.GOOD)
            + Phrase(f"copied {what} ({len(text):,} characters)")
            + Phrase(" · sent to your terminal's clipboard by OSC 52", Tone.DIM)
        )

    def action_back(self) -> None:
        if self.query_one("#notice", Say).display:
            self.notice()


class Page(Face[None]):
    """One of the six screens."""

    MODE: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "c", "app.checkpoint", "checkpoint", id="checkpoint", tooltip="Snapshot and drill of the connection, now"
        ),
        Binding("d", "app.drill", "drill", id="drill", tooltip="Restore the snapshot again and compare"),
        Binding("r", "refresh", "refresh", show=False, id="refresh", tooltip="Look at the catalog now"),
        Binding("w", "start_worker", "worker", show=False, id="worker", tooltip="Start a worker for this session"),
    ]

    def compose(self) -> ComposeResult:
        yield Nav(self.MODE)
        with Vertical(id="body"):
            yield from self.body()
        notice = Say(id="notice")
        notice.display = False
        yield notice
        with Horizontal(id="foot"):  # one line for both: asking moves nothing else
            yield Say(id="status")
            yield Bar()
        yield Footer(show_command_palette=False, compact=True)

    def connection_in_focus(self) -> str | None:
        """The connection that `c` means here."""
        return None

    def snapshot_in_focus(self) -> str | None:
        """The snapshot that `d` means here."""
        return None

    def arrive(self, **where: str) -> None:
        """Shown by :meth:`Console.go`, at a place."""
        del where

    def on_screen_resume(self) -> None:
        overview = self.console.overview
        if overview is not None:
            self.take(overview)

    def take(self, overview: Overview) -> None:
        """A look of the poller."""
        if not self.query("#status"):  # not composed yet, or about to go
            return
        self.query_one("#status", Say).show(present.status_line(overview))
        self.look(overview)

    def action_refresh(self) -> None:
        self.console.repaint()
        self.console.nudge()

    def action_start_worker(self) -> None:
        self.call("worker", lambda _token: self.console.start_worker(), self.done)


class Sheet(Face[T]):
    """A screen on top of a page: a form, a receipt, help. Escape closes it."""

    TITLE_TEXT: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", id="sheet.back", tooltip="Back to where you were"),
    ]

    def compose(self) -> ComposeResult:
        yield Say(Phrase(" ") + Phrase(self.TITLE_TEXT, Tone.STRONG), id="sheet-title")
        with Vertical(id="body"):
            yield from self.body()
        notice = Say(id="notice")
        notice.display = False
        yield notice
        with Horizontal(id="foot"):
            yield Say(id="status")
            yield Bar()
        yield Footer(show_command_palette=False, compact=True)

    def title_line(self, line: Phrase) -> None:
        self.query_one("#sheet-title", Say).show(Phrase(" ") + line)

    def action_back(self) -> None:
        if self.query_one("#notice", Say).display:
            self.notice()
            return
        self.calls.cancel_all()
        self.dismiss()


def error_lines(error: OffsiteError) -> tuple[Phrase, ...]:
    """What went wrong, its notes, and what to do next."""
    notes = tuple(Phrase(f"  {note}", Tone.DIM) for note in getattr(error, "__notes__", ()))
    hint = next_steps(error.hint, "  ")
    first = Phrase("✗ ", Tone.BAD) + Phrase(error.message) + Phrase(f"  [{error.code}]", Tone.DIM)
    return (first, *notes, *hint)
