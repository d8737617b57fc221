"""A restore into a server of the operator's: where to and what, then the plan, then the database's name typed back.

The connection string is typed and pasted unseen. Nothing is changed at the target before its name was typed; the job
that then starts plans again before it touches anything.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from engine.errors import ConfigError, OffsiteError
from engine.model.restoring import Parts, RestoreOptions, TargetPlan
from engine.model.views import JobView
from engine.service import CancelToken
from screens.forms.address import say_address
from screens.forms.form import Form, FormBody, button
from screens.names import NAMES_NOTE, read_names
from screens.phrase import Phrase, Tone
from screens.present_restore import plan_lines, things
from screens.widgets.bar import Question
from screens.widgets.fields import Choice, Field, Secret, Text
from screens.widgets.lines import Lines
from screens.widgets.say import Say

WHOLE, SCHEMAS, TABLES = "whole", "schemas", "tables"


class RestoreForm(Form[str | None]):
    """First the fields, then the plan. Closes with the id of the job that was started, or None."""

    TITLE_TEXT = "Restore"
    HELP = (
        "Paste the connection string of the database to restore into: a new, empty one, owned by the role in the "
        "string. The plan says what is there, what is created and what is left out, and changes nothing. With one "
        "session it is one transaction: a restore that fails or is cancelled leaves nothing."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+t", "submit", "plan", key_display="^t", id="restore.plan", tooltip="Look at the target"),
        Binding("enter,s", "start", "restore", key_display="enter", id="restore.start", tooltip="Asks for the name"),
        Binding("t", "again", "plan again", id="restore.again", tooltip="Look again, after something was mended"),
        Binding("y", "copy", "copy", id="restore.copy", tooltip="Copy the plan"),
    ]

    def __init__(self, snapshot: str, named: Phrase) -> None:
        """``named``: the snapshot as an operator knows it."""
        super().__init__()
        self._snapshot = snapshot
        self._named = named
        self._plan: TargetPlan | None = None

    def body(self) -> ComposeResult:
        with FormBody():
            yield Field("Restore into", Secret(placeholder="paste it: postgresql://owner:…@host:5432/new"), id="string")
            what = ((WHOLE, "everything"), (SCHEMAS, "schemas"), (TABLES, "tables"))
            yield Field("What", Choice(what), id="what")
            yield Field("Which", Text(), id="names")
            parts = ((Parts.ALL.value, "all of it"), (Parts.SCHEMA.value, "definitions"), (Parts.DATA.value, "rows"))
            yield Field("Of these", Choice(parts), id="parts")
            note = Phrase("1: one transaction, all or nothing", Tone.DIM)
            yield Field("Sessions at once", Text("1"), id="sessions", note=note)
            clean = Choice((("no", "no: refuse"), ("yes", "drop what the snapshot holds")))
            yield Field("If it is not empty", clean, id="clean")
            above = Choice((("no", "leave out"), ("yes", "restore: the role is a superuser")))
            yield Field("Superuser's objects", above, id="superuser")
            with Horizontal(classes="buttons"):
                yield button("Show the plan", "submit")
        with Vertical(id="planned"):
            yield Say(id="plan-head")
            yield Lines(id="plan")
        yield Say(id="steps")

    def on_mount(self) -> None:
        self.title_line(Phrase("Restore ", Tone.STRONG) + self._named)
        for id in ("#planned", "#steps", "#names"):
            self.query_one(id).display = False

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        plan = self._plan
        if action in ("start", "again") and plan is None:
            return False
        if action == "start" and plan is not None and plan.refusals:
            return False
        if action in ("submit", "step") and plan is not None:
            return False
        return super().check_action(action, parameters)

    def copyable(self) -> tuple[str, str] | None:
        return super().copyable() if self._plan is None else ("the plan", self.query_one("#plan", Lines).text)

    @on(Choice.Changed)
    def _changed(self, event: Choice.Changed) -> None:
        if event.choice is not self.field("what").control:
            return
        names = self.field("names")
        names.display = event.value != WHOLE
        names.say(Phrase(f"{'schema.table; ' if event.value == TABLES else ''}{NAMES_NOTE}", Tone.DIM))

    @on(Text.Changed)
    def _typed(self, event: Text.Changed) -> None:
        field = self.field("string")
        if event.input is field.control:
            say_address(field, self.engine.restores.read)

    # the plan

    def submit(self) -> None:
        for id in ("names", "sessions"):
            self.field(id).say()
        try:
            self.engine.restores.read(self.field("string").text)
        except ConfigError as e:
            self.refuse("string", e.message, e.hint)
            return
        options = self._options()
        if options is not None:
            self._look(options)

    def _options(self) -> RestoreOptions | None:
        """What is chosen; None when a field does not do, which is said."""
        what, sessions = self.field("what").text, self.field("sessions").text
        try:
            names = read_names(self.field("names").text) if what != WHOLE else ()
        except ValueError as e:
            self.refuse("names", str(e))
            return None
        if what != WHOLE and not names:
            self.refuse("names", "say which")
            return None
        if not (sessions.isascii() and sessions.isdigit()):
            self.refuse("sessions", "say a number from 1 to 64")
            return None
        return RestoreOptions(
            tables=names if what == TABLES else (),
            schemas=names if what == SCHEMAS else (),
            parts=Parts(self.field("parts").text),
            jobs=int(sessions),
            clean=self.field("clean").text == "yes",
            superuser_objects=self.field("superuser").text == "yes",
        )

    def _look(self, options: RestoreOptions) -> None:
        self._busy("reading the snapshot's contents, then looking at the target · esc stops")
        text, door = self.field("string").text, self.engine.restores

        def plan(token: CancelToken) -> TargetPlan:
            return door.plan(self._snapshot, text, options, cancel=token)

        self.call("try", plan, self._show_plan, self._broke)

    def _show_plan(self, plan: TargetPlan) -> None:
        self._plan = plan
        self._busy("")
        head = [Phrase("✗ ", Tone.BAD) + Phrase(found.detail) for found in plan.refusals]
        if not head:
            head = [Phrase("✓ ", Tone.GOOD) + Phrase("This can be restored. Nothing has been changed yet.")]
        head += [Phrase("! ", Tone.WARN) + Phrase(x.detail) for x in plan.findings if x.code == "restore.unproven"]
        self.query_one("#plan-head", Say).show(*head)
        self.query_one(FormBody).display = False
        self.query_one("#planned").display = True
        board = self.query_one("#plan", Lines)
        board.show(*plan_lines(plan))
        board.scroll_to(0, 0, animate=False)
        board.focus()
        self.refresh_bindings()

    def _back_to_fields(self) -> None:
        self._plan = None
        self.query_one("#planned").display = False
        self.query_one(FormBody).display = True
        self.field("string").take_focus()
        self.refresh_bindings()

    def _broke(self, error: OffsiteError) -> None:
        self._busy("")
        self.fail(error)

    def _busy(self, text: str) -> None:
        board = self.query_one("#steps", Say)
        board.display = bool(text)
        board.show(*((Phrase("● ", Tone.BUSY) + Phrase(text, Tone.DIM),) if text else ()))

    def stopped(self) -> None:
        self._busy("")
        self.notice(Phrase("stopped; nothing was changed", Tone.DIM))

    # what the keys do

    def action_again(self) -> None:
        if not self.trying and self._plan is not None:
            self.notice()
            self._look(self._plan.options)

    def action_start(self) -> None:
        """Ask for the database's name, typed back."""
        plan = self._plan
        if self.trying or plan is None:
            return
        drops = f", dropping {things(len(plan.drops))}" if plan.drops else ""
        what = Phrase(f"Restore into it{drops}? Its name, ", Tone.WARN) + Phrase(plan.target.database, Tone.STRONG)
        self.ask(Question(what + Phrase(":", Tone.WARN), lambda typed: self._start(plan, typed.strip())))

    def _start(self, plan: TargetPlan, typed: str) -> None:
        if typed != plan.target.database.strip():
            self.notice(Phrase("that is not the database's name; nothing was changed", Tone.WARN))
            return
        text, door = self.field("string").text, self.engine.restores
        self._busy("starting it")
        self.call("try", lambda _token: door.start(plan, text, typed=plan.target.database), self._started, self._broke)

    def _started(self, job: JobView) -> None:
        self.console.nudge()
        self.dismiss(job.id)

    def action_back(self) -> None:
        if self._plan is not None and not self.trying and not self.query_one("#notice", Say).display:
            self._back_to_fields()
            return
        super().action_back()
