"""How the drills of one connection prove it, on top of its page: what they compare, where, and the operator's checks.

The page changes nothing that has been proven: what is chosen here counts from the next checkpoint or drill on.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.model import OperatorCheck
from engine.model.views import ConnectionView
from engine.service import CancelToken
from screens import present_proving as words
from screens.base import Sheet
from screens.phrase import Phrase, Tone
from screens.widgets.bar import confirm
from screens.widgets.lines import Lines
from screens.widgets.rows import Column, Rows
from screens.widgets.say import Say

COLUMNS = (Column("CHECK", 16, grow=1), Column("EXPECTS", 12, grow=1), Column("QUESTION", 30, grow=4))


class CheckRows(Rows[OperatorCheck]):
    """The checks; the one under the cursor stands below, whole."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "show", show=False, id="proving.choose", tooltip="Nothing more than what is shown"),
    ]


class ProvingSheet(Sheet[None]):
    """Of the connection ``connection``; ``rows``: how many its newest snapshot holds, where that is known."""

    HELP = (
        "A drill restores the snapshot and counts every row. A check is a question of yours that the restored copy has "
        "to answer as expected: another answer, or an error, and the drill FAILED. With content compared, a changed "
        "value is found even where the number of rows is right. All of it counts from the next checkpoint or drill on."
    )
    AUTO_FOCUS = "#checks"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", id="proving.back", tooltip="Back to the connections"),
        Binding("n", "new", "new check", id="proving.new", tooltip="A question that every restored copy must answer"),
        Binding("e", "edit", "content, server", id="proving.edit", tooltip="What drills compare, and where"),
        Binding("x", "remove", "remove check", id="proving.remove", tooltip="Ask it no more; receipts keep it"),
    ]

    def __init__(self, connection: str, rows: int | None) -> None:
        super().__init__()
        self._connection = connection
        self._rows = rows
        self._view: ConnectionView | None = None

    def body(self) -> ComposeResult:
        yield Say(id="how")
        yield CheckRows(COLUMNS, key=lambda c: c.name, cells=words.check_cells, id="checks")
        yield Lines(id="check")
        yield Say(id="no-check")

    def on_mount(self) -> None:
        self.title_line(Phrase("How drills prove ", Tone.STRONG) + Phrase(self._connection, Tone.STRONG))
        self.query_one("#no-check").display = False
        self._load()

    @property
    def item(self) -> OperatorCheck | None:
        item = self.query_one("#checks", Rows).item
        return item if isinstance(item, OperatorCheck) else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "remove" and self.is_mounted and self.item is None:
            return False
        if action == "edit" and self._view is None:
            return False
        return super().check_action(action, parameters)

    def copyable(self) -> tuple[str, str] | None:
        item = self.item
        return None if item is None else ("the question", item.query)

    def _load(self) -> None:
        def read(_token: CancelToken) -> tuple[ConnectionView, tuple[OperatorCheck, ...]]:
            return self.engine.connections.get(self._connection), self.engine.checks.list(self._connection)

        self.call("proving", read, self._show)

    def _show(self, found: tuple[ConnectionView, tuple[OperatorCheck, ...]]) -> None:
        self._view, checks = found
        self.query_one("#how", Say).show(*words.how_lines(self._view))
        rows, empty = self.query_one("#checks", Rows), self.query_one("#no-check", Say)
        rows.styles.height = 1 + max(1, min(len(checks), 8))
        rows.show(checks)
        empty.display = not checks
        empty.show(
            Phrase("  There is no check yet.", Tone.STRONG),
            Phrase("  Press n: a SELECT, and the answer that every restored copy has to give.", Tone.DIM),
        )
        self.moved()
        self.refresh_bindings()

    @on(Rows.Moved, "#checks")
    def moved(self) -> None:
        item = self.item
        self.query_one("#check", Lines).show(*(words.check_lines(item) if item is not None else ()))

    # what the keys do

    def action_new(self) -> None:
        from screens.forms.check import AddCheck  # late: seldom needed

        def added(name: str | None) -> None:
            if name is not None:
                self._load()
                self.done(
                    f"every drill of {self._connection} asks {name} from now on; d on page 2 shows whether it holds"
                )

        self.app.push_screen(AddCheck(self._connection), added)

    def action_edit(self) -> None:
        from screens.forms.proving import ProvingForm  # late, as above

        def edited(said: str | None) -> None:
            if said is not None:
                self._load()
                self.done(said)

        if self._view is not None:
            self.app.push_screen(ProvingForm(self._view, self._rows), edited)

    def action_remove(self) -> None:
        item = self.item
        if item is None:
            return
        name = item.name

        def gone(_none: None) -> None:
            self._load()
            self.done(f"{name} is asked no more; what receipts say of it stays")

        def agreed() -> None:
            self.call("remove", lambda _token: self.engine.checks.remove(self._connection, name), gone)

        def refused() -> None:
            self.notice(Phrase(f"{name} stays", Tone.DIM))

        self.ask(confirm(f"Ask {name} no more?", name, agreed, refused))
