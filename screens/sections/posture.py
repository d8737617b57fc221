"""The security posture: what is weaker than recommended first, each with what mends it, then every chapter."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.model.posture import Posture
from screens import present_posture
from screens.fact import Fact
from screens.phrase import Phrase, Tone
from screens.sections.base import Section
from screens.widgets.facts import Facts, Part
from screens.widgets.rows import Rows


class PostureFacts(Facts):
    """Here ``[`` and ``]`` are the page's: they step through its sections."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "go there", key_display="enter", id="posture.go", tooltip="Where it is mended"),
        Binding("n", "section(1)", "next chapter", id="posture.next", tooltip="The next chapter"),
        Binding("p", "section(-1)", "chapter before", show=False, id="posture.before", tooltip="The chapter before"),
        Binding("right_square_bracket", "screen.section(1)", "", show=False, id="posture.section-next"),
        Binding("left_square_bracket", "screen.section(-1)", "", show=False, id="posture.section-before"),
    ]


class PostureSection(Section):
    """One long text to walk through; Enter goes to where a statement is mended."""

    PLACE = "posture"
    TITLE = "Posture"
    FOCUS = "#posture"

    def __init__(self, examine: Callable[[], None]) -> None:
        super().__init__(examine)
        self._places: tuple[str, ...] = ()
        """Where each line's statement is mended, line by line."""

    def compose(self) -> ComposeResult:
        yield PostureFacts(id="posture")

    def entered(self) -> None:
        if not self._places:
            self._board.tell([Fact(Phrase("looking at this installation …", Tone.DIM))])
        self.face.call("posture", lambda _token: self.engine.posture.look(), self._show, keep=True)

    def copyable(self) -> tuple[str, str] | None:
        return self._board.copyable

    @property
    def _board(self) -> PostureFacts:
        return self.query_one("#posture", PostureFacts)

    def _show(self, found: Posture) -> None:
        told = present_posture.facts(found)
        first = not self._places
        self._places = tuple(place for _, place in told)
        self._board.tell([fact for fact, _ in told], anew=first)

    @on(Rows.Chosen, "#posture")
    def mend(self, event: Rows.Chosen) -> None:
        event.stop()
        if not isinstance(event.item, Part):
            return
        n = int(event.item.key.partition(".")[0])
        mode, _, section = (self._places[n] if n < len(self._places) else "").partition(":")
        if not mode:
            self.face.notice(Phrase("nothing in the console changes this", Tone.DIM))
        elif section:
            self.face.console.go(mode, section=section)
        else:
            self.face.console.go(mode)
