"""The first run: from nothing to a proven checkpoint, one step after the other, by keyboard alone.

It begins where there is no installation yet, and goes on wherever something is missing: whoever left half-way is led
on from there. The recovery code is held only while it is shown and confirmed.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from engine.errors import ConfigError, OffsiteError
from engine.model.views import JobView
from engine.service import CancelToken, Engine, Initialised
from screens import present_recovery
from screens import walk_words as words
from screens.base import Page
from screens.forms.connection import AddConnection
from screens.forms.destination import AddDestination
from screens.forms.recover import RecoverInstallation
from screens.forms.text import TextSheet
from screens.phrase import Phrase, Tone
from screens.walk_words import Step
from screens.widgets.bar import Bar, confirm
from screens.widgets.fields import Field, Text
from screens.widgets.lines import Lines
from screens.widgets.nav import Nav
from screens.widgets.say import Say


class WalkPage(Page):
    """One step at a time; the line on top says where one is."""

    MODE = "walk"
    HELP = (
        "The first run. Nothing on this machine is changed before you press enter on the first screen. "
        "You may leave at any time: what is done stays done, and page 2 goes on from there."
    )
    AUTO_FOCUS = "#walk-text"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go_on", "go on", id="walk.go-on", tooltip="The next step"),
        Binding("l", "later", "later", id="walk.later", tooltip="Leave this step for later"),
        Binding("r", "recover", "recover", id="walk.recover", tooltip="The old machine is lost: rebuild it here"),
        Binding("escape", "code", "the code again", id="walk.code", tooltip="Show the recovery code once more"),
        Binding("escape", "back", "back", show=False, id="walk.back", tooltip="One screen back, or stop what runs"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._step = Step.KEY
        self._made: Initialised | None = None
        self._asked: tuple[int, ...] = ()
        """The groups of the recovery code to type back; empty while the code is shown."""
        self._confirmed: bool | None = None
        """Whether the code was typed back just now; None: as the catalog says."""
        self._keyring: str | OffsiteError | None = None
        self._to: tuple[str, str] | None = None
        """The connection of the first checkpoint and its destination."""

    def compose(self) -> ComposeResult:
        for widget in super().compose():
            yield Say(id="walk-progress") if isinstance(widget, Nav) else widget

    def body(self) -> ComposeResult:
        yield Lines(id="walk-text")
        for n in range(words.GROUPS_ASKED):
            yield Field(f"Group {n + 1}", Text(placeholder="four characters"), id=f"group-{n}")

    def on_mount(self) -> None:
        self._show()

    def on_screen_resume(self) -> None:
        if self._made is None:
            self._find_step()

    # where one is

    def _find_step(self) -> None:
        """What is missing: without an installation everything is."""
        try:
            engine = self.engine
        except ConfigError:
            self._look_for_keyring()
            return
        self.call("missing", lambda _token: missing(engine), self._arrived)

    def _arrived(self, found: tuple[Step, tuple[str, str] | None]) -> None:
        self._step, self._to = found
        self._show()

    def _look_for_keyring(self) -> None:
        """Which keyring the key would be kept in: worth knowing before anything is made."""

        def found(name: str | OffsiteError) -> None:
            self._keyring = name
            self._show()

        self._keyring = None
        self.call("keyring", lambda _token: Engine.choose_keyring(), found, found)

    def _go_to(self, step: Step) -> None:
        self._step, self._asked = step, ()
        self.notice()
        self._show()

    def _show(self) -> None:
        self.query_one("#walk-progress", Say).show(Phrase(" ") + self._progress())
        asked = self._asked if self._step is Step.CODE else ()
        for n in range(words.GROUPS_ASKED):
            field = self.query_one(f"#group-{n}", Field)
            field.display = n < len(asked)
            if field.display:
                field.rename(f"Group {asked[n]}")
        board = self.query_one("#walk-text", Lines)
        board.show(*self._text())
        board.set_class(bool(asked), "short")
        if not asked and not self.query_one(Bar).asking:
            board.focus()
        self.refresh_bindings()

    def _progress(self) -> Phrase:
        overview = self.console.overview
        known = self._confirmed if self._confirmed is not None else overview is None or overview.recovery_confirmed
        return words.progress(self._step, confirmed=known)

    def _text(self) -> tuple[Phrase, ...]:
        match self._step:
            case Step.KEY:
                return words.welcome(self._keyring)
            case Step.CODE if self._asked:
                return words.type_back(self._asked)
            case Step.CODE:
                return words.code(
                    self._made.code.groups if self._made else (), self._made.backend if self._made else ""
                )
            case Step.DESTINATION:
                return words.DESTINATION
            case Step.CONNECTION:
                return words.CONNECTION
            case Step.CHECKPOINT:
                return words.checkpoint(*(self._to or ("", "")), worker=self._worker_runs())

    def _worker_runs(self) -> bool:
        overview = self.console.overview
        return overview is not None and overview.workers_alive > 0

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if (action == "later" and self._step is Step.KEY) or (action == "recover" and self._step is not Step.KEY):
            return False
        if (action == "code" and not self._asked) or (action == "copy" and self.copyable() is None):
            return False
        if action in ("start_worker", "refresh", "app.checkpoint", "app.drill"):
            return False
        return super().check_action(action, parameters)

    def copyable(self) -> tuple[str, str] | None:
        if self._step is Step.CODE and self._made is not None and not self._asked:
            return "the recovery code", self._made.code.text
        return None

    # what the keys do

    def action_go_on(self) -> None:
        match self._step:
            case Step.KEY:
                self._make()
            case Step.CODE if self._asked:
                self._confirm()
            case Step.CODE:
                self._ask_back()
            case Step.DESTINATION:
                self.app.push_screen(AddDestination(self._progress()), self._has_destination)
            case Step.CONNECTION:
                self.app.push_screen(AddConnection(self._progress()), self._has_connection)
            case Step.CHECKPOINT:
                self._start()

    def action_later(self) -> None:
        if self._step is not Step.CODE:
            self._leave()
            return

        def agreed() -> None:
            self._confirmed = False
            self._forget_code()
            self._go_to(Step.DESTINATION)

        def refused() -> None:
            self.notice(Phrase("good: the code is still here", Tone.DIM))

        self.notice(*words.WITHOUT_CONFIRMING)
        self.ask(confirm("Go on without confirming?", "later", agreed, refused))

    def action_recover(self) -> None:
        form = RecoverInstallation()

        def recovered(_name: str | None) -> None:
            if form.found is None:
                return
            self._step = Step.CHECKPOINT
            about = ("It is in the history, too: `offsitedb ledger`, `offsitedb schedule show`.",)
            said = ("what was found", about, present_recovery.text(form.found))
            self.app.push_screen(TextSheet("Recovered", said), lambda _: self._leave())

        self.app.push_screen(form, recovered)

    def action_code(self) -> None:
        self._asked = ()
        self.notice()
        self._show()

    def _leave(self) -> None:
        """To the ledger; what is missing is found again from the connections page."""
        self.console.go("ledger")

    # 1: the key

    def _make(self) -> None:
        if self.calls.running("make"):
            return
        self.notice(Phrase("● ", Tone.BUSY) + Phrase("making the master key and putting it into the keyring", Tone.DIM))

        def made(found: Initialised) -> None:
            self._made = found
            self._go_to(Step.CODE)

        def failed(error: OffsiteError) -> None:
            self.fail(error)
            self._look_for_keyring()

        self.call("make", lambda _token: self.console.initialise(), made, failed)

    # 2: the recovery code

    def _ask_back(self) -> None:
        assert self._made is not None
        self._asked = self._made.code.confirm_positions(words.GROUPS_ASKED)
        self.notice()
        for n in range(words.GROUPS_ASKED):
            self.query_one(f"#group-{n}", Field).control.value = ""
        self._show()
        self.query_one("#group-0", Field).take_focus()

    @on(Input.Submitted)
    def entered(self, event: Input.Submitted) -> None:
        """On to the next group; in the last one the answer is given, or the first empty one filled."""
        event.stop()
        fields = [self.query_one(f"#group-{n}", Field) for n in range(words.GROUPS_ASKED)]
        here = next((n for n, field in enumerate(fields) if field.control is event.input), 0)
        onward = fields[here + 1 : here + 2] or [field for field in fields if not field.text][:1]
        if onward:
            onward[0].take_focus()
        else:
            self._confirm()

    def _confirm(self) -> None:
        assert self._made is not None
        typed = [self.query_one(f"#group-{n}", Field).text for n in range(words.GROUPS_ASKED)]
        if not self._made.code.confirms(self._asked, typed):
            self.notice(Phrase("✗ ", Tone.BAD) + Phrase("That is not what the code says; esc shows it again."))
            self.query_one("#group-0", Field).take_focus()
            return

        def confirmed(_none: None) -> None:
            self._confirmed = True
            self._forget_code()
            self.console.nudge()
            self._go_to(Step.DESTINATION)
            self.done("the recovery code is confirmed")

        self.call("confirm", lambda _token: self.engine.keys.confirm_recovery(), confirmed)

    def _forget_code(self) -> None:
        """From here on it is where the operator keeps it, and nowhere else."""
        self._made, self._asked = None, ()

    # 3 to 5: destination, connection, first checkpoint

    def _has_destination(self, name: str | None) -> None:
        if name is not None:
            self.done(f"destination {name} works, and is saved")
            self._find_step()

    def _has_connection(self, name: str | None) -> None:
        if name is not None:
            self.done(f"connection {name} is saved")
            self._find_step()

    def _start(self) -> None:
        if self._to is None:
            return
        name = self._to[0]
        self.notice(Phrase("● ", Tone.BUSY) + Phrase("starting", Tone.DIM))

        def start(_token: CancelToken) -> JobView:
            if not self.engine.worker.any_alive():
                self.console.start_worker()
            return self.engine.jobs.checkpoint(name, tag="first")

        self.call("start", start, self._started, keep=True)

    def _started(self, job: JobView) -> None:
        self.notice()
        self.console.nudge()
        self.console.go("drill", job=job.id)


def missing(engine: Engine) -> tuple[Step, tuple[str, str] | None]:
    """The first step that nobody took yet, and what the last one is about."""
    connections = engine.connections.list()
    if connections:
        return Step.CHECKPOINT, (connections[0].name, connections[0].destination)
    return (Step.CONNECTION if engine.destinations.list() else Step.DESTINATION), None
