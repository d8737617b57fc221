"""One job, live: what it does now, how far it is, table by table; afterwards what it proved.

The job is read from the catalog at every look of the poller while this page is on top and the job has not ended, and
never otherwise.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.model import JobState
from engine.model.views import JobView
from engine.model.watch import LiveJob, Overview, TableProgress
from engine.service import CancelToken
from screens import present_drill
from screens.base import Page
from screens.phrase import Phrase, Tone
from screens.receipt import ReceiptSheet
from screens.widgets.bar import Question
from screens.widgets.lines import Lines
from screens.widgets.rows import Column, Rows
from screens.widgets.say import Say

COLUMNS = (
    Column("TABLE", 24, grow=1),
    Column("EXPECTED", 14, right=True),
    Column("RESTORED", 14, right=True),
    Column("", 13),
)
RECENT = 50
ROOMY = 30
"""Lines of a terminal from which on a checkpoint keeps the phases of its snapshot in view."""


class TableRows(Rows[TableProgress]):
    """The tables; Enter means what it means on the whole page."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "screen.open",
            "open",
            key_display="enter",
            id="drill.table.open",
            tooltip="The receipt, or the snapshot where there is none",
        ),
    ]


class DrillPage(Page):
    """A running or ended job: its phases, its tables, its log, its verdict."""

    MODE = "drill"
    HELP = (
        "What runs now, and what it proved when it ended. A drill fetches the snapshot back from its destination, "
        "restores it into a throw-away PostgreSQL server and compares the rows of every table, and every "
        "index, constraint and other object, with what was captured. "
        "Times behind “usually” are the medians of this connection's earlier proven drills."
    )
    AUTO_FOCUS = "#tables"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "again", "drill again", id="drill.again", tooltip="Restore this snapshot again and compare"),
        Binding("x", "cancel_job", "cancel", id="drill.cancel", tooltip="Stop this job; asks first"),
        Binding("l", "log", "log", id="drill.log", tooltip="The job's log in place of the tables, and back"),
        Binding(
            "enter",
            "open",
            "open",
            key_display="enter",
            id="drill.open",
            tooltip="The receipt, or the snapshot where there is none",
        ),
        Binding(
            "left_square_bracket,left",
            "step(1)",
            "older",
            show=False,
            key_display="[",
            id="drill.older",
            tooltip="The job before this one",
        ),
        Binding(
            "right_square_bracket,right",
            "step(-1)",
            "newer",
            show=False,
            key_display="]",
            id="drill.newer",
            tooltip="The job after this one",
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._asked: str | None = None
        """The job to show; None: the one that runs, or the newest."""
        self._live: LiveJob | None = None
        self._recent: tuple[JobView, ...] = ()
        self._then = ""
        """What to do when the job that was asked for is shown."""
        self._known: tuple[tuple[str, JobState], ...] | None = None
        """The jobs that had not ended when the recent ones were read."""

    def body(self) -> ComposeResult:
        yield Say(id="drill-title")
        phases = Lines(id="phases")
        phases.can_focus = False
        yield phases
        yield Lines(id="report")
        yield TableRows(
            COLUMNS,
            key=lambda t: f"{t.schema}.{t.table}",
            cells=lambda t: present_drill.table_cells(t, self._live) if self._live is not None else (),
            id="tables",
        )
        yield Lines(id="log")
        yield Say(id="drill-line")
        yield Say(id="empty")

    def on_mount(self) -> None:
        for name in ("#phases", "#report", "#log", "#tables", "#empty"):
            self.query_one(name).display = False

    # which job

    def arrive(self, **where: str) -> None:
        if "job" in where:
            self._show_job(where["job"])
            self._then = where.get("then", "")

    def on_screen_suspend(self) -> None:
        """Who comes back later wants to see what runs then; a sheet on top is no leaving."""
        if self in self.app.screen_stack:
            return
        self.calls.cancel("job")  # its answer would hold on to the job
        if self._live is not None and self._live.job.state.ended and self._live.job.id == self._asked:
            self._asked = None

    def look(self, overview: Overview) -> None:
        if self.app.screen is not self:
            return
        known = tuple((job.id, job.state) for job in overview.jobs)
        settled = self._live is not None and self._live.job.state.ended and self._live.job.id == self._asked
        if known != self._known or not settled:
            self._read(known if known != self._known else None)

    def action_step(self, by: int) -> None:
        """To the job ``by`` places older."""
        ids = [job.id for job in self._recent]
        if self._live is None or self._live.job.id not in ids:
            return
        to = ids.index(self._live.job.id) + by
        if 0 <= to < len(ids):
            self._show_job(ids[to])
        else:
            self.notice(Phrase("this is the newest job" if to < 0 else "there is no older job here", Tone.DIM))

    def _show_job(self, job_id: str) -> None:
        self._asked = job_id
        self.notice()
        self._read(self._known, again=True)

    def _read(self, known: tuple[tuple[str, JobState], ...] | None, *, again: bool = False) -> None:
        """Read the job in the background; the list of recent jobs as well if ``known`` is not None, or if it has to say
        which job: the poller's last look may be older than the newest job."""
        asked, recent = self._asked, self._recent

        def read(_token: CancelToken) -> tuple[tuple[JobView, ...], LiveJob | None]:
            anew = known is not None or asked is None or not recent
            jobs = self.engine.jobs.recent(RECENT) if anew else recent
            job_id = asked or newest(jobs)
            return jobs, self.engine.watch.job(job_id) if job_id is not None else None

        def show(found: tuple[tuple[JobView, ...], LiveJob | None]) -> None:
            self._recent, live = found
            self._known = known if known is not None else self._known
            if live is not None:
                self._asked = live.job.id
            self._show(live)
            then, self._then = self._then, ""
            if then == "cancel" and self.check_action("cancel_job", ()):
                self.action_cancel_job()

        self.call("job", read, show, keep=not again)

    # what is seen

    def on_resize(self) -> None:
        if self._live is not None:
            self._show(self._live)

    def _show(self, live: LiveJob | None) -> None:
        before, self._live = self._live, live
        empty = self.query_one("#empty", Say)
        empty.display = live is None
        if live is None:
            empty.show(*self._nothing())
            return
        if before is None or before.job.id != live.job.id:
            self.query_one("#report", Lines).scroll_home(animate=False)
            self.query_one("#tables", Rows).action_go(0)
        self._show_top(live)
        self._show_tables(live)
        overview = self.console.overview
        last = {h.connection: h.trend[-1] for h in overview.headlines if h.trend} if overview is not None else {}
        line = self.query_one("#drill-line", Say)
        waits = live.job.state.ended or live.job.state is JobState.BLOCKED
        line.display = not waits
        workers = overview.workers_alive if overview is not None else 0
        line.show(present_drill.live_line(live, self.now(), last.get(live.job.connection), workers))
        if before is None or keys_of(before.job) != keys_of(live.job):
            self.refresh_bindings()

    def _show_top(self, live: LiveJob) -> None:
        """Title, and either the phases or what came of it."""
        width, job = self.size.width, live.job
        title, place = present_drill.title(live, self.now()), present_drill.position_text(self._recent, job.id)
        room = width - 3 - len(place)
        if title.cells <= room:
            title = title.fit(room) + Phrase(" ") + Phrase(place, Tone.DIM)
        self.query_one("#drill-title", Say).show(Phrase(" ") + title)
        phases, report = self.query_one("#phases", Lines), self.query_one("#report", Lines)
        over = job.state.ended or job.state is JobState.BLOCKED
        phases.display, report.display = not over, over
        if job.state is JobState.BLOCKED:
            report.show(*present_drill.blocked_lines(job))
        elif over:
            report.show(*present_drill.outcome(live, self.now()))
        else:
            phases.show(*present_drill.phase_lines(live, width - 1, brief=self.size.height < ROOMY))

    def _show_tables(self, live: LiveJob) -> None:
        log, tables = self.query_one("#log", Lines), self.query_one("#tables", Rows)
        tables.display = not log.display and bool(live.tables)
        tables.show(present_drill.table_order(live.tables, ended=live.job.state.ended))
        if log.display:
            log.show(*present_drill.log_lines(live), end=True)

    def _nothing(self) -> tuple[Phrase, ...]:
        overview = self.console.overview
        first = Phrase("  Nothing has run yet.", Tone.STRONG)
        if overview is not None and not overview.headlines:
            return (first, Phrase("  Press 2, then n: add a connection. Then c takes its first checkpoint.", Tone.DIM))
        return (first, Phrase("  Press c: a snapshot is taken, fetched back, restored and compared.", Tone.DIM))

    # what the keys do

    def connection_in_focus(self) -> str | None:
        if self._live is not None:
            return self._live.job.connection
        overview = self.console.overview
        return overview.headlines[0].connection if overview is not None and overview.headlines else None

    def snapshot_in_focus(self) -> str | None:
        return self._live.job.snapshot_id if self._live is not None else None

    def copyable(self) -> tuple[str, str] | None:
        if self._live is None:
            return None
        text = present_drill.error_text(self._live)
        return ("what went wrong", text) if text is not None else ("the job's id", self._live.job.id)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Cancel while it runs; open and drill again when it ended."""
        if not super().check_action(action, parameters):
            return False
        live = self._live
        if action == "cancel_job":
            return live is not None and not live.job.state.ended
        if action in ("again", "open"):
            return live is not None and live.job.state.ended and live.job.snapshot_id is not None
        return live is not None if action in ("log", "step") else True

    def action_again(self) -> None:
        snapshot = self.snapshot_in_focus()
        assert snapshot is not None

        def started(job: JobView) -> None:
            self.console.nudge()
            self._show_job(job.id)

        self.call("drill", lambda _token: self.engine.jobs.drill(snapshot), started)

    def action_cancel_job(self) -> None:
        live = self._live
        assert live is not None
        job = live.job

        def answered(text: str) -> None:
            if text.strip().lower() not in ("y", "yes"):
                self.notice(Phrase("it goes on", Tone.DIM))
                return
            self.call("cancel", lambda _token: self.engine.jobs.cancel(job.id), lambda _job: self._cancelled())

        what = Phrase(f"Cancel this {job.kind} of ", Tone.WARN) + Phrase(job.connection, Tone.STRONG)
        self.ask(Question(what + Phrase("? y and enter:", Tone.WARN), answered, placeholder="enter alone: it goes on"))

    def _cancelled(self) -> None:
        self.console.nudge()
        self._read(self._known, again=True)

    def action_log(self) -> None:
        log = self.query_one("#log", Lines)
        log.display = not log.display
        if self._live is not None:
            self._show_tables(self._live)
        self.set_focus(log if log.display else self.query_one("#tables"))
        if log.display:
            self.call_after_refresh(log.scroll_end, animate=False)

    def action_back(self) -> None:
        if self.query_one("#log").display and not self.query_one("#notice").display:
            self.action_log()
            return
        super().action_back()

    def action_open(self) -> None:
        """The receipt; of a job without one the snapshot."""
        assert self._live is not None
        job = self._live.job
        if job.drill_id is not None:
            self.app.push_screen(ReceiptSheet(job.drill_id))
        elif job.snapshot_id is not None:
            self.console.go("snapshots", snapshot=job.snapshot_id)

    @on(Rows.Chosen, "#tables")
    def open_row(self) -> None:
        """A click on the row under the cursor."""
        if self.check_action("open", ()):
            self.action_open()


def keys_of(job: JobView) -> tuple[bool, bool]:
    """What the keys depend on: the footer is drawn anew only when this changes."""
    return job.state.ended, job.snapshot_id is not None


def newest(jobs: tuple[JobView, ...]) -> str | None:
    """The job that runs, else one that waits, else the newest that ended."""

    def rank(job: JobView) -> int:
        return 0 if job.state is JobState.RUNNING else 2 if job.state.ended else 1

    return min(jobs, key=rank).id if jobs else None
