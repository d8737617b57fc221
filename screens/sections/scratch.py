"""Servers that drills may restore into: list, try, remove."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.model.views import ScratchServerView
from engine.service import CancelToken
from screens import present_proving as words
from screens.phrase import Phrase, Tone
from screens.sections.base import Section, SectionRows
from screens.widgets.bar import confirm
from screens.widgets.lines import Lines
from screens.widgets.rows import Column, Rows
from screens.widgets.say import Say

COLUMNS = (
    Column("NAME", 14, grow=1),
    Column("ADDRESS", 28, grow=3),
    Column("DRILLS OF", 14, grow=1, drop=2),
    Column("TRIED", 13, right=True, drop=1),
)


class ScratchSection(Section):
    """A list, and below it the server under the cursor."""

    PLACE = "scratch"
    TITLE = "Scratch"
    FOCUS = "#scratch-servers"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "new", id="scratch.new", tooltip="Give drills a server; tried before it is saved"),
        Binding("t", "try", "test", id="scratch.test", tooltip="Whether a drill could use it now"),
        Binding("x", "remove", "remove", id="scratch.remove", tooltip="Forget its connection string"),
    ]

    def __init__(self, examine: Callable[[], None]) -> None:
        super().__init__(examine)
        self._versions: dict[str, str] = {}
        """What each server said of itself when it was last tried here."""

    def compose(self) -> ComposeResult:
        yield SectionRows[ScratchServerView](
            COLUMNS,
            key=lambda s: s.name,
            cells=lambda s: words.scratch_cells(s, self.face.now()),
            id="scratch-servers",
        )
        yield Lines(id="scratch-server")
        yield Say(id="no-scratch")

    def on_mount(self) -> None:
        self.query_one("#no-scratch").display = False

    @property
    def item(self) -> ScratchServerView | None:
        item = self.query_one("#scratch-servers", Rows).item
        return item if isinstance(item, ScratchServerView) else None

    def entered(self) -> None:
        def read(_token: CancelToken) -> tuple[ScratchServerView, ...]:
            return self.engine.scratch.list()

        self.face.call("scratch", read, self._show)

    def _show(self, found: tuple[ScratchServerView, ...]) -> None:
        rows, empty = self.query_one("#scratch-servers", Rows), self.query_one("#no-scratch", Say)
        rows.styles.height = 1 + max(1, min(len(found), 8))
        rows.show(found)
        empty.display = not found
        empty.show(
            Phrase("  Drills use clusters of their own on this host; no server was given to them.", Tone.STRONG),
            Phrase("  Press n where this host lacks something, such as an extension.", Tone.DIM),
        )
        self.moved()

    @on(Rows.Moved, "#scratch-servers")
    def moved(self) -> None:
        item, board = self.item, self.query_one("#scratch-server", Lines)
        if item is None:
            board.show()
        else:
            board.show(*words.scratch_lines(replace(item, version=self._versions.get(item.name))))

    def copyable(self) -> tuple[str, str] | None:
        item = self.item
        return None if item is None else ("the address, without its password", item.address)

    # what the keys do

    def action_new(self) -> None:
        from screens.forms.scratch import AddScratch  # late: seldom needed

        def added(name: str | None) -> None:
            if name is not None:
                self.entered()
                self.face.done(f"{name} is saved; o on page 2 has the drills of a connection use it")

        self.app.push_screen(AddScratch(), added)

    def action_try(self) -> None:
        item = self.item
        if item is None:
            return
        name = item.name

        def went(server: ScratchServerView) -> None:
            self._versions[name] = server.version or ""
            self.entered()
            self.face.done(f"a drill could use {name} now")

        self.face.notice(Phrase("● ", Tone.BUSY) + Phrase(f"trying {name}"))
        self.face.call(f"try {name}", lambda token: self.engine.scratch.test(name, token), went, keep=True)

    def action_remove(self) -> None:
        item = self.item
        if item is None:
            return
        name = item.name

        def gone(_none: None) -> None:
            self.entered()
            self.face.done(f"{name} is forgotten")

        def agreed() -> None:
            self.face.call("remove", lambda _token: self.engine.scratch.remove(name), gone)

        def refused() -> None:
            self.face.notice(Phrase(f"{name} stays", Tone.DIM))

        self.face.ask(confirm(f"Forget {name}?", name, agreed, refused))
