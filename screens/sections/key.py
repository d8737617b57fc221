"""The master key and its recovery code."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.model.kit import RecoveryView
from engine.model.views import KeyRotated, KeyStatus
from engine.model.watch import Overview
from engine.service import CancelToken
from screens import present_settings
from screens.phrase import Phrase, Tone, paragraphs
from screens.sections.base import Section
from screens.widgets.bar import Question, confirm
from screens.widgets.lines import Lines


class KeySection(Section):
    """Whether the key is there, where, and the way back to it."""

    PLACE = "key"
    TITLE = "Key and recovery"
    FOCUS = "#key"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "restore", "restore key", id="key.restore", tooltip="Put the key back with the recovery code"),
        Binding("f", "confirm", "confirm code", id="key.confirm", tooltip="Type the recovery code back, whole"),
        Binding("o", "rotate", "rotate", id="key.rotate", tooltip="A new master key; snapshots keep the one they have"),
        Binding("i", "install", "systemd", id="key.install", tooltip="How to make the key permanent on a server"),
    ]

    def __init__(self, examine: Callable[[], None]) -> None:
        super().__init__(examine)
        self._status: KeyStatus | None = None
        self._recovery: RecoveryView | None = None
        self._install: str | None = None
        """The text of the installation under systemd, while it is shown."""

    def compose(self) -> ComposeResult:
        yield Lines(Phrase(" asking the keyring …", Tone.DIM), id="key")

    def entered(self) -> None:
        def read(_token: CancelToken) -> tuple[KeyStatus, RecoveryView]:
            return self.engine.keys.status(), self.engine.recovery.show()

        self.face.call("key", read, self._read)

    def look(self, overview: Overview) -> None:
        known = self._status is not None and self._status.recovery_confirmed_at is not None
        if self._status is not None and overview.recovery_confirmed != known:
            self.entered()

    def copyable(self) -> tuple[str, str] | None:
        if self._install is not None:
            return "the commands for systemd", self._install
        return ("the key's id", self._status.kid) if self._status is not None else None

    def _read(self, found: tuple[KeyStatus, RecoveryView]) -> None:
        self._status, self._recovery = found
        self._say()

    def _show(self, status: KeyStatus) -> None:
        self._status = status
        self._say()

    def _say(self) -> None:
        board = self.query_one("#key", Lines)
        if self._install is not None:
            head = Phrase(" Make the key permanent on a server", Tone.STRONG) + Phrase(
                "  y copies · i closes", Tone.DIM
            )
            board.show(head, Phrase(), *(Phrase(" ") + line for line in paragraphs(self._install, Tone.CODE)))
        elif self._status is not None and self._recovery is not None:
            board.show(*present_settings.key_lines(self._status, self._recovery))

    # what the keys do

    def action_restore(self) -> None:
        def typed(code: str) -> None:
            if code.strip():
                self.face.call("restore", lambda _token: self.engine.keys.restore(code), self._restored)

        self.face.ask(Question(Phrase("Recovery code, to put the key back:"), typed, placeholder="hidden", hidden=True))

    def _restored(self, status: KeyStatus) -> None:
        self._show(status)
        self.face.console.nudge()
        self.face.done(f"master key {status.kid} is back, in: {status.backend}")

    def action_confirm(self) -> None:
        def typed(code: str) -> None:
            if code.strip():
                self.face.call("confirm", lambda _token: self.engine.keys.confirm_with(code), self._confirmed)

        self.face.ask(
            Question(Phrase("Recovery code, as it was written down:"), typed, placeholder="hidden", hidden=True)
        )

    def _confirmed(self, status: KeyStatus) -> None:
        self._show(status)
        self.face.console.nudge()
        self.face.done("the recovery code is right: it opens everything that this installation sealed")

    def action_rotate(self) -> None:
        status = self._status
        if status is None or status.state != "ok":
            self.face.notice(Phrase("the key must be there before it can be rotated", Tone.DIM))
            return

        def agreed() -> None:
            self.face.call("rotate", lambda _token: self.engine.keys.rotate(), self._rotated)

        def refused() -> None:
            self.face.notice(Phrase("the key stays as it is", Tone.DIM))

        prompt = "A new master key?"
        self.face.ask(confirm(prompt, "rotate", agreed, refused))

    def _rotated(self, done: KeyRotated) -> None:
        self.entered()
        self.face.console.nudge()
        fields = "1 value" if done.fields == 1 else f"{done.fields:,} values"
        self.face.done(f"master key {done.to_kid} is in use, {fields} sealed anew")

    def action_install(self) -> None:
        if self._install is not None:
            self._install = None
            self._say()
            return
        self.face.call("systemd", lambda _token: self.engine.keys.systemd_install().text, self._show_install)

    def _show_install(self, text: str) -> None:
        self._install = text
        self._say()
        self.query_one("#key", Lines).scroll_home(animate=False)
