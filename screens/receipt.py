"""The receipt of one drill, on top of a page: read and checked in the background, then set for people."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.errors import OffsiteError
from engine.model.watch import ReceiptView
from engine.service import CancelToken, Engine
from engine.service.outfile import new_file
from screens import present_receipt
from screens.base import Face, Sheet, error_lines
from screens.fact import Fact
from screens.fetching import already_there, file_name, written_path
from screens.phrase import Phrase, Tone
from screens.widgets.bar import Question
from screens.widgets.facts import Facts


class ReceiptSheet(Sheet[None]):
    """``which``: a drill's id, or a snapshot's for its newest drill."""

    TITLE_TEXT = "Receipt"
    HELP = (
        "The signed evidence of one drill: the verdict, what was expected and restored of every table, how long each "
        "phase took and what stood between the drill and this host. y copies the line under the cursor, Y the whole "
        "signed document, e writes it to a file. The commands at the end check the signature without this program."
    )
    AUTO_FOCUS = "#receipt"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", id="receipt.back", tooltip="Close the receipt"),
        Binding("e", "export", "export", id="receipt.export", tooltip="Write the signed document to a file"),
        Binding("Y", "copy_document", "copy all", id="receipt.copy-all", tooltip="Copy the signed document"),
    ]

    def __init__(self, which: str) -> None:
        super().__init__()
        self._which = which
        self._view: ReceiptView | None = None

    def body(self) -> ComposeResult:
        yield Facts(id="receipt")

    def on_mount(self) -> None:
        self.query_one("#receipt", Facts).tell([Fact(Phrase("reading the receipt …", Tone.DIM))])

        def read(_token: CancelToken) -> tuple[ReceiptView, str]:
            return self.engine.drills.receipt(self._which), self.engine.keys.signers()

        self.call("receipt", read, self._show, self._unreadable)

    def _show(self, found: tuple[ReceiptView, str]) -> None:
        self._view, signers = found
        self.title_line(present_receipt.receipt_title(self._view))
        self.query_one("#receipt", Facts).tell(present_receipt.receipt_facts(self._view, signers), anew=True)
        self.refresh_bindings()

    def _unreadable(self, error: OffsiteError) -> None:
        """It is no evidence then, and says so in the place of it."""
        self.query_one("#receipt", Facts).tell([*map(Fact, error_lines(error))], anew=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("export", "copy_document") and self._view is None:
            return False
        return super().check_action(action, parameters)

    def copyable(self) -> tuple[str, str] | None:
        return self.query_one("#receipt", Facts).copyable

    def action_copy_document(self) -> None:
        document = self._document()
        if document is not None:
            self.copy(*document)

    def action_export(self) -> None:
        if self._view is not None:
            ask_export(self, self.engine, self._view.drill_id, self._view.attempt.job.connection)

    def _document(self) -> tuple[str, str] | None:
        return ("the signed receipt", self._view.text) if self._view is not None else None


def ask_export(face: Face[None], engine: Engine, drill: str, connection: str) -> None:
    """Ask for a file, then write the receipt there exactly as it was signed."""

    def answered(text: str) -> None:
        if not text.strip():
            face.notice(Phrase("no file was named; nothing was written", Tone.DIM))
            return
        path = written_path(text)

        def write(_token: CancelToken) -> str:
            view = engine.drills.receipt(drill)
            with new_file(path, force=False) as file:
                file.write(view.text.encode())
            return view.sha256

        face.call("export", write, lambda sha256: written(str(path), sha256), failed)

    def written(path: str, sha256: str) -> None:
        face.notice(
            Phrase("✓ ", Tone.GOOD) + "the receipt is written as it was signed, readable by you alone",
            Phrase("  ") + path,
            Phrase(f"  SHA-256 {sha256}", Tone.DIM),
        )

    def failed(error: OffsiteError) -> None:
        face.notice(*(already_there(error) if error.code == "config.file-exists" else error_lines(error)))

    face.ask(
        Question(
            Phrase("Write the receipt to"),
            answered,
            value=f"~/{file_name(connection)}-receipt-{drill[:12]}.json",
            placeholder="a file that is not there yet",
        )
    )
