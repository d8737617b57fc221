"""A check: a question, and the answer that every restored copy has to give. Nothing asks it before the next drill."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from engine.errors import ConfigError, OffsiteError
from engine.model import OperatorCheck
from engine.service.connections import check_name
from screens.forms.form import Form, FormBody, button
from screens.phrase import Phrase, Tone
from screens.widgets.fields import Field, Text


class Query(Text):
    """A question on one line: what is pasted on several becomes one, without lines that are comments."""

    def on_paste(self, event: events.Paste) -> None:
        lines = (line.strip() for line in event.text.splitlines())
        event.prevent_default()
        event.stop()
        self.replace(" ".join(line for line in lines if line and not line.startswith("--")), *self.selection)


class AddCheck(Form[str | None]):
    """Of the connection ``connection``. Closes with the check's name, or None."""

    HELP = (
        "One SELECT; only the first column of its first row counts. Names must be schema-qualified (public.orders): "
        "the search path is empty. It sees the restored copy alone, never the source, and may not write. Question and "
        "answer stand in the signed receipt."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+t", "submit", "save", key_display="^t", id="check.save", tooltip="Have every later drill ask it"),
    ]

    def __init__(self, connection: str) -> None:
        super().__init__()
        self._connection = connection

    def body(self) -> ComposeResult:
        with FormBody():
            yield Field("Name", Text(placeholder="it stands in receipts"), id="name")
            note = Phrase("schema-qualified; it sees the restored copy alone and may not write", Tone.DIM)
            yield Field("Ask", Query(placeholder="SELECT count(*) FROM public.orders"), id="query", note=note)
            note = Phrase("the answer as text, or >=N, <=N, >N, <N for a number", Tone.DIM)
            yield Field("Expect", Text(placeholder=">=1000"), id="expect", note=note)
            with Horizontal(classes="buttons"):
                yield button("Save", "submit")

    def on_mount(self) -> None:
        self.title_line(Phrase("New check: every drill of ", Tone.STRONG) + Phrase(f"{self._connection} asks it"))

    def submit(self) -> None:
        self.field("name").say()
        name, query, expect = (self.field(id).text for id in ("name", "query", "expect"))
        try:
            check_name(name)
        except ConfigError as e:
            self.refuse("name", e.message if name else "it needs a name", e.hint)
            return
        if not query:
            self.refuse("query", "say what is asked", "One SELECT, such as: SELECT count(*) FROM public.orders")
            return
        door, connection = self.engine.checks, self._connection
        self.call("try", lambda _token: door.add(connection, name, query, expect), self._added, self._broke)

    def _added(self, check: OperatorCheck) -> None:
        self.dismiss(check.name)

    def _broke(self, error: OffsiteError) -> None:
        if error.code == "config.name-taken":
            self.refuse("name", error.message, error.hint)
            return
        self.fail(error)
