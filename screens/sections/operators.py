"""Who logs in: list, add, new password, role, disable. Only admins may; the engine says so to everybody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.model import OperatorView
from engine.model.watch import Overview
from engine.service import CancelToken
from screens import present_settings
from screens.phrase import Phrase, Tone
from screens.sections.base import Section, SectionRows
from screens.widgets.bar import confirm
from screens.widgets.lines import Lines
from screens.widgets.rows import Column, Rows

COLUMNS = (
    Column("NAME", 14, grow=2),
    Column("ROLE", 9),
    Column("STATE", 14),
    Column("LAST LOGIN", 16, right=True, drop=1),
    Column("SESSIONS", 8, right=True, drop=2),
)


class OperatorsSection(Section):
    """A list, and below it who you are."""

    PLACE = "operators"
    TITLE = "Operators"
    FOCUS = "#operators"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "new", id="operator.new", tooltip="Add somebody who logs in"),
        Binding("e", "reset", "password", id="operator.reset", tooltip="Another password; their sessions end"),
        Binding("o", "role", "role", id="operator.role", tooltip="Another role; their sessions end"),
        Binding("x", "disable", "disable", id="operator.disable", tooltip="Let them in no more, or again"),
    ]

    def __init__(self, examine: Callable[[], None]) -> None:
        super().__init__(examine)
        self._shown: tuple[OperatorView, ...] = ()

    def compose(self) -> ComposeResult:
        yield SectionRows[OperatorView](
            COLUMNS,
            key=lambda o: o.name,
            cells=lambda o: present_settings.operator_cells(o, self.face.now()),
            id="operators",
        )
        yield Lines(id="operator-about")

    @property
    def item(self) -> OperatorView | None:
        item = self.query_one("#operators", Rows).item
        return item if isinstance(item, OperatorView) else None

    def entered(self) -> None:
        self._load()

    def look(self, overview: Overview) -> None:
        del overview
        self._load()

    def copyable(self) -> tuple[str, str] | None:
        item = self.item
        return ("the name", item.name) if item is not None else ("the command", "offsitedb operator add")

    def _load(self) -> None:
        def read(_token: CancelToken) -> tuple[tuple[OperatorView, ...], str]:
            return self.engine.operators.list(), self.engine.actor

        self.face.call("operators", read, lambda found: self._show(*found))

    def _show(self, found: tuple[OperatorView, ...], actor: str) -> None:
        rows = self.query_one("#operators", Rows)
        if found != self._shown:
            rows.styles.height = 1 + max(1, min(len(found), 10))
            rows.show(found)
            self._shown = found
        self.query_one("#operator-about", Lines).show(*present_settings.operator_lines(found, actor))

    # what the keys do

    def action_new(self) -> None:
        from screens.forms.operator import AddOperator  # late: the form is seldom needed

        first = not self._shown

        def added(name: str | None) -> None:
            if name is None:
                return
            self._load()
            self.face.console.nudge()  # after the first one everybody logs in, here and now
            if not first:
                self.face.done(f"{name} may log in")

        self.app.push_screen(AddOperator(first=first), added)

    def action_reset(self) -> None:
        item = self.item
        if item is not None:
            from screens.forms.operator import NewPassword  # late, as above

            self.app.push_screen(NewPassword(item.name), lambda name: self._changed(name, "has another password"))

    def action_role(self) -> None:
        item = self.item
        if item is not None:
            from screens.forms.operator import ChangeRole  # late, as above

            self.app.push_screen(ChangeRole(item.name, item.role), lambda name: self._changed(name, "has another role"))

    def action_disable(self) -> None:
        item = self.item
        if item is None:
            return
        name, operators = item.name, self.engine.operators
        if item.disabled_at is not None:
            self.face.call("enable", lambda _token: operators.enable(name), lambda _: self._changed(name, "is enabled"))
            return

        def agreed() -> None:
            self.face.call("disable", lambda _token: operators.disable(name), lambda _: self._changed(name, "is out"))

        def refused() -> None:
            self.face.notice(Phrase(f"{name} stays", Tone.DIM))

        self.face.ask(confirm(f"Let {name} in no more?", name, agreed, refused))

    def _changed(self, name: str | None, what: str) -> None:
        if name is not None:
            self._load()
            self.face.console.nudge()
            self.face.done(f"{name} {what}; {name}'s sessions have ended")
