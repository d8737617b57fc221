"""The snapshots, and everything about the one under the cursor: what it holds, what not, how to have it back.

The list comes from the poller's look; the detail is read in the background and kept by id, so that going through ten
thousand of them asks the engine for the one that one stays on.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.timer import Timer

from engine.errors import OffsiteError
from engine.model import JobState
from engine.model.retention import Removal
from engine.model.views import JobView
from engine.model.watch import LedgerLine, Overview
from engine.service import CancelToken
from screens import present, present_retention, present_snapshot
from screens.base import Page, error_lines
from screens.fact import Fact
from screens.fetching import Fetching
from screens.forms.restore import RestoreForm
from screens.ledger import LINES, searched
from screens.phrase import Phrase, Tone
from screens.present_snapshot import Detail
from screens.receipt import ReceiptSheet
from screens.widgets.bar import Question
from screens.widgets.facts import Facts
from screens.widgets.rows import Rows
from screens.widgets.say import Say

SETTLE_S = 0.08
"""How long the cursor rests on a line before its detail is read."""
KEPT = 100
ROOMY = 30
"""Lines of a terminal from which on the list is longer."""


class SnapshotRows(Rows[LedgerLine]):
    """The list."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter", "choose", "open", key_display="enter", id="snapshots.open", tooltip="The detail alone, to read it"
        ),
    ]


class SnapshotFacts(Facts):
    """The detail. Here `y` is worth a place among the keys, and the filter is not."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "screen.copy", "copy", id="snapshots.copy", tooltip="Copy what the cursor is on"),
        Binding("slash", "screen.filter", "filter", show=False, id="snapshots.detail.filter"),
        Binding("enter", "choose", "whole", show=False, id="snapshots.whole", tooltip="The detail alone, and back"),
    ]


class SnapshotsPage(Fetching, Page):
    """The list on top, the detail below it; Enter gives the detail the whole screen."""

    MODE = "snapshots"
    HELP = (
        "Every snapshot, newest first, and all about the one under the cursor: what it holds, what it does not hold "
        "and the SQL that would change that, what changed since the proven one before it, and the command that "
        "restores it. tab goes between list and detail, enter opens the detail alone, ] and [ go from section to "
        "section, y copies what the cursor is on. v reads the whole artifact and checks every byte; only a drill (d) "
        "proves that it restores. R restores it into a server of yours: the plan first, then the database's name typed "
        "back."
    )
    AUTO_FOCUS = "#snapshots"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "app.checkpoint", "checkpoint", show=False, id="snapshots.checkpoint"),
        Binding("q", "app.quit", "quit", show=False, id="snapshots.quit"),
        Binding("y", "copy", "copy", show=False, id="snapshots.copy-id", tooltip="Copy the snapshot's id"),
        Binding("v", "verify", "verify", id="snapshots.verify", tooltip="Read the whole artifact, check every byte"),
        Binding(
            "l",
            "receipt",
            "receipt",
            show=False,
            id="snapshots.receipt",
            tooltip="The signed receipt of its newest drill",
        ),
        Binding("R", "restore", "restore", id="snapshots.restore", tooltip="Restore it into a server of yours"),
        Binding("o", "download", "download", id="snapshots.download", tooltip="Write the dump, decrypted, to a file"),
        Binding(
            "slash", "filter", "filter", key_display="/", id="snapshots.filter", tooltip="Show those that hold a word"
        ),
        Binding(
            "tab,shift+tab",
            "other",
            "detail",
            show=False,
            id="snapshots.other",
            tooltip="List or detail",
            priority=True,
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._overview: Overview | None = None
        self._filter = ""
        self._wanted: str | None = None
        """The snapshot that somebody came for, until it is found."""
        self._jobs: dict[str, JobView] = {}
        self._details: dict[str, Detail] = {}
        self._told: tuple[LedgerLine | None, JobView | None, Detail | None] | None = None
        """What the detail was worded from last."""
        self._settling: Timer | None = None
        self._alone = False
        """Whether the detail has the whole screen."""

    def body(self) -> ComposeResult:
        yield Say(id="snapshots-title")
        yield SnapshotRows(LINES, key=lambda line: line.snapshot_id or "", cells=self._cells, id="snapshots")
        yield Say(id="detail-title")
        yield SnapshotFacts(id="detail")
        yield Say(id="empty")
        yield self.doing_line()

    # what is seen

    def look(self, overview: Overview) -> None:
        self._overview = overview
        self._jobs = {job.id: job for job in overview.jobs}
        self._show_list()
        if self._wanted is not None:
            self._go_to(self._wanted)
        self._show_detail()

    def on_screen_resume(self) -> None:
        self._details.clear()  # a policy may have changed on another page
        super().on_screen_resume()

    def on_resize(self) -> None:
        self._set_heights()

    def arrive(self, **where: str) -> None:
        wanted = where.get("snapshot")
        if wanted is None:
            return
        self._wanted = wanted
        self.notice()
        self._filter_by("")
        if self._overview is not None:
            self._go_to(wanted)

    def _go_to(self, snapshot: str) -> None:
        self._wanted = None
        if not self.query_one("#snapshots", Rows).select(snapshot):
            self.notice(Phrase("that snapshot is not among the ones listed here", Tone.WARN))

    def _show_list(self) -> None:
        assert self._overview is not None
        lines = [line for line in self._overview.lines if line.snapshot_id is not None]
        total = len(lines)
        if self._filter:
            lines = [line for line in lines if self._filter in searched(line)]
        what = Phrase(f"with “{self._filter}”", Tone.BUSY) if self._filter else Phrase("all", Tone.DIM)
        count = f" · {len(lines):,} of {total:,}" if self._filter else f" · {total:,}"
        title = Phrase(" SNAPSHOTS  ", Tone.STRONG) + what + Phrase(f"{count} · newest first", Tone.DIM)
        self.query_one("#snapshots-title", Say).show(title)
        self.query_one("#snapshots", Rows).show(lines)
        self._set_heights()

    def _set_heights(self) -> None:
        rows, alone = self.query_one("#snapshots", Rows), self._alone
        empty = self.query_one("#empty", Say)
        nothing = self._overview is not None and not rows.items
        if nothing is not empty.display:
            self.refresh_bindings()
        rows.styles.height = min(len(rows.items) + 1, 8 if self.size.height < ROOMY else 12)
        rows.display = self.query_one("#snapshots-title").display = not alone
        self.query_one("#detail").display = self.query_one("#detail-title").display = not nothing
        self.query_one("#detail-title").set_class(alone, "-alone")
        empty.display = nothing
        empty.show(*self._nothing())

    def _show_detail(self, *, anew: bool = False) -> None:
        line = self._line()
        if line is None or line.snapshot_id is None:
            self._told = None
            return
        job = self._job(line)
        kept = self._details.get(line.snapshot_id)
        if kept is not None and not (same_proof(kept.line, line) and kept.removal == self._removal(line.snapshot_id)):
            kept = None
        self._show_detail_title(line)
        if (line, job, kept) != self._told:
            self._told = (line, job, kept)
            facts = (
                present_snapshot.first_facts(line, job) if kept is None else present_snapshot.snapshot_facts(kept, job)
            )
            self.query_one("#detail", Facts).tell(facts, anew=anew)
        if kept is None and not self.calls.running("detail"):
            self._read_soon()

    def _show_detail_title(self, line: LedgerLine) -> None:
        title = Phrase(" ") + present_snapshot.detail_title(line, self.now())
        hint = Phrase("esc list " if self._alone else "", Tone.DIM)
        self.query_one("#detail-title", Say).show(title.fit(max(1, self.size.width - hint.cells)) + hint)

    def _read_soon(self) -> None:
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(SETTLE_S, self._read)

    def _read(self) -> None:
        """Read the detail of the line that the cursor rests on."""
        line = self._line()
        if line is None or line.snapshot_id is None:
            return
        wanted, door = line.snapshot_id, self.engine.snapshots

        def read(_token: CancelToken) -> Detail:
            attempt, record = door.show(wanted)
            kept = self.engine.retention
            why, removal = kept.why(wanted), kept.removal(wanted)
            return Detail(line, attempt, record, door.drift(wanted), door.restore_command(wanted), why, removal)

        self.call("detail", read, self._take_detail, self._detail_failed)

    def _take_detail(self, detail: Detail) -> None:
        while len(self._details) >= KEPT:
            del self._details[next(iter(self._details))]
        self._details[detail.record.id] = detail
        self._show_detail()

    def _detail_failed(self, error: OffsiteError) -> None:
        facts = [*map(Fact, error_lines(error)), Fact(Phrase("  r tries again", Tone.DIM))]
        self.query_one("#detail", Facts).tell(facts, anew=True)

    def _nothing(self) -> tuple[Phrase, ...]:
        """What an empty list says: what to do next."""
        if self._filter:
            return (Phrase("  no snapshot holds that word; esc shows all of them", Tone.DIM),)
        if self._overview is not None and not self._overview.headlines:
            return (
                Phrase("  Nothing is protected yet, so there is no snapshot.", Tone.STRONG),
                Phrase("  Press 2, then n: paste a connection string; it is tested before it is saved.", Tone.DIM),
            )
        return (
            Phrase("  There is no snapshot yet.", Tone.STRONG),
            Phrase("  Press c: one is taken, fetched back, restored and compared.", Tone.DIM),
        )

    def _line(self) -> LedgerLine | None:
        item = self.query_one("#snapshots", Rows).item
        return item if isinstance(item, LedgerLine) else None

    def _job(self, line: LedgerLine) -> JobView | None:
        job = self._jobs.get(line.job_id)
        return job if job is not None and job.state is not JobState.BLOCKED else None

    def _cells(self, line: LedgerLine) -> tuple[Phrase, ...]:
        cells = present.line_cells(line, self._job(line), self.now())
        return present_retention.with_removal(cells, self._removal(line.snapshot_id))

    def _removal(self, snapshot_id: str | None) -> Removal | None:
        return None if self._overview is None or snapshot_id is None else self._overview.gone.get(snapshot_id)

    # what the keys do

    @on(Rows.Moved, "#snapshots")
    def another(self) -> None:
        self._show_detail(anew=True)
        if self._told is not None and self._told[2] is None:
            self.calls.cancel("detail")
            self._read_soon()

    @on(Rows.Chosen, "#snapshots")
    @on(Rows.Chosen, "#detail")
    def toggle_alone(self) -> None:
        """The detail alone, and back."""
        self._alone = not self._alone
        self._set_heights()
        self.set_focus(self.query_one("#detail" if self._alone else "#snapshots"))
        line = self._line()
        if line is not None:
            self._show_detail_title(line)

    def action_other(self) -> None:
        """Between list and detail."""
        if not self._alone and self._line() is not None:
            rows = self.query_one("#snapshots")
            self.set_focus(self.query_one("#detail") if rows.has_focus else rows)

    def action_back(self) -> None:
        """What runs here first, then what is said, then what is opened, then what is filtered."""
        if self.stop_fetching():
            return
        if self.query_one("#notice", Say).display:
            super().action_back()
        elif self._alone:
            self.toggle_alone()
        elif self._filter:
            self._filter_by("")
        else:
            self.set_focus(self.query_one("#snapshots"))

    def action_refresh(self) -> None:
        self._details.clear()
        self._told = None
        super().action_refresh()

    def action_filter(self) -> None:
        if self._alone:
            self.toggle_alone()
        self.ask(
            Question(
                Phrase("Show snapshots with"),
                answered=self._filter_by,
                changed=self._filter_by,
                left=lambda: self._filter_by(""),
                value=self._filter,
                placeholder="a connection, tag, verdict or id",
            )
        )

    def _filter_by(self, text: str) -> None:
        self._filter = text.strip().lower()
        if self._overview is not None:
            self._show_list()
            self._show_detail()

    def action_receipt(self) -> None:
        line = self._line()
        assert line is not None
        assert line.snapshot_id is not None
        if line.verdict is None:
            self.notice(Phrase("nobody has drilled this snapshot, so there is no receipt; d drills it", Tone.WARN))
        else:
            self.app.push_screen(ReceiptSheet(line.snapshot_id))

    def action_verify(self) -> None:
        line = self._line()
        assert line is not None
        self.verify(line)

    def action_download(self) -> None:
        line = self._line()
        assert line is not None
        self.ask_download(line)

    def action_restore(self) -> None:
        line = self._line()
        assert line is not None
        assert line.snapshot_id is not None
        named = Phrase(line.connection, Tone.STRONG) + f" of {present.clock_time(line.at, self.now())}"
        self.app.push_screen(RestoreForm(line.snapshot_id, named), self._restore_started)

    def _restore_started(self, job: str | None) -> None:
        if job is not None:
            self.console.go("drill", job=job)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a snapshot there is nothing to verify; without a drill no receipt."""
        if not super().check_action(action, parameters):
            return False
        if action in ("verify", "download", "restore", "receipt", "other"):
            return self._line() is not None
        return True

    def connection_in_focus(self) -> str | None:
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
        if line is None or line.snapshot_id is None:
            return None
        detail = self.query_one("#detail", Facts)
        if detail.has_focus:
            return detail.copyable
        return "the snapshot's id", line.snapshot_id


def same_proof(a: LedgerLine, b: LedgerLine) -> bool:
    """Whether nothing was proven or refuted between two looks at a snapshot."""
    return (a.verdict, a.restore_s, a.skips, a.summary) == (b.verdict, b.restore_s, b.skips, b.summary)
