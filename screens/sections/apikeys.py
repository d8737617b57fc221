"""API keys: what machines present to the checkpoint API. Made, replaced with an overlap, revoked."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.model.apikeys import ApiKeyView, KeyState, MadeApiKey
from engine.service import CancelToken
from engine.service.durations import parse_duration
from screens import present_apikeys
from screens.phrase import Phrase, Tone
from screens.sections.base import Section, SectionRows
from screens.widgets.bar import Question, confirm
from screens.widgets.lines import Lines
from screens.widgets.rows import Column, Rows
from screens.widgets.say import Say

COLUMNS = (
    Column("NAME", 14, grow=2),
    Column("STATE", 9),
    Column("MAY", 13),
    Column("CONNECTIONS", 14, grow=2, drop=1),
    Column("USED", 13, right=True, drop=2),
)
_GOOD = (KeyState.ACTIVE, KeyState.ENDING)


class ApiKeysSection(Section):
    """A list, and below it the one under the cursor."""

    PLACE = "apikeys"
    TITLE = "API keys"
    FOCUS = "#apikeys"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "new", id="apikey.new", tooltip="Make a key; it is shown once"),
        Binding("e", "rotate", "replace", id="apikey.rotate", tooltip="A new key; the old one stays good for a while"),
        Binding("x", "revoke", "revoke", id="apikey.revoke", tooltip="The key is good for nothing any more, at once"),
    ]

    def __init__(self, examine: Callable[[], None]) -> None:
        super().__init__(examine)

    def compose(self) -> ComposeResult:
        yield SectionRows[ApiKeyView](
            COLUMNS,
            key=lambda k: k.id,
            cells=lambda k: present_apikeys.key_cells(k, self.face.now()),
            id="apikeys",
        )
        yield Lines(id="apikey")
        yield Say(id="no-apikey")

    def on_mount(self) -> None:
        self.query_one("#no-apikey").display = False

    @property
    def item(self) -> ApiKeyView | None:
        item = self.query_one("#apikeys", Rows).item
        return item if isinstance(item, ApiKeyView) else None

    def entered(self) -> None:
        def read(_token: CancelToken) -> tuple[ApiKeyView, ...]:
            return self.engine.apikeys.list()

        self.face.call("apikeys", read, self._show)

    def copyable(self) -> tuple[str, str] | None:
        return ("the key's id", self.item.id) if self.item is not None else None

    def _show(self, found: tuple[ApiKeyView, ...]) -> None:
        rows, empty = self.query_one("#apikeys", Rows), self.query_one("#no-apikey", Say)
        rows.styles.height = 1 + max(1, min(len(found), 8))
        rows.show(found)
        empty.display = not found
        empty.show(*present_apikeys.empty_lines())
        self._show_item()

    @on(Rows.Moved, "#apikeys")
    def moved(self) -> None:
        self._show_item()

    def _show_item(self) -> None:
        board, item = self.query_one("#apikey", Lines), self.item
        board.show(*(present_apikeys.key_lines(item) if item is not None else ()))

    # what the keys do

    def action_new(self) -> None:
        from screens.forms.apikey import AddApiKey  # late: seldom needed

        self.app.push_screen(AddApiKey(), self._made)

    def action_rotate(self) -> None:
        item = self._good_one("replaced")
        if item is None:
            return

        def answered(text: str) -> None:
            overlap = text.strip() or "24h"

            def rotate(_token: CancelToken) -> MadeApiKey:
                return self.engine.apikeys.rotate(item.id, parse_duration(overlap) or 0.0)

            self.face.call("rotate", rotate, self._made)

        prompt = Phrase(f"How long does the old {item.name} stay good?")
        self.face.ask(Question(prompt, answered, placeholder="24h at the most; none ends it now"))

    def action_revoke(self) -> None:
        item = self._good_one("revoked")
        if item is None:
            return

        def gone(_keys: tuple[ApiKeyView, ...]) -> None:
            self.entered()
            self.face.done(f"{item.name} is good for nothing any more")

        def agreed() -> None:
            self.face.call("revoke", lambda _token: self.engine.apikeys.revoke(item.id), gone)

        def refused() -> None:
            self.face.notice(Phrase(f"{item.name} stays", Tone.DIM))

        self.face.ask(confirm(f"Revoke {item.name}? What uses it fails at once.", item.name, agreed, refused))

    def _good_one(self, what: str) -> ApiKeyView | None:
        """The key under the cursor, if something can be done with it."""
        item = self.item
        if item is not None and item.state not in _GOOD:
            self.face.notice(Phrase(f"{item.name} has ended: it cannot be {what}", Tone.DIM))
            return None
        return item

    def _made(self, made: MadeApiKey | None) -> None:
        self.entered()
        if made is None:
            return
        from screens.forms.text import TextSheet  # late, as above

        about = (
            "It is shown this once: put it where your deploys find it, as a secret.",
            "y copies it · the catalog keeps a hash of it and no more",
        )
        self.app.push_screen(TextSheet(f"API key {made.key.name}", ("the key", about, made.text)))
