"""Workers, tools and looks: what there is on this machine and at this terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.model.views import Doctor, WorkerView
from engine.model.watch import Overview
from screens import present_settings
from screens.phrase import Phrase, Tone
from screens.sections.base import Section, SectionRows
from screens.widgets.lines import Lines
from screens.widgets.rows import Column, Rows

WORKERS = (
    Column("STATE", 9),
    Column("HOST", 16, grow=1),
    Column("PROCESS", 9, right=True),
    Column("JOBS", 7, right=True, drop=1),
    Column("LABELS", 14, grow=1, drop=3),
    Column("SINCE", 12, right=True),
    Column("HEARD OF", 14, right=True, drop=2),
)
LOOKS = {
    "offsitedb": "dark, for terminals with true colour",
    "offsitedb-light": "light, for terminals with true colour",
    "offsitedb-16": "the terminal's own colours; least to send",
}


class WorkersSection(Section):
    """Who runs the jobs."""

    PLACE = "workers"
    TITLE = "Workers"
    FOCUS = "#workers"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "screen.start_worker", "start one", id="workers.start", tooltip="A worker for this session"),
    ]

    def __init__(self, examine: Callable[[], None]) -> None:
        super().__init__(examine)
        self._alive: int | None = None

    def compose(self) -> ComposeResult:
        yield SectionRows[WorkerView](
            WORKERS,
            key=lambda w: w.id,
            cells=lambda w: present_settings.worker_cells(w, self.face.now()),
            id="workers",
        )
        yield Lines(Phrase(" looking for workers …", Tone.DIM), id="workers-say")

    def entered(self) -> None:
        self.examine()

    def look(self, overview: Overview) -> None:
        if self._alive is not None and overview.workers_alive != self._alive:
            self.entered()
        self._alive = overview.workers_alive

    def examined(self, doctor: Doctor) -> None:
        rows = self.query_one("#workers", Rows)
        rows.styles.height = 1 + max(1, min(len(doctor.workers), 10))
        rows.show(sorted(doctor.workers, key=lambda w: (not w.alive, w.host, w.pid)))
        self.query_one("#workers-say", Lines).show(*present_settings.worker_lines(doctor.workers))

    def copyable(self) -> tuple[str, str] | None:
        item = self.query_one("#workers", Rows).item
        if not isinstance(item, WorkerView):
            return "the command that runs a worker", "offsitedb worker"
        return "the worker", f"{item.host} process {item.pid}, worker {item.id}, version {item.version}"


class ToolsSection(Section):
    """What the doctor says."""

    PLACE = "tools"
    TITLE = "Tools"
    FOCUS = "#tools"

    def compose(self) -> ComposeResult:
        yield Lines(Phrase(" looking at this machine …", Tone.DIM), id="tools")

    def entered(self) -> None:
        self.examine()

    def examined(self, doctor: Doctor) -> None:
        self.query_one("#tools", Lines).show(*present_settings.doctor_lines(doctor))

    def copyable(self) -> tuple[str, str] | None:
        return "what the doctor found", self.query_one("#tools", Lines).text


class LookRows(Rows[str]):
    """The looks; Enter takes one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "use", key_display="enter", id="look.use", tooltip="Use this look"),
    ]


class LookSection(Section):
    """How the console looks in this terminal."""

    PLACE = "look"
    TITLE = "Look"
    FOCUS = "#looks"

    def compose(self) -> ComposeResult:
        yield LookRows(
            (Column("THEME", 18), Column("", 10), Column("FOR", 40, grow=1)),
            key=str,
            cells=self._cells,
            id="looks",
        )
        yield Lines(
            Phrase(" enter uses it for as long as this console is open.", Tone.DIM),
            Phrase(" Every state is a glyph and a word: no look needs colours. NO_COLOR is honoured.", Tone.DIM),
            id="looks-say",
        )

    def entered(self) -> None:
        rows = self.query_one("#looks", Rows)
        rows.styles.height = 1 + len(LOOKS)
        rows.show(tuple(LOOKS))

    def _cells(self, name: str) -> tuple[Phrase, ...]:
        used = Phrase("● in use", Tone.GOOD) if self.app.theme == name else Phrase()
        return Phrase(name), used, Phrase(LOOKS[name], Tone.DIM)

    @on(Rows.Chosen, "#looks")
    def chosen(self, event: Rows.Chosen) -> None:
        assert isinstance(event.item, str)
        self.app.theme = event.item
        self.entered()

    def copyable(self) -> tuple[str, str] | None:
        return "the theme's name", self.app.theme
