"""The monthly reports: what was built, building one, reading it here, writing it somewhere, checking its signature."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.errors import OffsiteError
from engine.model.report import BundleVerdict, ReportExported, ReportLine
from engine.service import CancelToken, Engine
from screens import present_months
from screens.base import Face, Sheet, error_lines
from screens.fact import Fact
from screens.fetching import already_there, file_name, written_path
from screens.phrase import Phrase, Tone
from screens.present import human_bytes
from screens.widgets.bar import Question
from screens.widgets.facts import Facts
from screens.widgets.rows import Column, Rows
from screens.widgets.say import Say

REPORTS = (
    Column("MONTH", 7),
    Column("ABOUT", 16, grow=1),
    Column("SNAPSHOTS", 9, right=True, drop=2),
    Column("PROVEN", 6, right=True),
    Column("NOT PROVEN", 10, right=True),
    Column("DAYS MISSING", 12, right=True, drop=1),
    Column("STILL OPEN", 10, right=True, drop=3),
    Column("BUILT", 11, drop=4),
)


class ReportRows(Rows[ReportLine]):
    """Newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "read", key_display="enter", id="months.open", tooltip="Read the report here"),
    ]


class MonthsSheet(Sheet[None]):
    """Every report that was built."""

    TITLE_TEXT = "Monthly reports"
    HELP = (
        "The monthly Restore Drill Report: what was made, drilled and proven in a month, how long restores took, what "
        "was deleted, and the signed receipts that it all rests on. A worker builds last month's by itself. b builds "
        "last month's again, B that of this month as far as it goes; what was built before stays. enter reads one "
        "here, e writes it to a file (by the ending: .pdf, .html, .txt, .json, or .zip and .tar for the whole bundle "
        "with its receipts), v checks the bundle as anybody can: sums, signature, receipts, and every figure counted "
        "anew. y copies the SHA-256 of the bundle's list of sums."
    )
    AUTO_FOCUS = "#months"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", id="months.back", tooltip="Back to the receipts"),
        Binding("b", "build(1)", "build last", id="months.build", tooltip="Build the report of last month"),
        Binding(
            "B",
            "build(0)",
            "build this",
            show=False,
            id="months.build-this",
            tooltip="Build the report of this month, as far as it goes",
        ),
        Binding("e", "export", "export", id="months.export", tooltip="Write it to a file: pdf, html, txt, json, zip"),
        Binding("v", "verify", "verify", id="months.verify", tooltip="Check sums, signature, receipts and figures"),
        Binding("y", "copy", "copy", show=False, id="months.copy", tooltip="Copy the SHA-256 of the list of sums"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._lines: tuple[ReportLine, ...] | None = None

    def body(self) -> ComposeResult:
        yield ReportRows(
            REPORTS,
            key=lambda line: line.id,
            cells=lambda line: present_months.report_cells(line, self.now()),
            id="months",
        )
        yield Say(id="empty")

    def on_mount(self) -> None:
        self.query_one("#empty", Say).show(Phrase("  reading …", Tone.DIM))
        self.query_one("#months").display = False
        self._read()

    def _read(self) -> None:
        self.call("reports", lambda _token: self.engine.reports.list(), self._show)

    def _show(self, lines: tuple[ReportLine, ...]) -> None:
        self._lines = lines
        rows, empty = self.query_one("#months", ReportRows), self.query_one("#empty", Say)
        had_focus = not rows.display
        rows.show(lines)
        rows.display, empty.display = bool(lines), not lines
        empty.show(
            Phrase("  No report has been built yet.", Tone.STRONG),
            Phrase("  A worker builds last month's when the month is over; b builds it now, B that of this", Tone.DIM),
            Phrase("  month as far as it goes.", Tone.DIM),
        )
        if lines and had_focus:
            self.set_focus(rows)
        self.refresh_bindings()

    # what the keys do

    @on(Rows.Chosen, "#months")
    def open_report(self, event: Rows.Chosen) -> None:
        line = event.item
        assert isinstance(line, ReportLine)
        self.app.push_screen(MonthSheet(line))

    def action_build(self, back: int) -> None:
        this, last = present_months.months(self.now(), self.engine.reports.zone())
        month = last if back else this
        self.notice(Phrase(f"building the report of {month} …", Tone.BUSY))

        def built(line: ReportLine) -> None:
            again = f", revision {line.revision}" if line.revision > 1 else ""
            if line.stamp is not None and line.stamp.error is not None:
                self.notice(*present_months.unstamped_lines(line, line.stamp.error))
            else:
                self.done(f"the report of {line.month} is built and signed{again}; enter reads it")
            self._read()

        self.call("build", lambda _token: self.engine.reports.build(month), built, keep=True)

    def action_export(self) -> None:
        line = self._line()
        if line is not None:
            ask_report(self, self.engine, line)

    def action_verify(self) -> None:
        line = self._line()
        if line is not None:
            verify_report(self, self.engine, line)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("export", "verify") and not self._lines:
            return False
        return super().check_action(action, parameters)

    def copyable(self) -> tuple[str, str] | None:
        line = self._line()
        return ("the SHA-256 of SHA256SUMS", line.sha256) if line is not None else None

    def _line(self) -> ReportLine | None:
        return self.query_one("#months", ReportRows).item


class MonthSheet(Sheet[None]):
    """One report, as text to be read."""

    TITLE_TEXT = "Restore Drill Report"
    HELP = (
        "The report as it was built and signed. ] and [ go from chapter to chapter, space a page on; y copies the line "
        "under the cursor, on a heading everything below it, Y the whole text. e writes it to a file, v checks it."
    )
    AUTO_FOCUS = "#month"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", id="month.back", tooltip="Close the report"),
        Binding("e", "export", "export", id="month.export", tooltip="Write it to a file: pdf, html, txt, json, zip"),
        Binding("v", "verify", "verify", id="month.verify", tooltip="Check sums, signature, receipts and figures"),
        Binding("Y", "copy_all", "copy all", id="month.copy-all", tooltip="Copy the whole text"),
    ]

    def __init__(self, line: ReportLine) -> None:
        super().__init__()
        self._line = line
        self._text = ""

    def body(self) -> ComposeResult:
        yield Facts(id="month")

    def on_mount(self) -> None:
        self.title_line(present_months.report_title(self._line))
        facts = self.query_one("#month", Facts)
        facts.tell([Fact(Phrase("reading the report …", Tone.DIM))])

        def read(_token: CancelToken) -> str:
            return self.engine.reports.file(self._line, "report.txt").decode("utf-8")

        def unreadable(error: OffsiteError) -> None:
            facts.tell([*map(Fact, error_lines(error))], anew=True)

        self.call("report", read, self._show, unreadable)

    def _show(self, text: str) -> None:
        self._text = text
        self.query_one("#month", Facts).tell(present_months.report_facts(text), anew=True)
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("export", "verify", "copy_all") and not self._text:
            return False
        return super().check_action(action, parameters)

    def copyable(self) -> tuple[str, str] | None:
        return self.query_one("#month", Facts).copyable

    def action_copy_all(self) -> None:
        self.copy("the report", self._text)

    def action_export(self) -> None:
        ask_report(self, self.engine, self._line)

    def action_verify(self) -> None:
        verify_report(self, self.engine, self._line)


def ask_report(face: Face[None], engine: Engine, line: ReportLine) -> None:
    """Ask for a file, then write the report there, in the form that the file's ending says."""

    def answered(text: str) -> None:
        if not text.strip():
            face.notice(Phrase("no file was named; nothing was written", Tone.DIM))
            return
        path = written_path(text)
        form = present_months.FORMS.get(path.suffix.lower(), "bundle")

        def write(_token: CancelToken) -> ReportExported:
            return engine.reports.export(line, path, form=form)

        face.call("export", write, written, failed)

    def written(made: ReportExported) -> None:
        what = "the whole bundle, with its receipts," if made.format == "bundle" else "the report"
        face.notice(
            Phrase("✓ ", Tone.GOOD) + f"{what} is written: {human_bytes(made.size_bytes)}",
            Phrase("  ") + made.path,
        )

    def failed(error: OffsiteError) -> None:
        face.notice(*(already_there(error) if error.code == "config.file-exists" else error_lines(error)))

    face.notice(
        Phrase("The form is the file's ending: ")
        + Phrase(".pdf .html .txt .json", Tone.CODE)
        + "; "
        + Phrase(".zip .tar", Tone.CODE)
        + " or a folder's name: the whole bundle"
    )
    about = "" if line.scope.everything else f"-{file_name('-'.join(line.scope.connections))[:40]}"
    revision = f"-r{line.revision}" if line.revision > 1 else ""
    face.ask(
        Question(
            Phrase("Write it to"),
            answered,
            left=face.notice,
            value=f"~/restore-drill-report-{line.month}{about}{revision}.pdf",
            placeholder="a file that is not there yet",
        )
    )


def verify_report(face: Face[None], engine: Engine, line: ReportLine) -> None:
    """Check the bundle as anybody can who was given it, and that it is ours."""
    if line.folder is None:
        face.notice(
            Phrase("✗ ", Tone.BAD) + f"the report of {line.month} lies on {line.host}, or its folder is gone",
            Phrase("  → Check it there, or a copy of it: ", Tone.DIM)
            + Phrase("offsitedb report verify PATH", Tone.CODE),
        )
        return
    face.notice(Phrase("checking sums, signature, receipts and figures …", Tone.BUSY))

    def found(verdict: BundleVerdict) -> None:
        face.notice(*present_months.verified_lines(verdict))

    face.call("verify", lambda _token: engine.reports.check(line), found)
