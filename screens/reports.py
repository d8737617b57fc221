"""Receipts: how the drills of each connection went, and the signed evidence of every one of them."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.model.watch import DrillLine, LedgerLine, Overview
from engine.service import CancelToken
from screens import present_reports
from screens.base import Page
from screens.months import MonthsSheet
from screens.phrase import Phrase, Tone
from screens.present_reports import Tally, drill_words, tallies
from screens.receipt import ReceiptSheet, ask_export
from screens.widgets.bar import Question
from screens.widgets.rows import Column, Rows
from screens.widgets.say import Say

AT_MOST = 10_000
TALLIES = (
    Column("CONNECTION", 12, grow=1),
    Column("DRILLS", 6, right=True),
    Column("PROVEN", 6, right=True),
    Column("FAILED", 6, right=True),
    Column("UNKNOWN", 7, right=True, drop=2),
    Column("RESTORE p50·worst", 17, drop=1),
    Column("NEWEST", 17, grow=1, drop=3),
)
DRILLS = (
    Column("DRILLED", 11),
    Column("CONNECTION", 10, grow=1),
    Column("VERDICT", 24, grow=3),
    Column("TABLES", 7, right=True, drop=1),
    Column("ROWS", 6, right=True, drop=2),
    Column("RESTORE", 9, right=True),
)


class TallyRows(Rows[Tally]):
    """One line per connection; Enter shows its drills alone."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter", "choose", "its drills", key_display="enter", id="reports.its", tooltip="Only this one's drills"
        ),
    ]


class DrillRows(Rows[DrillLine]):
    """The history, newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "receipt", key_display="enter", id="reports.open", tooltip="The drill's receipt"),
    ]


class ReportsPage(Page):
    """A line per connection on top, every drill below it."""

    MODE = "reports"
    HELP = (
        "Every drill and its receipt: the signed evidence of what was restored, how long that took and what was "
        "compared. On top the drills of each connection, counted; UNKNOWN are those that could not be carried out, "
        "which says nothing about the snapshot. enter opens a receipt, e writes it to a file as it was signed, tab "
        "goes between the two lists. m shows the monthly reports, to read, build, export and verify."
    )
    AUTO_FOCUS = "#drills"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "app.checkpoint", "checkpoint", show=False, id="reports.checkpoint"),
        Binding("d", "app.drill", "drill", show=False, id="reports.drill"),
        Binding(
            "m", "months", "monthly", id="reports.months", tooltip="The monthly reports: read, build, export, verify"
        ),
        Binding("e", "export", "export", id="reports.export", tooltip="Write the receipt to a file, as it was signed"),
        Binding(
            "slash", "filter", "filter", key_display="/", id="reports.filter", tooltip="Show drills that hold a word"
        ),
        Binding(
            "tab,shift+tab",
            "other",
            "connections",
            show=False,
            id="reports.other",
            tooltip="Connections or drills",
            priority=True,
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._drills: tuple[DrillLine, ...] | None = None
        self._seen: tuple[object, ...] | None = None
        """What the catalog held when the drills were read."""
        self._of: dict[str, LedgerLine] = {}
        self._filter = ""
        self._wanted: str | None = None

    def body(self) -> ComposeResult:
        yield TallyRows(
            TALLIES,
            key=lambda tally: tally.connection,
            cells=lambda tally: present_reports.tally_cells(tally, self.now()),
            id="tallies",
        )
        yield Say(id="drills-title")
        yield DrillRows(
            DRILLS,
            key=lambda drill: drill.id,
            cells=lambda drill: present_reports.drill_cells(drill, self._of, self.now()),
            id="drills",
        )
        yield Say(id="empty")

    def on_mount(self) -> None:
        for name in ("#tallies", "#drills-title", "#empty"):
            self.query_one(name).display = False

    # what is seen

    def look(self, overview: Overview) -> None:
        """Drills are read again when a line of the ledger or a job has changed, not at every step of a job."""
        seen = (overview.lines, tuple(job.id for job in overview.jobs))
        if seen == self._seen:
            if self._drills is not None:
                self._show()  # ages
            return
        self._seen = seen
        self._of = {line.snapshot_id: line for line in overview.lines if line.snapshot_id is not None}

        def read(_token: CancelToken) -> tuple[DrillLine, ...]:
            return self.engine.drills.recent(limit=AT_MOST)

        self.call("drills", read, self._take_drills)

    def _take_drills(self, drills: tuple[DrillLine, ...]) -> None:
        self._drills = drills
        self._show()
        if self._wanted is not None:
            self._go_to(self._wanted)

    def arrive(self, **where: str) -> None:
        if where.get("then") == "months":
            self.action_months()
        wanted = where.get("drill")
        if wanted is None:
            return
        self._filter = ""
        self._wanted = wanted
        if self._drills is not None:
            self._show()
            self._go_to(wanted)

    def _go_to(self, drill: str) -> None:
        self._wanted = None
        rows = self.query_one("#drills", DrillRows)
        if not rows.select(drill):
            self.notice(Phrase("that drill is not among the ones listed here", Tone.WARN))
        self.set_focus(rows)

    def on_resize(self) -> None:
        if self._drills is not None:
            self._show()

    def _show(self) -> None:
        assert self._drills is not None
        drills = self._drills
        counted = tallies(drills)
        top = self.query_one("#tallies", TallyRows)
        top.styles.height = 1 + min(len(counted), max(3, self.size.height // 4))
        top.show(counted)
        if self._filter:
            drills = tuple(drill for drill in drills if self._filter in drill_words(drill))
        what = Phrase(f"with “{self._filter}”", Tone.BUSY) if self._filter else Phrase("all", Tone.DIM)
        count = f" · {len(drills):,} of {len(self._drills):,}" if self._filter else f" · {len(drills):,}"
        title = Phrase(" DRILLS  ", Tone.STRONG) + what + Phrase(f"{count} · newest first", Tone.DIM)
        self.query_one("#drills-title", Say).show(title)
        rows, empty = self.query_one("#drills", DrillRows), self.query_one("#empty", Say)
        rows.show(drills)
        top.display = self.query_one("#drills-title").display = bool(self._drills)
        rows.display, empty.display = bool(drills), not drills
        empty.show(*self._nothing())
        self.refresh_bindings()

    def _nothing(self) -> tuple[Phrase, ...]:
        """What an empty page says: what to do next."""
        if self._filter:
            return (Phrase("  no drill holds that word; esc shows all of them", Tone.DIM),)
        overview = self.console.overview
        first = Phrase("  Nothing has been drilled yet, so there is no receipt.", Tone.STRONG)
        if overview is not None and not overview.headlines:
            return (
                first,
                Phrase("  Press 2, then n: paste a connection string; it is tested before it is saved.", Tone.DIM),
            )
        return (
            first,
            Phrase("  Press c: a snapshot is taken, fetched back, restored and compared, and a receipt", Tone.DIM),
            Phrase("  of that is signed.", Tone.DIM),
        )

    # what the keys do

    @on(Rows.Chosen, "#drills")
    def open_receipt(self, event: Rows.Chosen) -> None:
        drill = event.item
        assert isinstance(drill, DrillLine)
        self.app.push_screen(ReceiptSheet(drill.id))

    @on(Rows.Chosen, "#tallies")
    def show_one(self, event: Rows.Chosen) -> None:
        tally = event.item
        assert isinstance(tally, Tally)
        self._filter_by(tally.connection)
        self.set_focus(self.query_one("#drills"))

    def action_other(self) -> None:
        """Between the two lists."""
        drills = self.query_one("#drills")
        self.set_focus(self.query_one("#tallies") if drills.has_focus else drills)

    def action_months(self) -> None:
        """The monthly reports."""
        self.app.push_screen(MonthsSheet())

    def action_export(self) -> None:
        drill = self._drill()
        if drill is not None:
            ask_export(self, self.engine, drill.id, drill.connection)

    def action_filter(self) -> None:
        self.ask(
            Question(
                Phrase("Show drills with"),
                answered=self._filter_by,
                changed=self._filter_by,
                left=lambda: self._filter_by(""),
                value=self._filter,
                placeholder="a connection, verdict, tag or id",
            )
        )

    def _filter_by(self, text: str) -> None:
        self._filter = text.strip().lower()
        if self._drills is not None:
            self._show()

    def action_back(self) -> None:
        if self._filter and not self.query_one("#notice", Say).display:
            self._filter_by("")
            return
        super().action_back()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("export", "other", "filter") and not self._drills:
            return False
        return super().check_action(action, parameters)

    def connection_in_focus(self) -> str | None:
        tally = self.query_one("#tallies", TallyRows)
        if tally.has_focus and tally.item is not None:
            return tally.item.connection
        drill = self._drill()
        if drill is not None:
            return drill.connection
        overview = self.console.overview
        return overview.headlines[0].connection if overview is not None and overview.headlines else None

    def snapshot_in_focus(self) -> str | None:
        drill = self._drill()
        return drill.snapshot_id if drill is not None else None

    def copyable(self) -> tuple[str, str] | None:
        drill = self._drill()
        return ("the drill's id", drill.id) if drill is not None else None

    def _drill(self) -> DrillLine | None:
        return self.query_one("#drills", DrillRows).item
