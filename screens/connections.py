"""The databases that are protected: how each stands, what it is, and what a look at it finds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.errors import ConfigError, OffsiteError
from engine.model import ScheduleView
from engine.model.retention import RetentionView
from engine.model.views import ConnectionDetail, ConnectionView, PreflightView
from engine.model.watch import Headline, LedgerLine, Overview
from engine.service import CancelToken
from engine.service.durations import duration_text, parse_duration
from screens import present
from screens import present_connections as words
from screens.base import Page
from screens.forms.connection import AddConnection, EditConnection
from screens.forms.schedule import ScheduleForm
from screens.phrase import Phrase, Tone, next_steps
from screens.widgets.bar import Question, confirm
from screens.widgets.findings import Findings
from screens.widgets.lines import Lines
from screens.widgets.rows import Column, Rows
from screens.widgets.say import Say

COLUMNS = (
    Column("CONNECTION", 12, grow=2),
    Column("", 8, drop=3),
    Column("BACKUPS GO TO", 13, drop=2, grow=1),
    Column("NEWEST PROVEN", 23),
    Column("TARGET", 6),
    Column("RESTORE", 7, drop=4),
    Column("TABLES", 8, right=True, drop=1),
)


class ConnectionRows(Rows[Headline]):
    """The list; Enter looks at the connection."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "preflight", show=False, id="connections.enter", tooltip="Look at the database now"),
    ]


NEEDING_ONE = ("edit", "look_at", "targets", "proving", "schedule", "retention", "remove")
"""What can be done with the connection in focus only."""


class ConnectionsPage(Page):
    """The list, and below it the connection under the cursor: what is known of it, or what a look at it found."""

    MODE = "connections"
    HELP = (
        "The databases that are protected. p looks at the one under the cursor: what a snapshot taken now would hold, "
        "what it would not and why, and the SQL that changes it. TABLES is how many the newest snapshot captured."
    )
    AUTO_FOCUS = "#connections"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "new", id="connections.new", tooltip="Protect another database; tested before it is saved"),
        Binding("e", "edit", "edit", id="connections.edit", tooltip="Another string, destination or target"),
        Binding("p", "look_at", "preflight", id="connections.preflight", tooltip="Look at the database now"),
        Binding(
            "t", "targets", "targets", show=False, id="connections.targets", tooltip="How old its newest proof may be"
        ),
        Binding(
            "o", "proving", "proof", show=False, id="connections.proving", tooltip="Checks, content, the drills' server"
        ),
        Binding(
            "K", "retention", "retention", show=False, id="connections.retention", tooltip="What is kept and what goes"
        ),
        Binding("s", "schedule", "schedule", show=False, id="connections.schedule", tooltip="When checkpoints are due"),
        Binding("x", "remove", "remove", show=False, id="connections.remove", tooltip="Forget it; its snapshots stay"),
        Binding(
            "tab", "other", "findings", show=False, id="connections.other", priority=True, tooltip="The other half"
        ),
        Binding(
            "d", "app.drill", "drill", show=False, id="connections.drill", tooltip="Drill its newest snapshot again"
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._newest: dict[str, LedgerLine] = {}
        self._details: dict[str, ConnectionDetail] = {}
        self._looks: dict[str, tuple[PreflightView, datetime]] = {}
        """What the last look at each connection found, and when that was."""
        self._wanted: str | None = None
        self._shown: tuple[str, PreflightView] | None = None
        self._busy_with = ""

    def body(self) -> ComposeResult:
        yield ConnectionRows(
            COLUMNS,
            key=lambda h: h.connection,
            cells=lambda h: words.connection_cells(h, self._newest.get(h.connection), self.now()),
            id="connections",
        )
        yield Say(id="connection-title")
        yield Lines(id="connection")
        yield Findings(id="findings")
        yield Say(id="empty")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in NEEDING_ONE and self.is_mounted and self.item is None:
            return False
        return super().check_action(action, parameters)

    @property
    def item(self) -> Headline | None:
        item = self.query_one("#connections", Rows).item
        return item if isinstance(item, Headline) else None

    def connection_in_focus(self) -> str | None:
        return self.item.connection if self.item is not None else None

    def snapshot_in_focus(self) -> str | None:
        name = self.connection_in_focus()
        return f"{name}@latest" if name in self._newest else None

    def arrive(self, **where: str) -> None:
        self._wanted = where.get("connection")
        self._go_to_wanted()

    def look(self, overview: Overview) -> None:
        rows = self.query_one("#connections", Rows)
        self._newest = {}
        for line in overview.lines:
            if line.snapshot_id is not None:
                self._newest.setdefault(line.connection, line)
        rows.styles.height = 1 + max(1, min(len(overview.headlines), self.size.height // 3))
        had = rows.item is not None
        rows.show(sorted(overview.headlines, key=lambda h: h.connection))
        self._go_to_wanted()
        self._show_empty(overview)
        self._show_item()
        if had != (rows.item is not None):
            self.refresh_bindings()

    def copyable(self) -> tuple[str, str] | None:
        item = self.item
        if item is None:
            return None
        found = self.query_one(Findings)
        if found.display:
            finding = found.item
            return (finding.what, finding.sql) if finding is not None and finding.sql else None
        detail = self._details.get(item.connection)
        return None if detail is None else ("the address, without its password", detail.address)

    # what is shown

    @on(Rows.Moved, "#connections")
    def moved(self) -> None:
        self._show_item()

    @on(Rows.Chosen, "#connections")
    def chosen(self) -> None:
        self.action_look_at()

    def _go_to_wanted(self) -> None:
        if self._wanted is not None and self.query_one("#connections", Rows).select(self._wanted):
            self._wanted = None

    def _show_item(self) -> None:
        """The lower half: findings where there was a look, else what is known."""
        item, title = self.item, self.query_one("#connection-title", Say)
        lines, found = self.query_one("#connection", Lines), self.query_one(Findings)
        title.display = lines.display = item is not None
        if item is None:
            found.display = False
            return
        name = item.connection
        looked = self._looks.get(name)
        busy = self.calls.running("look") and self._busy_with == name
        heading = Phrase(f" {name}  ", Tone.STRONG)
        if busy:
            title.show(heading + Phrase("● looking at it now", Tone.BUSY) + Phrase(" · esc stops", Tone.DIM))
        elif looked is not None:
            at = Phrase(f" · looked at {present.clock_time(looked[1], self.now())}", Tone.DIM)
            title.show(heading + words.captured_phrase(looked[0]) + at)
        else:
            title.show(heading + Phrase("p looks at what a snapshot would hold", Tone.DIM))
        found.display, lines.display = looked is not None, looked is None
        if looked is not None:
            self._show_findings(name, looked[0])
        else:
            self._show_detail(item)

    def _show_findings(self, name: str, found: PreflightView) -> None:
        """Only when they are others: the cursor in them stays."""
        if self._shown is None or self._shown[0] != name or self._shown[1] is not found:
            self._shown = (name, found)
            self.query_one(Findings).show(words.findings(found))

    def _show_detail(self, item: Headline) -> None:
        detail = self._details.get(item.connection)
        board = self.query_one("#connection", Lines)
        if detail is not None:
            board.show(*words.detail_lines(detail, item, self.now()))
            return
        board.show()
        name = item.connection

        def known(found: ConnectionDetail) -> None:
            self._details[name] = found
            self._show_item()

        def unknown(error: OffsiteError) -> None:
            board.show(Phrase(" ✗ ", Tone.BAD) + Phrase(error.message), *next_steps(error.hint, "   "))

        self.call(f"detail {name}", lambda _token: self.engine.connections.show(name), known, unknown, keep=True)

    def _show_empty(self, overview: Overview) -> None:
        empty, rows = self.query_one("#empty", Say), self.query_one("#connections", Rows)
        empty.display = not overview.headlines
        rows.display = bool(overview.headlines)
        first = "" if overview.destinations else "first a place for the backups, then "
        empty.show(
            Phrase("  Nothing is protected yet.", Tone.STRONG),
            Phrase(f"  Press n: {first}the connection string, tested before it is saved.", Tone.DIM),
        )

    # what the keys do

    def action_new(self) -> None:
        """Another one; where something of the first run is missing, on with that."""
        overview = self.console.overview
        if overview is not None and not (overview.destinations and overview.headlines):
            self.console.go("walk")
            return
        self.app.push_screen(AddConnection(), self._added)

    def _added(self, name: str | None) -> None:
        if name is not None:
            self._wanted = name
            self.console.nudge()
            self.done(f"{name} is saved; c takes its first checkpoint, s sets a schedule")

    def action_edit(self) -> None:
        name = self.connection_in_focus()
        if name is not None:
            self.call("edit", lambda _token: self.engine.connections.get(name), self._edit)

    def _edit(self, view: ConnectionView) -> None:
        def edited(name: str | None) -> None:
            if name is not None:
                self._forget(name)
                self.console.nudge()
                self.done(f"{name} is saved")

        self.app.push_screen(EditConnection(view), edited)

    def _forget(self, name: str) -> None:
        """What is known of it may have changed."""
        self._details.pop(name, None)
        self._looks.pop(name, None)
        self._show_item()

    def action_look_at(self) -> None:
        name = self.connection_in_focus()
        if name is None:
            return

        def found(view: PreflightView) -> None:
            self._looks[name] = (view, self.now())
            self._details.pop(name, None)
            self._show_item()
            if self.connection_in_focus() == name and self.query_one("#connections").has_focus:
                self.set_focus(self.query_one(Findings))

        def failed(error: OffsiteError) -> None:
            self._show_item()
            self.fail(error)

        self.notice()
        self._busy_with = name
        self.call("look", lambda token: self.engine.connections.preflight(name, token), found, failed)
        self._show_item()

    def action_targets(self) -> None:
        """Two questions, one after the other."""
        name = self.connection_in_focus()
        if name is not None:
            self.call("targets", lambda _token: self.engine.connections.get(name), self._ask_targets)

    def _ask_targets(self, view: ConnectionView) -> None:
        def proof(text: str) -> None:
            self._with_duration(text, lambda proof_s: self._ask_restore(view, proof_s))

        self._ask_duration("Newest proof at most this old", view.proof_target_s, proof)

    def _ask_restore(self, view: ConnectionView, proof_s: float | None) -> None:
        def restore(text: str) -> None:
            self._with_duration(text, lambda restore_s: self._set_targets(view.name, proof_s, restore_s))

        self._ask_duration("Restore within", view.restore_target_s, restore)

    def _ask_duration(self, prompt: str, now_s: float | None, then: Callable[[str], None]) -> None:
        value = "" if now_s is None else duration_text(now_s)
        self.ask(Question(Phrase(f"{prompt}:"), then, value=value, placeholder="6h, 1d, 15min; empty for no target"))

    def _with_duration(self, text: str, then: Callable[[float | None], None]) -> None:
        try:
            seconds = parse_duration(text) if text.strip() else None
        except ConfigError as e:
            self.fail(e)
            return
        then(seconds)

    def _set_targets(self, name: str, proof_s: float | None, restore_s: float | None) -> None:
        def set_(_view: ConnectionView) -> None:
            self._details.pop(name, None)
            self.console.nudge()
            self.notice(Phrase("✓ ", Tone.GOOD) + Phrase(f"{name}: ") + words.targets_phrase(proof_s, restore_s))

        def verb(_token: CancelToken) -> ConnectionView:
            return self.engine.connections.set_targets(name, proof_s=proof_s, restore_s=restore_s)

        self.call("targets", verb, set_)

    def action_proving(self) -> None:
        """What its drills compare, where, and the operator's checks."""
        from screens.proving import ProvingSheet  # late: seldom needed

        name = self.connection_in_focus()
        if name is None:
            return

        def back(_none: None) -> None:
            self._details.pop(name, None)
            self._show_item()

        newest = self._newest.get(name)
        self.app.push_screen(ProvingSheet(name, newest.rows if newest is not None else None), back)

    def action_schedule(self) -> None:
        name = self.connection_in_focus()
        if name is not None:
            self.call("schedule", lambda _token: self.engine.schedules.show(name), self._schedule)

    def _schedule(self, view: ScheduleView) -> None:
        def saved(words: str | None) -> None:
            if words is not None:
                self.console.nudge()
                self.done(f"{view.connection}: {words}")

        self.app.push_screen(ScheduleForm(view), saved)

    def action_retention(self) -> None:
        name = self.connection_in_focus()
        if name is not None:
            self.call("retention", lambda _token: self.engine.retention.show(name), self._ask_retention)

    def _ask_retention(self, view: RetentionView) -> None:
        from screens.forms.retention import RetentionForm  # late: seldom needed

        def saved(words: str | None) -> None:
            if words is not None:
                self._details.pop(view.connection, None)
                self.console.nudge()
                self.done(f"{view.connection}: {words}")

        self.app.push_screen(RetentionForm(view), saved)

    def action_remove(self) -> None:
        name = self.connection_in_focus()
        if name is None:
            return

        def gone(_none: None) -> None:
            self._looks.pop(name, None)
            self.console.nudge()
            self.done(f"{name} is forgotten; its snapshots and receipts stay")

        def agreed() -> None:
            self.call("remove", lambda _token: self.engine.connections.remove(name), gone)

        def refused() -> None:
            self.notice(Phrase(f"{name} stays", Tone.DIM))

        self.notice(Phrase("Its connection string is forgotten. Its snapshots and receipts stay where they are."))
        self.ask(confirm(f"Forget {name}?", name, agreed, refused))

    def action_other(self) -> None:
        """Between the list and what is below it."""
        rows, found = self.query_one("#connections", Rows), self.query_one(Findings)
        below = found if found.display else self.query_one("#connection", Lines)
        self.set_focus(below if rows.has_focus and below.display else rows)

    def action_back(self) -> None:
        """Stop a look; else close the notice, then the findings."""
        if self.calls.running("look"):
            self.calls.cancel("look")
            self._show_item()
            self.notice(Phrase("stopped", Tone.DIM))
            return
        name = self.connection_in_focus()
        if not self.query_one("#notice", Say).display and name in self._looks:
            del self._looks[str(name)]
            self.set_focus(self.query_one("#connections", Rows))
            self._show_item()
            return
        super().action_back()
