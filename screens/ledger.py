"""Home: is everything proven, how fresh is the proof, what runs now."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.model import JobState
from engine.model.views import JobView
from engine.model.watch import Headline, LedgerLine, Overview
from screens import present, present_alerts
from screens.base import Page
from screens.phrase import Phrase, Tone
from screens.widgets.bar import Question
from screens.widgets.rows import Column, Rows
from screens.widgets.say import Say

HEADLINES = (
    Column("CONNECTION", 10, grow=2),
    Column("", 8, drop=6),
    Column("NEWEST PROVEN", 23),
    Column("TARGET", 6, drop=2),
    Column("RESTORE p50·worst", 17, drop=3),
    Column("TREND", present.TREND, drop=5),
    Column("NEXT", 9, drop=4, grow=1),
)
LINES = (
    Column("TIME", 11),
    Column("CONNECTION", 10, grow=1),
    Column("VERDICT", 22, grow=3),
    Column("TABLES", 7, right=True, drop=2),
    Column("ROWS", 6, right=True, drop=3),
    Column("SIZE", 9, right=True, drop=1),
    Column("RESTORE", 9, right=True),
)


class LedgerPage(Page):
    """One line per connection on top, the ledger below it, newest first."""

    MODE = "ledger"
    AUTO_FOCUS = "#lines"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", key_display="/", id="filter", tooltip="Show lines that hold a word"),
        Binding(
            "i", "incidents", "incidents", show=False, id="ledger.incidents", tooltip="What is wrong, and since when"
        ),
        Binding("tab", "other", "connections", show=False, id="ledger.other", priority=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._overview: Overview | None = None
        self._filter = ""
        self._jobs: dict[str, JobView] = {}

    def body(self) -> ComposeResult:
        yield Rows[Headline](
            HEADLINES,
            key=lambda h: h.connection,
            cells=lambda h: present.headline_cells(h, self.now()),
            id="headlines",
        )
        yield Say(id="incidents")
        yield Say(id="ledger-title")
        yield Rows[LedgerLine](LINES, key=line_key, cells=self._cells, id="lines")
        yield Say(id="empty")

    def look(self, overview: Overview) -> None:
        self._overview = overview
        self._jobs = {job.id: job for job in overview.jobs}
        headlines = self.query_one("#headlines", Rows)
        headlines.styles.height = 1 + min(len(overview.headlines), max(3, self.size.height // 3))
        headlines.display = bool(overview.headlines)
        headlines.show(sorted(overview.headlines, key=lambda h: (not h.overdue, h.connection)))
        incidents = self.query_one("#incidents", Say)
        incidents.display = bool(overview.incidents)
        incidents.show(present_alerts.incident_line(overview.incidents))
        self._show_lines()

    def connection_in_focus(self) -> str | None:
        if self.query_one("#headlines").has_focus:
            item = self.query_one("#headlines", Rows).item
            return item.connection if isinstance(item, Headline) else None
        line = self._line()
        if line is not None:
            return line.connection
        known = self._overview.headlines if self._overview is not None else ()
        return known[0].connection if known else None

    def snapshot_in_focus(self) -> str | None:
        line = self._line()
        return line.snapshot_id if line is not None else None

    def copyable(self) -> tuple[str, str] | None:
        line = self._line()
        if line is None:
            return None
        return ("the snapshot's id", line.snapshot_id) if line.snapshot_id else ("the job's id", line.job_id)

    @on(Rows.Chosen, "#lines")
    def open_line(self, event: Rows.Chosen) -> None:
        line = event.item
        assert isinstance(line, LedgerLine)
        job = self._jobs.get(line.job_id)
        if job is not None or line.snapshot_id is None:
            self.console.go("drill", job=line.job_id)
        else:
            self.console.go("snapshots", snapshot=line.snapshot_id)

    @on(Rows.Chosen, "#headlines")
    def open_headline(self, event: Rows.Chosen) -> None:
        headline = event.item
        assert isinstance(headline, Headline)
        if headline.job is not None:
            self.console.go("drill", job=headline.job.id)
        else:
            self.console.go("connections", connection=headline.connection)

    def action_incidents(self) -> None:
        self.console.go("settings", section="alerts")

    def action_other(self) -> None:
        """Between the two lists."""
        lines = self.query_one("#lines")
        self.set_focus(self.query_one("#headlines") if lines.has_focus else lines)

    def action_filter(self) -> None:
        self.ask(
            Question(
                Phrase("Show lines with"),
                answered=self._filter_by,
                changed=self._filter_by,
                left=lambda: self._filter_by(""),
                value=self._filter,
                placeholder="a connection, verdict, tag or id",
            )
        )

    def action_back(self) -> None:
        if self._filter:
            self._filter_by("")
            return
        super().action_back()

    def _filter_by(self, text: str) -> None:
        self._filter = text.strip().lower()
        self._show_lines()

    def _show_lines(self) -> None:
        if self._overview is None:
            return
        lines = self._overview.lines
        if self._filter:
            lines = tuple(line for line in lines if self._filter in searched(line))
        what = Phrase(f"with “{self._filter}”", Tone.BUSY) if self._filter else Phrase("all", Tone.DIM)
        count = Phrase(f" · {len(lines):,} lines · newest first", Tone.DIM)
        self.query_one("#ledger-title", Say).show(Phrase(" LEDGER  ", Tone.STRONG) + what + count)
        rows = self.query_one("#lines", Rows)
        rows.show(lines)
        rows.display = bool(lines)
        if lines and self.focused is None:
            self.set_focus(rows)
        empty = self.query_one("#empty", Say)
        empty.display = not lines
        empty.show(*self._nothing())

    def _nothing(self) -> tuple[Phrase, ...]:
        """What an empty ledger says: what to do next."""
        if self._filter:
            return (Phrase("  no line holds that word; esc shows all of them", Tone.DIM),)
        if self._overview is not None and not self._overview.headlines:
            return (
                Phrase("  Nothing is protected yet.", Tone.STRONG),
                Phrase("  Press 2, then n: paste a connection string; it is tested before it is saved.", Tone.DIM),
            )
        return (
            Phrase("  No checkpoint yet.", Tone.STRONG),
            Phrase("  Press c: a snapshot is taken, fetched back, restored and compared.", Tone.DIM),
        )

    def _line(self) -> LedgerLine | None:
        item = self.query_one("#lines", Rows).item
        return item if isinstance(item, LedgerLine) else None

    def _cells(self, line: LedgerLine) -> tuple[Phrase, ...]:
        job = self._jobs.get(line.job_id)
        shown = job if job is not None and job.state is not JobState.BLOCKED else None
        return present.line_cells(line, shown, self.now())


def line_key(line: LedgerLine) -> str:
    """A line keeps its key when the job behind it takes its snapshot."""
    return line.job_id if line.snapshot_id is None else f"{line.job_id}/{line.snapshot_id}"


def searched(line: LedgerLine) -> str:
    """What a filter looks in."""
    words = (line.connection, line.provider, line.tag, line.verdict, line.snapshot_id, line.job_id, line.summary)
    return " ".join(str(w) for w in words if w).lower()
